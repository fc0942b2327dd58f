"""On-demand subscriptions: subscribe only to the topics that sockets watch.

A socket watches tenants and devices.

One class, `OnDemandSubscriptions`, stands between the hub and the MQTT client. `hermes.mqtt.feed` connects them:

- one of `Hub.on_watch`: the hub calls `watch` when a channel gets its first session, and when it loses its last one.
- ``set_filters`` is `MqttClient.set_filters`: it gets the whole set of filters to subscribe to, each time it changes.
  The client subscribes to what is new, unsubscribes from what is gone, and subscribes again after each reconnect.
- ``retain_only`` is `LastValues.retain_only`: it removes the last values of devices that are no longer subscribed to,
  because nothing would update them.

A tenant's channel needs the tenant's topics. A device's channel needs the device's, unless its tenant is watched too. A
superuser's channel of every tenant, or of one device id in every tenant, needs all topics. A channel that lost its last
session stays subscribed for ``linger_s``, because pages are reloaded.

One timer serves all channels: it waits for the next channel whose time is over, or for `GATHER_S` after a channel was
added, so that sockets that open at the same time cause one change of the filters.
"""

import asyncio
from collections.abc import Callable

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.ids import DeviceId, TenantId
from hermes.topics import filters as topic_filters
from hermes.topics.template import TENANT, Template
from hermes.topics.topic_map import TopicMap

GATHER_S = 0.02  # channels that are added within this time change the filters once


class OnDemandSubscriptions:
    """Keep the subscribed filters equal to what is watched. Used on the event loop.

    Calls ``set_filters`` with all filters when they change. When some were removed, it then calls ``retain_only`` with
    a function that returns whether a device is still watched.
    """

    def __init__(
        self,
        *,
        topics: TopicMap,
        set_filters: Callable[[frozenset[str]], None],
        retain_only: Callable[[Callable[[TenantId, DeviceId], bool]], None],
        linger_s: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._topics = topics
        self._set_filters = set_filters
        self._retain_only = retain_only
        self._linger_s = linger_s
        self._loop = loop
        self._channels: dict[Channel, tuple[str, ...]] = {}  # watched or lingering → the filters it needs
        self._lingering: dict[Channel, float] = {}  # until when, by the loop's clock; the first to end comes first
        self._filters: frozenset[str] = frozenset()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, channel: Channel, watched: bool) -> None:
        """Record that the channel has its first session, or lost its last one.

        ``watched`` is True for the first session and False after the last one.
        """
        if channel[0] not in ("tenant", "device", "tenants"):
            return
        if not watched:
            if channel not in self._channels:
                return
            self._lingering[channel] = self._loop.time() + self._linger_s
            self._update_in(self._linger_s)
            return
        self._lingering.pop(channel, None)
        if channel not in self._channels:
            self._channels[channel] = self._filters_of(channel)
            self._update_in(GATHER_S)

    def stop(self) -> None:
        """Cancel the timer: neither function is called any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _filters_of(self, channel: Channel) -> tuple[str, ...]:
        match channel:
            case ("tenant", tenant_id):
                return self._filled(TenantId(tenant_id), None)
            case ("device", tenant_id, device_id):
                return self._filled(TenantId(tenant_id), DeviceId(device_id))
        return self._topics.filters

    def _filled(self, tenant_id: TenantId, device_id: DeviceId | None) -> tuple[str, ...]:
        """Return the templates' filters for this tenant or device.

        For Sparkplug always the tenant's: a device's data cannot be read without the birth of its edge node.
        """
        found: list[str] = []
        for template in self._topics.templates:
            found += template.filters_for(tenant_id, None if template.payload == "sparkplug" else device_id)
            found += self._bridge_filters(template, tenant_id)
        return topic_filters.uncovered(found)

    def _bridge_filters(self, template: Template, tenant_id: TenantId) -> list[str]:
        """Return the filter for the bridges of the template's devices.

        None if messages would arrive twice, as with the preset ``homie``, in which any device may be a bridge.
        """
        if template.bridge is None or template.constants.get(TENANT, tenant_id) != tenant_id:
            return []
        text = template.bridge.filter({TENANT: tenant_id})
        others = (each for other in self._topics.templates for each in other.filters)
        return [] if "+" in text and any(topic_filters.overlap(text, each) for each in others) else [text]

    def _update_in(self, delay_s: float) -> None:
        due_s = self._loop.time() + delay_s
        if self._timer is None or self._timer.when() > due_s:
            self.stop()
            self._timer = self._loop.call_at(due_s, self._update)

    def _update(self) -> None:
        """Remove channels that lingered long enough.

        Report the filters if they changed.
        """
        self._timer = None
        now_s = self._loop.time()
        ended = [channel for channel, until_s in self._lingering.items() if until_s <= now_s]
        for channel in ended:
            del self._lingering[channel]
            del self._channels[channel]
        filters = self._all_filters()
        if filters != self._filters:
            self._filters = filters
            self._set_filters(filters)
        if ended:
            self._retain_only(self._is_watched)
        if self._lingering:
            self._update_in(next(iter(self._lingering.values())) - now_s)

    def _all_filters(self) -> frozenset[str]:
        """Return the filters of all channels.

        A filter that another one covers is left out, because copies of its messages would arrive.
        """
        if any(_needs_all_topics(channel) for channel in self._channels):
            return frozenset(self._topics.filters)
        found = {text for channel, filters in self._channels.items() if not self._is_part(channel) for text in filters}
        whole = [text for text in self._topics.filters if text in found]  # of templates with the tenant in the payload
        return frozenset(text for text in found if not any(_is_covered(text, other) for other in whole))

    def _is_part(self, channel: Channel) -> bool:
        return channels.whole(channel) in self._channels

    def _is_watched(self, tenant_id: TenantId, device_id: DeviceId) -> bool:
        watching = (
            channels.tenant(tenant_id),
            channels.device(tenant_id, device_id),
            channels.device_anywhere(device_id),
            channels.TENANTS,
        )
        return any(channel in self._channels for channel in watching)


def _needs_all_topics(channel: Channel) -> bool:
    return channel == channels.TENANTS or (channel[0] == "device" and len(channel) == 2)


def _is_covered(text: str, other: str) -> bool:
    return text != other and topic_filters.covers(other, text)
