"""Split the text of a JSON value."""

import json

from hypothesis import given
from hypothesis import strategies as st

from hermes.web import raw_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
LAYOUTS = st.sampled_from([None, 0, 2, "\t"])


@given(st.dictionaries(st.text(), VALUES, max_size=6), LAYOUTS, st.booleans())
def test_members_are_the_texts_of_an_objects_values(value: dict[str, object], layout: None, ascii_only: bool) -> None:
    """For any values and any layout."""
    text = f" \n{json.dumps(value, indent=layout, ensure_ascii=ascii_only)}\r\n"
    found = raw_json.members(text)
    assert {name: json.loads(part) for name, part in found.items()} == value
    assert all(part in text and part == part.strip() for part in found.values())


@given(st.lists(VALUES, max_size=6), LAYOUTS)
def test_elements_are_the_texts_of_an_arrays_values(value: list[object], layout: None) -> None:
    """In order, for any values and any layout."""
    assert [json.loads(part) for part in raw_json.elements(json.dumps(value, indent=layout))] == value


def test_the_text_is_not_changed() -> None:
    """Digits, exponents, spaces and escapes stay as they are."""
    text = '{"a":1.0e2,"data": {"n" : 123456789012345678901234567890, "s":"\\u00e9\\"}{"} ,"b":[ ]}'
    assert raw_json.members(text)["data"] == '{"n" : 123456789012345678901234567890, "s":"\\u00e9\\"}{"}'


def test_the_last_of_a_repeated_name_counts() -> None:
    """As in the parsed value."""
    assert raw_json.members('{"data":1,"data":2}') == {"data": "2"}


def test_the_depth_is_not_limited_by_recursion() -> None:
    """A hundred thousand levels of arrays."""
    deep = "[" * 100_000 + "]" * 100_000
    assert raw_json.members(f'{{"data":{deep}}}') == {"data": deep}
