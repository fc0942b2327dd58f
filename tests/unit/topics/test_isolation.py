"""Templates that confine each device to its own topics, and what to write instead of others."""

import pytest
from hypothesis import given, settings

from hermes.topics.isolation import isolated, isolation_problems
from hermes.topics.topic_map import PRESETS, TopicMap, parse_template
from tests.support.examples import EXAMPLES
from tests.support.random_templates import templates


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(templates())
def test_the_template_to_write_instead_confines_devices(text: str) -> None:
    """Whatever the template is; a template that confines devices already is not named."""
    template = parse_template(isolated(parse_template(text)))
    assert isolation_problems([template]) == []


@pytest.mark.parametrize(
    "entries",
    [
        ["t/{tenant_id}/{device_id}"],
        ["t/{tenant_id}/{device_id}/{series...}"],
        ["t/{x}/{device_id};tenant_id=home"],
        ["t/{a}@{b}/{device_id};tenant_id=home"],
        ["z/{device_id...};tenant_id=home"],
        ["{device_id...}/{tenant_id}/{series}"],
        ["t/{tenant_id}/status;device_id=gateway"],
        ["t/{tenant_id}/{device_id};tenant_id=/tenant"],  # topic and payload must agree
        ["a/{tenant_id}/{device_id}", "b/{tenant_id}/{device_id}"],
    ],
)
def test_whole_levels_and_filters_that_do_not_overlap_confine_devices(entries: list[str]) -> None:
    """Ids are fields of a whole level, of several, or constants."""
    topics = TopicMap(entries)
    assert isolation_problems(topics.templates) == []


@pytest.mark.parametrize(
    ("template", "reason", "instead"),
    [
        (
            "v3/{app}@{tenant_id}/devices/{device_id}",
            "has {tenant_id} in a part of a level",
            "v3/{tenant_id}/devices/{device_id}",
        ),
        (
            "{tenant_id}-{device_id}/{series?}",
            "has {tenant_id} in a part of a level",
            "{tenant_id}/{device_id}/{series?}",
        ),
        (
            "t/x{device_id}/{series...};tenant_id=home",
            "has {device_id} in a part of a level",
            "t/{device_id}/{series...};tenant_id=home",
        ),
        (
            "{series...}/{tenant_id}/{device_id}",
            "has {tenant_id} after {series...}",
            "{tenant_id}/{device_id}/{series...}",
        ),
        (
            "{tenant_id}/{series...}/{device_id}",
            "has {device_id} after {series...}",
            "{tenant_id}/{device_id}/{series...}",
        ),
        ("{device_id...}/{a}-{tenant_id}", "has {tenant_id} in a part of a level", "{device_id...}/{tenant_id}"),
        (
            "a/{device_id};tenant_id=/t;payload=cbor",
            "reads tenant_id from the payload",
            "a/{device_id};payload=cbor;tenant_id=home",
        ),
        (
            "gateway;tenant_id=t;devices=/;series=/values;name=/n",
            "reads device_id from the payload",
            "gateway/{device_id};tenant_id=t;series=/values;name=/n",
        ),
        (
            "gateway;devices=/list;device_id=/id;tenant_id=/t",
            "reads tenant_id from the payload",
            "gateway/{device_id};tenant_id=home",
        ),
        (
            "a/{series?};tenant_id=t;device_id=/id",
            "reads device_id from the payload",
            "a/{device_id}/{series?};tenant_id=t",
        ),
    ],
)
def test_a_template_that_does_not_confine_devices_is_named(template: str, reason: str, instead: str) -> None:
    """With the reason and a template to write instead."""
    assert isolation_problems([parse_template(template)]) == [
        f"template {template!r} {reason}, so one device could publish as another: leave it out, or write {instead!r}"
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/{tenant_id}/{device_id}", "a/{tenant_id}/{device_id}/{series...}"),
        ("site/{tenant_id}/{device_id}", "{tenant_id}/{device_id}/{series...}"),
        ("a/{x}/b/{device_id};tenant_id=h", "a/{device_id}/{series...};tenant_id=h"),
        ("a/x/{tenant_id}/{device_id}", "a/{kind:!x}/{device_id}/{tenant_id}"),  # patterns are not compared
        ("z/{device_id...}/{series:online};tenant_id=h", "z/{device_id...};tenant_id=h"),
        ("a/{device_id:!x};tenant_id=h", "a/{device_id:x*}/{s?};tenant_id=h"),
    ],
)
def test_templates_with_overlapping_filters_are_named(one: str, other: str) -> None:
    """With a template to write instead of each."""
    (problem,) = isolation_problems([parse_template(one), parse_template(other)])
    assert problem.startswith(f"the filters of templates {one!r} and {other!r} overlap, so one device could")
    assert problem.endswith(f"write only one of them, or {f'one/{one}'!r} and {f'two/{other}'!r}")
    assert isolation_problems([parse_template(f"one/{one}"), parse_template(f"two/{other}")]) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_that_can_have_device_accounts(preset: str) -> None:
    """As the table in docs/guide/device-accounts.md has it."""
    can = {"hermes", "owntracks", "sparkplug", "tasmota", "homeassistant", "aws-iot"}
    problems = isolation_problems(TopicMap([preset]).templates)
    assert (problems == []) == (preset in can)
    assert all(f"(preset {preset})" in problem for problem in problems)
