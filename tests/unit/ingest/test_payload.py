"""Payload bytes: unchanged JSON, text, base64 or null, and always a valid frame."""

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes.ingest.payload import MAX_DEPTH, decode
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
    assert decode(b"") == (b"null", "", None)


def test_the_parsed_value_is_available_to_pointers() -> None:
    """JSON is parsed once."""
    assert decode(b' {"a":[1,"x"]} ').value == {"a": [1, "x"]}


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
    data, encoding, _ = decode(payload)
    if encoding == "text":
        assert json.loads(data).encode() == payload
    elif encoding == "base64":
        assert base64.b64decode(json.loads(data)) == payload
    else:
        assert data == (payload.strip() or b"null")


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
