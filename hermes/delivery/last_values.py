"""The last value of each tenant, device and series, and each device's presence.

A socket gets a snapshot in the iteration of the loop in which it subscribes: what was published before is in the
snapshot, what is published later is sent live, nothing is in both. The snapshot is a list of references; the frames are
encoded when they are sent, once for all sockets that get the same value.

The number of values, their bytes and their age are bounded. Beyond the limits the value with the oldest update is
evicted: of the tenant or device with more than half of the values, if there is one (see `hermes.quotas.fair_queue`).
Everything here runs on the event loop's thread.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.frames import Frame, encode
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus, Series
from hermes.ids import DeviceId, TenantId
from hermes.metrics import Metrics
from hermes.quotas.fair_queue import HOLDERS, FairQueue, Item

OVERHEAD_BYTES = 1_000  # of a value besides its texts: the objects of message and frame, the dictionary entries


@dataclass(frozen=True, slots=True)
class LastValuesLimits:
    """How many values are stored, and how long.

    ``max_age_s`` counts from a value's last update. Presence does not expire; ``max_values`` limits it, too.
    """

    max_values: int = 100_000
    max_bytes: int = 128 * 1_048_576
    max_age_s: float = 7 * 86_400


class LastValue(Item):
    """One last value or presence, and its frame for a snapshot.

    ``updated_s`` is on the clock of `LastValues`. ``retained_hash`` is the hash of the last retained data.
    """

    __slots__ = ("_frame", "message", "retained_hash", "updated_s")

    def __init__(
        self,
        message: DeviceMessage | DeviceStatus | LinkStatus,
        *,
        updated_s: float = 0.0,
        retained_hash: int | None = None,
    ) -> None:
        self.message = message
        self.updated_s = updated_s
        self.retained_hash = retained_hash
        self._frame: Frame | None = None

    @property
    def frame(self) -> Frame:
        """The frame for a snapshot, encoded when the first socket gets it."""
        if self._frame is None:
            self._frame = encode(self.message, snapshot=True)
        return self._frame


class _Device:
    """The last values of one device by series, and its presence."""

    __slots__ = ("status", "values")

    def __init__(self) -> None:
        self.values: dict[str, LastValue] = {}
        self.status: LastValue | None = None


class LastValues:
    """The last values of one gateway; ``clock`` gives monotonic seconds."""

    def __init__(
        self, *, limits: LastValuesLimits, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._dropped_values = {holder: metrics.share_dropped.labels("last_values", holder) for holder in HOLDERS}
        self._dropped_statuses = {holder: metrics.share_dropped.labels("presence", holder) for holder in HOLDERS}
        self._tenants: dict[TenantId, dict[DeviceId, _Device]] = {}
        self._parts: dict[str, dict[Series, LastValue]] = {}  # by topic, the values of messages with several
        # each with the oldest update first; presence counts without its size
        self._values: FairQueue[LastValue] = FairQueue(max_count=limits.max_values, max_size=limits.max_bytes)
        self._statuses: FairQueue[LastValue] = FairQueue(max_count=limits.max_values)

    def __len__(self) -> int:
        """Return the number of values, presence not counted."""
        return len(self._values)

    @property
    def size_bytes(self) -> int:
        """The approximate memory of the values."""
        return self._values.size

    # -- update ---------------------------------------------------------------------------------------------------

    def update(self, message: DeviceMessage) -> bool:
        """Store a value. Returns False if it is not new and must not be published.

        After a reconnection the broker sends its retained messages again. Those that were received before are not new,
        also when the device has sent other values since.
        """
        device = self._tenants.get(message.tenant_id, {}).get(message.device_id)
        before = None if device is None else device.values.get(message.series)
        retained_hash = None if before is None else before.retained_hash
        if message.retained:
            previous, retained_hash = retained_hash, hash((message.data, message.device_name))
            if before is not None and (previous == retained_hash or _same(before.message, message)):
                before.retained_hash = retained_hash
                return False
        if message.clears:
            if before is not None:
                self._remove(before)
        elif not message.historical:
            value = LastValue(message, updated_s=self._clock(), retained_hash=retained_hash)
            self._store(value, message, device, before)
        return True

    def _store(
        self, value: LastValue, message: DeviceMessage, device: _Device | None, before: LastValue | None
    ) -> None:
        """Store a value in the place of the one before; evict others above the limits."""
        size = OVERHEAD_BYTES + 2 * (len(message.data) + len(message.topic))  # in the message, and in the frame
        if device is None:
            device = self._device(message.tenant_id, message.device_id)
        device.values[message.series] = value
        if before is None:
            self._values.append(value, tenant=message.tenant_id, device=message.device_id, size=size)
        else:
            self._values.replace(before, value, size=size)
            if self._parts:
                self._remove_part(before)
        while limit := self._values.exceeded():
            oldest, holder = self._values.next_to_drop()
            self._remove(oldest)
            self._metrics.snapshot_evicted.labels("bytes" if limit == "size" else "count").inc()
            self._dropped_values[holder].inc()

    def add_part(self, message: DeviceMessage) -> None:
        """Record that a value is part of a message with several, if it is stored."""
        device = self._tenants.get(message.tenant_id, {}).get(message.device_id)
        value = None if device is None else device.values.get(message.series)
        if value is not None and isinstance(value.message, DeviceMessage):
            self._parts.setdefault(value.message.topic, {})[message.series_key] = value

    def parts_of(self, topic: str) -> list[DeviceMessage]:
        """Return the stored values that came as parts of the messages of a topic."""
        messages = (value.message for value in self._parts.get(topic, {}).values())
        return [message for message in messages if isinstance(message, DeviceMessage)]

    def _remove_part(self, value: LastValue) -> None:
        message = value.message
        assert isinstance(message, DeviceMessage)
        parts = self._parts.get(message.topic, {})
        parts.pop(message.series_key, None)
        if not parts:
            self._parts.pop(message.topic, None)

    def update_status(self, status: DeviceStatus) -> bool:
        """Store whether a device is online.

        Returns False if that is not new and must not be published.
        """
        device = self._device(status.tenant_id, status.device_id)
        before = device.status
        if before is not None and isinstance(before.message, DeviceStatus) and before.message.online == status.online:
            return False
        device.status = LastValue(status)
        if before is None:
            self._statuses.append(device.status, tenant=status.tenant_id, device=status.device_id, size=0)
        else:
            self._statuses.replace(before, device.status, size=0)
        while self._statuses.exceeded():
            oldest, holder = self._statuses.next_to_drop()
            self._remove_status(*_ids(oldest))
            self._metrics.snapshot_evicted.labels("count").inc()
            self._dropped_statuses[holder].inc()
        return True

    def _device(self, tenant_id: TenantId, device_id: DeviceId) -> _Device:
        devices = self._tenants.get(tenant_id)
        if devices is None:
            devices = self._tenants[tenant_id] = {}
        device = devices.get(device_id)
        if device is None:
            device = devices[device_id] = _Device()
        return device

    # -- remove ---------------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Evict the values that are too old, and update the gauges."""
        until_s = self._clock() - self._limits.max_age_s
        while (oldest := self._values.oldest()) is not None and oldest.updated_s <= until_s:
            self._remove(oldest)
            self._metrics.snapshot_evicted.labels("age").inc()
        self._metrics.snapshot_values.set(len(self._values))
        self._metrics.snapshot_bytes.set(self._values.size)

    def retain_only(self, is_watched: Callable[[TenantId, DeviceId], bool]) -> None:
        """Remove the devices that are not watched: Hermes does not get their data."""
        for tenant_id, devices in list(self._tenants.items()):
            for device_id, device in list(devices.items()):
                if not is_watched(tenant_id, device_id):
                    for value in list(device.values.values()):
                        self._remove(value)
                    self._remove_status(tenant_id, device_id)

    def remove_status(self, tenant_id: TenantId, device_id: DeviceId) -> DeviceStatus | None:
        """Remove and return the presence of a device; None if it has none."""
        device = self._tenants.get(tenant_id, {}).get(device_id)
        before = None if device is None or device.status is None else device.status.message
        self._remove_status(tenant_id, device_id)
        return before if isinstance(before, DeviceStatus) else None

    def _remove(self, value: LastValue) -> None:
        message = value.message
        assert isinstance(message, DeviceMessage)
        if self._parts:
            self._remove_part(value)
        self._values.remove(value)
        del self._tenants[message.tenant_id][message.device_id].values[message.series]
        self._remove_if_empty(message.tenant_id, message.device_id)

    def _remove_status(self, tenant_id: TenantId, device_id: DeviceId) -> None:
        device = self._tenants.get(tenant_id, {}).get(device_id)
        if device is not None:
            if device.status is not None:
                self._statuses.remove(device.status)
                device.status = None
            self._remove_if_empty(tenant_id, device_id)

    def _remove_if_empty(self, tenant_id: TenantId, device_id: DeviceId) -> None:
        devices = self._tenants[tenant_id]
        device = devices[device_id]
        if not device.values and device.status is None:
            del devices[device_id]
            if not devices:
                del self._tenants[tenant_id]

    # -- read -----------------------------------------------------------------------------------------------------

    def for_channels(self, wanted: Iterable[Channel]) -> list[LastValue]:
        """Return the snapshot for a new subscriber of these channels.

        Values precede presence.
        """
        devices = [device for channel in wanted for device in self._devices_of(channel)]
        values = [value for device in devices for value in device.values.values()]
        return values + [device.status for device in devices if device.status is not None]

    def _devices_of(self, channel: Channel) -> Iterator[_Device]:
        match channel:
            case ("tenant", tenant_id):
                yield from self._tenants.get(TenantId(tenant_id), {}).values()
            case channels.TENANTS:
                for devices in self._tenants.values():
                    yield from devices.values()
            case ("device", tenant_id, device_id):
                device = self._tenants.get(TenantId(tenant_id), {}).get(DeviceId(device_id))
                if device is not None:
                    yield device
            case ("device", device_id):
                for devices in self._tenants.values():
                    if DeviceId(device_id) in devices:
                        yield devices[DeviceId(device_id)]


def _same(before: object, message: DeviceMessage) -> bool:
    if not isinstance(before, DeviceMessage):
        return False
    return (before.data, before.encoding, before.device_name) == (message.data, message.encoding, message.device_name)


def _ids(status: LastValue) -> tuple[TenantId, DeviceId]:
    assert isinstance(status.message, DeviceStatus)
    return status.message.tenant_id, status.message.device_id
