"""Sparkplug B: definitions, aliases, presence, and requests for what was missed."""

import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.delivery.messages import DeviceMessage, DeviceStatus
from hermes.errors import PayloadError
from hermes.ids import DeviceId, TenantId
from hermes.ingest.sparkplug.reader import SILENT_S
from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload
from tests.support.edge_nodes import NOW_MS, Reader, bd_seq, message, metric
from tests.support.paths import SAMPLES

RECORDED = SAMPLES / "sparkplug_b.jsonl"

NBIRTH, NDATA, NDEATH, NCMD = (f"spBv1.0/plant/{kind}/edge1" for kind in ("NBIRTH", "NDATA", "NDEATH", "NCMD"))
DBIRTH, DDATA, DDEATH = (f"spBv1.0/plant/{kind}/edge1/pump" for kind in ("DBIRTH", "DDATA", "DDEATH"))
FAN_BIRTH = "spBv1.0/plant/DBIRTH/edge1/fan"

NODE_BIRTH = message(bd_seq(7), metric("uptime", "Int64", alias=1, long_value=5), seq=0)
PUMP_BIRTH = message(metric("speed", "Int16", alias=2, int_value=1_450), seq=1)


@pytest.fixture
def reader() -> Reader:
    """Return a reader without any edge node."""
    return Reader()


@pytest.fixture
def born(reader: Reader) -> Reader:
    """Return a reader that has read the births of an edge node and its pump."""
    reader.read(NBIRTH, NODE_BIRTH)
    reader.read(DBIRTH, PUMP_BIRTH)
    assert reader.asked == []
    return reader


# -- data -------------------------------------------------------------------------------------------------------------


def test_each_metric_becomes_a_message_of_its_own(born: Reader) -> None:
    """Its name is the series; the message has the time of Hermes, the data the time of the device."""
    assert born.read(DDATA, message(metric("speed", "Int16", int_value=7, timestamp=1_234), seq=2)) == [
        DeviceMessage(
            tenant_id="acme",  # type: ignore[arg-type]
            device_id="edge1/pump",  # type: ignore[arg-type]
            series="speed",
            topic=DDATA,
            data=b'{"value":7,"type":"Int16","timestamp":1234}',
            timestamp_ms=NOW_MS,
        )
    ]


def test_aliases_and_types_come_from_the_birth(born: Reader) -> None:
    """Data may contain only a number and a value."""
    assert born.values(DDATA, message(metric(alias=2, int_value=2**32 - 3), seq=2)) == {"speed": -3}
    assert born.values(NDATA, message(metric(alias=1, long_value=6), seq=3)) == {"uptime": 6}
    assert born.values(NDATA, message(metric("uptime", long_value=2**64 - 6), seq=4)) == {"uptime": -6}
    assert born.asked == []


def test_an_alias_belongs_to_its_publisher(born: Reader) -> None:
    """Alias 1 of the node is not alias 1 of the pump."""
    assert born.values(DDATA, message(metric(alias=1, int_value=3), seq=2)) == {}
    assert born.asked == [NCMD]


def test_a_metric_without_a_time_has_the_time_of_its_payload(born: Reader) -> None:
    """Without both, the data does not contain a time."""
    (value,) = born.read(DDATA, message(metric(alias=2, int_value=1), seq=2, timestamp=99))
    assert isinstance(value, DeviceMessage)
    assert json.loads(value.data)["timestamp"] == 99
    (value,) = born.read(DDATA, message(metric(alias=2, int_value=1), seq=3, timestamp=None))
    assert isinstance(value, DeviceMessage)
    assert "timestamp" not in json.loads(value.data)


def test_a_historical_metric_is_marked(born: Reader) -> None:
    """It does not become the last value."""
    late, now = born.read(
        DDATA, message(metric(alias=2, int_value=1, is_historical=True), metric(alias=2, int_value=2), seq=2)
    )
    assert isinstance(late, DeviceMessage)
    assert isinstance(now, DeviceMessage)
    assert (late.historical, now.historical) == (True, False)


def test_session_numbers_and_commands_are_not_data(reader: Reader) -> None:
    """A command is false in every birth; other settings of a node are values."""
    birth = message(
        bd_seq(1),
        metric("Node Control/Rebirth", "Boolean", boolean_value=False),
        metric("Node Control/Scan Rate", "Int64", long_value=1_000),
        seq=0,
    )
    assert reader.values(NBIRTH, birth) == {"Node Control/Scan Rate": 1_000}


def test_an_alias_of_two_metrics_is_withheld(reader: Reader) -> None:
    """It is ambiguous, and the same birth again would not help."""
    reader.read(
        NBIRTH, message(metric("a", "Int8", alias=1, int_value=1), metric("b", "Int8", alias=1, int_value=2), seq=0)
    )
    assert reader.values(NDATA, message(metric(alias=1, int_value=3), metric("b", int_value=4), seq=1)) == {"b": 4}
    assert reader.count("withheld_total") == 1
    assert reader.asked == []


def test_a_new_birth_removes_the_earlier_aliases(born: Reader) -> None:
    """Those of the node and of its devices."""
    born.read(NBIRTH, message(bd_seq(7), metric("voltage", "Float", alias=2, float_value=1), seq=0))
    assert born.values(NDATA, message(metric(alias=1, long_value=6), seq=1)) == {}
    assert born.values(DDATA, message(metric(alias=2, int_value=6), seq=2)) == {}
    assert born.count("withheld_total") == 2


@pytest.mark.parametrize(("value", "values"), [(127, {"x": 127}), (128, {})])
def test_an_integer_that_may_be_negative_needs_a_type(reader: Reader, value: int, values: dict[str, int]) -> None:
    """255 may be -1; a value that is the same in every type is published at once."""
    assert reader.values(NDATA, message(metric("x", int_value=value), seq=9)) == values
    assert reader.asked == [NCMD]
    reader.read(NBIRTH, message(metric("x", "Int8", int_value=value), seq=0))
    assert reader.values(NDATA, message(metric("x", int_value=255), seq=1)) == {"x": -1}


def test_a_metric_without_name_and_alias_is_withheld(born: Reader) -> None:
    """The others of its payload are published."""
    assert born.values(DDATA, message(metric(int_value=1), metric(alias=2, int_value=2), seq=2)) == {"speed": 2}


# -- presence ---------------------------------------------------------------------------------------------------------


def test_births_and_deaths_are_presence(reader: Reader) -> None:
    """The death of a node is also the death of its devices."""
    assert reader.presence(NBIRTH, NODE_BIRTH) == [("edge1", True)]
    assert reader.presence(DBIRTH, PUMP_BIRTH) == [("edge1/pump", True)]
    assert reader.presence(DDEATH, message(seq=2)) == [("edge1/pump", False)]
    assert reader.presence(DBIRTH, message(seq=3)) == [("edge1/pump", True)]
    assert reader.presence(NDEATH, message(bd_seq(7))) == [("edge1", False), ("edge1/pump", False)]
    assert reader.asked == []


def test_a_change_of_presence_precedes_the_values(reader: Reader) -> None:
    """With the time of its arrival."""
    first, second = reader.read(DBIRTH, PUMP_BIRTH)
    assert isinstance(first, DeviceStatus)
    assert first.since_ms == NOW_MS
    assert isinstance(second, DeviceMessage)


def test_the_last_will_of_an_earlier_session_is_ignored(born: Reader) -> None:
    """The broker may send it after the node has reconnected."""
    assert born.presence(NDEATH, message(bd_seq(6))) == []
    assert born.values(NDATA, message(metric(alias=1, long_value=6), seq=2)) == {"uptime": 6}


def test_a_death_without_a_session_number_is_accepted(born: Reader) -> None:
    """A device that is offline too early is better than one that never is."""
    assert born.presence(NDEATH, message()) == [("edge1", False), ("edge1/pump", False)]


def test_the_death_of_an_unknown_node_is_published(reader: Reader) -> None:
    """Its birth was before the start of Hermes."""
    assert reader.presence(NDEATH, message(bd_seq(6))) == [("edge1", False)]
    assert reader.count("nodes") == 0


def test_data_after_a_death_causes_a_request(born: Reader) -> None:
    """The aliases are removed, too, for device and node."""
    born.read(DDEATH, message(seq=2))
    assert born.values(DDATA, message(metric(alias=2, int_value=1), seq=3)) == {}
    assert born.asked == [NCMD]
    born.now_s = 100
    born.read(NDEATH, message(bd_seq(7)))
    assert born.values(NDATA, message(metric(alias=1, long_value=1), seq=4)) == {}
    assert born.asked == [NCMD, NCMD]


def test_in_another_session_devices_are_offline_until_their_birth(born: Reader) -> None:
    """The death of their node was missed."""
    assert born.presence(NBIRTH, message(bd_seq(8), seq=0)) == [("edge1", True), ("edge1/pump", False)]
    assert born.presence(DBIRTH, PUMP_BIRTH) == [("edge1/pump", True)]


def test_devices_stay_online_during_a_rebirth(born: Reader) -> None:
    """Their births follow at once; a device without a birth before the next data is offline."""
    born.read(FAN_BIRTH, message(seq=2))
    assert born.presence(NBIRTH, NODE_BIRTH) == [("edge1", True)]
    assert born.presence(DBIRTH, PUMP_BIRTH) == [("edge1/pump", True)]
    assert born.presence(DDATA, message(metric(alias=2, int_value=1), seq=2)) == [("edge1/fan", False)]
    assert born.presence(DDATA, message(metric(alias=2, int_value=1), seq=3)) == []


def test_a_node_that_is_known_only_by_its_devices_retains_them_at_its_birth(reader: Reader) -> None:
    """Hermes started in the middle of its births."""
    reader.read(DBIRTH, PUMP_BIRTH)
    assert reader.presence(NBIRTH, NODE_BIRTH) == [("edge1", True)]
    assert reader.presence(NDEATH, message(bd_seq(7))) == [("edge1", False), ("edge1/pump", False)]


def test_nodes_with_one_name_in_two_groups_are_different(born: Reader) -> None:
    """The id of an edge node is unique in its group only."""
    assert born.values("spBv1.0/office/NDATA/edge1", message(metric(alias=1, long_value=6), seq=2)) == {}
    assert born.asked == ["spBv1.0/office/NCMD/edge1"]


# -- what was missed --------------------------------------------------------------------------------------------------


def test_the_request_is_a_command_to_the_edge_node(reader: Reader) -> None:
    """As in the specification: a Boolean that is true."""
    assert reader.values(DDATA, message(metric(alias=5, int_value=1), seq=1)) == {}
    assert reader.asked == [NCMD]
    request = Payload.FromString(reader.requests[0])
    assert request.timestamp == NOW_MS
    assert request.metrics == [metric("Node Control/Rebirth", "Boolean", boolean_value=True, timestamp=NOW_MS)]


@pytest.mark.parametrize("topic", [NDATA, DDATA, DBIRTH, DDEATH])
def test_births_are_requested_from_a_node_without_a_birth(reader: Reader, topic: str) -> None:
    """Whatever message arrives first; metrics with a name are published nevertheless."""
    payload = message(metric("on", "Boolean", boolean_value=True), seq=1)
    assert reader.values(topic, payload) == ({} if topic == DDEATH else {"on": True})
    assert reader.asked == [NCMD]
    assert reader.count("rebirth_requests_total") == 1


def test_the_sequence_number_after_255_is_0(reader: Reader) -> None:
    """That is not a gap."""
    reader.read(NBIRTH, message(bd_seq(1), metric("a", "Int8", alias=1, int_value=0), seq=0))
    for number in range(1, 600):
        reader.read(NDATA, message(metric(alias=1, int_value=1), seq=number % 256))
    assert reader.count("gaps_total") == 0
    assert reader.asked == []


def test_a_gap_is_counted_and_births_are_requested_until_one_arrives(born: Reader) -> None:
    """The value is published; a lost request is repeated."""
    assert born.values(DDATA, message(metric(alias=2, int_value=1), seq=3)) == {"speed": 1}
    assert born.count("gaps_total") == 1
    assert born.asked == [NCMD]
    born.now_s = 10
    born.read(DDATA, message(metric(alias=2, int_value=1), seq=4))
    assert born.count("gaps_total") == 1
    assert born.asked == [NCMD, NCMD]
    born.read(NBIRTH, NODE_BIRTH)
    born.read(DBIRTH, PUMP_BIRTH)
    born.now_s = 1_000
    born.read(DDATA, message(metric(alias=2, int_value=1), seq=2))
    assert born.asked == [NCMD, NCMD]


def test_messages_without_sequence_numbers_have_no_gaps(born: Reader) -> None:
    """Some devices omit them."""
    born.read(DDATA, message(metric(alias=2, int_value=1)))
    born.read(DDATA, message(metric(alias=2, int_value=1), seq=2))
    assert born.count("gaps_total") == 0


def test_the_interval_between_requests_grows(reader: Reader) -> None:
    """From ten seconds to ten minutes; after a long time without a need, the next request is sent at once."""
    asked_s: list[int] = []
    for second in range(3_000):
        reader.now_s = second
        reader.read(NDATA, message(metric(alias=1, int_value=1)))
        if len(reader.asked) > len(asked_s):
            asked_s.append(second)
    assert asked_s == [0, 10, 30, 70, 150, 310, 630, 1_230, 1_830, 2_430]
    reader.now_s = 10_000
    reader.read(NDATA, message(metric(alias=1, int_value=1)))
    reader.now_s = 10_010
    reader.read(NDATA, message(metric(alias=1, int_value=1)))
    assert len(reader.asked) == len(asked_s) + 2


def test_a_request_that_could_not_be_sent_is_repeated(reader: Reader) -> None:
    """At the next message; only requests that were sent are counted."""
    reader.offline = True
    reader.read(NDATA, message(metric(alias=1, int_value=1)))
    assert reader.count("rebirth_requests_total") == 0
    reader.offline = False
    reader.read(NDATA, message(metric(alias=1, int_value=1)))
    assert reader.asked == [NCMD]


def test_requests_to_a_whole_fleet_are_spread(reader: Reader) -> None:
    """Each node answers with all its metrics."""
    for second in range(3):
        reader.now_s = second
        for node in range(120):
            reader.read(f"spBv1.0/plant/NDATA/edge{node}", message(metric(alias=1, int_value=1)))
        assert len(reader.asked) == min(120, 50 * (second + 1))
    assert len(set(reader.asked)) == 120


# -- messages that are not from an edge node --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "topic",
    ["STATE/scada", "spBv1.0/STATE/scada", NCMD, "spBv1.0/plant/DCMD/edge1/pump"],
)
@pytest.mark.parametrize("payload", [b"OFFLINE", b"", message(metric("a", int_value=1))])
def test_commands_and_states_of_hosts_are_not_data(reader: Reader, topic: str, payload: bytes) -> None:
    """Hermes receives its own requests, too."""
    assert reader.read(topic, payload) == []
    assert reader.count("nodes") == 0


@pytest.mark.parametrize(
    "topic",
    [
        "spBv1.0/plant/NBIRTH",
        "spBv1.0/plant/NBIRTH/edge1/pump",
        "spBv1.0/plant/DDATA/edge1",
        "spBv1.0/plant/DDATA/edge1/",
        "spBv1.0//NDATA/edge1",
        "spBv1.0/plant/ndata/edge1",
        "spBv1.0/plant/DDATA/edge1/pump/more",
        "spAv1.0/plant/NDATA/edge1",
        "plant",
    ],
)
def test_other_topics_are_rejected(reader: Reader, topic: str) -> None:
    """Their template has the wrong payload format."""
    with pytest.raises(PayloadError, match="not a topic of Sparkplug B"):
        reader.read(topic, NODE_BIRTH)


def test_an_empty_payload_changes_nothing(born: Reader) -> None:
    """It deletes a retained message of the broker."""
    for topic in (NBIRTH, NDEATH, DDATA):
        assert born.read(topic, b"") == []
    assert born.values(DDATA, message(metric(alias=2, int_value=1), seq=2)) == {"speed": 1}


def test_a_retained_message_defines_nothing(reader: Reader) -> None:
    """Births must not be retained: the aliases may be outdated, and presence is unknown."""
    (value,) = reader.read(NBIRTH, NODE_BIRTH, retained=True)
    assert isinstance(value, DeviceMessage)
    assert (value.series, value.retained, value.timestamp_ms) == ("uptime", True, None)
    assert reader.read(NDEATH, message(bd_seq(7)), retained=True) == []
    assert reader.values(NDATA, message(metric(alias=1, long_value=6), seq=1)) == {}
    assert reader.asked == [NCMD]


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_rejected_message_changes_nothing(born: Reader) -> None:
    """The earlier definitions are still valid."""
    broken = Payload.FromString(NODE_BIRTH)
    broken.metrics.add(name="x", datatype=12, alias=1).string_value = "\x01\x02"
    with pytest.raises(PayloadError, match="not UTF-8"):
        born.read(NBIRTH, broken.SerializeToString().replace(b"\x01\x02", b"\xff\xfe"))
    assert born.values(NDATA, message(metric(alias=1, long_value=6), seq=2)) == {"uptime": 6}


def test_the_nodes_that_were_silent_longest_are_evicted_first() -> None:
    """The memory is bounded, and the births of an evicted node are requested again."""
    reader = Reader(memory_max_bytes=500_000)
    names = [f"edge{number}" for number in range(10)]
    metrics = [metric(f"sensor {number}", "Int8", alias=number, int_value=0) for number in range(400)]
    for name in names:
        reader.read(f"spBv1.0/plant/NBIRTH/{name}", message(*metrics, seq=0))
    assert reader.count("forgotten_total") + reader.count("nodes") == 10
    assert reader.count("nodes") == 4
    assert reader.values("spBv1.0/plant/NDATA/edge9", message(metric(alias=3, int_value=1), seq=1)) == {"sensor 3": 1}
    assert reader.values("spBv1.0/plant/NDATA/edge0", message(metric(alias=3, int_value=1), seq=1)) == {}
    assert reader.asked == ["spBv1.0/plant/NCMD/edge0"]


def test_a_flood_of_names_does_not_grow_the_memory() -> None:
    """Neither edge nodes nor the devices of one node."""
    reader = Reader(memory_max_bytes=200_000)
    for number in range(2_000):
        reader.read(f"spBv1.0/plant/NDATA/edge{number}", message())
    assert reader.count("nodes") <= 250
    for number in range(2_000):
        reader.read(f"spBv1.0/plant/DBIRTH/edge/device{number}", message())
    assert len(reader.presence("spBv1.0/plant/NDEATH/edge", message())) <= 250


def test_edge_nodes_of_one_tenant_evict_only_its_own() -> None:
    """In whatever way it fills the memory: with silent nodes, with births, with the devices of one node."""
    reader = Reader(memory_max_bytes=200_000)
    reader.read("spBv1.0/quiet/NBIRTH/edge", NODE_BIRTH, tenant="globex")
    reader.read("spBv1.0/plant/NBIRTH/edge", NODE_BIRTH)
    metrics = [metric(f"sensor {number}", "Int8", alias=number, int_value=0) for number in range(50)]
    for number in range(1_000):
        reader.read("spBv1.0/plant/NDATA/edge", message(seq=(number + 1) % 256))
        reader.read(f"spBv1.0/plant/NDATA/silent{number}", message())
        reader.read(f"spBv1.0/plant/NBIRTH/born{number}", message(*metrics, seq=0))
    for number in range(1_000):
        reader.read(f"spBv1.0/plant/DBIRTH/large/device{number}", message(*metrics))
    quiet = reader.read("spBv1.0/quiet/NDATA/edge", message(metric(alias=1, long_value=6), seq=1), tenant="globex")
    assert len(quiet) == 1
    assert "spBv1.0/quiet/NCMD/edge" not in reader.asked
    assert reader.values("spBv1.0/plant/NDATA/edge", message(metric(alias=1, long_value=6), seq=233)) == {"uptime": 6}
    samples = {
        holder: reader.metrics.registry.get_sample_value(
            "hermes_share_dropped_total", {"store": "sparkplug", "holder": holder}
        )
        for holder in ("tenant", "device", "oldest")
    }
    assert samples["oldest"] == 0
    assert None not in samples.values()
    assert samples["device"]
    assert sum(count or 0 for count in samples.values()) == reader.count("forgotten_total")


KINDS = ["NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH", "NCMD"]
VALUES = st.one_of(
    st.builds(lambda value: {"int_value": value}, st.integers(0, 2**32 - 1)),
    st.builds(lambda value: {"long_value": value}, st.integers(0, 2**64 - 1)),
    st.builds(lambda value: {"float_value": value}, st.floats(width=32)),
    st.builds(lambda value: {"double_value": value}, st.floats()),
    st.builds(lambda value: {"bytes_value": value}, st.binary(max_size=20)),
    st.builds(lambda value: {"string_value": value}, st.text(max_size=5)),
)
METRICS = st.builds(
    lambda head, value: Payload.Metric(**head, **value),
    st.fixed_dictionaries(
        {}, optional={"name": st.sampled_from("ab"), "alias": st.integers(0, 3), "datatype": st.integers(0, 40)}
    ),
    VALUES,
)
MESSAGES = st.tuples(
    st.sampled_from(KINDS),
    st.booleans(),
    st.binary(max_size=40)
    | st.builds(lambda metrics, seq: message(*metrics, seq=seq), st.lists(METRICS), st.integers(0, 3)),
)


@given(st.lists(MESSAGES, max_size=12))
def test_any_messages_are_converted_or_rejected(messages: list[tuple[str, bool, bytes]]) -> None:
    """The data is JSON without NaN."""
    reader = Reader()
    for kind, retained, payload in messages:
        topic = f"spBv1.0/g/{kind}/edge" + ("/device" if kind.startswith("D") else "")
        try:
            updates = reader.read(topic, payload, retained=retained)
        except PayloadError:
            continue
        for each in updates:
            if isinstance(each, DeviceMessage):
                assert "value" in json.loads(each.data, parse_constant=pytest.fail)


def test_real_messages_are_converted(reader: Reader) -> None:
    """The collected ones, if they are available."""
    if not RECORDED.exists():
        pytest.skip("the collected messages are not available")
    series: set[str] = set()
    for line in RECORDED.read_text().splitlines():
        sample = json.loads(line)
        raw = sample.get("payload_base64")
        payload = base64.b64decode(raw) if raw is not None else sample["payload"].encode()
        updates = reader.read(sample["topic"], payload, retained=sample.get("retain", False))
        assert bool(updates) == sample["topic"].startswith("spBv1.0")
        series.update(each.series for each in updates if isinstance(each, DeviceMessage))
    assert {"counter_group1/counter1_run", "blob", "Node Metric2", "My_Custom_Motor", "input/Device Metric1"} <= series
    assert reader.count("withheld_total") == 0


# -- after an outage ------------------------------------------------------------------------------------------------


def test_a_node_that_died_during_an_outage_is_offline(born: Reader) -> None:
    """Its death was missed; it does not answer the request."""
    born.sparkplug.link_restored()
    asked = len(born.asked)
    born.now_s += 1_000
    assert born.sparkplug.tick(NOW_MS) == []
    assert len(born.asked) == asked + 1
    born.now_s += SILENT_S - 1
    assert born.sparkplug.tick(NOW_MS) == []
    born.now_s += 1
    offline = born.sparkplug.tick(NOW_MS + 9)
    assert offline
    assert {each.online for each in offline} == {False}
    assert {each.since_ms for each in offline} == {NOW_MS + 9}
    assert "edge1" in {each.device_id for each in offline}
    born.now_s += 100
    assert born.sparkplug.tick(NOW_MS) == []


def test_a_node_that_sends_anything_after_an_outage_is_online(born: Reader) -> None:
    """Any message of it."""
    born.sparkplug.link_restored()
    born.read("spBv1.0/plant/NDATA/edge1", message(seq=200))
    for _ in range(5):
        born.now_s += SILENT_S
        assert born.sparkplug.tick(NOW_MS) == []


def test_a_node_without_a_request_is_not_offline(born: Reader) -> None:
    """The link is down again, so the request could not be sent."""
    born.sparkplug.link_restored()
    born.offline = True
    for _ in range(5):
        born.now_s += SILENT_S
        assert born.sparkplug.tick(NOW_MS) == []


def test_the_interval_of_requests_outlives_an_eviction() -> None:
    """If there are more nodes than the memory allows, they evict each other; the rate of requests stays limited."""
    reader = Reader(memory_max_bytes=10_000)
    names = [f"edge{number}" for number in range(40)]
    for _ in range(100):
        reader.now_s += 1
        for name in names:
            reader.read(f"spBv1.0/plant/NDATA/{name}", message(metric("m", "Int32", int_value=1), seq=1))
    assert reader.count("forgotten_total") > 100
    per_node = [reader.asked.count(f"spBv1.0/plant/NCMD/{name}") for name in names]
    assert max(per_node) <= 5, "at 0, 10, 30, 70 seconds"


def test_the_first_data_after_an_outage_confirms_the_presence(born: Reader) -> None:
    """Of the edge node and of the device that sends it: their deaths were not missed. The next data does not."""
    born.sparkplug.link_restored()
    data = message(metric(alias=2, int_value=1), seq=2)
    assert born.presence(DDATA, data) == [("edge1", True), ("edge1/pump", True)]
    assert born.presence(DDATA, message(metric(alias=2, int_value=1), seq=3)) == []
    born.sparkplug.link_restored()
    assert born.presence(NDATA, message(metric(alias=1, long_value=1), seq=4)) == [("edge1", True)]
    assert born.presence(DDATA, message(metric(alias=2, int_value=1), seq=5)) == [("edge1/pump", True)]


def test_a_birth_after_an_outage_confirms_it_too(born: Reader) -> None:
    """Then its data need not; a device without a birth after its node's is offline with the next data."""
    born.read(FAN_BIRTH, message(seq=2))
    born.sparkplug.link_restored()
    assert born.presence(NBIRTH, NODE_BIRTH) == [("edge1", True)]
    assert born.presence(DBIRTH, PUMP_BIRTH) == [("edge1/pump", True)]
    assert born.presence(DDATA, message(metric(alias=2, int_value=1), seq=2)) == [("edge1/fan", False)]


def test_a_large_message_is_read_in_small_steps(reader: Reader) -> None:
    """Metrics, cells of data sets, members of templates, and floats of an array."""
    cell = Payload.DataSet.DataSetValue(int_value=1)
    dataset = Payload.DataSet(types=[3], rows=[Payload.DataSet.Row(elements=[cell]) for _ in range(2_000)])
    wide = Payload.DataSet(types=[3] * 2_000, rows=[Payload.DataSet.Row(elements=[cell] * 2_000)])
    template = Payload.Template(metrics=[metric(f"m{n}", "Int32", int_value=n) for n in range(2_000)])
    floats = struct.pack("<2000f", *(n + 0.1 for n in range(2_000)))
    for each, least in (
        ([metric(f"m{n}", "Int32", int_value=n) for n in range(2_000)], 200),
        ([metric("d", "DataSet", dataset_value=dataset)], 30),
        ([metric("w", "DataSet", dataset_value=wide)], 30),
        ([metric("t", "Template", template_value=template)], 30),
        ([metric("f", "FloatArray", bytes_value=floats)], 30),
    ):
        steps = list(
            reader.sparkplug.read(
                NBIRTH,
                message(*each, seq=0),
                tenant_id=TenantId("acme"),
                device_id=DeviceId("edge1"),
                retained=False,
                timestamp_ms=1,
            )
        )
        first = next(index for index, update in enumerate(steps) if update is not None)
        assert first >= least, "the decoding precedes all values"
        assert None not in steps[first:]


def test_the_columns_of_data_sets_are_limited(reader: Reader) -> None:
    """They are names and types without cells."""
    dataset = Payload.DataSet(types=[3] * 50_001)
    with pytest.raises(PayloadError, match="more than 50,000 columns"):
        reader.read(NBIRTH, message(metric("d", "DataSet", dataset_value=dataset), seq=0))
