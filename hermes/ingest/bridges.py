"""Devices behind bridges: when a bridge is offline, so are its devices.

A bridge reports on a topic of its own whether it is online (see `hermes.topics.bridge_topic`). While it is offline,
that decides for all of its devices, whatever they reported last. When it is back, the last report of each device counts
again; the presence of a device without a report, or without one since the last outage of the link, is unknown.
"""

from collections.abc import Iterator
from dataclasses import replace

from hermes.delivery.last_values import LastValues
from hermes.delivery.messages import DeviceStatus
from hermes.ids import DeviceId, TenantId
from hermes.ingest.drops import DropCounter
from hermes.quotas.fair_queue import FairQueue, Item

BRIDGES_MAX = 10_000  # with the preset `homie`, each device may be one
DEVICES_MAX = 100_000  # as many as have a last value by default

DeviceKey = tuple[TenantId, DeviceId]


class _Bridge(Item):
    """A bridge and its devices.

    ``reported_after`` is the number of outages before its last report. ``is_updating`` is True while its devices follow
    a change.
    """

    __slots__ = ("devices", "is_updating", "online", "reported_after", "since_ms", "topic", "version")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.online: bool | None = None
        self.since_ms: int | None = None
        self.reported_after = 0
        self.version = 0  # incremented at each change
        self.is_updating = False
        self.devices: dict[DeviceKey, _Device] = {}


class _Device(Item):
    """A device behind a bridge.

    ``report`` is its last own presence, ``topic`` one of its topics.
    """

    __slots__ = ("bridge", "key", "report", "reported_after", "topic")

    def __init__(self, key: DeviceKey, bridge: _Bridge, topic: str) -> None:
        self.key = key
        self.bridge = bridge
        self.topic = topic
        self.report: DeviceStatus | None = None
        self.reported_after = 0


class Bridges:
    """The bridges and their devices, in bounded memory. Used on the event loop.

    Above the limits, devices and bridges are forgotten with fair shares of the tenants. ``last_values`` stores the
    presence that results.
    """

    def __init__(
        self,
        last_values: LastValues,
        *,
        drops: DropCounter,
        max_bridges: int = BRIDGES_MAX,
        max_devices: int = DEVICES_MAX,
    ) -> None:
        self._last_values = last_values
        self._drops = drops
        self._bridges: dict[str, _Bridge] = {}
        self._devices: dict[DeviceKey, _Device] = {}
        self._bridge_queue: FairQueue[_Bridge] = FairQueue(max_count=max_bridges)
        self._device_queue: FairQueue[_Device] = FairQueue(max_count=max_devices)

    # -- devices --------------------------------------------------------------------------------------------------

    def attach(self, key: DeviceKey, bridge_topic: str, *, topic: str) -> DeviceStatus | None:
        """Record the bridge of a device that has published on ``topic``.

        Return the device's presence if the bridge decides it.
        """
        device = self._devices.get(key)
        if device is not None and device.bridge.topic == bridge_topic:
            return None
        if device is None:
            report, reported_after = self._last_values.presence_of(*key), self._last_values.outages
        else:
            report, reported_after = device.report, device.reported_after
            self._detach(device)
        bridge = self._bridge(bridge_topic)
        if not bridge.devices:  # from now on it is an item of a tenant
            self._bridge_queue.remove(bridge)
            self._bridge_queue.append(bridge, tenant=key[0], device=bridge_topic, size=0)
        device = self._devices[key] = bridge.devices[key] = _Device(key, bridge, topic)
        device.report, device.reported_after = report, reported_after
        self._device_queue.append(device, tenant=key[0], device=key[1], size=0)
        while self._device_queue.exceeded():
            dropped, holder = self._device_queue.next_to_drop()
            self._detach(dropped)
            self._drops.drop_share("bridged_devices", holder)
        return self._presence(device) if bridge.online is False else None

    def report(self, status: DeviceStatus) -> DeviceStatus:
        """Record what a device reports of itself; return the presence that results."""
        device = self._devices.get((status.tenant_id, status.device_id))
        if device is None:
            return status
        device.report, device.reported_after = status, self._last_values.outages
        return self._presence(device)

    def forget_report(self, key: DeviceKey) -> bool:
        """Forget what a device reported of itself.

        Return whether its bridge decides its presence.
        """
        device = self._devices.get(key)
        if device is None:
            return False
        device.report = None
        return device.bridge.online is False

    def _presence(self, device: _Device) -> DeviceStatus:
        bridge, report = device.bridge, device.report
        if bridge.online is not False and report is not None and device.reported_after == self._last_values.outages:
            return report
        return DeviceStatus(*device.key, False if bridge.online is False else None, bridge.since_ms, device.topic)

    def _detach(self, device: _Device) -> None:
        del self._devices[device.key], device.bridge.devices[device.key]
        self._device_queue.remove(device)

    # -- bridges --------------------------------------------------------------------------------------------------

    def update(self, topic: str, online: bool | None, since_ms: int | None) -> Iterator[DeviceStatus | None] | None:
        """Record what a bridge reports.

        Return the presence of each device that changes; it is stored when the iterator yields it. Return None if
        nothing changes, or if an earlier iterator has not come to its end, which then yields this change too.
        """
        bridge = self._bridge(topic)
        is_known = bridge.online == online
        is_confirmed = bridge.reported_after == self._last_values.outages
        bridge.online, bridge.reported_after = online, self._last_values.outages
        if is_known and (is_confirmed or online is not False):
            return None
        if not is_known:
            bridge.since_ms = since_ms
        return self._changed(bridge)

    def _changed(self, bridge: _Bridge) -> Iterator[DeviceStatus | None] | None:
        bridge.version += 1
        if bridge.is_updating:
            return None
        bridge.is_updating = True
        return self._updated(bridge)

    def retained_sent(self) -> Iterator[DeviceStatus | None]:
        """Make those bridges unknown that have not reported since the last outage.

        Return what changes, as `update`.
        """
        return self._make_unknown(self._last_values.outages)

    def _make_unknown(self, outages: int) -> Iterator[DeviceStatus | None]:
        for bridge in list(self._bridges.values()):
            if bridge.online is not None and bridge.reported_after < outages:
                bridge.online = None
                yield from self._changed(bridge) or ()
            yield None

    def _updated(self, bridge: _Bridge) -> Iterator[DeviceStatus | None]:
        """Yield the presence of each device of the bridge that changes.

        Begin again if the bridge changes meanwhile.
        """
        version = None
        try:
            while version != bridge.version:
                version = bridge.version
                for device in list(bridge.devices.values()):
                    yield self._updated_presence(device)
                    if version != bridge.version:
                        break
        finally:
            bridge.is_updating = False

    def _updated_presence(self, device: _Device) -> DeviceStatus | None:
        if self._devices.get(device.key) is not device:
            return None
        if not self._last_values.has_device(*device.key):
            self._detach(device)
            return None
        return self._last_values.update_status(replace(self._presence(device), since_ms=device.bridge.since_ms))

    def _bridge(self, topic: str) -> _Bridge:
        bridge = self._bridges.get(topic)
        if bridge is None:
            bridge = self._bridges[topic] = _Bridge(topic)
            self._bridge_queue.append(bridge, tenant=None, device=topic, size=0)
            while self._bridge_queue.exceeded():
                dropped, holder = self._bridge_queue.next_to_drop()
                self._remove(dropped)
                self._drops.drop_share("bridges", holder)
        return bridge

    def _remove(self, bridge: _Bridge) -> None:
        for device in list(bridge.devices.values()):
            self._detach(device)
        self._bridge_queue.remove(bridge)
        del self._bridges[bridge.topic]
