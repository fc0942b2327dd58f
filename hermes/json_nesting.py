"""Check the nesting and the syntax of a JSON text without building its objects.

To build the objects of a megabyte of ``[[]],[[]],…`` takes 80 ms, and a recursive parser has a limit of its own that
depends on the version of Python. These steps take less than 11 ms for any megabyte, because all are single calls.

The two parsers accept the same texts, with two exceptions: msgspec checks neither that strings are UTF-8, nor that a
number fits into a double. orjson does, but takes 18 to 31 ms for a megabyte of short strings or names.
"""

import re
from itertools import accumulate

import msgspec
import orjson

# Counted in [ and {. The strictest common reader, Rust's serde_json, stops at 128 with the frame around it; Python's
# json at about 1,000 or 10,000, depending on its version; orjson at 1,024.
MAX_DEPTH = 100
MAX_CONTAINERS = 50_000
CHECK_MAX_DEPTH = 500  # half of Python's own limit of recursion, which msgspec obeys

_OTHERS = bytes(set(range(256)) - set(b'"[]{}'))
_OTHERS_THAN_COMMAS = bytes(set(range(256)) - set(b'"[]{},'))
_ARRAYS = bytes.maketrans(b"{}", b"[]")
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")  # 1 and, as a signed byte, -1
_INNERMOST = re.compile(rb"\[,*+\]|\{,*+\}")
_INNERMOST_PARTS = 4  # levels that `has_more_parts` removes: a device, a sample, its values, and one in a value
_INNERMOST_LEVELS = 2  # removed first: one level in one call, and most containers are in the innermost ones

_skip = msgspec.json.Decoder(msgspec.Raw).decode  # reads one value to its end, and returns its text

# A number of 2^1024 or more has an exponent of three digits, or 200 digits before the exponent.
_NUMBER_CHARACTERS = bytes.maketrans(b"123456789E", b"000000000e")
_LARGE_EXPONENT = b"0e000"
_MANY_DIGITS = b"0" * 200


def nested_too_deeply(text: bytes, max_depth: int = MAX_DEPTH) -> bool:
    """Return whether a JSON text exceeds a nesting or container limit.

    The limits are ``max_depth`` levels, and `MAX_CONTAINERS` arrays and objects. The result for a text that is not JSON
    (RFC 8259) is undefined.
    """
    if text.count(b"[") + text.count(b"{") <= max_depth:  # brackets in strings included
        return False
    rest = _outside_strings(text, _OTHERS)
    if len(rest) > 2 * MAX_CONTAINERS:
        return True
    return _depth(rest.translate(_ARRAYS)) > max_depth


def has_more_parts(text: bytes, most: int) -> bool:
    """Return whether a JSON array or object may have more parts than this.

    Parts are its elements or members. True as well for a text with so many values in deeper levels that a few steps
    cannot exclude it.
    """
    if text.count(b",") < most:  # those in strings and in deeper levels included
        return False
    rest = _outside_strings(text, _OTHERS_THAN_COMMAS)[1:-1]
    for _ in range(_INNERMOST_PARTS):
        rest = _INNERMOST.sub(b"", rest)
    return rest.count(b",") >= most


def _outside_strings(text: bytes, removed: bytes) -> bytes:
    """Return what is outside the strings, without the characters ``removed``."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    rest = text.translate(None, removed).replace(b'""', b"")  # without the strings that have none of the others
    if b'"' in rest:
        rest = b"".join(rest.split(b'"')[::2])
    return rest


def _depth(brackets: bytes) -> int:
    """Return the number of levels of a text of ``[`` and ``]`` alone."""
    removed = 0
    while brackets and removed < _INNERMOST_LEVELS:
        brackets = brackets.replace(b"[]", b"")  # a deepest array is always empty here
        removed += 1
    return removed + max(accumulate(memoryview(brackets.translate(_STEPS)).cast("b")), default=0)


def check_json(text: bytes) -> None:
    """Raise `ValueError` with the reason if a text is not JSON.

    Numbers that overflow a double and lone surrogates are not accepted, as by `orjson`. The text has at most
    `CHECK_MAX_DEPTH` levels.
    """
    if _may_overflow(text):
        orjson.loads(text)
        return
    try:
        _skip(text)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    text.decode()


def _may_overflow(text: bytes) -> bool:
    """Return whether a number of the text may be too large for a double.

    Also true for a string that contains such a number.
    """
    numbers = text.translate(_NUMBER_CHARACTERS, b"+")
    return _LARGE_EXPONENT in numbers or _MANY_DIGITS in numbers
