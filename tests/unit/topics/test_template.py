"""One topic template: the topics that it matches, and its filters."""

import contextlib
import re
import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from hermes.errors import TemplateError
from hermes.ids import DeviceId, TenantId
from hermes.topics import filters as topic_filters
from hermes.topics.isolation import isolation_problems
from hermes.topics.parser import parse_exclusion
from hermes.topics.pattern import FieldPattern
from hermes.topics.topic_map import TopicMap, parse_template
from tests.support.examples import EXAMPLES
from tests.support.random_templates import ACROSS, PATTERNS, WORDS, filled, templates, topics_like


def ids(template: str, topic: str) -> tuple[str | None, str | None, str | None] | None:
    """Tenant, device and series that one template reads from a topic."""
    match = TopicMap([template]).match(topic)
    return None if match is None else (match.tenant_id, match.device_id, match.series)


# Matching


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(templates(plain=True), st.data())
def test_the_values_of_whole_levels_are_read_back(template: str, data: st.DataObject) -> None:
    """Any non-empty text in place of a field is the value of the field."""
    parsed = parse_template(template)
    level, rest = st.text("ab-@$", min_size=1, max_size=4), st.text("ab/", min_size=1, max_size=6)
    values = {name: data.draw(rest if parsed.rest and parsed.rest.name == name else level) for name in parsed.fields}
    topic = filled(template, iter(values.values()))
    match = re.match(parsed.pattern, topic)
    if topic.startswith("$") and parsed.starts_with_field:
        assert match is None
        return
    assert match is not None
    assert {name: match[index] for index, name in enumerate(parsed.fields, start=1)} == values


@settings(deadline=None)
@given(templates().filter(lambda text: "{" in text.partition(";")[0]), templates(), st.data())
def test_an_exclusion_excludes_the_topics_of_its_template(excluded: str, template: str, data: st.DataObject) -> None:
    """An exclusion with fields matches exactly as a template; the template reads all other topics."""
    text = excluded.partition(";")[0]
    topic = data.draw(topics_like(excluded, template))
    try:
        topics = TopicMap([f"!{text}", template])
    except TemplateError:
        return  # everything is excluded
    is_excluded = re.match(parse_exclusion(text).pattern, topic) is not None
    assert topics.excluded(topic) == is_excluded
    match = topics.match(topic)
    found = None if match is None else (match.tenant_id, match.device_id, match.series)
    assert found == (None if is_excluded else ids(template, topic))


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
    assert ids(template, topic) == expected


@settings(deadline=None)
@given(st.sampled_from(ACROSS), st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map("/".join))
def test_a_pattern_matches_as_in_a_shell(text: str, value: str) -> None:
    """Compared with Python's `fnmatch`."""
    taken = any(fnmatchcase(value, each) for each in text.removeprefix("!").split("|"))
    expected = taken != text.startswith("!") and value != ""
    assert FieldPattern(text).matches(value, across=True) is expected
    if "/" not in value and text in PATTERNS:
        assert FieldPattern(text).matches(value) is expected


@pytest.mark.parametrize(
    ("template", "topic", "expected"),
    [
        ("a/{tenant_id}/{device_id:*}", "a/t/", None),
        ("a/{tenant_id}/{device_id...:*}", "a/t/", None),
        ("a/{tenant_id}/{device_id...:*}", "a/t/x/", ("t", "x/", "")),
        ("a/{tenant_id}/{device_id:[,-9][,-9][,-9]}", "a/t/1/2", None),
        ("a/{tenant_id}/{device_id:[,-9]*}", "a/t/1.2", ("t", "1.2", "")),
        ("a/{tenant_id}/{device_id:[]-a]}", "a/t/]", ("t", "]", "")),
        ("a/{tenant_id}/{device_id:[!]]}", "a/t/]", None),
        ("a/{tenant_id}/{device_id:a.b}", "a/t/axb", None),
        ("z/{device_id...}/{series:availability};tenant_id=h", "z/a/b/availability", ("h", "a/b", "availability")),
        ("z/{device_id...}/{series:availability};tenant_id=h", "z/availability", None),
        ("z/{device_id...}/{series:availability};tenant_id=h", "z//availability", None),
        ("z/{device_id...}/x/{series};tenant_id=h", "z/x/x/x/s", ("h", "x/x", "s")),
        ("z/{device_id...:!bridge|bridge/*};tenant_id=h", "z/bridge/state", None),
        ("z/{device_id...:!bridge|bridge/*};tenant_id=h", "z/bridges/one", ("h", "bridges/one", "")),
        ("o/{tenant_id}/{device_id}/{series?}", "o/t/d", ("t", "d", "")),
        ("o/{tenant_id}/{device_id}/{series?}", "o/t/d/event", ("t", "d", "event")),
        ("o/{tenant_id}/{device_id}/{series?}", "o/t/d/", None),
        ("o/{tenant_id}/{device_id}/{series?}", "o/t/d/e/f", None),
        ("o/{tenant_id}/{device_id}/{series?:a|b}", "o/t/d/c", None),
        ("{device_id...}/{series};tenant_id=h", "$SYS/a/b", None),
        ("{device_id:!x};tenant_id=h", "$SYS", None),
    ],
)
def test_patterns_rests_and_optional_levels(template: str, topic: str, expected: tuple[str, str, str] | None) -> None:
    """Special cases, each with its result."""
    assert ids(template, topic) == expected


HOSTILE_TEMPLATES = (
    "{a}-{b}-{c}-{tenant_id}x/{device_id}",
    "{tenant_id}.{a}.{b}.{device_id}/end",
    "{device_id...}/{series:*a*b*c*};tenant_id=t",
    "{device_id...}/{a}-{b}-x/{series:!*a*b|*a*c};tenant_id=t",
    "{device_id...}/set/set/set;tenant_id=t",
    "{device_id...:*a*b*a*c};tenant_id=t",
    "{device_id...:!*/set|*/get|*/set/*|*a*b*c*d*};tenant_id=t;series=x",
    "{device_id:*[ab]*[ab]*[!a]};tenant_id=t",
    "{device_id:?*?*?*x};tenant_id=t",
    "{device_id:a*a*a*a*a|b*b*b|*-*-*};tenant_id=t;series=y",
    "{tenant_id}/{device_id}/{x:*a*}/{series?:*b*a}",
    "x{a}aa{b}aab{tenant_id}aaab/{device_id}",
)
HOSTILE_LEVELS = ("a", "-", ".", "/", "a/", "a-", "/set", "ab", "aab", "a/b-", "xaa", "?", "\U0001f600")


def test_hostile_topics_of_64_kib_are_matched_in_linear_time() -> None:
    """All kinds of fields and patterns: milliseconds of CPU in linear time, hours otherwise."""
    maps = [TopicMap([text]) for text in HOSTILE_TEMPLATES]
    for level in HOSTILE_LEVELS:
        topic = level * (65_535 // len(level.encode()))
        for ending in ("", "!", "/!"):
            for topics in maps:
                begun_s = time.thread_time()
                topics.match(topic + ending)
                assert time.thread_time() - begun_s < 2, (topics.templates[0].text, level, ending)


def test_a_hundred_templates_read_a_hostile_topic_in_linear_time() -> None:
    """Each template reads the topic once."""
    topics = TopicMap([f"{{device_id...}}/{number}/{{series:*a*b}};tenant_id=t" for number in range(100)])
    begun_s = time.thread_time()
    assert topics.match("a/" * 32_000) is None
    assert time.thread_time() - begun_s < 2


def test_a_hostile_template_is_parsed_in_linear_time() -> None:
    """Levels are separated without looking ahead from each."""
    begun_s = time.thread_time()
    for text in ("/" * 60_000, "{a/" * 20_000, "{" * 60_000, "{x:/" * 15_000):
        with contextlib.suppress(TemplateError):
            parse_template(text + "{tenant_id}/{device_id}")
    assert time.thread_time() - begun_s < 2


# Filters


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(templates(), st.data())
def test_the_filters_bring_every_topic_that_matches(template: str, data: st.DataObject) -> None:
    """The filters are valid, and none is covered by another."""
    parsed = parse_template(template)
    filters = parsed.filters
    assert not any(topic_filters.problem(each) for each in filters)
    assert topic_filters.uncovered(filters) == filters
    topic = data.draw(topics_like(template))
    if re.match(parsed.pattern, topic):
        assert any(topic_matches_sub(each, topic) for each in filters)


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(templates(), st.data())
def test_the_filters_for_a_tenant_and_a_device_bring_all_their_topics(template: str, data: st.DataObject) -> None:
    """And only theirs if the template confines devices."""
    parsed = parse_template(template)
    topic, other = data.draw(topics_like(template)), data.draw(topics_like(template))
    found = ids(template, topic)
    if found is None:
        return
    assert found[0] is not None
    assert found[1] is not None
    tenant_id, device_id = TenantId(found[0]), DeviceId(found[1])
    of_device = parsed.filters_for(tenant_id, device_id)
    assert any(topic_matches_sub(each, topic) for each in parsed.filters_for(tenant_id))
    assert any(topic_matches_sub(each, topic) for each in of_device)
    assert not any(topic_filters.problem(each) for each in of_device)
    assert all(any(topic_filters.covers(wide, each) for wide in parsed.filters) for each in of_device)
    if not isolation_problems([parsed]) and any(topic_matches_sub(each, other) for each in of_device):
        read = ids(template, other)
        assert read is None or read[:2] == found[:2]


@pytest.mark.parametrize(
    ("template", "tenant_id", "device_id", "expected"),
    [
        ("t/{tenant_id}/{device_id}/{series...}", "a", None, ("t/a/+/#",)),
        ("t/{tenant_id}/{device_id}/{series...}", "a", "d", ("t/a/d/#",)),
        ("t/{tenant_id}/{device_id}/{series...}", "a/b", None, ()),
        ("t/{tenant_id}/{device_id}", "a", "d+", ()),
        ("t/{tenant_id}/{device_id}", "#", None, ()),
        ("t/{tenant_id}/{device_id}", "", None, ()),
        ("t/{tenant_id}/{device_id}", "a\0", None, ()),
        ("t/{tenant_id}/{device_id}", "a\ud800", None, ()),
        ("t/{tenant_id}/{device_id}", "a" * 1_024, None, (f"t/{'a' * 1_024}/+",)),
        ("t/{tenant_id}/{device_id}", "a" * 1_025, None, ()),
        ("x" * 65_000 + "/{tenant_id}/{device_id}", "a" * 1_024, None, ()),
        ("t/{device_id};tenant_id=a", "a", "d", ("t/d",)),
        ("t/{device_id};tenant_id=a", "b", "d", ()),
        ("t/{tenant_id};device_id=/id", "a", "d", ("t/a",)),
        ("t/{x};tenant_id=/t;device_id=/d", "a", "d", ("t/+",)),
        ("z/{device_id...}/{series:set|get};tenant_id=h", "h", "a/b", ("z/a/b/set", "z/a/b/get")),
        ("z/{device_id...}/{series};tenant_id=h", "h", None, ("z/#",)),
        ("{device_id...};tenant_id=h", "h", "$SYS/x", ()),
        ("{tenant_id}/{device_id}", "$SYS", None, ()),
        ("t/{tenant_id:a*}/{device_id}", "b", None, ()),
        ("t/{tenant_id:a*}/{device_id}", "ab", None, ("t/ab/+",)),
        ("{app}@{tenant_id}/{device_id}", "a", None, ("+/+",)),
        ("{tenant_id}-{device_id}", "a", "b-c", ("a-b-c",)),
        ("{tenant_id}-{device_id}", "a-b", "c", ()),
        ("{tenant_id}-{device_id}-", "a", "b-c", ("a-b-c-",)),
        ("o/{tenant_id}/{device_id}/{series?}", "a", "d", ("o/a/d", "o/a/d/+")),
        ("$aws/{tenant_id}/{device_id}", "a", "d", ("$aws/a/d",)),
    ],
)
def test_the_filters_for_ids_contain_the_ids(
    template: str, tenant_id: str, device_id: str | None, expected: tuple[str, ...]
) -> None:
    """Or the template has no topic for these ids."""
    device = None if device_id is None else DeviceId(device_id)
    assert parse_template(template).filters_for(TenantId(tenant_id), device) == expected


def test_patterns_that_list_too_much_are_subscribed_to_with_a_wildcard() -> None:
    """The number of filters is limited."""
    ten = "|".join("abcdefghij")
    template = f"{{x:{ten}}}/{{y:{ten}}}/{{z:{ten}}}/{{tenant_id}}/{{device_id}}"
    assert parse_template(template).filters == tuple(f"{each}/+/+/+/+" for each in "abcdefghij")
    assert len(TopicMap([template, f"k/{template}"]).templates) == 2


def test_devices_in_the_payload_need_all_topics_of_their_tenant() -> None:
    """No filter can select one of them."""
    template = parse_template("gateway/{tenant_id};devices=/")
    assert template.filters_for(TenantId("acme"), DeviceId("d1")) == ("gateway/acme",)


@pytest.mark.parametrize(
    ("text", "extended"),
    [
        ("{tenant_id}/{device_id}", False),
        ("{device_id};tenant_id=/t;online=/o", False),
        ("{tenant_id}/{device_id};name=/n", True),
        ("{tenant_id}/{device_id};series=/s", True),
        ("{tenant_id}/{device_id};series=/", True),
        ("{tenant_id}/x;devices=/", True),
        ("{tenant_id}/{device_id};payload=sparkplug", True),
    ],
)
def test_only_a_template_that_needs_it_takes_the_longer_path(text: str, extended: bool) -> None:
    """A message of any other is always one value."""
    assert parse_template(text).extended is extended
