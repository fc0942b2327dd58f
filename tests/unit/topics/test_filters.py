"""MQTT topic filters, compared with each other and with paho's implementation."""

import re
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from hermes.topics import filters as topic_filters
from hermes.topics.topic_map import TopicMap

# Few different levels, so that random filters and topics meet often
TOPICS = st.lists(st.sampled_from(["", "a", "b", "ab", "$a"]), min_size=1, max_size=5).map("/".join).filter(bool)
FILTERS = st.builds(
    lambda levels, rest: "/".join(levels + rest) or "+",
    st.lists(st.sampled_from(["", "a", "b", "$a", "+", "+"]), max_size=4),
    st.sampled_from([[], [], ["#"]]),
)


@settings(deadline=None)
@given(st.lists(FILTERS, min_size=1, max_size=4), TOPICS)
def test_exactly_one_copy_of_a_message_is_wanted(filters: list[str], topic: str) -> None:
    """Of the copies that a broker sends for overlapping filters, one is delivered."""
    kept = topic_filters.uncovered(filters)
    matching = [index for index, each in enumerate(kept, start=1) if topic_matches_sub(each, topic)]
    topics = _map_of(kept)
    assert sum(topics.wanted_copy(topic, [identifier]) for identifier in matching) == (1 if matching else 0)


@settings(deadline=None)
@given(FILTERS, TOPICS)
def test_a_filters_pattern_agrees_with_paho(topic_filter: str, topic: str) -> None:
    """paho is an independent implementation of MQTT 5 §4.7."""
    assert bool(re.match(topic_filters.pattern(topic_filter), topic)) == topic_matches_sub(topic_filter, topic)


@settings(deadline=None)
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


@settings(deadline=None)
@given(st.lists(FILTERS, min_size=1, max_size=5))
def test_disjoint_filters_are_disjoint_and_cover_all(filters: list[str]) -> None:
    """For brokers without subscription identifiers."""
    disjoint = topic_filters.disjoint(filters)
    assert not any(topic_filters.overlap(one, other) for one, other in combinations(disjoint, 2))
    assert all(any(topic_filters.covers(each, given) for each in disjoint) for given in filters)


def _map_of(filters: tuple[str, ...]) -> TopicMap:
    """A map that subscribes to exactly these filters."""
    topics = TopicMap(["hermes"])
    topics.filters = filters
    topics.overlapping = topic_filters.any_overlap(filters)
    topics._lowest = re.compile("|".join(f"{topic_filters.pattern(text)}()" for text in filters))
    return topics
