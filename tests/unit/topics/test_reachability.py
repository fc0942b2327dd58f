"""Templates that can never match are refused, as far as MQTT topic filters show it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from hermes.topics.exclusion import Exclusion, parse_entry
from hermes.topics.reachability import unreachable_problems
from hermes.topics.template import Template
from hermes.topics.topic_map import parse_template
from tests.support.examples import EXAMPLES
from tests.support.random_templates import WORDS, templates, topics_like

FILTERS = st.lists(st.sampled_from(["a", "b", "", "+", "+"]), max_size=3).map(lambda levels: "/".join([*levels, "#"]))
EXCLUSIONS = st.one_of(FILTERS.map("!{}".format), templates(plain=True).map(lambda text: f"!{text.partition(';')[0]}"))
ENTRIES = st.one_of(EXCLUSIONS, templates(plain=True), templates(plain=True), templates())


def matches(entry: Template | Exclusion, topic: str) -> bool:
    """Whether the template or the exclusion matches the topic, filters as paho reads them."""
    if isinstance(entry, Exclusion) and isinstance(entry.topic, str):
        return topic_matches_sub(entry.topic, topic)
    return re.match(entry.pattern, topic) is not None


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=2), st.one_of(templates(plain=True), templates()), st.data())
def test_each_topic_of_a_refused_template_is_matched_by_an_entry_before_it(
    before: list[str], last: str, data: st.DataObject
) -> None:
    """A template that some topic reaches is never refused."""
    entries, template = [parse_entry(text) for text in before], parse_template(last)
    earlier = [each for each in entries if isinstance(each, Template)]
    excluded = [each for each in entries if isinstance(each, Exclusion)]
    if len(unreachable_problems([*earlier, template], excluded)) > len(unreachable_problems(earlier, excluded)):
        for topic in data.draw(st.lists(topics_like(last), min_size=5, max_size=5)):
            assert not matches(template, topic) or any(matches(entry, topic) for entry in entries), topic


@settings(deadline=None)
@given(templates(plain=True), st.sampled_from(WORDS[1:5]))
def test_a_plain_template_leaves_nothing_to_the_same_topics_written_otherwise(template: str, word: str) -> None:
    """Other names, other constants, or a text in place of the first field."""
    first = parse_template(template)
    renamed = re.sub(r"\{([a-l])\b", r"{\1\1", template) + ";online=x"
    narrower = re.sub(r"\{[a-l]\}", word, template, count=1) + ";online=y"
    assert len(unreachable_problems([first, parse_template(renamed), parse_template(narrower)], [])) == 2


@pytest.mark.parametrize(
    ("before", "later"),
    [
        ("z/{x:a*}", "z/{x:ab}"),  # patterns
        ("z/{x:a*}", "z/{x}"),
        ("z/{x}", "z/{x...:a*}"),
        ("z/{x...:a*}", "z/{x...}"),
        ("{x}-{y}", "{x}-{y}-{z}"),  # parts of a level
        ("z/{x...}/{y}", "z/{x}/{y}/{z}"),  # levels after the rest
        ("z/{device_id...}", "z/{x...}"),  # the topic z
        ("{x}/{y}", "{x}/"),  # empty levels
        ("z/{x}", "z/{x...}"),  # wider
        ("{x}/{y}", "$z/{y}"),  # MQTT-4.7.2-1
        ("!z/+/#", "z/{x...}"),
        ("!z/+", "z/{x?}"),
        ("!z/{x:a|b}", "z/{x:a}"),
    ],
)
def test_a_template_that_filters_do_not_cover_for_certain_is_accepted(before: str, later: str) -> None:
    """Some of them cannot be reached either; `hermes topics explain` shows that."""
    ids = "".join(f";{name}=t" for name in ("tenant_id", "device_id") if name not in before)
    entry, template = (
        parse_entry(before if before[0] == "!" else before + ids),
        parse_template(f"{later};tenant_id=t;device_id=d"),
    )
    earlier, excluded = ([], [entry]) if isinstance(entry, Exclusion) else ([entry], [])
    assert unreachable_problems([*earlier, template], excluded) == []


def test_hundreds_of_templates_are_compared() -> None:
    """Only the ones that cannot be reached are named."""
    many = [parse_template(f"{{x:a|b|c|d}}/{number}/{{tenant_id}}/{{device_id}}") for number in range(300)]
    (problem,) = unreachable_problems([*many, parse_template("a/7/{tenant_id}/{device_id:x}"), many[5]], [])
    assert problem == f"template {many[5].text!r} is given twice: leave one out"
