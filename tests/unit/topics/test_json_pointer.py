"""JSON pointers into text, and the parts of a text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.topics.json_pointer import TEXT_INDEX_MAX, elements, members, pointed_at, text_at
from tests.support.growth import LINEAR_MAX, growth

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
LAYOUTS = st.sampled_from([None, 0, 2, "\t"])


def encoded(value: object, layout: str | int | None, ascii_only: bool = False) -> bytes:
    """The JSON of a value, with white space around it."""
    text = json.dumps(value, indent=layout, ensure_ascii=ascii_only)
    return f" \n{text}\r\n".encode("utf-8", "surrogatepass")


@given(
    st.lists(VALUES, max_size=6), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES), LAYOUTS
)
def test_all_parts_are_the_texts_of_the_values(
    array: list[object], value: dict[str, object], layout: str | int | None
) -> None:
    """Of an array in order, of an object by name."""
    assert [json.loads(part.decode("utf-8", "surrogatepass")) for part in elements(encoded(array, layout))] == array
    found = members(encoded(value, layout))
    assert {name: json.loads(part.decode("utf-8", "surrogatepass")) for name, part in found.items()} == value


TOKENS = st.sampled_from(["a", "b", "", "x/y", "0", "1", "2", "-", "01", "9999"])
NESTED = st.recursive(
    st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TOKENS, inner, max_size=3),
)


@given(NESTED, st.lists(TOKENS, max_size=4), LAYOUTS, st.booleans())
def test_a_pointer_finds_the_text_of_what_it_finds_in_the_value(
    value: object, pointer: list[str], layout: str | int | None, ascii_only: bool
) -> None:
    """Or nothing, if there is nothing."""
    found = text_at(pointer, encoded(value, layout, ascii_only).strip())
    assert (json.loads(found) if found else None) == pointed_at(pointer, value)


def test_a_pointer_finds_elements_up_to_a_limit() -> None:
    """The text of each is built on the way to the last."""
    array = json.dumps(list(range(TEXT_INDEX_MAX + 2))).encode()
    assert text_at([str(TEXT_INDEX_MAX)], array) == str(TEXT_INDEX_MAX).encode()
    assert text_at([str(TEXT_INDEX_MAX + 1)], array) == b""


@pytest.mark.parametrize("unit", [b'"x":[[1]],', b'"x":"\\"",', b'"":{},'])
def test_a_pointer_needs_linear_time(unit: bytes) -> None:
    """Whatever is before the value."""
    assert growth(lambda size: text_at(["a"], b"{" + unit * size + b'"a":1}'), 20_000) < LINEAR_MAX
