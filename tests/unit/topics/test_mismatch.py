"""Why a topic does not match a template, in words."""

import pytest
from hypothesis import given, settings

from hermes.topics.mismatch import miss
from hermes.topics.topic_map import parse_template
from tests.support.template_oracle import Shape, shapes_and_topics

IDS = ";tenant_id=t;device_id=d"


@settings(max_examples=300, deadline=None)
@given(shapes_and_topics())
def test_a_reason_is_given_exactly_where_the_topic_does_not_match(case: tuple[Shape, str]) -> None:
    """Level by level, and all at once, it comes to the same."""
    shape, topic = case
    reason = miss(parse_template(shape.text), topic)
    assert (reason is None) == (shape.read(topic) is not None), (shape.text, topic, reason)


@pytest.mark.parametrize(
    ("template", "topic", "words"),
    [
        ("a/b", "a/c", "level 2 is 'c', expected 'b'"),
        ("a/{x}", "a/", "level 2 is '', expected {x}"),
        ("a/{x:b|c*}", "a/d", "level 2 is 'd', expected {x:b|c*}"),
        ("{x}@{y}/b", "a/b", "level 1 is 'a', expected {x}@{y}"),
        ("a/b/{x}", "a", "too few levels: b/{x} is missing"),
        ("a/{x}", "a/b/c", "too many levels: 3, and the template has 2"),
        ("a/{x?}", "a/b/c", "too many levels: 3, and the template has 2"),
        ("a/{x?:b}", "a/c", "level 2 is 'c', expected {x:b}"),
        ("a/{x...}/c", "a/c", "too few levels: {x...}/c takes 2 or more, and 1 are left"),
        ("a/{x...}/c", "a/b/b/d", "level 4 is 'd', expected 'c'"),
        ("a/{x...:b/*}", "a/c/d", "from level 2 on it is 'c/d', expected {x...:b/*}"),
        ("a/{x...}/c", "a//c", "level 2 is empty, expected {x...}"),
        ("{x}/b", "$SYS/b", "level 1 is '$SYS', and no field takes a first level that begins with $"),
        ("a", "b" * 200, f"level 1 is '{'b' * 100}…', expected 'a'"),
    ],
)
def test_the_reason_names_the_level_and_what_it_should_be(template: str, topic: str, words: str) -> None:
    """Counted from one."""
    assert miss(parse_template(template + IDS), topic) == words
