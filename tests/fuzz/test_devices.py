"""Any MQTT message: every frame around it is one JSON object with exactly its own members."""

import json

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.delivery.frames import encode
from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus
from hermes.ingest import extras
from hermes.ingest.drops import DropCounter
from hermes.ingest.ingest import InboundMessage, Ingest
from hermes.ingest.sparkplug.reader import Sparkplug
from hermes.metrics import Metrics
from hermes.topics.presets import PRESETS
from hermes.topics.topic_map import TopicMap
from tests.support.edge_nodes import bd_seq, message, metric
from tests.support.random_templates import filled

TEMPLATES = (
    "json/{tenant_id}/{device_id}/{series...};online=state",
    "pointers/{x};tenant_id=/t;device_id=/d/0;series=/s",
    "pointed/{tenant_id}/{device_id};series=/s;device_id=/d",
    "cbor/{tenant_id}/{device_id}/{series?};payload=cbor",
    "cborpointers/{x};payload=cbor;tenant_id=/t;device_id=/d",
    *PRESETS,
)
DEVICE = {"channel", "tenant_id", "device_id", "series", "topic", "data", "timestamp"}
STATUS = {"channel", "tenant_id", "device_id", "online", "since"}

WORDS = st.sampled_from(["a", "state", "status", "online", "..", "NBIRTH", "NDATA", "DBIRTH", "DDATA", "NDEATH", "a@b"])
LEVELS = WORDS | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="+#\0"), max_size=6)
IN_TEMPLATES = st.builds(
    lambda template, words: filled(template, iter(words)),
    st.sampled_from([each.text for each in TopicMap(TEMPLATES).templates]),
    st.lists(LEVELS, min_size=12, max_size=12),
)
TOPICS = st.one_of(
    IN_TEMPLATES,
    st.builds(lambda kind, edge: f"spBv1.0/g/{kind}/{edge}", st.sampled_from(["NBIRTH", "NDATA", "DBIRTH/e"]), LEVELS),
    st.lists(LEVELS, min_size=1, max_size=6).map("/".join),
)

TEXT = st.text(max_size=6)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        TEXT,
        st.sampled_from(["a", "online", "offline", 10**400, 2**64, "x" * 1_030]),
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["t", "d", "s", "state", "a"]) | TEXT, inner, max_size=5)
    ),
    max_leaves=10,
)
METRICS = st.builds(
    lambda name, kind, number: metric(name, kind, long_value=number),
    TEXT,
    st.sampled_from(["", "Int8", "Int64", "UInt64", "DateTime", "Boolean"]),
    st.integers(0, 2**64 - 1),
)
NOT_A_BODY = st.binary(max_size=60)
PAYLOADS = st.one_of(
    NOT_A_BODY,
    VALUES.map(json.dumps).map(str.encode),
    VALUES.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    VALUES.map(cbor2.dumps),
    st.lists(METRICS, max_size=4).map(lambda metrics: message(bd_seq(1), *metrics, seq=0)),
    st.sampled_from([b'1},"x":{', b'null,"data":2', b'"\xe2\x80\xa8"', b"\xef\xbb\xbf{}", b"[" * 101, b"[]]", b"NaN"]),
    st.integers(1, 150).map(lambda levels: b'{"t":' * levels + b"1" + b"}" * levels),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A payload with up to two bytes replaced by others."""
    payload = bytearray(draw(PAYLOADS))
    for place, piece in draw(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=2)), max_size=2)):
        payload[place : place + 1] = piece
    return bytes(payload)


MESSAGES = st.builds(
    InboundMessage,
    topic=TOPICS,
    payload=st.none() | damaged(),
    retained=st.booleans(),
    subscription_ids=st.lists(st.integers(1, 9), max_size=2),
    timestamp_ms=st.integers(0, 2**53),
)


Published = DeviceMessage | DeviceStatus | LinkStatus


@pytest.fixture(scope="module")
def published() -> tuple[Ingest, list[Published], Metrics]:
    """Return an ingest for all formats, what it has published, and its metrics."""
    found: list[Published] = []
    topics, metrics = TopicMap(TEMPLATES), Metrics()
    ingest = Ingest(
        topics=topics,
        last_values=LastValues(limits=LastValuesLimits(max_values=50), metrics=metrics),
        publish=found.append,
        drops=DropCounter(metrics),
        decoders=extras.decoders(topics.templates),
        sparkplug=Sparkplug(publish=lambda topic, payload: True, metrics=metrics),
    )
    return ingest, found, metrics


@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_any_message_becomes_valid_frames_or_is_dropped(
    published: tuple[Ingest, list[Published], Metrics], messages: list[InboundMessage]
) -> None:
    """The data may be anything; it cannot add, remove or change another member."""
    ingest, found, metrics = published
    found.clear()
    for each in messages:
        ingest.sender_of(each.topic)
        ingest.handle(each)
    assert metrics.registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": "error"}) == 0.0
    for sent in found:
        for snapshot in (False, True):
            check_frame(sent, json.loads(encode(sent, snapshot=snapshot).payload, parse_constant=pytest.fail))


def check_frame(sent: Published, frame: dict[str, object]) -> None:
    """Assert that a frame has exactly its own members."""
    if isinstance(sent, DeviceMessage):
        assert DEVICE <= set(frame) <= DEVICE | {"encoding", "retained", "snapshot", "cleared"}
        assert ("cleared" in frame) == sent.clears
        assert (frame["channel"], frame["device_id"], frame["topic"]) == ("device", sent.device_id, sent.topic)
    else:
        assert set(frame) == STATUS
