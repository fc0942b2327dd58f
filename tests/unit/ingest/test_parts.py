"""Messages with several values: of several series, of several devices, and the names of devices."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.delivery.frames import encode
from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus
from hermes.ingest import extras
from hermes.ingest.drops import DropCounter
from hermes.ingest.ingest import InboundMessage, Ingest
from hermes.ingest.parts import FRAMES_MAX, NAME_MAX_CHARS, SPLIT_MAX, device_name
from hermes.metrics import Metrics
from hermes.topics.topic_map import TopicMap
from tests.support.growth import LINEAR_MAX, growth

NAMED = "{tenant_id}/{device_id}/{series};name=/info/name"
SERIES = "{tenant_id}/{device_id}/{series};series=/object"
MEMBERS = "{tenant_id}/{device_id};series=/"
DEVICES = "{tenant_id}/gateway;devices=/"
SAMPLES = "{tenant_id}/gateway;devices=/;series=/values;name=/label"
LISTED = "{tenant_id}/gateway;devices=/list;device_id=/id;name=/label;series=/values"


class Feed:
    """An ingest, and what it published."""

    def __init__(self, *templates: str) -> None:
        self.metrics = Metrics()
        self.values = LastValues(limits=LastValuesLimits(), metrics=self.metrics)
        self.published: list[DeviceMessage | DeviceStatus | LinkStatus] = []
        topics = TopicMap(templates)
        self.ingest = Ingest(
            topics=topics,
            last_values=self.values,
            publish=self.published.append,
            drops=DropCounter(self.metrics),
            decoders=extras.decoders(topics.templates),
        )

    def send(self, topic: str, payload: object, *, retained: bool = False) -> list[dict[str, Any]]:
        """Handle a message; return the frames of the devices' values that it became."""
        before = len(self.published)
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.ingest.handle(InboundMessage(topic, raw, retained, (), 5))
        while self.ingest.unfinished is not None:
            self.ingest.continue_message()
        messages = self.published[before:]
        return [json.loads(encode(each).payload) for each in messages if isinstance(each, DeviceMessage)]

    def read(self, topic: str, payload: object) -> list[tuple[str, str, Any]]:
        """Handle a message; return device, series and value of each frame."""
        return [(frame["device_id"], frame["series"], frame["data"]) for frame in self.send(topic, payload)]

    def dropped(self, reason: str) -> float:
        """Return how many were dropped for this reason."""
        return self.metrics.registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": reason}) or 0.0

    @property
    def presence(self) -> list[tuple[str, bool | None]]:
        """Device and presence of each status that was published."""
        return [(each.device_id, each.online) for each in self.published if isinstance(each, DeviceStatus)]

    def remembered(self) -> list[tuple[str, str]]:
        """Device and series of each last value."""
        return [(device, series) for devices in self.values._tenants.values()
                for device, each in devices.items() for series in each.values]  # fmt: skip


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_name_is_on_the_frame_and_in_the_snapshot() -> None:
    """Beside the whole payload."""
    feed = Feed(NAMED)
    (frame,) = feed.send("acme/d1/up", {"info": {"name": "Hall"}, "t": 1})
    assert (frame["device_name"], frame["device_id"], frame["series"]) == ("Hall", "d1", "up")
    assert frame["data"] == {"info": {"name": "Hall"}, "t": 1}
    (part,) = feed.values.parts_of("acme/d1/up")
    assert json.loads(encode(part, snapshot=True).payload)["device_name"] == "Hall"


NAMELESS = [None, "", "  \t", {"de": "Flur"}, True, 1.5]


@pytest.mark.parametrize(
    "payload",
    [*[{"info": {"name": name}} for name in NAMELESS], {"info": {}}, {"info": 7}, {}, [1], "text", b"nan", b"\xff"],
)
def test_a_pointer_that_finds_no_name_leaves_the_message_as_it_is(payload: object) -> None:
    """It is delivered without the key."""
    (frame,) = Feed(NAMED).send("acme/d1/up", payload)
    assert "device_name" not in frame


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Hall", "Hall"),
        (12, "12"),
        (" Hall ", "Hall"),
        ("x" * NAME_MAX_CHARS, "x" * NAME_MAX_CHARS),
        ("x" * 10_240, "x" * (NAME_MAX_CHARS - 1) + "…"),
        ("a\u202eb\x00c", "a b c"),
        ("Wäschekeller 🌡", "Wäschekeller 🌡"),
    ],
)
def test_a_name_is_short_and_can_be_shown(value: object, name: str) -> None:
    """A long one is cut off; characters that are invisible or change the order of text become blanks."""
    assert device_name(value) == name


def test_a_name_may_change_and_two_devices_may_have_the_same() -> None:
    """The id is what distinguishes devices; a retained value with only a new name is new."""
    feed = Feed(NAMED)
    names = [feed.send("acme/d1/up", {"info": {"name": name}})[0]["device_name"] for name in ("Hall", "Attic")]
    assert names == ["Hall", "Attic"]
    (other,) = feed.send("acme/d2/up", {"info": {"name": "Attic"}})
    assert (other["device_id"], other["device_name"]) == ("d2", "Attic")
    feed = Feed("{tenant_id}/all;devices=/;name=/name;series=/values")
    payload = {"d1": {"name": "Hall", "values": {"t": 1}}}
    assert len(feed.send("acme/all", payload, retained=True)) == 1
    assert feed.send("acme/all", payload, retained=True) == []
    payload["d1"]["name"] = "Attic"
    assert [frame["device_name"] for frame in feed.send("acme/all", payload, retained=True)] == ["Attic"]


# -- series -----------------------------------------------------------------------------------------------------------


def test_each_member_of_the_object_is_a_series() -> None:
    """Behind the series of the topic, in the order of the payload."""
    payload = {"rssi": -90, "object": {"temperature": 21.5, "door": "open", "pos": {"x": 1}, "none": None}}
    assert Feed(SERIES).read("acme/d1/up", payload) == [
        ("d1", "up/temperature", 21.5),
        ("d1", "up/door", "open"),
        ("d1", "up/pos", {"x": 1}),
        ("d1", "up/none", None),
    ]


@pytest.mark.parametrize("payload", [{"rssi": -90}, {"object": None}, {"object": {}}, {"object": []}, {"object": 1.5}])
def test_without_such_an_object_the_message_is_one_value(payload: object) -> None:
    """Of the series in the topic, if it has one; otherwise it is dropped and counted."""
    assert Feed(SERIES).read("acme/d1/join", payload) == [("d1", "join", payload)]
    feed = Feed("{tenant_id}/{device_id};series=/object")
    assert feed.read("acme/d1", payload) == []
    assert feed.dropped("pointer") == 1


def test_a_text_or_an_integer_at_the_pointer_is_the_series() -> None:
    """As before there were members."""
    feed = Feed("{tenant_id}/{device_id};series=/kind")
    assert feed.read("acme/d1", {"kind": "temp", "v": 1}) == [("d1", "temp", {"kind": "temp", "v": 1})]
    assert feed.read("acme/d1", {"kind": {"v": 1}}) == [("d1", "v", 1)]
    assert Feed(SERIES).read("acme/d1/up", {"object": "down"}) == []


@pytest.mark.parametrize("payload", [21.5, "ON", 7, [1, 2], {}, None, True])
def test_a_whole_payload_that_is_no_object_is_one_value(payload: object) -> None:
    """With ``series=/``; a text is the value, not the series."""
    assert Feed(MEMBERS).read("acme/d1", payload) == [("d1", "", payload)]


def test_text_that_is_not_json_is_one_value() -> None:
    """With its encoding."""
    (frame,) = Feed(MEMBERS).send("acme/d1", b'{"a":nan}')
    assert (frame["series"], frame["data"], frame["encoding"]) == ("", '{"a":nan}', "text")


def test_values_leave_exactly_as_they_came() -> None:
    """Digits, exponents, white space inside and escapes: parsing and printing would change them."""
    texts = {"big": b"12345678901234567890123", "money": b"1.10", "exponent": b"1.0E+2", "minus": b"-0",
             "text": b'"\\u00e9\\/"', "list": b"[ 1.0 ,2 ]", "object": b'{ "a" : 1.10 }'}  # fmt: skip
    raw = b"{ %s }" % b" , ".join(b'"%s" : %s' % (name.encode(), text) for name, text in texts.items())
    for template, topic, payload in (
        (MEMBERS, "acme/d1", raw),
        (SERIES, "acme/d1/", b'{"x":[1.0],"object":%s}' % raw),
        (SAMPLES, "acme/gateway", b'{"d1":[{"values":%s}]}' % raw),
        (LISTED, "acme/gateway", b'{"list":[{"id":"d1","values":%s}]}' % raw),
    ):
        topic = topic if not topic.endswith("/") else topic + "up"
        feed = Feed(template)
        feed.send(topic, payload)
        sent = {each.series.rpartition("/")[2]: each.data for each in feed.published if isinstance(each, DeviceMessage)}
        assert sent == texts


def test_a_pointer_into_a_large_payload_finds_the_same() -> None:
    """Which is not parsed, only searched."""
    feed = Feed("{tenant_id}/{device_id}/{series};series=/a/1/o;name=/n;online=/state")
    filler = {"filler": ["x" * 100] * 1_000, "nested": [[]] * 200}
    payload = {"a": [filler, {"o": {"t": 1}}], "n": "Hall", "state": "online"} | filler
    (frame,) = feed.send("acme/d1/up", payload)
    assert (frame["series"], frame["data"], frame["device_name"]) == ("up/t", 1, "Hall")
    assert feed.presence == [("d1", True)]


@pytest.mark.parametrize("key", ["", "a/b", "~", "ä", '"', "\u2028"])
def test_any_member_name_may_be_a_series(key: str) -> None:
    """Also the empty one."""
    assert Feed(MEMBERS).read("acme/d1", {key: 1}) == [("d1", key, 1)]


def test_a_member_name_that_is_too_long_costs_only_that_member() -> None:
    """It is counted."""
    feed = Feed(MEMBERS)
    assert feed.read("acme/d1", {"x" * 1_025: 1, "t": 2}) == [("d1", "t", 2)]
    assert feed.dropped("too_long") == 1


def test_of_a_repeated_member_the_last_counts() -> None:
    """As in JSON parsers."""
    assert Feed(MEMBERS).read("acme/d1", b'{"t":1,"t":2}') == [("d1", "t", 2)]


def test_presence_is_read_from_a_member_or_from_the_whole_message() -> None:
    """A member called ``online``; the series that the template names; a pointer."""
    feed = Feed(MEMBERS)
    feed.send("acme/d1", {"t": 1, "online": True})
    feed.send("acme/d2", {"t": 1})
    assert feed.presence == [("d1", True)]
    feed = Feed("{tenant_id}/{device_id}/{series};series=/;online=availability")
    feed.send("acme/d1/availability", {"state": "offline", "since": 1})
    assert feed.presence == [("d1", False)]
    feed = Feed("{tenant_id}/all;devices=/;series=/values;online=/up")
    feed.send("acme/all", {"d1": {"up": True, "values": {"t": 1, "up": False}}, "d2": {"up": "no"}})
    assert feed.presence == [("d1", True)]  # d2 has no values, so no series


# -- devices ----------------------------------------------------------------------------------------------------------


def test_each_member_is_the_message_of_a_device() -> None:
    """The name is the id; the value runs through the other settings."""
    payload = {"Device A": {"values": {"t": 1, "h": 2}, "label": "Hall"}, "Device B": {"values": {"t": 3}}}
    frames = Feed(SAMPLES).send("acme/gateway", payload)
    read = [(frame["device_id"], frame["series"], frame["data"], frame.get("device_name")) for frame in frames]
    assert read == [("Device A", "t", 1, "Hall"), ("Device A", "h", 2, "Hall"), ("Device B", "t", 3, None)]
    assert Feed(DEVICES).read("acme/gateway", {"a": 1, "b": {"t": 2}}) == [("a", "", 1), ("b", "", {"t": 2})]


def test_of_a_device_whose_value_is_an_array_each_element_is_a_message() -> None:
    """In order, as gateways send samples that they stored."""
    payload = {"a": [{"ts": 1, "values": {"t": 1}}, {"ts": 2, "values": {"t": 2}}], "b": []}
    assert Feed(SAMPLES).read("acme/gateway", payload) == [("a", "t", 1), ("a", "t", 2)]
    assert Feed(DEVICES).read("acme/gateway", {"a": [[1], 2]}) == [("a", "", [1]), ("a", "", 2)]


def test_each_element_of_an_array_is_the_message_of_a_device() -> None:
    """Its id is at the template's pointer into the element; two elements of one device are two messages."""
    payload = {
        "list": [{"id": "a", "values": {"t": 1}}, {"id": 7, "values": {"t": 2}}, {"id": "a", "values": {"t": 3}}]
    }
    assert Feed(LISTED).read("acme/gateway", payload) == [("a", "t", 1), ("7", "t", 2), ("a", "t", 3)]


def test_a_device_that_cannot_be_read_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    """The others are delivered; each is counted by its reason, the first of a kind is logged."""
    feed = Feed(SAMPLES)
    payload = {"": {"values": {"t": 0}}, "x" * 1_025: {"values": {"t": 0}}, "a\u202eb": {"values": {"t": 0}},
               "..": {"values": {"t": 0}}, "no values": {}, "text": "x", "good": {"values": {"t": 1}}}  # fmt: skip
    with caplog.at_level(logging.WARNING):
        assert feed.read("acme/gateway", payload) == [("good", "t", 1)]
    assert {reason: feed.dropped(reason) for reason in ("pointer", "too_long", "bad_id")} == {
        "pointer": 3, "too_long": 1, "bad_id": 2,
    }  # fmt: skip
    assert len(caplog.messages) == 3
    assert "part of topic 'acme/gateway'" in caplog.messages[0]


def test_elements_without_an_id_are_dropped() -> None:
    """If the pointer finds none, and if there is no pointer: then the log says what to add."""
    feed = Feed(LISTED)
    assert feed.read("acme/gateway", {"list": [{"values": {"t": 1}}, {"id": None}, 5]}) == []
    assert feed.dropped("pointer") == 3


def test_an_array_needs_a_pointer_to_the_ids(caplog: pytest.LogCaptureFixture) -> None:
    """The log says so."""
    feed = Feed(DEVICES)
    with caplog.at_level(logging.WARNING):
        assert feed.read("acme/gateway", [{"id": "a"}]) == []
    assert "an array of devices needs ;device_id=/json/pointer" in caplog.text


@pytest.mark.parametrize("payload", [{}, [], 1, "x", None, b"nan", b"\xff", b""])
def test_a_message_without_devices_is_dropped(payload: object) -> None:
    """And counted once."""
    feed = Feed(DEVICES)
    assert feed.read("acme/gateway", payload) == []
    assert feed.dropped("pointer") == 1


def test_a_device_that_names_itself_must_agree_with_its_member() -> None:
    """As with an id in topic and payload."""
    feed = Feed("{tenant_id}/gateway;devices=/;device_id=/id")
    payload = {"a": {"id": "a"}, "b": {"id": "other"}, "c": {}}
    assert [device for device, _, _ in feed.read("acme/gateway", payload)] == ["a", "c"]
    assert feed.dropped("mismatch") == 1


def test_the_tenant_may_be_in_the_message_of_each_device() -> None:
    """The pointers lead into that message."""
    feed = Feed("gateway;devices=/;tenant_id=/t")
    frames = feed.send("gateway", {"a": {"t": "acme"}, "b": {"t": "globex"}})
    assert [(frame["tenant_id"], frame["device_id"]) for frame in frames] == [("acme", "a"), ("globex", "b")]


def test_a_retained_message_is_new_once() -> None:
    """Its values are marked; when the broker sends it again, only what changed is published."""
    feed = Feed(SAMPLES)
    payload = {"a": {"values": {"t": 1}}, "b": {"values": {"t": 2}}}
    frames = feed.send("acme/gateway", payload, retained=True)
    assert [(frame["retained"], frame["timestamp"]) for frame in frames] == [(True, None)] * 2
    payload["b"]["values"]["t"] = 3
    assert [frame["data"] for frame in feed.send("acme/gateway", payload, retained=True)] == [3]
    assert feed.dropped("known") == 1


def test_cbor_is_read_in_the_same_way() -> None:
    """Its values were converted before."""
    cbor2 = pytest.importorskip("cbor2")
    feed = Feed(f"{SAMPLES};payload=cbor")
    raw = cbor2.dumps({"a": [{"values": {"t": 1.5, "raw": b"\x01"}}]})
    assert feed.read("acme/gateway", raw) == [("a", "t", 1.5), ("a", "raw", "AQ==")]


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_message_with_five_thousand_devices_becomes_a_thousand_frames(caplog: pytest.LogCaptureFixture) -> None:
    """The rest is counted."""
    feed = Feed(SAMPLES)
    payload = {f"d{number}": [{"ts": number, "values": {"t": number}}] for number in range(5_000)}
    with caplog.at_level(logging.WARNING):
        frames = feed.read("acme/gateway", payload)
    assert frames == [(f"d{number}", "t", number) for number in range(FRAMES_MAX)]
    assert feed.dropped("too_many") == 4_000
    assert "4000 values are above the limits of one message" in caplog.text


@pytest.mark.parametrize(
    ("template", "payload", "left_out"),
    [
        (MEMBERS, {str(number): number for number in range(1_001)}, 1),
        (MEMBERS, {str(number): number for number in range(1_000)}, 0),
        (DEVICES, {"a": list(range(700)), "b": list(range(700)), "c": 1, "d": 2}, 402),
        (DEVICES, {str(number): number for number in range(1_000)}, 0),
        (SAMPLES, {name: {"values": {str(n): n for n in range(600)}} for name in "abc"}, 201),
        (LISTED, {"list": [{"id": "a", "values": {"t": 1}}] * 1_500}, 500),
        (LISTED, {"list": [{}] * 1_500}, 500),
    ],
)
def test_what_exceeds_a_thousand_frames_is_counted(template: str, payload: object, left_out: int) -> None:
    """Values of the device that is over the limit, and one for each device after it; also if nothing can be read."""
    feed = Feed(template)
    feed.send("acme/d1" if template == MEMBERS else "acme/gateway", payload)
    assert feed.dropped("too_many") == left_out
    assert len(feed.published) + feed.dropped("pointer") == (1_000 if left_out else len(feed.published))


@pytest.mark.parametrize(
    "payload", [{str(n): {"values": {"t": 1}} for n in range(1_000)}, {str(n): {} for n in range(1_000)}]
)
def test_a_message_with_many_values_is_published_in_parts(payload: object) -> None:
    """So that other work of the loop is done between them; also if nothing in it can be read."""
    feed = Feed(SAMPLES)
    feed.ingest._clock = iter(range(1_000_000)).__next__  # each look at the clock is a second later
    feed.ingest.handle(InboundMessage("acme/gateway", json.dumps(payload).encode(), False, (), 5))
    steps = 0
    while feed.ingest.unfinished is not None:
        feed.ingest.continue_message()
        steps += 1
    assert steps == 1_000
    assert len(feed.published) + feed.dropped("pointer") == 1_000


def test_a_long_topic_counts_for_each_frame() -> None:
    """Otherwise a message of 100 KB would become 64 MB of frames."""
    feed = Feed("{tenant_id}/{device_id}/{kind};series=/")
    feed.send(f"acme/d1/{'x' * 60_000}", {str(number): 1 for number in range(1_000)})
    assert 30 < len(feed.published) < 40
    assert feed.dropped("too_many") == 1_000 - len(feed.published)


@pytest.mark.parametrize("template", [MEMBERS, DEVICES])
def test_an_object_with_too_many_members_is_not_split(template: str) -> None:
    """To split it would hold the event loop."""
    feed = Feed(template)
    assert feed.send(template.partition(";")[0].format(tenant_id="acme", device_id="d1"),
                     {str(number): 1 for number in range(SPLIT_MAX + 1)}) == []  # fmt: skip
    assert feed.dropped("too_large") == 1


@pytest.mark.parametrize(
    ("template", "unit"),
    [
        (MEMBERS, '"{n}":1'),
        (MEMBERS, '"{n}":[[[[[1]]]]]'),
        (SAMPLES, '"{n}":[{{"values":{{"t":1}}}}]'),
        (SAMPLES, '"{n}":{{"values":"{n}"}}'),
        (DEVICES, '"{n}":[0,0,0,0,0,0,0]'),
    ],
)
def test_a_message_is_split_in_linear_time(template: str, unit: str) -> None:
    """Whatever its parts are."""
    topic = "acme/d1" if template == MEMBERS else "acme/gateway"

    def handle(size: int) -> None:
        payload = "{" + ",".join(unit.format(n=number) for number in range(size)) + "}"
        Feed(template).send(topic, payload.encode())

    assert growth(handle, 200) < LINEAR_MAX


# -- clearing ---------------------------------------------------------------------------------------------------------


def test_an_empty_payload_clears_all_values_of_its_topic() -> None:
    """Of each device and series, also if only the payload had named the tenant; those of other topics stay."""
    feed = Feed("gateway/{name};devices=/;tenant_id=/t;series=/values", NAMED)
    device = {"t": "acme", "values": {"t": 1, "h": 2}}
    feed.send("gateway/1", {"a": device, "b": device})
    feed.send("gateway/2", {"c": device})
    frames = feed.send("gateway/1", b"")
    assert [(frame["device_id"], frame["series"]) for frame in frames] == [(d, s) for d in "ab" for s in "th"]
    assert all(frame["cleared"] and frame["data"] is None for frame in frames)
    assert feed.remembered() == [("c", "t"), ("c", "h")]
    assert feed.send("gateway/1", b"") == []
    assert feed.values._parts.keys() == {"gateway/2"}


def test_an_empty_payload_clears_presence_too() -> None:
    """That of a member, and that at a pointer."""
    feed = Feed(MEMBERS)
    feed.send("acme/d1", {"t": 1, "online": True})
    feed.send("acme/d1", b"")
    assert feed.presence == [("d1", True), ("d1", False)]
    assert feed.values._tenants == {}


def test_without_earlier_values_an_empty_payload_clears_the_series_of_the_topic() -> None:
    """As with other templates."""
    (frame,) = Feed(MEMBERS).send("acme/d1", b"")
    assert (frame["series"], frame["cleared"]) == ("", True)


def test_at_most_a_thousand_values_are_cleared_at_once() -> None:
    """The rest is counted, and cleared by the next one."""
    feed = Feed(MEMBERS)
    for start in (0, 1_000):
        feed.send("acme/d1", {str(start + number): 1 for number in range(1_000)})
    assert len(feed.send("acme/d1", b"")) == 1_000
    assert feed.dropped("too_many") == 1_000
    assert len(feed.send("acme/d1", b"")) == 1_000
    assert feed.values._tenants == {}


# -- a message without a template -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "hint"),
    [
        ("frigate/door/motion", "no template matches it; the preset frigate would, with --topic frigate; counted as"),
        ("elsewhere/1", "no template matches it; counted as unmatched"),
    ],
)
def test_the_first_message_without_a_template_names_the_preset_that_would_match(
    topic: str, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If there is one."""
    feed = Feed("a/b/{tenant_id}/{device_id}")
    with caplog.at_level(logging.WARNING):
        feed.send(topic, 1)
        feed.send(topic + "/2", 1)
    (message,) = caplog.messages
    assert hint in message
    assert feed.dropped("unmatched") == 2


# -- any payload ------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "id", "name", "values", "list", "", "x/y"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
POINTERS = st.sampled_from(["/", "/a", "/values", "/list", "/a/0", "/list/0/values", "/name"])


@given(JSON, POINTERS, POINTERS, POINTERS, st.booleans())
def test_whatever_arrives_its_values_are_cut_out_of_it(
    value: object, name: str, series: str, devices: str, several: bool
) -> None:
    """Each is a part of the payload, with ids that are allowed, and nothing fails."""
    settings = f";name={name};series={series}" + (f";devices={devices};device_id=/id" if several else "")
    feed = Feed(("{tenant_id}/x" if several else "{tenant_id}/{device_id}") + settings)
    raw = json.dumps(value).encode()
    frames = feed.send("acme/x", raw)
    assert feed.dropped("error") == 0
    assert all(isinstance(each, DeviceMessage) and each.data in raw for each in feed.published)
    assert all(frame["device_id"] and len(frame.get("device_name", "")) <= NAME_MAX_CHARS for frame in frames)
