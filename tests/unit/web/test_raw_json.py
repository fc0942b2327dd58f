"""Split the text of a JSON value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.json_nesting import CHECK_MAX_DEPTH
from hermes.web.raw_json import ANY_NAMES_MAX_BYTES, ELEMENTS_MAX, MemberSplitter, elements
from tests.support.growth import LINEAR_MAX, growth

MIB = 1_048_576
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
LAYOUTS = st.sampled_from([None, 0, 2, "\t"])
NAMES = ("a", "data", "id")
members = MemberSplitter(NAMES).members


def encoded(value: object, layout: str | int | None, ascii_only: bool = False) -> bytes:
    """The JSON of a value, with white space around it."""
    text = json.dumps(value, indent=layout, ensure_ascii=ascii_only)
    return f" \n{text}\r\n".encode("utf-8", "surrogatepass")


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=6), LAYOUTS)
def test_members_are_the_texts_of_an_objects_values(value: dict[str, object], layout: str | int | None) -> None:
    """For any values and any layout."""
    text = encoded(value, layout)
    found = members(text)
    assert {name: json.loads(part.decode("utf-8", "surrogatepass")) for name, part in found.items()} == value
    assert all(part in text and part == part.strip() for part in found.values())


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), LAYOUTS, st.booleans())
def test_a_large_object_is_split_like_a_small_one(
    value: dict[str, object], layout: str | int | None, ascii_only: bool
) -> None:
    """With the names that are expected."""
    small = encoded(value, layout, ascii_only)
    assert members(small + b" " * ANY_NAMES_MAX_BYTES) == members(small)


def test_a_large_object_with_another_name_is_refused() -> None:
    """With that name: there may be a hundred thousand of them."""
    with pytest.raises(ValueError, match="unknown field `colour`"):
        members(b'{"data":{},"colour":1}' + b" " * ANY_NAMES_MAX_BYTES)


@given(st.lists(VALUES, max_size=6), LAYOUTS)
def test_elements_are_the_texts_of_an_arrays_values(value: list[object], layout: str | int | None) -> None:
    """In order, for any values and any layout."""
    parts = elements(encoded(value, layout))
    assert [json.loads(part.decode("utf-8", "surrogatepass")) for part in parts] == value


@pytest.mark.parametrize("count", [ELEMENTS_MAX, ELEMENTS_MAX + 1, 100_000])
def test_the_elements_of_a_longer_array_are_not_all_returned(count: int) -> None:
    """One more than the limit, so that it can be noticed."""
    assert elements(b"[" + b"1," * (count - 1) + b"2]")[:2] == [b"1", b"1"]
    assert len(elements(b"[" + b"1," * (count - 1) + b"2]")) == min(count, ELEMENTS_MAX + 1)


def test_the_text_is_not_changed() -> None:
    """Digits, exponents, spaces and escapes stay as they are."""
    text = b'{"a":1.0e2,"data": {"n" : 123456789012345678901234567890, "s":"\\u00e9\\"}{"} ,"b":[ ]}'
    assert members(text)["data"] == b'{"n" : 123456789012345678901234567890, "s":"\\u00e9\\"}{"}'


@pytest.mark.parametrize("padding", [0, ANY_NAMES_MAX_BYTES])
@pytest.mark.parametrize("name", [b"data", b"d\\u0061ta"])
def test_the_last_of_a_repeated_name_counts(padding: int, name: bytes) -> None:
    """As in the parsed value, also if it is written with an escape."""
    assert members(b'{"data":1,"%s":2}%s' % (name, b" " * padding)) == {"data": b"2"}


def test_the_depth_may_be_that_of_a_checked_text() -> None:
    """Five hundred levels."""
    deep = b"[" * (CHECK_MAX_DEPTH - 1) + b"]" * (CHECK_MAX_DEPTH - 1)
    assert members(b'{"data":%s}' % deep) == {"data": deep}
    assert elements(b"[%s]" % deep) == [deep]


@pytest.mark.parametrize("unit", [b"1,", b'"",', b"{},", b'"a",', b'"\\"",'])
def test_an_array_is_split_in_linear_time(unit: bytes) -> None:
    """Whatever its elements are."""
    assert growth(lambda size: elements(b"[" + unit * size + b"1]"), 20_000) < LINEAR_MAX
