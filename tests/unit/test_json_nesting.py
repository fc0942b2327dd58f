"""The nesting of a JSON text is counted without its objects, and in linear time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.json_nesting import MAX_CONTAINERS, MAX_DEPTH, has_more_parts, nested_too_deeply
from tests.support.growth import LINEAR_MAX, growth


def arrays(levels: int) -> bytes:
    """So many arrays, each within the other."""
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(("levels", "too_deep"), [(1, False), (MAX_DEPTH, False), (MAX_DEPTH + 1, True), (5_000, True)])
@pytest.mark.parametrize("around", [b"%s", b'{"a":%s}', b'["\\"[[",%s,"]"]'])
def test_levels_are_counted(levels: int, too_deep: bool, around: bytes) -> None:
    """Around the innermost value; those of the text around it are counted, too."""
    assert nested_too_deeply(around % arrays(levels - (around != b"%s"))) is too_deep


def test_containers_are_counted() -> None:
    """Arrays and objects together."""
    assert not nested_too_deeply(b"[" + b",".join([b"{}"] * (MAX_CONTAINERS - 1)) + b"]")
    assert nested_too_deeply(b"[" + b",".join([b"{}"] * MAX_CONTAINERS) + b"]")


TEXTS = st.text(st.sampled_from('[]{}"\\a,é'), max_size=10)
VALUES = st.recursive(
    TEXTS, lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=4), max_leaves=40
)


def levels_of(value: object) -> int:
    """The same number, from the objects."""
    if isinstance(value, dict | list):
        return 1 + max(map(levels_of, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@given(VALUES, st.booleans())
def test_brackets_in_strings_do_not_count(value: object, as_ascii: bool) -> None:
    """Whatever quotes and backslashes are beside them."""
    levels = levels_of(value)
    if levels > MAX_DEPTH - 1:
        return
    text = json.dumps(value, ensure_ascii=as_ascii).encode()
    inner = MAX_DEPTH - levels
    assert not nested_too_deeply(b"[" * inner + text + b"]" * inner)
    if levels:
        assert nested_too_deeply(b"[" * (inner + 1) + text + b"]" * (inner + 1))


@given(st.lists(VALUES, max_size=12) | st.dictionaries(TEXTS, VALUES, max_size=12), st.integers(1, 12))
def test_parts_are_never_too_few(value: list[object] | dict[str, object], most: int) -> None:
    """The answer may only be wrong for a deep text, and then it is yes."""
    text = json.dumps(value).encode()
    exceeds = len(value) > most
    assert has_more_parts(text, most) in ({True} if exceeds else {True, False})


@pytest.mark.parametrize(("number", "expected"), [(100, False), (101, True)])
@pytest.mark.parametrize("part", [1, ",,,,", [[1, 2], [{"a": [3]}]], [{"ts": 1, "values": {"t": 1, "h": 2}}]])
def test_parts_are_counted_on_the_first_level_alone(number: int, expected: bool, part: object) -> None:
    """Not those of usual samples, and not the commas in strings."""
    assert has_more_parts(json.dumps([part] * number).encode(), 100) is expected
    assert has_more_parts(json.dumps({str(n): part for n in range(number)}).encode(), 100) is expected


@pytest.mark.parametrize("unit", [b"[[]],", b'"",', b'"[",', b'"\\"",', b"\\\\", b"]", b'"', b'"}', b"{}"])
def test_a_megabyte_of_anything_needs_linear_time(unit: bytes) -> None:
    """Also of what is not JSON."""
    assert growth(lambda size: nested_too_deeply(b"[" * 101 + unit * size), 20_000) < LINEAR_MAX


@pytest.mark.parametrize("unit", [b"1,", b'"",', b'",",', b'"\\"",', b"[1,[2,[3]]],", b"[[[[[1]]]]],", b"{},"])
def test_the_parts_of_a_megabyte_are_counted_in_linear_time(unit: bytes) -> None:
    """Whatever they are."""
    assert growth(lambda size: has_more_parts(b"[" + unit * size + b"1]", 10), 20_000) < LINEAR_MAX
