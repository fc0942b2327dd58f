"""CBOR: one item becomes one JSON value, anything else an error."""

import base64
import json
import math
import resource
from typing import Any

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes.errors import PayloadError
from hermes.ingest.cbor import ANY_KEYS_MAX_BYTES, BIGNUM_MAX_BYTES, MAX_ITEMS, MAX_TAGS, PAYLOAD_MAX_BYTES, decode
from hermes.json_nesting import MAX_DEPTH


def text_of(payload: str | bytes) -> str:
    """Return the JSON of a payload, given in hexadecimal or as bytes."""
    return decode(payload if isinstance(payload, bytes) else bytes.fromhex(payload)).data.decode()


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        # RFC 8949, appendix A
        ("00", "0"),
        ("1b000000e8d4a51000", "1000000000000"),
        ("1bffffffffffffffff", "18446744073709551615"),
        ("c249010000000000000000", "18446744073709551616"),
        ("3bffffffffffffffff", "-18446744073709551616"),
        ("c349010000000000000000", "-18446744073709551617"),
        ("f98000", "-0.0"),
        ("fb3ff199999999999a", "1.1"),
        ("fa47c35000", "100000.0"),
        ("f97c00", "null"),
        ("f97e00", "null"),
        ("fbfff0000000000000", "null"),
        ("f4", "false"),
        ("f6", "null"),
        ("f7", "null"),
        ("f0", "null"),
        ("f8ff", "null"),
        ("c074323031332d30332d32315432303a30343a30305a", '"2013-03-21T20:04:00Z"'),
        ("c11a514b67b0", '"2013-03-21T20:04:00Z"'),
        ("c1fb41d452d9ec200000", '"2013-03-21T20:04:00.500000Z"'),
        ("d74401020304", '"AQIDBA=="'),
        ("d818456449455446", '"ZElFVEY="'),
        ("d82076687474703a2f2f7777772e6578616d706c652e636f6d", '"http://www.example.com"'),
        ("6449455446", '"IETF"'),
        ("62c3bc", '"ü"'),
        ("80", "[]"),
        ("8301820203820405", "[1,[2,3],[4,5]]"),
        ("a201020304", '{"1":2,"3":4}'),
        ("7f657374726561646d696e67ff", '"streaming"'),
        ("9f018202039f0405ffff", "[1,[2,3],[4,5]]"),
        ("bf61610161629f0203ffff", '{"a":1,"b":[2,3]}'),
        # tags of dates and bignums around a type that they are not defined for
        ("c1f97e00", "null"),
        ("c11b7fffffffffffffff", "9223372036854775807"),
        ("c16161", '"a"'),
        ("c1c24101", '"1970-01-01T00:00:01Z"'),
        ("c26161", '"a"'),
        ("c301", "1"),
        # every other tag gives its value
        ("c401", "1"),
        ("c48221196ab3", "[-2,27315]"),
        ("c48221c249010000000000000000", "[-2,18446744073709551616]"),
        ("c4823bffffffffffffffff01", "[-18446744073709551616,1]"),
        ("c5822003", "[-1,3]"),
        ("d5420001", '"AAE="'),
        ("d74200ff", '"AP8="'),
        ("d81e820103", "[1,3]"),
        ("d8236128", '"("'),
        ("d825508f0e0000000000000000000000000001", '"jw4AAAAAAAAAAAAAAAAAAQ=="'),
        ("d8641a00000001", "1"),
        ("d90102820101", "[1,1]"),
        ("d903ec6a323032352d30312d3032", '"2025-01-02"'),
        ("d903e78141ff", '["/w=="]'),
        ("d9d9f7a0", "{}"),
        # keys
        ("a54100f5" + "f5f5" + "f6f5" + "fb3ff8000000000000f5" + "20f5", None),
        ("a1f0f5", '{"null":true}'),
        ("a1c24101f5", '{"1":true}'),
        ("a1c100f5", '{"1970-01-01T00:00:00Z":true}'),
    ],
)
def test_an_item_becomes_json(payload: str, text: str | None) -> None:
    """The nearest JSON value."""
    if text is None:
        text = '{"AA==":true,"true":true,"null":true,"1.5":true,"-1":true}'
    assert text_of(payload) == text


def test_the_parsed_value_is_available_to_pointers() -> None:
    """As a reader of the JSON gets it."""
    decoded = decode(bytes.fromhex("a1616182016162"))
    assert (decoded.data, decoded.encoding, decoded.value) == (b'{"a":[1,"b"]}', "", {"a": [1, "b"]})


def test_a_byte_string_alone_is_base64_with_its_encoding() -> None:
    """As other payloads of bytes."""
    decoded = decode(b"\x43abc")
    assert (decoded.data, decoded.encoding, decoded.value) == (b'"YWJj"', "base64", None)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "not valid CBOR"),
        (b"\x01\x02", "bytes follow"),
        (b"\x00" * 9_000, "bytes follow"),
        (b'{"a":1}', "bytes follow|not valid CBOR"),
        (b"\x82\x01", "not valid CBOR"),
        (b"\x1c", "not valid CBOR"),
        (b"\xff", "not valid CBOR"),
        (b"\xf8\x18", "not valid CBOR"),
        (b"\x62\xc3\x28", "not valid CBOR"),
        (b"\x5f\x61a\xff", "not valid CBOR"),
        (b"\xa2\x01\x02\x01\x03", "Duplicate"),
        (b"\xa2\x01\x02\x611\x03", "same text"),
        (b"\xa1\x81\x01\x02", "array or a map"),
        (b"\xa1\xa0\x02", "array or a map"),
        (b"\xa1\xd9\x03\xe7\x80\x02", "array or a map"),
        (b"\xd8\x1c\x81\xd8\x1d\x00", "tag 29: a tag refers"),
        (b"\xd8\x1c\x81\x00", "tag 28: a tag refers"),
        (b"\xd9\x01\x00\x82\x63abc\xd8\x19\x00", "tag 25: a tag refers"),
        (b"\xc2\x59" + (BIGNUM_MAX_BYTES + 1).to_bytes(2, "big") + b"\xff" * (BIGNUM_MAX_BYTES + 1), "bignum"),
    ],
)
def test_anything_but_one_plain_item_is_rejected(payload: bytes, why: str) -> None:
    """Truncated, followed by more bytes, ambiguous, or with references."""
    with pytest.raises(PayloadError, match=why):
        decode(payload)


def test_depth_is_bounded_as_for_json() -> None:
    """Arrays, maps and tags count equally."""
    assert text_of(b"\x81" * MAX_DEPTH + b"\x00") == "[" * MAX_DEPTH + "0" + "]" * MAX_DEPTH
    for opening in (b"\x81", b"\x9f", b"\xc6", b"\xa1\x61a", b"\xc1"):
        for depth in (MAX_DEPTH + 1, 40_000):
            with pytest.raises(PayloadError, match="depth"):
                decode(opening * depth + b"\x00")


@pytest.mark.parametrize(("size", "kind"), [(9, int), (127, int), (128, str), (BIGNUM_MAX_BYTES, str)])
def test_a_bignum_is_a_number_or_its_digits(size: int, kind: type[int] | type[str]) -> None:
    """If a double would overflow, some readers of JSON reject the number."""
    for tag, sign in ((b"\xc2", 1), (b"\xc3", -1)):
        found = json.loads(text_of(tag + b"\x59" + size.to_bytes(2, "big") + b"\xff" * (size - 1) + b"\xfe"))
        assert isinstance(found, kind)
        assert int(found) == sign * (256**size - 2) - (sign < 0)


@pytest.mark.parametrize("head", [0x5B, 0x7B, 0x9B, 0xBB])
@pytest.mark.parametrize("length", [2**31, 2**62, 2**64 - 1])
def test_an_announced_length_allocates_nothing(head: int, length: int) -> None:
    """A payload with fewer bytes is rejected at once."""
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PayloadError, match="not valid CBOR"):
        decode(bytes([head]) + length.to_bytes(8, "big") + b"\x00")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 65_536


def test_large_payloads_may_have_only_text_and_bytes_as_keys() -> None:
    """Other keys could be crafted to collide."""
    small = cbor2.dumps({1: "x" * 60_000})
    assert json.loads(text_of(small)) == {"1": "x" * 60_000}
    large = {"a": "x" * ANY_KEYS_MAX_BYTES}
    assert json.loads(text_of(cbor2.dumps(large))) == large
    with pytest.raises(PayloadError):
        decode(cbor2.dumps({1: "x" * ANY_KEYS_MAX_BYTES}))


def array_of(item: bytes, count: int) -> bytes:
    return b"\x9a" + count.to_bytes(4, "big") + item * count


@pytest.mark.parametrize("item", [b"\x80", b"\xa0", b"\x00", b"\xf7", b"\x40"])
def test_a_payload_has_a_limited_number_of_items(item: bytes) -> None:
    assert len(json.loads(text_of(array_of(item, MAX_ITEMS)))) == MAX_ITEMS
    with pytest.raises(PayloadError, match="more than 20,000 elements"):
        decode(array_of(item, MAX_ITEMS + 1))


def test_the_members_of_all_maps_are_items_too() -> None:
    with pytest.raises(PayloadError, match="more than 20,000 elements"):
        decode(array_of(b"\xa1\x61k\x00", MAX_ITEMS // 2 + 1))


@pytest.mark.parametrize(
    "tag", [b"\xc0", b"\xc1", b"\xc2", b"\xc3", b"\xd8\x63"], ids=["text", "date", "+", "-", "unknown"]
)
def test_a_payload_has_a_limited_number_of_tags(tag: bytes) -> None:
    """65,000 dates of two bytes would block the event loop for 140 ms."""
    assert len(json.loads(text_of(array_of(tag + b"\x00", MAX_TAGS)))) == MAX_TAGS
    with pytest.raises(PayloadError, match="more than 4,096 tags"):
        decode(array_of(tag + b"\x00", MAX_TAGS + 1))


def test_a_payload_that_is_too_large_for_telemetry_is_rejected() -> None:
    """It would block the event loop, or become many times as large."""
    largest = b"\x5a" + (PAYLOAD_MAX_BYTES - 5).to_bytes(4, "big") + b"x" * (PAYLOAD_MAX_BYTES - 5)
    assert len(decode(largest).data) > PAYLOAD_MAX_BYTES
    with pytest.raises(PayloadError, match="over 131,072"):
        decode(b"\x9a" + (524_000).to_bytes(4, "big") + b"\xc1\x00" * 524_000)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


def plain(value: Any) -> Any:
    """Return the value with base64 text for bytes."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [plain(each) for each in value]
    return {key: plain(each) for key, each in value.items()} if isinstance(value, dict) else value


@given(VALUES)
def test_every_value_is_converted(value: Any) -> None:
    """Python's JSON reader gets the same value."""
    assert json.loads(text_of(cbor2.dumps(value))) == plain(value)


@given(st.binary(max_size=60))
@example(b"\xc4\x82\x3b\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x01")
def test_any_bytes_become_json_or_are_rejected(payload: bytes) -> None:
    """Without any other exception."""
    try:
        found = decode(payload)
    except PayloadError:
        return
    frame = json.loads(b'{"data":' + found.data + b',"end":1}', parse_constant=pytest.fail)
    assert list(frame) == ["data", "end"]
    assert found.encoding in ("", "base64")


@given(VALUES, st.data())
def test_a_damaged_item_becomes_json_or_is_rejected(value: Any, data: st.DataObject) -> None:
    """One byte of a valid item is replaced."""
    good = cbor2.dumps(value)
    at = data.draw(st.integers(0, len(good) - 1))
    try:
        found = decode(good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :])
    except PayloadError:
        return
    json.loads(found.data, parse_constant=pytest.fail)


def test_seconds_are_a_date_up_to_the_year_9999() -> None:
    """Others stay numbers."""
    assert text_of(cbor2.dumps(cbor2.CBORTag(1, 253_402_300_799))) == '"9999-12-31T23:59:59Z"'
    assert text_of(cbor2.dumps(cbor2.CBORTag(1, 253_402_300_800))) == "253402300800"
    assert text_of(cbor2.dumps(cbor2.CBORTag(1, -math.inf))) == "null"
