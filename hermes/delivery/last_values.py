"""The last value of each tenant, device and series, and each device's presence.

A socket gets a snapshot in the iteration of the loop in which it subscribes: what was published before is in the
snapshot, what is published later is sent live, nothing is in both. The snapshot is a list of references; the frames are
encoded when they are sent, once for all sockets that get the same value.

The number of values, their bytes and their age are bounded. Beyond the limits the value with the oldest update is
evicted: of the tenant or device with more than half of the values, if there is one (see `hermes.quotas.fair_queue`).
Everything here runs on the event loop's thread.

An outage of the link makes all of them stale, until the device publishes the value again or the broker sends it again.
When the broker has sent all retained messages, `remove_unconfirmed` removes the values that it had retained and has no
more: they were cleared meanwhile. This is not known of a value that was never received as retained: it stays, and stays
stale. The presence of a device that is still stale then is unknown.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.frames import Frame, encode
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus, Series, now_ms
from hermes.ids import DeviceId, TenantId
from hermes.metrics import Metrics
from hermes.quotas.fair_queue import HOLDERS, FairQueue, Item

logger = logging.getLogger(__name__)

SCANNED_AT_ONCE = 50  # values; about 20 µs
OVERHEAD_BYTES = 1_000  # of a value besides its texts: the objects of message and frame, the dictionary entries


@dataclass(frozen=True, slots=True)
class LastValuesLimits:
    """How many values are stored, and how long.

    ``max_age_s`` counts from a value's last update. Presence does not expire; ``max_values`` limits it, too.
    """

    max_values: int = 100_000
    max_bytes: int = 128 * 1_048_576
    max_age_s: float = 7 * 86_400


class Outages:
    """The number of outages of the link so far."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


NO_OUTAGES = Outages()  # for what no outage makes stale


class LastValue(Item):
    """One last value or presence, and its frame for a snapshot.

    ``updated_s`` is on the clock of `LastValues`. ``retained_hash`` is the hash of the last retained data; the broker
    sent it last after ``retained_after`` outages. ``confirmed_after`` is the number of outages before the value was
    received or confirmed.
    """

    __slots__ = (
        "_frame",
        "_frame_is_stale",
        "_outages",
        "confirmed_after",
        "message",
        "retained_after",
        "retained_hash",
        "updated_s",
    )

    def __init__(
        self,
        message: DeviceMessage | DeviceStatus | LinkStatus,
        *,
        updated_s: float = 0.0,
        retained_hash: int | None = None,
        retained_after: int = 0,
        outages: Outages = NO_OUTAGES,
    ) -> None:
        self.message = message
        self.updated_s = updated_s
        self.retained_hash = retained_hash
        self.retained_after = retained_after
        self.confirmed_after = outages.count
        self._outages = outages
        self._frame: Frame | None = None
        self._frame_is_stale = False

    @property
    def frame(self) -> Frame:
        """The frame for a snapshot, encoded when the first socket gets it."""
        is_stale = self.confirmed_after < self._outages.count
        if self._frame is None or self._frame_is_stale is not is_stale:
            self._frame = encode(self.message, snapshot=True, stale=is_stale)
            self._frame_is_stale = is_stale
        return self._frame

    def confirm(self) -> bool:
        """Record that it is current; return whether a socket got it as stale."""
        self.confirmed_after = self._outages.count
        was_sent_as_stale = self._frame_is_stale
        if was_sent_as_stale:
            self._frame, self._frame_is_stale = None, False
        return was_sent_as_stale


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
        self._outages = Outages()
        self._complete_after = 0  # outages before the last time that the broker sent all of its retained messages
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

    def update(self, message: DeviceMessage) -> DeviceMessage | None:
        """Store a value. Return what to publish: nothing if the value is not new.

        After a reconnection the broker sends its retained messages again. Those that were received before are not new,
        also when the device has sent other values since. But if a socket got the last value as stale, and the broker
        confirms it, it is published once more.
        """
        device = self._tenants.get(message.tenant_id, {}).get(message.device_id)
        before = None if device is None else device.values.get(message.series)
        retained_hash, retained_after = None, 0
        if before is not None and before.retained_hash is not None and before.retained_after >= self._complete_after:
            retained_hash, retained_after = before.retained_hash, before.retained_after
        if message.retained:
            previous, retained_hash, retained_after = retained_hash, _hash(message), self._outages.count
            is_same = before is not None and _same(before, message)
            if before is not None and (is_same or previous == retained_hash):
                before.retained_hash, before.retained_after = retained_hash, retained_after
                return _value(before) if is_same and before.confirm() else None
        if message.clears:
            if before is not None:
                self._remove(before)
        elif not message.historical:
            value = LastValue(
                message,
                updated_s=self._clock(),
                retained_hash=retained_hash,
                retained_after=retained_after,
                outages=self._outages,
            )
            self._store(value, message, device, before)
        return message

    def is_outdated(self, message: DeviceMessage) -> bool:
        """Return whether the device has replaced this retained message since.

        It did so by its last value, which it published without retain.
        """
        device = self._tenants.get(message.tenant_id, {}).get(message.device_id)
        before = None if device is None else device.values.get(message.series)
        if before is None or not message.retained or before.retained_after < self._complete_after:
            return False
        return before.retained_hash == _hash(message) and not _same(before, message)

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
        message = _value(value)
        parts = self._parts.get(message.topic, {})
        parts.pop(message.series_key, None)
        if not parts:
            self._parts.pop(message.topic, None)

    def update_status(self, status: DeviceStatus) -> DeviceStatus | None:
        """Store whether a device is online. Return what to publish, as `update` does."""
        device = self._tenants.get(status.tenant_id, {}).get(status.device_id)
        before = None if device is None else device.status
        if before is None and status.online is None:
            return None
        if before is not None and _presence(before).online == status.online:
            return _presence(before) if before.confirm() else None
        if device is None:
            device = self._device(status.tenant_id, status.device_id)
        device.status = LastValue(status, updated_s=self._clock(), outages=self._outages)
        if before is None:
            self._statuses.append(device.status, tenant=status.tenant_id, device=status.device_id, size=0)
        else:
            self._statuses.replace(before, device.status, size=0)
        while self._statuses.exceeded():
            oldest, holder = self._statuses.next_to_drop()
            self._remove_status(*_ids(oldest))
            self._metrics.snapshot_evicted.labels("count").inc()
            self._dropped_statuses[holder].inc()
        return status

    def _device(self, tenant_id: TenantId, device_id: DeviceId) -> _Device:
        devices = self._tenants.get(tenant_id)
        if devices is None:
            devices = self._tenants[tenant_id] = {}
        device = devices.get(device_id)
        if device is None:
            device = devices[device_id] = _Device()
        return device

    # -- outages --------------------------------------------------------------------------------------------------

    @property
    def outages(self) -> int:
        """The number of outages so far."""
        return self._outages.count

    def has_device(self, tenant_id: TenantId, device_id: DeviceId) -> bool:
        """Return whether a value or the presence of a device is stored."""
        return device_id in self._tenants.get(tenant_id, {})

    def presence_of(self, tenant_id: TenantId, device_id: DeviceId) -> DeviceStatus | None:
        """Return the presence of a device, if it was confirmed since the last outage."""
        device = self._tenants.get(tenant_id, {}).get(device_id)
        if device is None or device.status is None or device.status.confirmed_after < self._outages.count:
            return None
        return _presence(device.status)

    def link_lost(self) -> None:
        """Make everything stale: from now on, messages may be missed."""
        self._outages.count += 1

    def remove_unconfirmed(self) -> Iterator[DeviceMessage | DeviceStatus | None]:
        """Remove what the broker does not retain any more.

        It had retained these values, and has not sent them again since the last outage. To be called when it has sent
        all of its retained messages. The presence that was not confirmed either becomes unknown. Yield what to publish,
        and None after a part of the work. What is received meanwhile is not removed.
        """
        return self._remove_unconfirmed(self._outages.count, self._complete_after)

    def _remove_unconfirmed(self, outage: int, complete_after: int) -> Iterator[DeviceMessage | DeviceStatus | None]:
        values = statuses = 0
        for value in self._updated_before(self._values, self._clock()):
            if value is None:
                yield None
            elif value.confirmed_after < outage and self._was_retained(value, complete_after, outage):
                values += 1
                yield self._clear(value, "outage")
        self._complete_after = max(outage, self._complete_after)
        for status in self._updated_before(self._statuses, self._clock()):
            if status is None:
                yield None
            elif status.confirmed_after < outage and _presence(status).online is not None and self._is_stored(status):
                statuses += 1
                yield self.update_status(_unknown(status))
        if values or statuses:
            logger.info(
                "after the outage: the broker has %d values no more; %d presences are unknown", values, statuses
            )

    def remove_topics(self, is_gone: Callable[[str], bool]) -> Iterator[DeviceMessage | DeviceStatus | None]:
        """Remove the values of these topics, and the presence that they reported.

        Yield what to publish, and None after a part of the work.
        """
        for value in self._updated_before(self._values, self._clock()):
            if value is None:
                yield None
            elif is_gone(_value(value).topic) and self._is_stored(value):
                yield self._clear(value, "topics")
        for status in self._updated_before(self._statuses, self._clock()):
            if status is None:
                yield None
            elif is_gone(_presence(status).topic) and self._is_stored(status):
                self._remove_status(*_ids(status))
                yield _unknown(status)

    @staticmethod
    def _updated_before(queue: FairQueue[LastValue], time_s: float) -> Iterator[LastValue | None]:
        """Yield the values of a queue that were updated before this time.

        None follows every few of them.
        """
        scan = queue.scan()
        try:
            while items := scan.next_items(SCANNED_AT_ONCE):
                for value in items:
                    if value.updated_s > time_s:
                        return
                    yield value
                yield None
        finally:
            scan.close()

    def _was_retained(self, value: LastValue, complete_after: int, outage: int) -> bool:
        """Return whether the broker had retained a value and retains it no more."""
        is_gone = value.retained_hash is not None and complete_after <= value.retained_after < outage
        return is_gone and self._is_stored(value)

    def _is_stored(self, value: LastValue) -> bool:
        """Return whether it has been neither replaced nor removed."""
        message = value.message
        assert not isinstance(message, LinkStatus)
        device = self._tenants.get(message.tenant_id, {}).get(message.device_id)
        stored = device and (device.values.get(message.series) if isinstance(message, DeviceMessage) else device.status)
        return stored is value

    def _clear(self, value: LastValue, reason: str) -> DeviceMessage:
        """Remove a value; return its clearing."""
        self._remove(value)
        self._metrics.snapshot_evicted.labels(reason).inc()
        return replace(_value(value), data=b"null", encoding="", retained=False, clears=True, timestamp_ms=now_ms())

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
        before = None if device is None or device.status is None else _presence(device.status)
        self._remove_status(tenant_id, device_id)
        return before

    def _remove(self, value: LastValue) -> None:
        message = _value(value)
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


def _same(before: LastValue, message: DeviceMessage) -> bool:
    known = _value(before)
    return (known.data, known.encoding, known.device_name) == (message.data, message.encoding, message.device_name)


def _hash(message: DeviceMessage) -> int:
    return hash((message.data, message.device_name))


def _value(value: LastValue) -> DeviceMessage:
    assert isinstance(value.message, DeviceMessage)
    return value.message


def _presence(status: LastValue) -> DeviceStatus:
    assert isinstance(status.message, DeviceStatus)
    return status.message


def _unknown(status: LastValue) -> DeviceStatus:
    return replace(_presence(status), online=None, since_ms=now_ms())


def _ids(status: LastValue) -> tuple[TenantId, DeviceId]:
    return _presence(status).tenant_id, _presence(status).device_id
