"""Topic templates: which topics they match, whose device that is, what to subscribe, and what is refused."""

import contextlib
import json
import re
import time
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from hermes import topic_filters
from hermes.errors import TemplateError, Unaddressed
from hermes.topics import PRESETS, TopicMap, parse_template

SAMPLES = Path(__file__).parent.parent.parent / "shared" / "samples"

TEN_TEMPLATES = (
    "hermes",
    "chirpstack",
    "v3/{app}@{tenant_id}/devices/{device_id}/{series...}",
    "zigbee2mqtt/{device_id...};tenant_id=home",
    "tele/{device_id}/{series};tenant_id=home",
    "stat/{device_id}/{series};tenant_id=home",
    "shellies/{device_id}/{series...};tenant_id=home",
    "homie/5/{device_id}/{series...};tenant_id=home",
    "owntracks/{tenant_id}/{device_id}/{series...}",
    "spBv1.0/{tenant_id}/{series}/{edge}/{device_id}",
)


def ids(topics: TopicMap, topic: str, value: object = None) -> tuple[str, str, str] | None:
    """What the map makes of a topic and a payload."""
    match = topics.match(topic)
    try:
        return None if match is None else match.resolve(value)
    except Unaddressed:
        return None


@pytest.mark.parametrize(
    ("template", "topic", "expected"),
    [
        ("hermes", "tenants/acme/devices/d1/temp", ("acme", "d1", "temp")),
        ("hermes", "tenants/acme/devices/d1/a/b", ("acme", "d1", "a/b")),
        ("hermes", "tenants/acme/devices/d1", ("acme", "d1", "")),
        ("hermes", "tenants/acme/devices/d1/", ("acme", "d1", "")),
        ("hermes", "tenants/acme/devices/d1//x", ("acme", "d1", "/x")),
        ("hermes", "tenants//devices/d1/temp", None),
        ("hermes", "tenants/acme/devices//temp", None),
        ("hermes", "tenants/acme/devices", None),
        ("hermes", "Tenants/acme/devices/d1", None),
        ("hermes", "/tenants/acme/devices/d1", None),
        ("hermes", "tenants/a b\n\U0001f600/devices/../x", ("a b\n\U0001f600", "..", "x")),
        ("{tenant_id}/{device_id}", "a/b", ("a", "b", "")),
        ("{tenant_id}/{device_id}", "a/b/c", None),
        ("{tenant_id}/{device_id}", "$SYS/b", None),
        ("{tenant_id}.{device_id}/{series}", "a.b.c/s", ("a", "b.c", "s")),
        ("{tenant_id}--{device_id}", "a---b", ("a", "-b", "")),
        ("{tenant_id}--{device_id}", "--b", None),
        ("x{tenant_id}y/{device_id}", "xyy/d", ("y", "d", "")),
        ("x{tenant_id}y/{device_id}", "xy/d", None),
        ("x{tenant_id}-{device_id}y", "xa-byy", ("a", "by", "")),
        ("/{tenant_id}/{device_id}/", "/a/b/", ("a", "b", "")),
        ("/{tenant_id}/{device_id}/", "/a/b", None),
        ("v3/{app}@{tenant_id}/devices/{device_id}/{series...}", "v3/a@ttn/devices/d/up", ("ttn", "d", "up")),
        ("v3/{app}@{tenant_id}/devices/{device_id}/{series...}", "v3/app/devices/d/up", None),
        ("z/{device_id...};tenant_id=home", "z/living room/lamp", ("home", "living room/lamp", "")),
        ("z/{device_id...};tenant_id=home", "z", None),
        ("z/{device_id...};tenant_id=home", "z/", None),
        ("{device_id...};tenant_id=home;series=all", "a/b", ("home", "a/b", "all")),
        ("{device_id...};tenant_id=home", "$SYS/a", None),
        ("{series...};tenant_id=t;device_id=d", "a/b", ("t", "d", "a/b")),
        ("$aws/things/{device_id}/shadow/{series...};tenant_id=t", "$aws/things/d/shadow/get", ("t", "d", "get")),
        ("a.b/{tenant_id}/{device_id}", "axb/t/d", None),
        ("only;tenant_id=t;device_id=d", "only", ("t", "d", "")),
    ],
)
def test_a_topic_is_read_by_its_template(template: str, topic: str, expected: tuple[str, str, str] | None) -> None:
    """Fields take non-empty levels or parts of levels, the rest takes any number of levels."""
    assert ids(TopicMap([template]), topic) == expected


@pytest.mark.parametrize(
    ("pointer", "value", "tenant"),
    [
        ("/deviceInfo/tenantId", {"deviceInfo": {"tenantId": "acme"}}, "acme"),
        ("/t", {"t": 7}, "7"),
        ("/t", {"t": -7}, "-7"),
        ("/list/1", {"list": ["a", "b"]}, "b"),
        ("/list/01", {"list": ["a", "b"]}, None),
        ("/list/-", {"list": ["a", "b"]}, None),
        ("/list/2", {"list": ["a", "b"]}, None),
        ("/list/99999999999999999999", {"list": ["a"]}, None),
        ("/a~1b/m~0n", {"a/b": {"m~n": "x"}}, "x"),
        ("/~01", {"~1": "x"}, "x"),
        ("/", {"": "x"}, "x"),
        ("/t", {"t": ""}, None),
        ("/t", {"t": None}, None),
        ("/t", {"t": True}, None),
        ("/t", {"t": 1.0}, None),
        ("/t", {"t": {}}, None),
        ("/t", {"t": ["a"]}, None),
        ("/t/x", {"t": "text"}, None),
        ("/t", {}, None),
        ("/t", [], None),
        ("/t", None, None),
    ],
)
def test_a_pointer_finds_strings_and_integers_only(pointer: str, value: object, tenant: str | None) -> None:
    """RFC 6901: what is no id, or is not there, gives no message."""
    topics = TopicMap([f"up/{{device_id}};tenant_id={pointer}"])
    match = topics.match("up/d1")
    assert match is not None
    assert match.needs_payload
    if tenant is not None:
        assert match.resolve(value) == (tenant, "d1", "")
        return
    with pytest.raises(Unaddressed) as fault:
        match.resolve(value)
    assert fault.value.reason == "pointer"


def test_device_and_series_can_come_from_the_payload_too() -> None:
    """Several settings stand behind one topic."""
    topics = TopicMap(["gw/{tenant_id};device_id=/device;series=/kind"])
    assert ids(topics, "gw/acme", {"device": "d1", "kind": "temp"}) == ("acme", "d1", "temp")
    assert ids(topics, "gw/acme", {"device": "d1"}) is None


def test_a_template_without_pointers_needs_no_payload() -> None:
    """What the topic says is enough."""
    match = TopicMap(["hermes"]).match("tenants/acme/devices/d1/temp")
    assert match is not None
    assert not match.needs_payload


def test_the_first_matching_template_wins() -> None:
    """Order decides, and an id that would be empty leaves the topic to the next template."""
    topics = TopicMap(["a/{tenant_id}/{device_id...}", "a/{tenant_id}/{series...};device_id=gateway"])
    assert ids(topics, "a/t/d") == ("t", "d", "")
    assert ids(topics, "a/t") == ("t", "gateway", "")


def test_ten_templates_at_once_read_each_topic_by_their_own() -> None:
    """The combined expression keeps their groups apart."""
    topics = TopicMap(TEN_TEMPLATES)
    assert ids(topics, "v3/app@ttn/devices/dev/up") == ("ttn", "dev", "up")
    assert ids(topics, "zigbee2mqtt/kitchen/lamp") == ("home", "kitchen/lamp", "")
    assert ids(topics, "spBv1.0/plant 1/DDATA/edge/pump") == ("plant 1", "pump", "DDATA")
    assert ids(topics, "nothing/of/this") is None


@pytest.mark.parametrize(
    ("templates", "words"),
    [
        ([], ["no topic template", "hermes, chirpstack"]),
        ([""], ["empty", "tenants/"]),
        ([";tenant_id=a;device_id=b"], ["empty"]),
        (["hermse"], ["'hermse' is no preset", "hermes, chirpstack"]),
        (["a/+/{tenant_id}/{device_id}"], ["wildcards", "{name}"]),
        (["{tenant_id}/{device_id}/#"], ["wildcards", "{name...}"]),
        (["a{tenant_id}+/{device_id}"], ["wildcards"]),
        (["{tenant_id}/{tenant_id}/{device_id}"], ["tenant_id comes from two places"]),
        (["{x}/{x}/{tenant_id}/{device_id}"], ["x comes from two places"]),
        (["{tenant_id}/{device_id};tenant_id=a"], ["tenant_id comes from two places"]),
        (["{tenant_id}/a{device_id...}"], ["must be the whole of a level", "{device_id}"]),
        (["{tenant_id...}/{device_id...}"], ["two fields", "only one"]),
        (["{tenant_id}/{device_id}/{a...}/{b?}"], ["two fields", "only one"]),
        (["{tenant_id}/{device_id?}"], ["{device_id?} may not be absent"]),
        (["{a?}/{tenant_id}/{device_id}"], ["{a?} must be the whole of the last level", "{a}"]),
        (["{tenant_id}/{device_id}/x{a?}"], ["{a?} must be the whole of the last level"]),
        (["{tenant_id}/{device_id:}"], ["empty alternative", "{name:one|other}"]),
        (["{tenant_id}/{device_id:a||b}"], ["empty alternative"]),
        (["{tenant_id}/{device_id:[a-}"], ["bracket", "[a-z0-9]"]),
        (["{tenant_id}/{device_id:[]}"], ["bracket"]),
        (["{tenant_id}/{device_id:[z-a]}"], ["[z-a]", "no set of characters"]),
        (["{tenant_id}/{device_id:a/b}"], ["holds a /", "{device_id...}"]),
        (["{tenant_id}/x{device_id:a*}"], ["has not the level for itself"]),
        (["{tenant_id}/{device_id...:a*}/{series}"], ["has a pattern and levels after it", "!filter"]),
        (["{tenant_id}/{device_id};payload=xml"], ["payload=xml", "payload=cbor"]),
        (["{tenant_id}/{device_id};online="], ["online has no value", "online=SERIES"]),
        (["{tenant_id}/{device_id};online=a||b"], ["empty name"]),
        (["{tenant_id}/{device_id};online=/a~3"], ["no JSON pointer"]),
        (["{device_id};tenant_id=/t;payload=sparkplug"], ["sparkplug has no JSON to point into"]),
        (["hermes", "!a/b#"], ["exclusion '!a/b#'", "# must be"]),
        (["hermes", "!a/#/b"], ["# must be"]),
        (["hermes", "!a+/b"], ["+ must be"]),
        (["hermes", "!"], ["it is empty"]),
        (["!a/#"], ["no topic template"]),
        (["hermes", "!tenants/#"], ["never reached", "!tenants/# leaves out"]),
        (["a/{tenant_id}/{device_id:x*}", "a/{tenant_id}/{d:xy};device_id=z"], ["never reached"]),
        (["a/{tenant_id}/{device_id:x*}", "a/{tenant_id}/{d:x*};device_id=z"], ["never reached"]),
        (["a/{tenant_id}/{device_id:!b}", "a/{tenant_id}/{d:c|d};device_id=z"], ["never reached"]),
        (["a/{tenant_id...}/{device_id}", "a/{tenant_id}/{b}/{c}/{device_id}"], ["never reached"]),
        (["{tenant_id/{device_id}"], ["braces", "'{tenant_id'"]),
        (["tenant_id}/{device_id}"], ["braces"]),
        (["{{tenant_id}}/{device_id}"], ["braces"]),
        (["{}/{tenant_id}/{device_id}"], ["no name"]),
        (["{tenant_id}/{device_id}/{...}"], ["no name"]),
        (["{tenant id}/{device_id}"], ["'tenant id' is no field name"]),
        (["{1}/{tenant_id}/{device_id}"], ["'1' is no field name"]),
        (["{tenant_id}{device_id}"], ["two fields touch"]),
        (["{tenant_id}/{device_id};color=red"], ["'color' after ;", "tenant_id=…"]),
        (["{tenant_id}/{device_id};"], ["'' after ;"]),
        (["{device_id};tenant_id"], ["tenant_id has no value"]),
        (["{device_id};tenant_id="], ["tenant_id has no value"]),
        (["{device_id};tenant_id=a;tenant_id=b"], ["set twice"]),
        (["{device_id};tenant_id=/a~2"], ["no JSON pointer", "~0"]),
        (["a/{device_id}"], ["tenant_id is missing", ";tenant_id=constant"]),
        (["a/{tenant_id}"], ["device_id is missing", "{device_id}"]),
        (["a\0/{tenant_id}/{device_id}"], ["NUL"]),
        (["\udc80/{tenant_id}/{device_id}"], ["not valid UTF-8"]),
        (["é" * 32_768 + "/{tenant_id}/{device_id}"], ["65,535 bytes", "…"]),
        (["$a{tenant_id}/{device_id}"], ["begins with $"]),
        (["$share/group/{tenant_id}/{device_id}"], ["$share"]),
        (["hermes", "hermes"], ["given twice"]),
        (["{tenant_id}/{device_id}", "{device_id}/{tenant_id}"], ["never reached", "put it first"]),
        (["a/{tenant_id}/{device_id...}", "a/{tenant_id}/b/{device_id}"], ["never reached"]),
        (["{tenant_id}-{device_id}", "a{x}-{tenant_id}-{device_id}b"], ["never reached"]),
        (["{series...};tenant_id=t;device_id=d", "hermes"], ["never reached"]),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_what_to_write(templates: list[str], words: list[str]) -> None:
    """The error names the template, the fault and the remedy."""
    with pytest.raises(TemplateError) as caught:
        TopicMap(templates)
    assert [word for word in words if word not in str(caught.value)] == []


def test_all_faults_come_in_one_error() -> None:
    """Nobody should mend one template to learn of the next."""
    with pytest.raises(TemplateError) as caught:
        TopicMap(["a/+", "nope", "a/{tenant_id}", "hermes", "hermes"])
    for word in ("wildcards", "'nope'", "device_id is missing", "given twice"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "templates",
    [
        ["a/{tenant_id}/{device_id}", "a/{tenant_id}/{device_id...}"],
        ["a/{tenant_id}/{device_id...}", "a/{tenant_id}/{series...};device_id=d"],
        ["{tenant_id}-{device_id}", "{tenant_id}/{device_id}"],
        ["a{tenant_id}b/{device_id}", "a{tenant_id}/{device_id}"],
        ["{tenant_id}/{device_id}", "/{tenant_id}/{device_id}"],
        ["{tenant_id}/{device_id}", "$x/{device_id};tenant_id=t"],
        ["{a}/{tenant_id}/{device_id}", "{a}//{device_id};tenant_id=t"],
        ["a/{x}/{series...};tenant_id=t;device_id=d", "a/{device_id...};tenant_id=t"],
        list(TEN_TEMPLATES),
    ],
)
def test_templates_of_which_each_can_be_reached_are_accepted(templates: list[str]) -> None:
    """Overlap alone is no fault."""
    assert len(TopicMap(templates).templates) == len(templates)


def test_every_preset_is_accepted() -> None:
    """Alone and all together."""
    for name in PRESETS:
        TopicMap([name])
    TopicMap(list(PRESETS))


def test_filters_covered_by_another_are_not_subscribed() -> None:
    """One subscription brings each message once."""
    topics = TopicMap(["o/{device_id}@{tenant_id}/x", "o/{tenant_id}/{device_id}", "o/{tenant_id}/{device_id...}"])
    assert topics.filters == ("o/+/#",)
    assert not topics.overlapping
    assert topics.wanted_copy("o/a/b", [2])


def test_partly_overlapping_filters_are_told_apart_by_identifiers() -> None:
    """The copy with the lowest identifier among the matching filters is the one to deliver."""
    topics = TopicMap(["a/{tenant_id};device_id=1", "{tenant_id}/b;device_id=2", "$x/{tenant_id}/{device_id}"])
    assert topics.filters == ("a/+", "+/b", "$x/+/+")
    assert topics.overlapping
    assert topics.disjoint_filters == ("+/+", "$x/+/+")
    assert topics.wanted_copy("a/b", [1])
    assert not topics.wanted_copy("a/b", [2])
    assert topics.wanted_copy("a/b", [1, 2])
    assert topics.wanted_copy("c/b", [2])
    assert topics.wanted_copy("a/b", [])
    assert topics.wanted_copy("$x/t/d", [3])
    assert topics.wanted_copy("matched/by/none", [1])


def test_a_hostile_level_of_64_kib_is_matched_in_linear_time() -> None:
    """Fields within a level never backtrack over each other."""
    topics = TopicMap(["{a}-{b}-{c}-{tenant_id}x/{device_id}", "{tenant_id}.{a}.{b}.{device_id}/end"])
    begun_s = time.perf_counter()
    for topic in ("-" * 65_000, "." * 65_000 + "/", "a-" * 32_000 + "x/", "." * 30_000 + "/" + "." * 30_000):
        assert ids(topics, topic) is None
    assert time.perf_counter() - begun_s < 0.5


@pytest.mark.parametrize("preset", ["hermes", "chirpstack"])
def test_a_preset_reads_messages_of_its_family(preset: str) -> None:
    """Made-up messages in the shape that the family has."""
    topics = TopicMap([preset])
    if preset == "hermes":
        assert ids(topics, "tenants/acme/devices/d1/temp", 21.4) == ("acme", "d1", "temp")
        return
    uplink = {"deviceInfo": {"tenantId": "52f14cd4", "devEui": "0102030405060708"}, "fPort": 1, "data": "qg=="}
    topic = "application/17c8/device/0102030405060708/event/up"
    assert ids(topics, topic, uplink) == ("52f14cd4", "0102030405060708", "up")
    assert ids(topics, "application/17c8/device/0102030405060708/command/down", uplink) is None
    assert ids(topics, topic, {"deviceInfo": {}}) is None


def test_the_chirpstack_preset_reads_real_messages() -> None:
    """The collected messages, where they are at hand."""
    path = SAMPLES / "chirpstack.jsonl"
    if not path.exists():
        pytest.skip("the collected messages are not here")
    topics = TopicMap(["chirpstack"])
    events = 0
    for line in path.read_text().splitlines():
        sample = json.loads(line)
        levels = sample["topic"].split("/")
        if len(levels) != 6 or levels[4] != "event" or "payload" not in sample:
            continue
        value = json.loads(sample["payload"])
        tenant = value.get("deviceInfo", {}).get("tenantId")
        expected = None if tenant is None else (tenant, levels[3], levels[5])
        assert ids(topics, sample["topic"], value) == expected
        events += 1
    assert events > 3


# Properties. Few different levels, so that random templates, filters and topics meet often.

LITERALS = st.sampled_from(["", "a", "b", "ab", "$a"])
TOPICS = st.lists(st.sampled_from(["", "a", "b", "ab", "aab", "ba", "$a", "ac"]), min_size=1, max_size=5).map("/".join)
FILTERS = st.builds(
    lambda levels, rest: "/".join(levels + rest) or "+",
    st.lists(st.sampled_from(["", "a", "b", "$a", "+", "+"]), max_size=4),
    st.sampled_from([[], [], ["#"]]),
)


@st.composite
def templates(draw: st.DrawFn) -> str:
    """A template that parses, with tenant and device as constants."""
    shapes = draw(st.lists(st.sampled_from(["a", "b", "", "F", "aF", "Fb", "FaF", "aFb"]), min_size=1, max_size=4))
    name = iter(range(100))
    levels = ["".join(f"{{f{next(name)}}}" if part == "F" else part for part in shape) for shape in shapes]
    if draw(st.booleans()):
        levels.append("{rest...}")
    topic = "/".join(levels)
    assume(topic)
    return f"{topic};tenant_id=t;device_id=d"


@given(templates(), templates(), TOPICS)
def test_a_template_that_covers_another_matches_all_its_topics(one: str, other: str, topic: str) -> None:
    """The reasoning without topics agrees with the matching of topics."""
    wide, narrow = parse_template(one), parse_template(other)
    if wide.covers(narrow) and _matches(other, topic):
        assert _matches(one, topic)


@given(templates(), st.lists(templates(), max_size=3), TOPICS)
def test_what_is_subscribed_brings_what_the_templates_match(first: str, more: list[str], topic: str) -> None:
    """No filter is missing, and the disjoint ones bring nothing twice."""
    try:
        topics = TopicMap([first, *more])
    except TemplateError:
        return
    assume(topic)
    if topics.match(topic) is not None:
        assert any(topic_matches_sub(each, topic) for each in topics.filters)
        assert sum(topic_matches_sub(each, topic) for each in topics.disjoint_filters) == 1


@given(st.lists(FILTERS, min_size=1, max_size=4), TOPICS)
def test_exactly_one_copy_of_a_message_is_wanted(filters: list[str], topic: str) -> None:
    """Whatever the overlap, one of the copies that a broker sends is delivered."""
    kept = topic_filters.uncovered(filters)
    matching = [index for index, each in enumerate(kept, start=1) if topic_matches_sub(each, topic)]
    topics = _map_of(kept)
    assert sum(topics.wanted_copy(topic, [identifier]) for identifier in matching) == (1 if matching else 0)


@given(FILTERS, TOPICS)
def test_a_filters_pattern_agrees_with_paho(topic_filter: str, topic: str) -> None:
    """An independent implementation of MQTT 5 §4.7 finds the same."""
    assume(topic)
    assert bool(re.match(topic_filters.pattern(topic_filter), topic)) == topic_matches_sub(topic_filter, topic)


@given(FILTERS, FILTERS, TOPICS)
def test_filters_are_compared_as_their_topics_say(one: str, other: str, topic: str) -> None:
    """Covering, overlap and generalisation hold for every topic."""
    in_one, in_other = topic_matches_sub(one, topic), topic_matches_sub(other, topic)
    if topic_filters.covers(one, other) and in_other:
        assert in_one
    if in_one and in_other:
        assert topic_filters.overlap(one, other)
        assert topic_filters.overlap(other, one)
        both = topic_filters.generalisation(one, other)
        assert topic_filters.covers(both, one)
        assert topic_filters.covers(both, other)


@given(st.lists(FILTERS, min_size=1, max_size=5))
def test_disjoint_filters_are_disjoint_and_cover_all(filters: list[str]) -> None:
    """For brokers that know no identifiers."""
    disjoint = topic_filters.disjoint(filters)
    assert not any(topic_filters.overlap(one, other) for one, other in combinations(disjoint, 2))
    assert all(any(topic_filters.covers(each, given) for each in disjoint) for given in filters)


@given(st.text(max_size=60))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    """Parsing raises nothing else."""
    with contextlib.suppress(TemplateError):
        TopicMap([text])


def _matches(template: str, topic: str) -> bool:
    return TopicMap([template]).match(topic) is not None


def _map_of(filters: tuple[str, ...]) -> TopicMap:
    """A map that subscribes to exactly these filters."""
    topics = TopicMap(["hermes"])
    topics.filters = filters
    topics.overlapping = topic_filters.any_overlap(filters)
    topics._lowest = re.compile("|".join(f"{topic_filters.pattern(text)}()" for text in filters))
    return topics
