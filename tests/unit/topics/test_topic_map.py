"""The topic map: several templates, ids from payloads, filters, refused templates."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from hermes.errors import AddressNotFound, TemplateError
from hermes.topics.topic_map import TopicMap
from tests.support.random_templates import templates, topics_like

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
    """Tenant, device and series of a topic and a payload, or None."""
    match = topics.match(topic)
    try:
        return None if match is None else match.resolve(value)
    except AddressNotFound:
        return None


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
    """RFC 6901; without a valid id the message is dropped."""
    topics = TopicMap([f"up/{{device_id}};tenant_id={pointer}"])
    match = topics.match("up/d1")
    assert match is not None
    assert match.template.pointers
    if tenant is not None:
        assert match.resolve(value) == (tenant, "d1", "")
        return
    with pytest.raises(AddressNotFound) as fault:
        match.resolve(value)
    assert fault.value.reason == "pointer"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"tenant": "acme"}, ("acme", "d1", "")),
        ({"tenant": "acme", "device": "d1", "kind": "temp"}, ("acme", "d1", "temp")),
        ({"tenant": 7}, ("acme", "d1", "")),
        ({"tenant": ["acme"]}, ("acme", "d1", "")),
        (None, ("acme", "d1", "")),
        ({"tenant": "evil"}, "mismatch"),
        ({"device": "d2"}, "mismatch"),
        ({"tenant": "a" * 1_025}, "too_long"),
    ],
)
def test_topic_and_payload_must_agree_where_both_are_asked(value: object, expected: tuple[str, str, str] | str) -> None:
    """The topic decides if the payload has no valid id; the payload may add the series."""
    text = "v1/{tenant_id:acme|7}/{device_id}/{series?};tenant_id=/tenant;device_id=/device;series=/kind"
    topic = "v1/7/d1" if value == {"tenant": 7} else "v1/acme/d1"
    match = TopicMap([text]).match(topic)
    assert match is not None
    if isinstance(expected, tuple):
        assert match.resolve(value) == (topic.split("/")[1], *expected[1:])
        return
    with pytest.raises(AddressNotFound) as fault:
        match.resolve(value)
    assert fault.value.reason == expected


def test_a_series_of_topic_and_payload_must_agree_too() -> None:
    """The payload may add a series that the topic lacks."""
    topics = TopicMap(["v1/{tenant_id}/{device_id}/{series?};series=/kind"])
    assert ids(topics, "v1/t/d/temp", {"kind": "temp"}) == ("t", "d", "temp")
    assert ids(topics, "v1/t/d/temp", {"kind": "hum"}) is None
    assert ids(topics, "v1/t/d/temp", {}) == ("t", "d", "temp")
    assert ids(topics, "v1/t/d", {}) == ("t", "d", "")


@pytest.mark.parametrize(
    ("template", "topic", "value", "too_long"),
    [
        ("{tenant_id}/{device_id}", "t/" + "d" * 1_024, None, False),
        ("{tenant_id}/{device_id}", "t/" + "d" * 1_025, None, True),
        ("{tenant_id}/{device_id}", "t" * 1_025 + "/d", None, True),
        ("{tenant_id}/{device_id...}", "t" + "/d" * 513, None, True),
        ("{device_id};tenant_id=/t", "d", {"t": "t" * 1_024}, False),
        ("{device_id};tenant_id=/t", "d", {"t": "t" * 1_048_576}, True),
        ("{device_id};tenant_id=/t", "d", {"t": 10**1_100}, True),
    ],
)
def test_ids_of_more_than_1024_characters_are_refused(template: str, topic: str, value: object, too_long: bool) -> None:
    """In the topic and in the payload."""
    match = TopicMap([template]).match(topic)
    assert match is not None
    if not too_long:
        assert all(match.resolve(value)[:2])
        return
    with pytest.raises(AddressNotFound) as fault:
        match.resolve(value)
    assert fault.value.reason == "too_long"


def test_device_and_series_can_come_from_the_payload_too() -> None:
    """One topic may have several pointers."""
    topics = TopicMap(["gw/{tenant_id};device_id=/device;series=/kind"])
    assert ids(topics, "gw/acme", {"device": "d1", "kind": "temp"}) == ("acme", "d1", "temp")
    assert ids(topics, "gw/acme", {"device": "d1"}) is None


def test_a_template_without_pointers_needs_no_payload() -> None:
    """The topic contains all values."""
    match = TopicMap(["hermes"]).match("tenants/acme/devices/d1/temp")
    assert match is not None
    assert not match.template.pointers


def test_the_first_matching_template_wins() -> None:
    """In their order; a template with an empty id does not match."""
    topics = TopicMap(["a/{tenant_id}/{device_id...}", "a/{tenant_id}/{series...};device_id=gateway"])
    assert ids(topics, "a/t/d") == ("t", "d", "")
    assert ids(topics, "a/t") == ("t", "gateway", "")


def test_ten_templates_at_once_read_each_topic_by_their_own() -> None:
    """The combined expression has groups for each of them."""
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
        (["hermse"], ["'hermse' is not a preset", "hermes, chirpstack"]),
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
        (["{tenant_id}/{device_id:[z-a]}"], ["[z-a]", "not a set of characters"]),
        (["{tenant_id}/{device_id:a/b}"], ["contains a /", "{device_id...}"]),
        (["{tenant_id}/x{device_id:a*}"], ["is only a part of the level"]),
        (["{tenant_id}/{device_id...:a*}/{series}"], ["has a pattern and levels after it", "!filter"]),
        (["{tenant_id}/{device_id};payload=xml"], ["payload=xml", "payload=cbor"]),
        (["{tenant_id}/{device_id};online="], ["online has no value", "online=SERIES"]),
        (["{tenant_id}/{device_id};online=a||b"], ["empty name"]),
        (["{tenant_id}/{device_id};online=/a~3"], ["not a JSON pointer"]),
        (["{tenant_id}/{device_id};name=Hall"], ["name=Hall is not a JSON pointer", "write name=/json/pointer"]),
        (["{tenant_id}/{device_id};name="], ["name has no value", "write name=/json/pointer"]),
        (["{tenant_id}/{device_id};name=/a~3"], ["not a JSON pointer"]),
        (["{tenant_id}/x;devices=list"], ["devices=list is not a JSON pointer", "devices=/ for the whole payload"]),
        (["{tenant_id}/{device_id};devices=/"], ["device_id comes from two places", "rename the field"]),
        (["{tenant_id}/x;devices=/;device_id=d"], ["device_id comes from two places"]),
        (["{tenant_id}/x;devices=/;devices=/a"], ["devices is set twice"]),
        (["x;devices=/"], ["tenant_id is missing"]),
        (["{tenant_id}/{device_id};series=/;series=a"], ["series is set twice"]),
        (["{tenant_id}/{device_id};payload=sparkplug;name=/x"], ["sparkplug has no JSON for pointers"]),
        (["{tenant_id}/{device_id};payload=sparkplug;series=/"], ["sparkplug has no JSON for pointers"]),
        (["{tenant_id}/x;payload=sparkplug;devices=/"], ["sparkplug has no JSON for pointers"]),
        (["{device_id};tenant_id=/t;payload=sparkplug"], ["sparkplug has no JSON for pointers"]),
        (["{tenant_id:$x|y}/{device_id}"], ["no field matches", "begins with $"]),
        (["{tenant_id}/{device_id:a+}"], ["contains +", "write * for any text"]),
        (["{device_id};tenant_id=" + "a" * 1_025], ["tenant_id has more than 1,024 characters"]),
        (["{device_id};tenant_id=\udc80"], ["not valid UTF-8"]),
        (["{tenant_id}/{device_id};payload=sparkplug;online=/x"], ["sparkplug has no JSON for pointers"]),
        (["hermes", "!a/{b};tenant_id=c"], ["exclusion '!a/{b};tenant_id=c'", "have no settings"]),
        (["hermes", "!a/+/{b}"], ["exclusion '!a/+/{b}'", "write {name}"]),
        (["a/{tenant_id}/{device_id}", "!a/{x}/{y}"], ["never reached", "is excluded by '!a/{x}/{y}'"]),
        (["hermes", "!a/b#"], ["exclusion '!a/b#'", "# must be"]),
        (["hermes", "!a/#/b"], ["# must be"]),
        (["hermes", "!a+/b"], ["+ must be"]),
        (["hermes", "!"], ["it is empty"]),
        (["!a/#"], ["no topic template"]),
        (["hermes", "!tenants/#"], ["never reached", "is excluded by '!tenants/#': leave one out"]),
        (["a/{tenant_id}/{device_id:x|y}/{s?}", "!a/+/+/#"], ["never reached"]),
        (["hermes", "!a/#", "!b/#", "!a/#"], ["exclusion '!a/#' is given twice"]),
        (["hermes", "!{a}/x", "!{a}/x"], ["exclusion '!{a}/x' is given twice"]),
        (["{tenant_id/{device_id}"], ["braces", "'{tenant_id'"]),
        (["{tenant_id}/{device_id:[", "-9]}"], ["braces in '{device_id:['", "a comma ends an entry of HERMES_TOPICS"]),
        (["{tenant_id}/{device_id...:a/b", "c}"], ["braces in '{device_id...:a'", "HERMES_TOPICS"]),
        (["tenant_id}/{device_id}"], ["braces"]),
        (["{{tenant_id}}/{device_id}"], ["braces"]),
        (["{}/{tenant_id}/{device_id}"], ["no name"]),
        (["{tenant_id}/{device_id}/{...}"], ["no name"]),
        (["{tenant id}/{device_id}"], ["'tenant id' is not a field name"]),
        (["{1}/{tenant_id}/{device_id}"], ["'1' is not a field name"]),
        (["{tenant_id}{device_id}"], ["two fields touch"]),
        (["{tenant_id}/{device_id};color=red"], ["'color' after ;", "tenant_id=…"]),
        (["{tenant_id}/{device_id};"], ["'' after ;"]),
        (["{device_id};tenant_id=a;bridge="], ["bridge has no value", "write bridge=TOPIC"]),
        (["{device_id};tenant_id=a;bridge=gw/+/state"], ["bridge=gw/+/state has a wildcard", "{name}"]),
        (["{device_id};tenant_id=a;bridge=gw/{x}/state"], ["{x} in bridge=gw/{x}/state", "there are: {device_id}"]),
        (["{device_id...};tenant_id=a;bridge={device_id}/s"], ["is no single level", "there are: none"]),
        (["{device_id};tenant_id=a;bridge=gw/{x"], ["the braces in bridge=gw/{x are not in pairs"]),
        (["{device_id};tenant_id=a;bridge=gw/{/a~2}"], ["/a~2 is not a JSON pointer", "~0"]),
        (["{tenant_id}/{device_id};payload=sparkplug;bridge=gw"], ["births and deaths of its own"]),
        (["{device_id};tenant_id"], ["tenant_id has no value"]),
        (["{device_id};tenant_id="], ["tenant_id has no value"]),
        (["{device_id};tenant_id=a;tenant_id=b"], ["set twice"]),
        (["{device_id};tenant_id=/a~2"], ["not a JSON pointer", "~0"]),
        (["a/{device_id}"], ["tenant_id is missing", ";tenant_id=constant"]),
        (["a/{tenant_id}"], ["device_id is missing", "{device_id}"]),
        (["a\0/{tenant_id}/{device_id}"], ["NUL"]),
        (["\udc80/{tenant_id}/{device_id}"], ["not valid UTF-8"]),
        (["é" * 32_768 + "/{tenant_id}/{device_id}"], ["65,535 bytes", "…"]),
        (["$a{tenant_id}/{device_id}"], ["begins with $"]),
        (["$share/group/{tenant_id}/{device_id}"], ["$share"]),
        (["hermes", "hermes"], ["given twice"]),
        (["{tenant_id}/{device_id}", "{device_id}/{tenant_id}"], ["never reached", "put it first"]),
        (["a/{tenant_id}/{device_id...}", "a/{tenant_id}/b/{device_id}"], ["never reached", "put it first"]),
        (["a/{tenant_id...};device_id=d", "a/{device_id...};tenant_id=t"], ["never reached"]),
        (
            ["a/{tenant_id}/{device_id}", "b/{tenant_id}/{device_id}", "{x:a|b}/{tenant_id}/{device_id}"],
            ["matched before by 'a/{tenant_id}/{device_id}' and 'b/{tenant_id}"],
        ),
        (
            ["{x:a|b}/{tenant_id}/{device_id}", "a/{tenant_id}/{device_id}", "!b/#", "!a/+/+"],
            ["excluded by '!a/+/+' and '!b/#'"],
        ),
        (["{series...};tenant_id=t;device_id=d", "hermes"], ["never reached"]),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_what_to_write(templates: list[str], words: list[str]) -> None:
    """The error names the template, the problem and what to write."""
    with pytest.raises(TemplateError) as caught:
        TopicMap(templates)
    assert [word for word in words if word not in str(caught.value)] == []


def test_all_problems_are_in_one_error() -> None:
    """So that they can be fixed at once."""
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
    """Overlapping templates are allowed."""
    assert len(TopicMap(templates).templates) == len(templates)


@pytest.mark.parametrize(
    "entries",
    [
        ["z/{device_id...};tenant_id=t", "!z/+"],
        ["z/{device_id...};tenant_id=t", "!z/+/+/#"],
        ["z/{series...};tenant_id=t;device_id=d", "!z/+/#"],
        ["a/{tenant_id}/{device_id}/{s?}", "!a/+/+"],
        ["a/{tenant_id}/{device_id:x|y}", "!a/+/x"],
        ["a/{tenant_id}/{device_id:x*}", "!a/+/x"],
        ["$a/{tenant_id}/{device_id}", "!+/+/+"],
        ["zigbee2mqtt", "!zigbee2mqtt/bridge/#"],
    ],
)
def test_exclusions_that_leave_something_of_each_template_are_accepted(entries: list[str]) -> None:
    """Also an exclusion that a preset contains already."""
    assert TopicMap(entries).exclusions


def test_filters_covered_by_another_are_not_subscribed() -> None:
    """So each message arrives once."""
    topics = TopicMap(["o/{device_id}@{tenant_id}/x", "o/{tenant_id}/{device_id}", "o/{tenant_id}/{device_id...}"])
    assert topics.filters == ("o/+/#",)
    assert not topics.overlapping
    assert topics.wanted_copy("o/a/b", [2])


def test_partly_overlapping_filters_are_distinguished_by_identifiers() -> None:
    """The copy with the lowest identifier of the matching filters is delivered."""
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


def test_exclusions_apply_to_all_templates() -> None:
    """At any place in the list; also for a topic that no template matches."""
    topics = TopicMap(
        ["a/{tenant_id}/{device_id}", "b/{tenant_id}/{device_id}", "!+/secret/#", "!{x:a|b}/{y}/{z:cmd|set}"]
    )
    assert ids(topics, "a/t/d") == ("t", "d", "")
    for topic in ("a/secret/d", "b/t/cmd", "c/secret"):
        assert topics.match(topic) is None
        assert topics.excluded(topic)
    assert not topics.excluded("c/t/cmd")


@settings(deadline=None)
@given(st.lists(templates(), min_size=1, max_size=4, unique=True), st.data())
def test_the_first_template_that_matches_reads_the_topic(every: list[str], data: st.DataObject) -> None:
    """The subscribed filters bring its topics, and disjoint filters bring each of them once."""
    topic = data.draw(topics_like(*every))
    try:
        topics = TopicMap(every)
    except TemplateError:
        return  # one cannot be reached
    expected = next((found for each in every if (found := TopicMap([each]).match(topic)) is not None), None)
    match = topics.match(topic)
    assert match == expected
    if match is not None:
        assert any(topic_matches_sub(each, topic) for each in topics.filters)
        assert sum(topic_matches_sub(each, topic) for each in topics.disjoint_filters) == 1


@settings(deadline=None)
@given(st.text(max_size=60), st.text(alphabet="{}/.?:;=!*[]|ab$+#\0,tenant_id", max_size=40))
def test_any_text_is_a_template_or_refused(text: str, likely: str) -> None:
    """Parsing raises no other exception."""
    for entry in (text, likely, f"{likely}/{{tenant_id}}/{{device_id}}", f"a/{{tenant_id}}/{{device_id:{likely}}}"):
        with contextlib.suppress(TemplateError):
            assert TopicMap([entry]).templates


@pytest.mark.parametrize(
    ("topic", "sender"),
    [
        ("tenants/acme/devices/d1/temp", ("acme", "d1")),
        ("application/7/device/ab/event/up", ((1, "application/7/device/"), "ab")),
        ("home/lamp", ("home", "lamp")),
        ("gateway/g1/up", ((3, ""), "gateway/g1/up")),
        ("site/s1/up", ("s1", "site/s1/up")),
        ("unknown", (None, None)),
        ("home/excluded", (None, None)),
    ],
)
def test_the_sender_is_what_the_topic_alone_shows(topic: str, sender: tuple[object, object]) -> None:
    """Whatever tenant the payload names; a part of the topic is never mistaken for a tenant's id."""
    topics = TopicMap(
        (
            "tenants/{tenant_id}/devices/{device_id}/{series...}",
            "application/{app}/device/{device_id}/event/{series};tenant_id=/deviceInfo/tenantId",
            "home/{device_id};tenant_id=home",
            "gateway/{gateway}/up;tenant_id=/t;device_id=/d",
            "site/{tenant_id}/up;device_id=/d",
            "!home/excluded",
        )
    )
    tenant, device = topics.sender_of(topic)
    if isinstance(tenant, tuple):
        tenant = [template.text for template in topics.templates].index(tenant[0]), tenant[1]
    assert (tenant, device) == sender


@pytest.mark.parametrize("bad", [".", "..", "d\u202e1", "d\u200b1", "d\x9b1", "d\n1", "\ufeffd1", "d\u2028"])
@pytest.mark.parametrize("where", ["topic", "payload", "tenant"])
def test_an_id_that_cannot_be_shown_is_refused(bad: str, where: str) -> None:
    """It could look like another device's; a URL cannot contain ``.`` and ``..`` as a level."""
    if where == "payload":
        match = TopicMap(("in/{tenant_id};device_id=/d",)).match("in/acme")
    else:
        topic = f"in/acme/{bad}" if where == "topic" else f"in/{bad}/d1"
        match = TopicMap(("in/{tenant_id}/{device_id}",)).match(topic)
    assert match is not None
    with pytest.raises(AddressNotFound) as error:
        match.resolve({"d": bad})
    assert error.value.reason == "bad_id"
    assert str(error.value).isprintable()


@pytest.mark.parametrize("good", ["d 1", "Kühlraum 4", "東京", "...", ".hidden", "a\u0301", "\u0645", "🙂", "d\u00a01"])
def test_ids_of_any_language_are_usable(good: str) -> None:
    """Also with characters that Python does not count as printable, such as a no-break space."""
    match = TopicMap(("in/{tenant_id}/{device_id}",)).match(f"in/acme/{good}")
    assert match is not None
    assert match.resolve(None) == ("acme", good, "")


# -- bridges --------------------------------------------------------------------------------------------------------


def test_the_topics_of_bridges_are_subscribed_to() -> None:
    """Unless a filter of the templates covers them."""
    assert TopicMap(["gw/{g}/{device_id};tenant_id=t;bridge=state/{g}"]).filters == ("gw/+/+", "state/+")
    assert TopicMap(["zigbee2mqtt"]).filters == ("zigbee2mqtt/#",)


@pytest.mark.parametrize(
    ("template", "topic", "value", "bridge"),
    [
        ("z/{device_id};tenant_id=t;bridge=z/bridge/state", "z/lamp", {}, "z/bridge/state"),
        ("gw/{g}/{device_id};tenant_id=t;bridge=gw/{g}/s-{device_id}", "gw/1/d", {}, "gw/1/s-d"),
        ("h/{device_id};tenant_id=t;bridge=h/{/a/0}/s", "h/d", {"a": ["root"]}, "h/root/s"),
        ("h/{device_id};tenant_id=t;bridge=h/{/a}/s", "h/d", {"a": "x/y"}, None),
        ("h/{device_id};tenant_id=t;bridge=h/{/a}/s", "h/d", {}, None),
    ],
)
def test_a_match_has_the_topic_of_the_devices_bridge(
    template: str, topic: str, value: object, bridge: str | None
) -> None:
    """From its text, the fields of the topic, and the payload; other topics are not those of a bridge."""
    topics = TopicMap([template])
    match = topics.match(topic)
    assert match is not None
    assert match.bridge is not None
    assert match.bridge.topic(value) == bridge
    assert bridge is None or topics.is_bridge(bridge)
    assert not topics.is_bridge(f"{topic}/more")
    assert not TopicMap(["hermes"]).is_bridge(topic)


def test_settings_that_do_not_change_the_values_are_not_part_of_the_mapping() -> None:
    """After a reload, the values of such a template stay."""
    before, after = TopicMap(["hermes"]), TopicMap(["hermes;online=alive"])
    for topic in ("tenants/a/devices/b/c", "other"):
        assert before.mapping_of(topic) == after.mapping_of(topic)
    assert TopicMap(["hermes;payload=cbor"]).mapping_of("tenants/a/devices/b/c") != after.mapping_of(
        "tenants/a/devices/b/c"
    )
