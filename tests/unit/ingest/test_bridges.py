"""Devices behind bridges: what the state of a bridge does to their presence."""

import itertools
from collections.abc import Sequence

import pytest

from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus
from hermes.ids import DeviceId, TenantId
from hermes.ingest.bridges import Bridges
from hermes.ingest.drops import DropCounter
from hermes.ingest.ingest import InboundMessage
from hermes.metrics import Metrics
from hermes.topics.topic_map import TopicMap
from tests.support.growth import LINEAR_MAX, growth
from tests.support.ingests import make_ingest

OMG = "home/{gateway}/BTtoMQTT/{device_id};tenant_id=home;bridge=home/{gateway}/LWT"


class House:
    """An ingest, what it publishes, and the presence of each device as a new socket gets it."""

    def __init__(self, *templates: str) -> None:
        metrics = Metrics()
        self.last_values = LastValues(limits=LastValuesLimits(), metrics=metrics)
        self.values: list[DeviceMessage] = []
        self.changes: list[tuple[str, bool | None]] = []
        self.times = itertools.count(1_000)
        self.ingest = make_ingest(
            TopicMap(templates or ("zigbee2mqtt",)),
            metrics=metrics,
            publish=self.values.append,
            publish_status=self._record,
            last_values=self.last_values,
        )
        self.metrics = metrics

    def _record(self, status: DeviceStatus | LinkStatus) -> None:
        assert isinstance(status, DeviceStatus)
        self.changes.append((status.device_id, status.online))

    def receive(self, topic: str, payload: str, *, retained: bool = False) -> list[tuple[str, bool | None]]:
        """Handle a message; return the changes of presence."""
        del self.changes[:]
        self.ingest.handle(InboundMessage(topic, payload.encode(), retained, (), next(self.times)))
        self.settle()
        return list(self.changes)

    def settle(self) -> None:
        """Publish what is left to publish."""
        while self.ingest.has_work:
            if self.ingest.unfinished is not None:
                self.ingest.continue_message()
            self.ingest.continue_background()

    def presence(self, tenant: str = "default") -> dict[str, bool | None]:
        """Return the presence of each device."""
        from hermes.delivery import channels

        values = self.last_values.for_channels([channels.tenant(TenantId(tenant))])
        return {
            each.message.device_id: each.message.online for each in values if isinstance(each.message, DeviceStatus)
        }


STATE, LAMP = "zigbee2mqtt/bridge/state", "zigbee2mqtt/hall/lamp"


def test_a_bridge_that_is_offline_makes_its_devices_offline() -> None:
    """Those that reported to be online, and those that report nothing; devices of other templates stay."""
    house = House("zigbee2mqtt", "hermes")
    house.receive(STATE, '{"state":"online"}', retained=True)
    house.receive(f"{LAMP}/availability", '{"state":"online"}')
    house.receive("zigbee2mqtt/plug", '{"state":"ON"}')
    house.receive("tenants/default/devices/d1/online", "true")
    assert house.presence() == {"hall/lamp": True, "d1": True}
    assert sorted(house.receive(STATE, '{"state":"offline"}')) == [("hall/lamp", False), ("plug", False)]
    assert house.presence() == {"hall/lamp": False, "plug": False, "d1": True}
    assert house.receive(STATE, '{"state":"offline"}') == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_retained_messages_does_not_matter(order: Sequence[int]) -> None:
    """The broker sends them in any order after a subscription."""
    house = House()
    messages = [(STATE, "offline"), (f"{LAMP}/availability", "online"), (LAMP, "{}")]
    for index in order:
        house.receive(*messages[index], retained=True)
    assert house.presence() == {"hall/lamp": False}


def test_when_the_bridge_is_back_the_last_report_of_each_device_counts_again() -> None:
    """Also one that came while the bridge was offline; without a report the presence is unknown."""
    house = House()
    house.receive(f"{LAMP}/availability", "online")
    house.receive("zigbee2mqtt/door/availability", "online")
    house.receive("zigbee2mqtt/plug", "{}")
    house.receive(STATE, "offline")
    assert house.receive("zigbee2mqtt/door/availability", "offline") == []
    assert house.receive(f"{LAMP}/availability", "online") == []
    assert sorted(house.receive(STATE, "online")) == [("hall/lamp", True), ("plug", None)]
    assert house.presence() == {"hall/lamp": True, "door": False, "plug": None}
    assert house.receive("zigbee2mqtt/plug/availability", "online") == [("plug", True)]


def test_a_device_that_appears_behind_a_bridge_that_is_offline_is_offline() -> None:
    """Its value may be a retained one."""
    house = House()
    house.receive(STATE, "offline")
    assert house.receive(LAMP, "{}", retained=True) == [("hall/lamp", False)]


def test_the_state_of_a_bridge_is_no_data_and_no_drop() -> None:
    """Other topics of the bridge are ignored as before; a state that means nothing changes nothing."""
    house = House()
    house.receive(f"{LAMP}/availability", "online")
    for payload in ("offline", "maybe", "[]", "x" * 70_000):
        house.receive(STATE, payload)
    house.receive("zigbee2mqtt/bridge/info", "{}")
    sample = house.metrics.registry.get_sample_value
    assert sample("hermes_mqtt_dropped_total", {"reason": "excluded"}) == 1
    assert {value.device_id for value in house.values} == {"hall/lamp"}
    assert house.presence() == {"hall/lamp": False}
    assert house.receive(STATE, "") == [("hall/lamp", True)], "an empty payload deletes the state"


def test_a_cleared_report_stays_offline_with_its_bridge() -> None:
    """And is unknown when the bridge is back."""
    house = House()
    house.receive(f"{LAMP}/availability", "online")
    house.receive(STATE, "offline")
    assert house.receive(f"{LAMP}/availability", "") == []
    assert house.presence() == {"hall/lamp": False}
    assert house.receive(STATE, "online") == [("hall/lamp", None)]


def test_a_template_names_the_bridge_by_fields_of_its_topic() -> None:
    """Each gateway covers its own devices; a device may move to another one."""
    house = House(OMG)
    for gateway, device in (("g1", "a"), ("g1", "b"), ("g2", "c")):
        house.receive(f"home/{gateway}/BTtoMQTT/{device}", "{}")
    assert sorted(house.receive("home/g1/LWT", "offline")) == [("a", False), ("b", False)]
    house.receive("home/g2/LWT", "online")
    assert house.receive("home/g2/BTtoMQTT/a", "{}") == []
    assert sorted(house.receive("home/g1/LWT", "online")) == [("b", None)]
    assert sorted(house.receive("home/g2/LWT", "offline")) == [("c", False)]


def test_a_child_device_of_homie_names_its_root_device_in_its_description() -> None:
    """Only the root has a connection: when it is lost, so are its children."""
    house = House("homie")
    house.receive("homie/5/child/$state", "ready")
    house.receive("homie/5/root/$state", "ready")
    house.receive("homie/5/other/$state", "ready")
    house.receive("homie/5/child/$description", '{"homie":"5.0","root":"root","version":7}')
    house.receive("homie/5/child/node/power", "12")
    assert sorted(house.receive("homie/5/root/$state", "lost")) == [("child", False), ("root", False)]
    assert house.presence() == {"child": False, "root": False, "other": True}
    assert sorted(house.receive("homie/5/root/$state", "init")) == [("child", True), ("root", True)]


@pytest.mark.parametrize("root", ['"a/b"', '"+"', '"#"', '""', "7", "null", '"%s"' % ("x" * 2_000), "{}"])
def test_a_name_of_a_bridge_that_is_no_topic_level_is_ignored(root: str) -> None:
    """It comes from the device."""
    house = House("homie")
    house.receive("homie/5/child/$description", f'{{"root":{root}}}')
    house.receive("homie/5/child/$state", "ready")
    assert house.presence() == {"child": True}


# -- outages of the link --------------------------------------------------------------------------------------------


def test_a_bridge_that_is_offline_after_an_outage_confirms_its_devices() -> None:
    """Its retained state comes again; nothing about them is published."""
    house = House()
    house.receive(f"{LAMP}/availability", "online", retained=True)
    house.receive(STATE, "offline", retained=True)
    house.ingest.link_lost()
    assert house.receive(STATE, "offline", retained=True) == []
    house.ingest.retained_sent()
    house.settle()
    assert house.presence() == {"hall/lamp": False}


def test_a_report_from_before_an_outage_does_not_count_when_the_bridge_is_back() -> None:
    """Unless the broker sends it again."""
    house = House()
    for device in ("lamp", "door"):
        house.receive(f"zigbee2mqtt/{device}/availability", "online", retained=True)
    house.receive(STATE, "offline", retained=True)
    house.ingest.link_lost()
    house.receive(STATE, "offline", retained=True)
    house.receive("zigbee2mqtt/door/availability", "online", retained=True)
    assert sorted(house.receive(STATE, "online")) == [("door", True), ("lamp", None)]


def test_a_bridge_whose_state_is_gone_after_an_outage_decides_nothing_any_more() -> None:
    """What its devices report counts."""
    house = House()
    house.receive(f"{LAMP}/availability", "online", retained=True)
    house.receive("zigbee2mqtt/plug", "{}")
    house.receive(STATE, "offline", retained=True)
    house.ingest.link_lost()
    house.receive(f"{LAMP}/availability", "online", retained=True)
    del house.changes[:]
    house.ingest.retained_sent()
    house.settle()
    assert house.presence() == {"hall/lamp": True, "plug": None}


# -- bounds ---------------------------------------------------------------------------------------------------------


def attached(bridges: Bridges, last_values: LastValues, tenant: str, device: str, topic: str) -> None:
    """Store a value of a device behind this bridge."""
    ids = TenantId(tenant), DeviceId(device)
    last_values.update(DeviceMessage(*ids, "s", f"{tenant}/{device}", b"1", 1))
    bridges.attach(ids, topic, topic=f"{tenant}/{device}")


def offline(bridges: Bridges, topic: str) -> list[str]:
    """Return the devices that are offline when this bridge is."""
    return [status.device_id for status in bridges.update(topic, False, 1) or () if status is not None]


@pytest.mark.parametrize(
    ("tenant", "bridge", "store"),
    [("acme", "gw/acme", "bridged_devices"), ("acme", "gw/acme/{}", "bridges"), ("", "gw/unused/{}", "bridges")],
)
def test_a_flood_of_devices_or_bridges_of_one_tenant_costs_another_nothing(
    tenant: str, bridge: str, store: str
) -> None:
    """Above the limits the tenant with the most loses its oldest; it is counted."""
    metrics = Metrics()
    last_values = LastValues(limits=LastValuesLimits(), metrics=metrics)
    bridges = Bridges(last_values, drops=DropCounter(metrics), max_bridges=10, max_devices=20)
    attached(bridges, last_values, "globex", "quiet", "gw/globex")
    for number in range(100):
        if tenant:
            attached(bridges, last_values, tenant, f"d{number}", bridge.format(number))
        else:
            offline(bridges, bridge.format(number))
    assert len(bridges._bridges) <= 10
    assert len(bridges._devices) <= 20
    assert offline(bridges, "gw/globex") == ["quiet"]
    samples = [sample for family in metrics.registry.collect() for sample in family.samples if sample.value]
    stores = {sample.labels["store"] for sample in samples if sample.name == "hermes_share_dropped_total"}
    assert stores == {store}


def test_a_device_without_a_value_is_forgotten() -> None:
    """It may have been removed from the site."""
    house = House()
    house.receive(LAMP, "{}")
    house.receive(LAMP, "")
    assert house.receive(STATE, "offline") == []
    assert house.presence() == {}


def test_a_bridge_with_many_devices_takes_linear_time_and_is_handled_in_parts() -> None:
    """Between the parts, messages are delivered; the last state of the bridge decides."""
    last_values = LastValues(limits=LastValuesLimits(), metrics=Metrics())

    def change(count: int) -> None:
        bridges = Bridges(last_values, drops=DropCounter(Metrics()))
        for number in range(count):
            attached(bridges, last_values, "acme", f"d{number}", "gw")
        assert len(offline(bridges, "gw")) == count
        for number in range(count):
            last_values.remove_status(TenantId("acme"), DeviceId(f"d{number}"))

    assert growth(change, 250) < LINEAR_MAX
    bridges = Bridges(last_values, drops=DropCounter(Metrics()))
    for number in range(100):
        attached(bridges, last_values, "acme", f"d{number}", "gw")
    updates = bridges.update("gw", False, 1)
    assert updates is not None
    first = next(updates)
    assert first is not None
    assert first.online is False
    assert bridges.update("gw", True, 2) is None
    assert [status.online for status in updates if status is not None] == [None]
    assert bridges.update("gw", True, 3) is None


def test_a_flood_of_reports_of_one_bridge_leaves_nothing_behind() -> None:
    """Each report that changes nothing ends at once; changes are joined."""
    house = House()
    for number in range(100):
        house.receive(f"zigbee2mqtt/d{number}", "{}")
    for number in range(1_000):
        state = ("online", "offline")[number % 2]
        house.ingest.handle(InboundMessage(STATE, state.encode(), False, (), number))
        house.ingest.handle(InboundMessage(STATE, state.encode(), False, (), number))
    assert len(house.ingest._background) <= 1
    house.settle()
    assert set(house.presence().values()) == {False}
