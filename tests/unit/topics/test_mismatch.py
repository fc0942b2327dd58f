"""Why a topic does not match a template, in words."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.topics.mismatch import mismatch
from hermes.topics.topic_map import parse_template
from tests.support.examples import EXAMPLES
from tests.support.random_templates import templates, topics_like

IDS = ";tenant_id=t;device_id=d"


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(templates(), st.data())
def test_a_reason_is_given_exactly_if_the_topic_does_not_match(template: str, data: st.DataObject) -> None:
    """The comparison level by level agrees with the regular expression."""
    parsed, topic = parse_template(template), data.draw(topics_like(template))
    reason = mismatch(parsed, topic)
    assert (reason is None) == (re.match(parsed.pattern, topic) is not None), (topic, reason)


@pytest.mark.parametrize(
    ("template", "topic", "words"),
    [
        ("a/b", "a/c", "level 2 is 'c', expected 'b'"),
        ("a/{x}", "a/", "level 2 is '', expected {x}"),
        ("a/{x:b|c*}", "a/d", "level 2 is 'd', expected {x:b|c*}"),
        ("{x}@{y}/b", "a/b", "level 1 is 'a', expected {x}@{y}"),
        ("a/b/{x}", "a", "too few levels: b/{x} is missing"),
        ("a/{x}", "a/b/c", "too many levels: 3, but the template has 2"),
        ("a/{x?}", "a/b/c", "too many levels: 3, but the template has 2"),
        ("a/{x?:b}", "a/c", "level 2 is 'c', expected {x:b}"),
        ("a/{x...}/c", "a/c", "too few levels: {x...}/c needs 2 or more, but 1 are left"),
        ("a/{x...}/c", "a/b/b/d", "level 4 is 'd', expected 'c'"),
        ("a/{x...:b/*}", "a/c/d", "from level 2 on it is 'c/d', expected {x...:b/*}"),
        ("a/{x...}/c", "a//c", "level 2 is empty, expected {x...}"),
        ("{x}/b", "$SYS/b", "level 1 is '$SYS', but no field matches a first level that begins with $"),
        ("a", "b" * 200, f"level 1 is '{'b' * 100}…', expected 'a'"),
    ],
)
def test_the_reason_names_the_level_and_the_expected_text(template: str, topic: str, words: str) -> None:
    """Levels count from one."""
    assert mismatch(parse_template(template + IDS), topic) == words
