"""Payload bytes: unchanged JSON, text, base64 or null, and always a valid frame."""

import base64
import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes.ingest import payload as payloads
from hermes.ingest.payload import PARSED_MAX_BYTES, Payload, decode
from hermes.json_nesting import MAX_CONTAINERS, MAX_DEPTH
from hermes.topics.json_pointer import pointed_at
from tests.support.growth import FACTOR, LINEAR_MAX, growth
from tests.support.paths import SAMPLES


@pytest.mark.parametrize(
    "payload",
    [
        b"21.4",
        b"-0",
        b"1.0e2",
        b"true",
        b"null",
        b'"on"',
        b'""',
        b"[]",
        b'{"a":1,"a":2}',
        b'{"b": [1, 2,\t{"c":\n"\\u00e9\\ud83d\\ude00"}]}',
        b"0." + b"1" * 5_000,
        b"123456789012345678901234567890",
        '{"unit":"°C"}'.encode(),
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b'"' + b"[" * 2_000 + b'"',
        b"[" + b",".join([b"{}"] * 2_000) + b"]",
    ],
)
def test_json_is_unchanged(payload: bytes) -> None:
    """Byte for byte, with repeated names, many digits and escapes."""
    assert decode(payload).data == payload
    assert decode(payload).encoding == ""
    assert decode(b" \r\n\t" + payload + b"\n").data == payload


@pytest.mark.parametrize(
    "payload",
    [
        b'1},"x":{',
        b'1,"x":2',
        b"1 2",
        b'"a',
        b"{",
        b"NaN",
        b"nan",
        b"Infinity",
        b"-Infinity",
        b'{"a":NaN}',
        b"1e999",
        b"1" * 5_000,
        b"01",
        b"1.",
        b"[1,]",
        b"{'a':1}",
        b"1/**/",
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"a\nb"',
        b"\xef\xbb\xbf{}",
        b" ",
        b"\0",
        b"ON",
        "Grüße \U0001f600 \u2028".encode(),
        b"\x0b1",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_not_json_becomes_a_string(payload: bytes) -> None:
    """Also what lenient readers accept as JSON, and what is nested too deeply."""
    decoded = decode(payload)
    assert decoded.encoding == "text"
    assert json.loads(decoded.data) == payload.decode()
    assert decoded.value is None


@pytest.mark.parametrize("payload", [b"\xff", b"\x9a", b'"\xed\xa0\x80"', b"abc\xc3", bytes(range(256))])
def test_what_is_not_utf8_becomes_base64(payload: bytes) -> None:
    """So that no byte is lost."""
    decoded = decode(payload)
    assert decoded.encoding == "base64"
    assert base64.b64decode(json.loads(decoded.data), validate=True) == payload
    assert decoded.value is None


def test_an_empty_payload_is_null() -> None:
    """It deletes the last value."""
    decoded = decode(b"")
    assert (decoded.data, decoded.encoding, decoded.value) == (b"null", "", None)


def test_the_parsed_value_is_available_to_pointers() -> None:
    """Of a small and of a large payload."""
    assert decode(b' {"a":[1,"x"]} ').value == {"a": [1, "x"]}
    large = [1] * PARSED_MAX_BYTES
    assert decode(json.dumps(large).encode()).value == large


@pytest.mark.parametrize("count", [1, PARSED_MAX_BYTES])
def test_json_is_parsed_at_most_once(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A large payload only when its value is needed."""
    parsed: list[bytes] = []
    loads = orjson.loads

    def counted(text: bytes) -> object:
        parsed.append(text)
        return loads(text)

    monkeypatch.setattr(orjson, "loads", counted)
    decoded = decode(b"[" + b"1," * count + b"1]")
    assert len(parsed) == (count == 1)
    assert decoded.value == decoded.value == [1] * (count + 1)
    assert len(parsed) == 1


def test_a_payload_with_too_many_containers_becomes_text() -> None:
    """Each array and each object counts."""
    most = b"[" + b",".join([b"{}"] * (MAX_CONTAINERS - 1)) + b"]"
    assert decode(most).encoding == ""
    assert decode(most.replace(b"}", b"},[]", 1)).encoding == "text"


@pytest.mark.parametrize("unit", [b"[[]],", b"{},", b'{"a":[]},'])
def test_containers_are_counted_without_objects(monkeypatch: pytest.MonkeyPatch, unit: bytes) -> None:
    """A megabyte of them is never parsed: its objects would take 100 ms."""
    monkeypatch.setattr(orjson, "loads", None)
    assert decode(b"[" + unit * (2**20 // len(unit)) + b"0]").encoding == "text"


@pytest.mark.parametrize(
    ("unit", "size"), [(b"1,", 65_536), ("é".encode(), 65_536), (b"\xff", 131_072)], ids=["array", "text", "base64"]
)
def test_a_large_payload_needs_linear_time(unit: bytes, size: int) -> None:
    """It must not block the event loop for long."""
    payloads = {count: b"[" + unit * count + b"1]" for count in (size, FACTOR * size)}
    assert growth(lambda count: decode(payloads[count]), size) < LINEAR_MAX


NEAR_JSON = st.lists(
    st.sampled_from([*'{}[]":,', "1", "-", ".", "e5", "\\", "\\u", "d800", "null", "NaN", " ", "é", '"x"', "\n"]),
    max_size=30,
).map(lambda parts: "".join(parts).encode())
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | NEAR_JSON)
@example(b'1},"x":{')
@example(b'null,"data":2')
def test_no_payload_breaks_the_frame_around_it(payload: bytes) -> None:
    """The frame has exactly its own members, whatever a device sends."""
    frame = json.loads(b'{"data":' + decode(payload).data + b',"end":1}')
    assert list(frame) == ["data", "end"]
    assert frame["end"] == 1


@given(st.binary() | NEAR_JSON)
def test_every_payload_can_be_restored(payload: bytes) -> None:
    """From the JSON without white space, the text or the base64."""
    decoded = decode(payload)
    data, encoding = decoded.data, decoded.encoding
    if encoding == "text":
        assert json.loads(data).encode() == payload
    elif encoding == "base64":
        assert base64.b64decode(json.loads(data)) == payload
    else:
        assert data == (payload.strip() or b"null")


def form_of(decoded: Payload) -> tuple[bytes, str, object]:
    """What a reader of a payload can see."""
    return decoded.data, decoded.encoding, decoded.value


NUMBERS = st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{1,2})?[eE][+-]?0{0,2}[0-9]{1,4}", fullmatch=True) | st.builds(
    lambda digits, exponent: "1" * digits + exponent,
    st.integers(190, 320),
    st.sampled_from(["", "e0", "e99", "e+99", "E109", "e-99", ".5"]),
)


@given(
    st.binary()
    | NEAR_JSON
    | NEAR_JSON.map(lambda text: b'"' + text.replace(b'"', b"") + b'"')
    | NUMBERS.map(str.encode)
    | NUMBERS.map(lambda number: f'{{"a":[{number}]}}'.encode())
    | NUMBERS.map(lambda number: f'["{number}"]'.encode())
)
@example(b"1e999")
@example(b"[1e+0000309]")
@example(b"1.7976931348623157e308")
@example(b"1.7976931348623159e308")
@example(b"1" * 309)
@example(b"1" * 210 + b"e99")
@example(b'"\\ud800"')
@example(b'["\xff"]')
@example(b'"\xed\xa0\x80"')
def test_the_form_of_a_payload_does_not_depend_on_its_size(payload: bytes) -> None:
    """Large payloads are checked by another parser than small ones."""
    small = decode(payload)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payloads, "PARSED_MAX_BYTES", -1)
        assert form_of(decode(payload)) == form_of(small)


@given(JSON_VALUES)
def test_every_json_value_is_embedded_unchanged(value: object) -> None:
    """The JSON of another implementation is recognised."""
    payload = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if b"\xed" in payload:
        return  # perhaps a lone surrogate, which is not UTF-8
    decoded = decode(payload)
    assert decoded.encoding in ("", "text")
    if decoded.encoding == "":
        assert decoded.data == payload
    else:
        assert any(number > 1e308 for number in _numbers(value))


def _numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for child in value.values() for number in _numbers(child)]
    if isinstance(value, list):
        return [number for child in value for number in _numbers(child)]
    return [abs(value)] if isinstance(value, int | float) else []


def test_real_payloads_are_all_embedded() -> None:
    """The collected messages of many device types, if they are available."""
    if not SAMPLES.exists():
        pytest.skip("the collected messages are not available")
    encodings = set()
    for path in SAMPLES.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            sample = json.loads(line)
            raw = sample.get("payload_base64")
            payload = base64.b64decode(raw) if raw is not None else sample.get("payload", "").encode()
            decoded = decode(payload)
            encodings.add(decoded.encoding)
            assert list(json.loads(b'{"data":' + decoded.data + b',"end":1}')) == ["data", "end"]
    assert encodings == {"", "text", "base64"}


POINTERS = [("a",), ("b", "c"), ("b", "d", "1"), ("missing",), ("b",), ("list", "0"), ("a", "deeper"), ("",), ()]
VALUE = {"a": "text", "b": {"c": 7, "d": [1.5, True]}, "list": [None, 2], "": "empty"}


@pytest.mark.parametrize("filler", [b"", b" " * PARSED_MAX_BYTES])
def test_a_pointer_finds_strings_numbers_and_literals_also_in_a_payload_that_is_not_parsed(filler: bytes) -> None:
    """Arrays and objects are no ids."""
    payload = decode(json.dumps(VALUE).encode()[:-1] + filler + b"}")
    selected = payload.selected(POINTERS)
    for pointer in POINTERS:
        expected = pointed_at(pointer, VALUE)
        if not isinstance(expected, dict | list):
            assert pointed_at(pointer, selected) == payload.at(pointer) == expected
    assert (selected == VALUE) is not bool(filler)


@pytest.mark.parametrize("text", [b'"ON"', b"7", b"true"])
def test_the_whole_payload_is_found_by_the_empty_pointer(text: bytes) -> None:
    """Unless it is an array or an object."""
    assert Payload(text).at(()) == json.loads(text)
    assert Payload(b"[1]").at(()) is None
