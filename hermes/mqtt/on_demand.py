"""The devices' door: which topics somebody watches just now, so that no others are subscribed to.

The hub tells when a channel gets its first session and when it loses its last. A tenant's sockets ask for the tenant's
topics, a device's for the device's, unless its tenant is watched anyway; a superuser who asks for an id in every tenant
asks for everything. What nobody watches any more lingers a while, because pages are reloaded; then it is taken back,
and its last values are forgotten, since nobody tells any more what becomes of them.

One timer for all: it waits for the next channel whose time is over, or a moment for others that open in the same storm.
"""

import asyncio
from collections.abc import Callable

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.ids import DeviceId, TenantId
from hermes.topics import filters as topic_filters
from hermes.topics.topic_map import TopicMap

GATHER_S = 0.02  # sockets that open within this time are asked for together


class OnDemandSubscriptions:
    """``want`` gets all filters to be subscribed to, whenever that changes. ``keep`` is told, when some are taken back,
    which devices are still watched, so that the others' last values are forgotten. ``linger_s`` is for how long a
    channel without sessions is still subscribed to. Used on the event loop.
    """

    def __init__(
        self,
        *,
        topics: TopicMap,
        want: Callable[[frozenset[str]], None],
        keep: Callable[[Callable[[TenantId, DeviceId], bool]], None],
        linger_s: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._topics = topics
        self._want = want
        self._keep = keep
        self._linger_s = linger_s
        self._loop = loop
        self._filters: dict[Channel, tuple[str, ...]] = {}  # of what is watched, or lingers
        self._lingering: dict[Channel, float] = {}  # until when; the first to end comes first
        self._wanted: frozenset[str] = frozenset()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, channel: Channel, watched: bool) -> None:
        """The channel got its first session, or lost its last."""
        if channel[0] not in ("tenant", "device"):
            return
        if not watched:
            self._lingering[channel] = self._loop.time() + self._linger_s
            self._wake_in(self._linger_s)
            return
        self._lingering.pop(channel, None)
        if channel not in self._filters:
            self._filters[channel] = self._filters_of(channel)
            self._wake_in(GATHER_S)

    def stop(self) -> None:
        """Let the timer go."""
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
        """Of Sparkplug always the tenant's: a device's data is not to be understood without its edge node's birth."""
        found: list[str] = []
        for template in self._topics.templates:
            found += template.filters_for(tenant_id, None if template.payload == "sparkplug" else device_id)
        return topic_filters.uncovered(found)

    def _wake_in(self, delay_s: float) -> None:
        due_s = self._loop.time() + delay_s
        if self._timer is None or self._timer.when() > due_s:
            self.stop()
            self._timer = self._loop.call_at(due_s, self._update)

    def _update(self) -> None:
        """Take back what lingered long enough, and say what is wanted if that has changed."""
        self._timer = None
        now_s = self._loop.time()
        ended = [channel for channel, until_s in self._lingering.items() if until_s <= now_s]
        for channel in ended:
            del self._lingering[channel]
            del self._filters[channel]
        wanted = self._all_filters()
        if wanted != self._wanted:
            self._wanted = wanted
            self._want(wanted)
        if ended:
            self._keep(self._is_watched)
        if self._lingering:
            self._wake_in(next(iter(self._lingering.values())) - now_s)

    def _all_filters(self) -> frozenset[str]:
        """Without those that another covers: the broker would send two copies."""
        if any(self._is_anywhere(channel) for channel in self._filters):
            return frozenset(self._topics.filters)
        named = {text for channel, filters in self._filters.items() if not self._is_part(channel) for text in filters}
        whole = [text for text in self._topics.filters if text in named]  # of templates whose payloads name the tenant
        return frozenset(text for text in named if not any(_covered(text, other) for other in whole))

    def _is_part(self, channel: Channel) -> bool:
        return channels.whole(channel) in self._filters

    def _is_anywhere(self, channel: Channel) -> bool:
        return channel[0] == "device" and len(channel) == 2

    def _is_watched(self, tenant_id: TenantId, device_id: DeviceId) -> bool:
        device = channels.device(tenant_id, device_id), channels.device_anywhere(device_id)
        return channels.tenant(tenant_id) in self._filters or any(channel in self._filters for channel in device)


def _covered(text: str, other: str) -> bool:
    return text != other and topic_filters.covers(other, text)
