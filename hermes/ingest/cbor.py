"""Convert CBOR payloads (RFC 8949) to one JSON value.

Needs the extra ``cbor``: only this module imports cbor2. Types that JSON does not have become:

- a byte string: the text of its base64 (RFC 4648 §4). RFC 8949 §6.1 advises base64url; but all other base64 of Hermes
  has the plain alphabet, which a browser's `atob` reads;
- ``undefined``, simple values without a meaning, NaN and the infinities: ``null``;
- a date (tags 0 and 1): RFC 3339 text, in UTC if the device counts seconds;
- a bignum (tags 2 and 3): an integer with all its digits, as text if a double would overflow;
- an item under any other tag: the item without the tag;
- a key that is not text: the text of its JSON; ``{1: true}`` becomes ``{"1":true}``.

A payload is rejected if it is not exactly one well-formed item; if a key appears twice, also when two keys become the
same text; if a key is an array or a map; if more than `MAX_DEPTH` arrays, maps and tags enclose a value; if it has more
than `MAX_ITEMS` elements and members, or more than `MAX_TAGS` tags; and if a tag refers to another place of the payload
(25, 28, 29, 256), which can make a small payload large, or endless.
"""

import base64
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO

import cbor2
import orjson

from hermes.errors import PayloadError
from hermes.ingest.payload import Payload
from hermes.json_nesting import MAX_DEPTH

# Telemetry is small. With these three limits, no payload takes more than 20 ms of the loop: 65,000 dates of two bytes
# would take 140 ms, 131,000 empty byte strings 45 ms.
PAYLOAD_MAX_BYTES = 131_072
MAX_ITEMS = 20_000  # elements of arrays, and members of maps
MAX_TAGS = 4_096
BIGNUM_MAX_BYTES = 1_024  # 2,467 digits; Python writes integers of up to 4,300
# Larger payloads may only have text and bytes as keys: with enough arrays as keys that were made to share one hash, one
# message blocks the loop for seconds, and the decoder reports that a key is an array only after it has stored it.
ANY_KEYS_MAX_BYTES = 65_536

# cbor2 would make objects of these by default: it compiles regular expressions, and computes powers of ten
_PLAIN_TAGS = (0, 4, 5, 30, 35, 36, 37, 52, 54, 100, 258, 260, 261, 1004, 43000, 55799)


def decode(payload: bytes) -> Payload:
    """Return the JSON value for a payload of one CBOR item.

    Raises `PayloadError`, also for more than `PAYLOAD_MAX_BYTES`.
    """
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise PayloadError(f"{len(payload):,} bytes of CBOR are over {PAYLOAD_MAX_BYTES:,}")
    value = _parse(payload)
    if isinstance(value, bytes):
        return Payload(orjson.dumps(_base64(value)), "base64", None)
    return Payload(orjson.dumps(_Converter().json(value)))


def _parse(payload: bytes) -> object:
    tags = _Tags()
    decoder = cbor2.CBORDecoder(
        BytesIO(payload),
        semantic_decoders=tags.decoders,
        tag_hook=tags.unknown,
        max_depth=MAX_DEPTH,
        allow_duplicate_keys=False,
        strict_hashable_types=len(payload) > ANY_KEYS_MAX_BYTES,
    )
    try:
        value: object = decoder.decode()
    except cbor2.CBORError as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise PayloadError(f"not valid CBOR: {error}{cause}") from None
    try:
        decoder.read(1)
    except cbor2.CBORDecodeEOF:
        return value
    raise PayloadError("bytes follow after the CBOR item")


_TagDecoder = Callable[[object, bool], object]


class _Tags:
    """Decode the tags of one payload, at most `MAX_TAGS`.

    Tags may enclose anything: each decoder converts the types that its tag is defined for, and returns others
    unchanged.
    """

    def __init__(self) -> None:
        self._left = MAX_TAGS
        self.decoders: dict[int, _TagDecoder] = dict.fromkeys(_PLAIN_TAGS, self._untagged)
        self.decoders |= _REFERENCE_DECODERS
        self.decoders |= {1: self._seconds, 2: self._bignum, 3: self._negative_bignum}

    def unknown(self, tagged: cbor2.CBORTag, _immutable: bool) -> object:
        """Return the item under a tag that has no decoder."""
        self._count()
        return tagged.value

    def _untagged(self, value: object, _immutable: bool) -> object:
        self._count()
        return value

    def _seconds(self, value: object, _immutable: bool) -> object:
        """Convert tag 1, seconds since 1970, to RFC 3339 text."""
        self._count()
        if not isinstance(value, int | float):
            return value
        try:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
        except (OverflowError, ValueError):  # not between the years 1 and 9999, or NaN
            return value
        return moment.isoformat().replace("+00:00", "Z")

    def _bignum(self, value: object, _immutable: bool) -> object:
        """Convert tag 2 to an integer."""
        self._count()
        if not isinstance(value, bytes):
            return value
        if len(value) > BIGNUM_MAX_BYTES:
            raise cbor2.CBORDecodeError(f"a bignum of {len(value)} bytes is over {BIGNUM_MAX_BYTES}")
        return int.from_bytes(value, "big")

    def _negative_bignum(self, value: object, _immutable: bool) -> object:
        """Convert tag 3 to an integer: -1 minus that of tag 2."""
        number = self._bignum(value, _immutable)
        return -1 - number if isinstance(value, bytes) and isinstance(number, int) else number

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise cbor2.CBORDecodeError(f"more than {MAX_TAGS:,} tags")


def _reference(_value: object, _immutable: bool) -> object:
    raise cbor2.CBORDecodeError("a tag refers to another place of the payload")


_REFERENCE_DECODERS = dict.fromkeys((25, 28, 29, 256), _reference)


class _Converter:
    """Convert one decoded payload to values for `orjson`.

    `orjson` writes NaN and the infinities as null.
    """

    def __init__(self) -> None:
        self._left = MAX_ITEMS

    def json(self, value: object) -> object:
        """Return a value that `orjson` can write.

        Raises `PayloadError` for more than `MAX_ITEMS`, and for keys that clash or have elements.
        """
        match value:
            case str() | float() | bool() | None:
                return value
            case int():
                return _integer(value)
            case list() | tuple():
                self._count(len(value))
                return [self.json(element) for element in value]
            case dict():
                self._count(len(value))
                return self._object(value)
            case bytes():
                return _base64(value)
            case _:
                return None  # undefined, a simple value

    def _object(self, value: dict[object, object]) -> dict[str, object]:
        members = {_key(key): self.json(member) for key, member in value.items()}
        if len(members) < len(value):
            raise PayloadError("two keys of a CBOR map become the same text")
        return members

    def _count(self, items: int) -> None:
        self._left -= items
        if self._left < 0:
            raise PayloadError(f"more than {MAX_ITEMS:,} elements of arrays and maps")


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
    """Return a value for `orjson`, which is limited to integers of 64 bits."""
    if -(2**63) <= value < 2**64:
        return value
    text = str(value)
    return orjson.Fragment(text) if math.isfinite(float(text)) else text


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
