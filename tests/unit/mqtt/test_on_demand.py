"""Which topics are wanted, from which channels have sessions."""

import asyncio
from collections.abc import Callable

import pytest

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.ids import DeviceId, TenantId
from hermes.mqtt.on_demand import OnDemandSubscriptions
from hermes.topics.topic_map import TopicMap
from tests.support.gateways import eventually

ACME = channels.tenant(TenantId("acme"))
D1 = channels.device(TenantId("acme"), DeviceId("d1"))
D1_ANYWHERE = channels.device_anywhere(DeviceId("d1"))
ACME_FILTER = "tenants/acme/devices/+/#"
D1_FILTER = "tenants/acme/devices/d1/#"
LINGER_S = 0.1

pytestmark = pytest.mark.usefixtures("io_loop")  # which closes its loop


class Wants:
    """A demand, and what it asked for."""

    def __init__(self, *templates: str, linger_s: float = LINGER_S) -> None:
        self.asked: list[set[str]] = []
        self.kept: list[Callable[[TenantId, DeviceId], bool]] = []
        self.loop = asyncio.get_running_loop()
        self.demand = OnDemandSubscriptions(
            topics=TopicMap(templates or ("hermes",)),
            want=lambda filters: self.asked.append(set(filters)),
            keep=self.kept.append,
            linger_s=linger_s,
            loop=self.loop,
        )

    def watch(self, *watched: Channel) -> None:
        """These get their first session."""
        for channel in watched:
            self.demand.watch(channel, True)

    def leave(self, *left: Channel) -> None:
        """These lose their last."""
        for channel in left:
            self.demand.watch(channel, False)

    async def wants(self, *filters: str) -> None:
        """It comes to want exactly these."""
        await eventually(lambda: self.asked and self.asked[-1] == set(filters))


@pytest.mark.gen_test
async def test_a_watched_tenant_and_a_watched_device_are_asked_for() -> None:
    """Their topics and no others; sockets of one storm together."""
    wants = Wants()
    wants.watch(ACME, channels.device(TenantId("globex"), DeviceId("d2")), channels.LINK)
    await wants.wants(ACME_FILTER, "tenants/globex/devices/d2/#")
    assert len(wants.asked) == 1


@pytest.mark.gen_test
async def test_what_nobody_watches_lingers_and_is_then_taken_back() -> None:
    """Its last values are forgotten, those of others are not."""
    wants = Wants()
    globex = channels.tenant(TenantId("globex"))
    wants.watch(ACME, globex)
    await wants.wants(ACME_FILTER, "tenants/globex/devices/+/#")
    left_s = wants.loop.time()
    wants.leave(ACME)
    await wants.wants("tenants/globex/devices/+/#")
    assert wants.loop.time() - left_s >= LINGER_S
    (is_watched,) = wants.kept
    assert is_watched(TenantId("globex"), DeviceId("any"))
    assert not is_watched(TenantId("acme"), DeviceId("any"))


@pytest.mark.gen_test
async def test_a_reloaded_page_changes_nothing() -> None:
    """It comes back while its channel lingers."""
    wants = Wants()
    wants.watch(ACME)
    await wants.wants(ACME_FILTER)
    wants.leave(ACME)
    wants.watch(ACME)
    wants.watch(channels.tenant(TenantId("other")))
    wants.leave(channels.tenant(TenantId("other")))
    await wants.wants(ACME_FILTER, "tenants/other/devices/+/#")
    await wants.wants(ACME_FILTER)
    assert len(wants.asked) == 3


@pytest.mark.gen_test
async def test_a_device_of_a_watched_tenant_is_not_asked_for_by_itself() -> None:
    """The broker would send two copies. When the tenant is left, it is."""
    wants = Wants()
    wants.watch(D1)
    await wants.wants(D1_FILTER)
    wants.watch(ACME)
    await wants.wants(ACME_FILTER)
    wants.leave(ACME)
    await wants.wants(D1_FILTER)
    assert wants.kept[-1](TenantId("acme"), DeviceId("d1"))
    assert not wants.kept[-1](TenantId("acme"), DeviceId("d2"))


@pytest.mark.gen_test
async def test_a_superusers_device_in_every_tenant_asks_for_everything() -> None:
    """Until it is left."""
    wants = Wants()
    wants.watch(D1, ACME)
    await wants.wants(ACME_FILTER)
    wants.watch(D1_ANYWHERE)
    await wants.wants("tenants/+/devices/+/#")
    wants.leave(D1_ANYWHERE)
    await wants.wants(ACME_FILTER)


@pytest.mark.gen_test
async def test_a_tenant_that_only_payloads_name_is_asked_for_as_a_whole() -> None:
    """And a device of another tenant then not by itself, for it is part of that."""
    wants = Wants("gw/{device_id}/{series};tenant_id=/t")
    wants.watch(channels.device(TenantId("globex"), DeviceId("d2")))
    await wants.wants("gw/d2/+")
    wants.watch(ACME)
    await wants.wants("gw/+/+")


@pytest.mark.gen_test
async def test_a_tenant_that_no_template_can_hold_is_not_asked_for() -> None:
    """Its id cannot stand in a topic."""
    wants = Wants()
    wants.watch(channels.tenant(TenantId("a/+")), ACME)
    await wants.wants(ACME_FILTER)


@pytest.mark.gen_test
async def test_stopping_ends_its_timer() -> None:
    """Nothing is asked for after it."""
    wants = Wants()
    wants.watch(ACME)
    wants.demand.stop()
    await asyncio.sleep(0.05)  # longer than it gathers
    assert wants.asked == []
