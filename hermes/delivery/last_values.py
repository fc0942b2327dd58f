"""Floor 2: the last value of each tenant, device and series, and whether each device is there.

A socket gets a copy of what concerns it in the turn of the loop in which it is registered: what was published before
is in the copy, what comes after is sent live, nothing is in both. The copy is a list of references; the frames are
made when they are sent, once for all sockets that get the same value.

Everything is bounded: the number of values, their bytes, and how long one is kept without a newer one. What was not
renewed for the longest time goes first. All of it lives on the event loop's thread.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hermes.delivery.channels import Channel
from hermes.delivery.frames import Frame, encode
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus
from hermes.ids import DeviceId, TenantId
from hermes.metrics import Metrics

OVERHEAD_BYTES = 1_000  # what a value costs beside its texts: message, frame, and its places in the dictionaries


@dataclass(frozen=True, slots=True)
class LastValuesLimits:
    """How much is remembered. ``max_age_s`` counts from when a value was learned; presence does not age."""

    max_values: int = 100_000
    max_bytes: int = 128 * 1_048_576
    max_age_s: float = 7 * 86_400


class LastValue:
    """One last value, or one device's presence, and its frame for those who come later."""

    __slots__ = ("_frame", "kept", "learned_s", "message")

    def __init__(
        self, message: DeviceMessage | DeviceStatus | LinkStatus, *, learned_s: float = 0.0, kept: int | None = None
    ) -> None:
        self.message = message
        self.learned_s = learned_s
        self.kept = kept  # the hash of what the broker was last seen to keep in this place
        self._frame: Frame | None = None

    @property
    def frame(self) -> Frame:
        """The frame of a snapshot, made when the first socket gets it."""
        if self._frame is None:
            self._frame = encode(self.message, snapshot=True)
        return self._frame


class _Device:
    """What is remembered of one device."""

    __slots__ = ("status", "values")

    def __init__(self) -> None:
        self.values: dict[str, LastValue] = {}
        self.status: LastValue | None = None


_Key = tuple[TenantId, DeviceId, str]


class LastValues:
    """The memory of one Hermes. ``clock`` gives monotonic seconds."""

    def __init__(
        self, *, limits: LastValuesLimits, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._tenants: dict[TenantId, dict[DeviceId, _Device]] = {}
        self._oldest: OrderedDict[_Key, int] = OrderedDict()  # least recently learned first, each with its size
        self._oldest_statuses: OrderedDict[tuple[TenantId, DeviceId], None] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """How many values are remembered, presence not counted."""
        return len(self._oldest)

    @property
    def size_bytes(self) -> int:
        """About how much memory they take."""
        return self._bytes

    # -- learning -------------------------------------------------------------------------------------------------

    def update(self, message: DeviceMessage) -> bool:
        """Remember a value. False where it is no news and must not be published: the broker tells after a reconnect
        what it keeps, and this is known already, or is older than what the device has said since.
        """
        before = self._value(message)
        kept = None if before is None else before.kept
        if message.retained:
            told, kept = kept, hash(message.data)
            if before is not None and (told == kept or _same(before.message, message)):
                before.kept = kept
                return False
        if message.clears:
            if before is not None:
                self._forget((message.tenant_id, message.device_id, message.series))
        elif not message.historical:
            self._remember(message, kept)
        return True

    def _value(self, message: DeviceMessage) -> LastValue | None:
        device = self._tenants.get(message.tenant_id, {}).get(message.device_id)
        return None if device is None else device.values.get(message.series)

    def _remember(self, message: DeviceMessage, kept: int | None) -> None:
        device = self._device(message.tenant_id, message.device_id)
        device.values[message.series] = LastValue(message, learned_s=self._clock(), kept=kept)
        key = (message.tenant_id, message.device_id, message.series)
        size = OVERHEAD_BYTES + 2 * (len(message.data) + len(message.topic))  # as it is, and as a frame
        self._bytes += size - self._oldest.get(key, 0)
        self._oldest[key] = size
        self._oldest.move_to_end(key)
        while len(self._oldest) > self._limits.max_values:
            self._evict("count")
        while self._bytes > self._limits.max_bytes and self._oldest:
            self._evict("bytes")

    def update_status(self, status: DeviceStatus) -> bool:
        """Remember whether a device is there; False where that is no news."""
        device = self._device(status.tenant_id, status.device_id)
        before = device.status
        if before is not None and isinstance(before.message, DeviceStatus) and before.message.online == status.online:
            return False
        device.status = LastValue(status)
        key = (status.tenant_id, status.device_id)
        self._oldest_statuses[key] = None
        self._oldest_statuses.move_to_end(key)
        if len(self._oldest_statuses) > self._limits.max_values:
            self._forget_status(next(iter(self._oldest_statuses)))
            self._metrics.snapshot_evicted.labels("count").inc()
        return True

    def _device(self, tenant_id: TenantId, device_id: DeviceId) -> _Device:
        devices = self._tenants.get(tenant_id)
        if devices is None:
            devices = self._tenants[tenant_id] = {}
        device = devices.get(device_id)
        if device is None:
            device = devices[device_id] = _Device()
        return device

    # -- forgetting -----------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Forget what is too old, and show what there is; to be called now and then."""
        until_s = self._clock() - self._limits.max_age_s
        while self._oldest and self._learned_s(next(iter(self._oldest))) <= until_s:
            self._evict("age")
        self._metrics.snapshot_values.set(len(self._oldest))
        self._metrics.snapshot_bytes.set(self._bytes)

    def retain_only(self, watched: Callable[[TenantId, DeviceId], bool]) -> None:
        """Forget all devices but these: nobody tells any more what becomes of the others."""
        for tenant_id, devices in list(self._tenants.items()):
            for device_id, device in list(devices.items()):
                if not watched(tenant_id, device_id):
                    for series in list(device.values):
                        self._forget((tenant_id, device_id, series))
                    self._forget_status((tenant_id, device_id))

    def forget_status(self, tenant_id: TenantId, device_id: DeviceId) -> DeviceStatus | None:
        """Forget whether a device is there; what was known of it."""
        device = self._tenants.get(tenant_id, {}).get(device_id)
        before = None if device is None or device.status is None else device.status.message
        self._forget_status((tenant_id, device_id))
        return before if isinstance(before, DeviceStatus) else None

    def _learned_s(self, key: _Key) -> float:
        tenant_id, device_id, series = key
        return self._tenants[tenant_id][device_id].values[series].learned_s

    def _evict(self, reason: str) -> None:
        self._forget(next(iter(self._oldest)))
        self._metrics.snapshot_evicted.labels(reason).inc()

    def _forget(self, key: _Key) -> None:
        tenant_id, device_id, series = key
        self._bytes -= self._oldest.pop(key)
        del self._tenants[tenant_id][device_id].values[series]
        self._drop_if_empty(tenant_id, device_id)

    def _forget_status(self, key: tuple[TenantId, DeviceId]) -> None:
        tenant_id, device_id = key
        self._oldest_statuses.pop(key, None)
        device = self._tenants.get(tenant_id, {}).get(device_id)
        if device is not None:
            device.status = None
            self._drop_if_empty(tenant_id, device_id)

    def _drop_if_empty(self, tenant_id: TenantId, device_id: DeviceId) -> None:
        devices = self._tenants[tenant_id]
        device = devices[device_id]
        if not device.values and device.status is None:
            del devices[device_id]
            if not devices:
                del self._tenants[tenant_id]

    # -- telling --------------------------------------------------------------------------------------------------

    def for_channels(self, channels: Iterable[Channel]) -> list[LastValue]:
        """A copy of what those who begin to hear these channels should know: values first, then presence."""
        devices = [device for channel in channels for device in self._devices_of(channel)]
        values = [value for device in devices for value in device.values.values()]
        return values + [device.status for device in devices if device.status is not None]

    def _devices_of(self, channel: Channel) -> Iterator[_Device]:
        match channel:
            case ("tenant", tenant_id):
                yield from self._tenants.get(TenantId(tenant_id), {}).values()
            case ("device", tenant_id, device_id):
                device = self._tenants.get(TenantId(tenant_id), {}).get(DeviceId(device_id))
                if device is not None:
                    yield device
            case ("device", device_id):
                for devices in self._tenants.values():
                    if DeviceId(device_id) in devices:
                        yield devices[DeviceId(device_id)]


def _same(before: object, message: DeviceMessage) -> bool:
    return isinstance(before, DeviceMessage) and (before.data, before.encoding) == (message.data, message.encoding)
