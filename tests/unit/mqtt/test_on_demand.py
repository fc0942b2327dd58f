"""Which filters are subscribed to on demand, from which channels have sessions."""

import asyncio
from collections.abc import Callable
from typing import cast

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.ids import DeviceId, TenantId
from hermes.mqtt.on_demand import GATHER_S, OnDemandSubscriptions
from hermes.topics.topic_map import TopicMap

ACME = channels.tenant(TenantId("acme"))
GLOBEX = channels.tenant(TenantId("globex"))
D1 = channels.device(TenantId("acme"), DeviceId("d1"))
D1_ANYWHERE = channels.device_anywhere(DeviceId("d1"))
ACME_FILTER = "tenants/acme/devices/+/#"
GLOBEX_FILTER = "tenants/globex/devices/+/#"
D1_FILTER = "tenants/acme/devices/d1/#"
LINGER_S = 30.0


class ManualLoop:
    """The timers of an event loop, with a clock that the test advances."""

    def __init__(self) -> None:
        self._now_s = 1_000.0
        self._timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        """The test's clock."""
        return self._now_s

    def get_debug(self) -> bool:
        """Asked by `asyncio.TimerHandle`."""
        return False

    def call_at(self, when: float, callback: Callable[..., object]) -> asyncio.TimerHandle:
        """Add a timer."""
        timer = asyncio.TimerHandle(when, callback, (), cast(asyncio.AbstractEventLoop, self))
        self._timers.append(timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._timers.remove(handle)

    def advance(self, seconds: float) -> None:
        """Run the timers of this time, each at its own moment."""
        end_s = self._now_s + seconds
        while due := [timer for timer in self._timers if timer.when() <= end_s]:
            timer = min(due, key=asyncio.TimerHandle.when)
            self._timers.remove(timer)
            self._now_s = max(self._now_s, timer.when())
            timer._run()
        self._now_s = end_s


class OnDemand:
    """Subscriptions, and what they called."""

    def __init__(self, *templates: str) -> None:
        self.filters: list[set[str]] = []
        self.retained: list[Callable[[TenantId, DeviceId], bool]] = []
        self.loop = ManualLoop()
        self.subscriptions = OnDemandSubscriptions(
            topics=TopicMap(templates or ("hermes",)),
            set_filters=lambda filters: self.filters.append(set(filters)),
            retain_only=self.retained.append,
            linger_s=LINGER_S,
            loop=cast(asyncio.AbstractEventLoop, self.loop),
        )

    def watch(self, *watched: Channel) -> None:
        """These channels get their first session; the filters follow."""
        self.add(*watched)
        self.loop.advance(GATHER_S)

    def add(self, *watched: Channel) -> None:
        """These channels get their first session."""
        for channel in watched:
            self.subscriptions.watch(channel, True)

    def leave(self, *left: Channel) -> None:
        """These channels lose their last session."""
        for channel in left:
            self.subscriptions.watch(channel, False)


def test_a_watched_tenant_and_a_watched_device_are_subscribed_to() -> None:
    """Their topics and no others; channels of about the same time together."""
    demand = OnDemand()
    demand.add(ACME)
    demand.loop.advance(GATHER_S / 2)
    demand.add(channels.device(TenantId("globex"), DeviceId("d2")), channels.LINK)
    assert demand.filters == []
    demand.loop.advance(GATHER_S / 2)
    assert demand.filters == [{ACME_FILTER, "tenants/globex/devices/d2/#"}]


def test_an_unwatched_channel_stays_subscribed_for_the_linger_time() -> None:
    """Then its filter is removed, and its last values; those of others stay."""
    demand = OnDemand()
    demand.watch(ACME, GLOBEX)
    demand.leave(ACME)
    demand.loop.advance(LINGER_S - 0.001)
    assert demand.filters == [{ACME_FILTER, GLOBEX_FILTER}]
    demand.loop.advance(0.001)
    assert demand.filters[1:] == [{GLOBEX_FILTER}]
    (is_watched,) = demand.retained
    assert is_watched(TenantId("globex"), DeviceId("any"))
    assert not is_watched(TenantId("acme"), DeviceId("any"))


def test_each_channel_lingers_for_its_own_time() -> None:
    """One timer serves all."""
    demand = OnDemand()
    demand.watch(ACME, GLOBEX)
    demand.leave(ACME)
    demand.loop.advance(10)
    demand.leave(GLOBEX)
    demand.loop.advance(LINGER_S - 10)
    assert demand.filters[1:] == [{GLOBEX_FILTER}]
    demand.loop.advance(10)
    assert demand.filters[2:] == [set()]


def test_a_page_that_is_reloaded_changes_nothing() -> None:
    """Its channel is watched again while it lingers."""
    demand = OnDemand()
    demand.watch(ACME)
    demand.leave(ACME)
    demand.loop.advance(LINGER_S / 2)
    demand.watch(ACME)
    demand.loop.advance(2 * LINGER_S)
    assert demand.filters == [{ACME_FILTER}]
    assert demand.retained == []


def test_a_device_of_a_watched_tenant_has_no_filter_of_its_own() -> None:
    """The broker would send two copies. When the tenant is left, it gets one."""
    demand = OnDemand()
    demand.watch(D1)
    demand.watch(ACME)
    demand.leave(ACME)
    demand.loop.advance(LINGER_S)
    assert demand.filters == [{D1_FILTER}, {ACME_FILTER}, {D1_FILTER}]
    assert demand.retained[-1](TenantId("acme"), DeviceId("d1"))
    assert not demand.retained[-1](TenantId("acme"), DeviceId("d2"))


def test_a_superusers_device_in_every_tenant_needs_all_topics() -> None:
    """Until it is left."""
    demand = OnDemand()
    demand.watch(D1, ACME)
    demand.watch(D1_ANYWHERE)
    demand.leave(D1_ANYWHERE)
    demand.loop.advance(LINGER_S)
    assert demand.filters == [{ACME_FILTER}, {"tenants/+/devices/+/#"}, {ACME_FILTER}]


def test_all_tenants_need_all_topics() -> None:
    """Until they are left; then only the devices of others are removed."""
    demand = OnDemand()
    demand.watch(D1)
    demand.watch(channels.TENANTS)
    demand.leave(channels.TENANTS)
    demand.loop.advance(LINGER_S)
    assert demand.filters == [{D1_FILTER}, {"tenants/+/devices/+/#"}, {D1_FILTER}]
    (is_watched,) = demand.retained
    assert is_watched(TenantId("acme"), DeviceId("d1"))
    assert not is_watched(TenantId("globex"), DeviceId("d1"))


def test_while_all_tenants_are_watched_no_device_is_removed() -> None:
    """Also not the devices of a tenant that is left."""
    demand = OnDemand()
    demand.watch(channels.TENANTS, ACME)
    demand.leave(ACME)
    demand.loop.advance(LINGER_S)
    (is_watched,) = demand.retained
    assert is_watched(TenantId("acme"), DeviceId("any"))


def test_a_tenant_that_only_payloads_name_needs_the_whole_template() -> None:
    """A device then has no filter of its own, because it is part of that."""
    demand = OnDemand("gw/{device_id}/{series};tenant_id=/t")
    demand.watch(channels.device(TenantId("globex"), DeviceId("d2")))
    demand.watch(ACME)
    assert demand.filters == [{"gw/d2/+"}, {"gw/+/+"}]


def test_a_tenant_that_no_topic_can_hold_is_not_subscribed_to() -> None:
    """Its id has characters that a topic level cannot have."""
    demand = OnDemand()
    demand.watch(channels.tenant(TenantId("a/+")), ACME)
    assert demand.filters == [{ACME_FILTER}]


def test_the_bridges_of_watched_devices_are_subscribed_to() -> None:
    """By their own topic; not if that would bring messages twice."""
    demand = OnDemand("zigbee2mqtt;tenant_id=acme")
    demand.watch(D1)
    assert demand.filters == [{"zigbee2mqtt/d1", "zigbee2mqtt/d1/availability", "zigbee2mqtt/bridge/state"}]
    demand = OnDemand("homie;tenant_id=acme")
    demand.watch(D1)
    assert demand.filters == [{"homie/5/d1/#", "homie/d1/#"}]
    demand = OnDemand("zigbee2mqtt;tenant_id=other")
    demand.watch(D1)
    assert demand.filters == []


def test_after_its_stop_nothing_is_called() -> None:
    """The timer is cancelled; a second stop does no harm."""
    demand = OnDemand()
    demand.add(ACME)
    demand.subscriptions.stop()
    demand.subscriptions.stop()
    demand.loop.advance(LINGER_S)
    assert demand.filters == []
