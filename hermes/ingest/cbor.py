"""The devices' door: CBOR (RFC 8949) → one JSON value. An extra, ``hermes-gateway[cbor]``: only here is cbor2 imported.

What CBOR has and JSON lacks, decided once, becomes:

- a byte string: the text of its base64 (RFC 4648 §4). RFC 8949 §6.1 advises base64url; but everything else that Hermes
  turns into base64 has the plain alphabet, which a browser's `atob` reads. Tags 21, 22 and 23 choose the text instead;
- ``undefined``, simple values without a meaning, NaN and the infinities: ``null``;
- a date (tags 0, 1, 100, 1004): RFC 3339 text, in UTC where the device counts seconds;
- a bignum: an integer, a decimal fraction: a number, each with all its digits, as text where a double would overflow;
  a bigfloat: a number; a UUID: text. Under every other tag: what is tagged;
- a key that is no text: the text of its JSON; ``{1: true}`` becomes ``{"1":true}``.

Faults are: what is not exactly one well-formed item; a key twice, also where two keys become the same text; a key that
is an array, a map or tagged; more than `MAX_DEPTH` arrays, maps and tags around a value; and references to another
place of the payload (tags 25, 28, 29, 256), which make a small payload large, or endless.
"""

import base64
import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Final

import cbor2
import orjson

from hermes.errors import PayloadError
from hermes.ingest.payload import MAX_DEPTH, Payload

# Telemetry is small. A million dates of two bytes would hold the loop for seconds, and become twelve times as large.
PAYLOAD_MAX_BYTES = 131_072
BIGNUM_MAX_BYTES = 1_024  # 2,467 digits; Python writes integers of up to 4,300
# Larger payloads may only have text and bytes as keys: with enough arrays as keys that were made to share one hash, one
# message holds the loop up for seconds, and that a key is an array is known only when it has been stored.
ANY_KEYS_MAX_BYTES = 65_536

_REFERENCES = (25, 28, 29, 256)
# all that cbor2 would make objects of by itself: it compiles regular expressions, and computes powers of ten
_KNOWN_TAGS = (0, 1, 2, 3, 4, 5, 30, 35, 36, 37, 52, 54, 100, 258, 260, 261, 1004, 43000, 55799)


class _Tagged:
    """A value and its tag."""

    __slots__ = ("tag", "value")
    __hash__: Final = None  # type: ignore[assignment]  # it is no key

    def __init__(self, tag: int, value: object) -> None:
        self.tag = tag
        self.value = value


def decode(payload: bytes) -> Payload:
    """The JSON value that stands for a payload of one CBOR item. Raises `PayloadError`, also for more than
    `PAYLOAD_MAX_BYTES`.
    """
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise PayloadError(f"{len(payload):,} bytes of CBOR are over {PAYLOAD_MAX_BYTES:,}")
    value = _parse(payload)
    if isinstance(value, bytes):
        return Payload(orjson.dumps(_base64(value)), "base64", None)
    data = orjson.dumps(_json(value))
    return Payload(data, "", orjson.loads(data))


def _parse(payload: bytes) -> object:
    decoder = cbor2.CBORDecoder(
        BytesIO(payload),
        semantic_decoders=_DECODERS,
        tag_hook=lambda tagged, _immutable: _Tagged(tagged.tag, tagged.value),
        max_depth=MAX_DEPTH,
        allow_duplicate_keys=False,
        strict_hashable_types=len(payload) > ANY_KEYS_MAX_BYTES,
    )
    try:
        value: object = decoder.decode()
    except cbor2.CBORError as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise PayloadError(f"no CBOR that can be read: {error}{cause}") from None
    try:
        decoder.read(1)
    except cbor2.CBORDecodeEOF:
        return value
    raise PayloadError("bytes follow after the CBOR item")


def _kept(tag: int) -> Callable[[object, bool], _Tagged]:
    return lambda value, _immutable: _Tagged(tag, value)


def _refused(tag: int) -> Callable[[object, bool], _Tagged]:
    def refuse(_value: object, _immutable: bool) -> _Tagged:
        raise cbor2.CBORDecodeError(f"tag {tag} refers to another place of the payload")

    return refuse


_DECODERS = {tag: _kept(tag) for tag in _KNOWN_TAGS} | {tag: _refused(tag) for tag in _REFERENCES}


def _json(value: object) -> object:
    """What `orjson` can write. It writes NaN and the infinities as null by itself."""
    match value:
        case str() | float() | bool() | None:
            return value
        case int():
            return _integer(value)
        case list() | tuple():
            return [_json(element) for element in value]
        case dict():
            return _object(value)
        case bytes():
            return _base64(value)
        case _Tagged():
            reader = _TAGS.get(value.tag, _json)
            return reader(value.value)
        case _:
            return None  # undefined, a simple value


def _object(value: dict[object, object]) -> dict[str, object]:
    members = {_key(key): _json(member) for key, member in value.items()}
    if len(members) < len(value):
        raise PayloadError("two keys of a CBOR map become the same text")
    return members


def _key(key: object) -> str:
    match key:
        case str():
            return key
        case bytes():
            return _base64(key)
        case int() | float() | None:
            return str(key) if type(key) is int else orjson.dumps(key).decode()
        case cbor2.undefined | cbor2.CBORSimpleValue():
            return "null"
        case _:
            raise PayloadError("a key of a CBOR map is an array or a map")


def _integer(value: int) -> object:
    """JSON's integers have any number of digits, orjson's 64 bits."""
    if -(2**63) <= value < 2**64:
        return value
    text = str(value)
    return orjson.Fragment(text) if math.isfinite(float(text)) else text


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


# What is tagged may be anything: each of these takes what it is for, and leaves all else as it is.


def _seconds(value: object) -> object:
    """Tag 1: seconds since 1970."""
    if isinstance(value, int | float):
        try:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
        except (OverflowError, ValueError):  # not between the years 1 and 9999, or NaN
            return _json(value)
        return moment.isoformat().replace("+00:00", "Z")
    return _json(value)


def _days(value: object) -> object:
    """Tag 100: days since 1970."""
    if type(value) is int:
        try:
            return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
        except OverflowError:
            return _json(value)
    return _json(value)


def _bignum(value: object) -> object:
    """Tag 2, and as text of digits."""
    number = _big(value)
    return _json(value) if number is None else _integer(number)


def _negative_bignum(value: object) -> object:
    """Tag 3: -1 less the number."""
    number = _big(value)
    return _json(value) if number is None else _integer(-1 - number)


def _big(value: object) -> int | None:
    if not isinstance(value, bytes):
        return None
    if len(value) > BIGNUM_MAX_BYTES:
        raise PayloadError(f"a CBOR bignum of {len(value)} bytes is over {BIGNUM_MAX_BYTES}")
    return int.from_bytes(value, "big")


def _pair(value: object) -> tuple[int, int] | None:
    """Exponent and mantissa of tags 4 and 5; the mantissa may be a bignum."""
    if not isinstance(value, list | tuple) or len(value) != 2 or type(value[0]) is not int:
        return None
    exponent, mantissa = value
    if isinstance(mantissa, _Tagged) and mantissa.tag in (2, 3):
        number = _big(mantissa.value)
        mantissa = number if number is None or mantissa.tag == 2 else -1 - number
    return (exponent, mantissa) if type(mantissa) is int else None


def _decimal(value: object) -> object:
    """Tag 4: a mantissa and an exponent of ten."""
    pair = _pair(value)
    if pair is None or abs(pair[0]) >= 10**15:  # what Decimal could not hold
        return _json(value)
    exponent, mantissa = pair
    digits = tuple(map(int, str(abs(mantissa))))
    text = str(Decimal((int(mantissa < 0), digits, exponent)))
    return orjson.Fragment(text) if math.isfinite(float(text)) else text


def _bigfloat(value: object) -> object:
    """Tag 5: a mantissa and an exponent of two."""
    pair = _pair(value)
    if pair is None:
        return _json(value)
    try:
        return math.ldexp(pair[1], pair[0])
    except OverflowError:
        return None


def _uuid(value: object) -> object:
    """Tag 37."""
    return str(uuid.UUID(bytes=value)) if isinstance(value, bytes) and len(value) == 16 else _json(value)


def _base64url(value: object) -> object:
    """Tag 21: without padding, as RFC 8949 §3.4.5.2 has it."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode() if isinstance(value, bytes) else _json(value)


def _base16(value: object) -> object:
    """Tag 23."""
    return value.hex().upper() if isinstance(value, bytes) else _json(value)


_TAGS: dict[int, Callable[[object], object]] = {
    1: _seconds,
    2: _bignum,
    3: _negative_bignum,
    4: _decimal,
    5: _bigfloat,
    21: _base64url,
    23: _base16,
    37: _uuid,
    100: _days,
}
