"""JSON is checked as strictly as `orjson` parses it, but without its objects."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.json_nesting import check_json
from tests.support.growth import LINEAR_MAX, growth

PARTS = [
    *'{}[]":,',
    "1",
    "0",
    "-",
    ".",
    "e",
    "+",
    "\\",
    "\\u",
    "d800",
    "dc00",
    "null",
    "NaN",
    " ",
    "é",
    "\n",
    "1" * 200,
]


def accepted(text: bytes) -> bool:
    """Whether `check_json` accepts a text."""
    try:
        check_json(text)
    except ValueError:
        return False
    return True


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join).map(str.encode) | st.binary(max_size=8))
def test_it_accepts_what_orjson_accepts(text: bytes) -> None:
    """And nothing else."""
    for whole in (text, b'"' + text + b'"', b"[" + text + b"]", b'{"a":' + text + b"}"):
        try:
            orjson.loads(whole)
        except orjson.JSONDecodeError:
            assert not accepted(whole)
        else:
            assert accepted(whole)


@pytest.mark.parametrize("text", [b"1e999", b"[-1E+0400]", b'"\xff"', b'"\\ud800"', b"1" * 400, b"1" * 220 + b"e99"])
def test_what_only_lenient_parsers_accept_is_rejected(text: bytes) -> None:
    """Numbers that overflow, bytes that are not UTF-8, lone surrogates."""
    with pytest.raises(ValueError, match=r"."):
        check_json(text)


@pytest.mark.parametrize("value", [1e-300, 1e99, 123456.789, "é", {"e": 1000}, {"a": ["\ud83d\ude00"]}])
def test_ordinary_json_is_not_parsed(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    """Only what may be a number that overflows needs `orjson`."""
    monkeypatch.setattr("hermes.json_nesting.orjson.loads", None)
    check_json(json.dumps(value).encode())


@pytest.mark.parametrize("unit", [b'"a",', b"1,", b"1e99,", b'"1e999",', b"0", b"0e00", '"é",'.encode(), b"[],"])
def test_it_needs_linear_time(unit: bytes) -> None:
    """For any text."""
    assert growth(lambda size: accepted(b"[" + unit * size + b"1]"), 20_000) < LINEAR_MAX
