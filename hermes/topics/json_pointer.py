"""JSON pointers (RFC 6901) into values and into JSON text; the parts of JSON text.

What is cut out of a text is passed on unchanged: parsing and printing again would change ``1.10`` to ``1.1`` and lose
digits of large numbers. The functions need text that `hermes.json_nesting.check_json` accepts, of at most
`CHECK_MAX_DEPTH` levels.
"""

import functools
import re
from collections.abc import Callable, Sequence

import msgspec

TEXT_INDEX_MAX = 1_000  # of a pointer into the text of an array: the text of each element before is built

_INDEX = re.compile(r"0|[1-9][0-9]*", re.ASCII)  # §4: an array index has no leading zeros
_INDEX_MAX_DIGITS = 9  # a payload has fewer elements, and `int` refuses very long texts
_ABSENT = msgspec.Raw()
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


def pointed_at(pointer: Sequence[str], value: object) -> object:
    """Return the value at the unescaped tokens (§4), or None if there is none."""
    for token in pointer:
        if isinstance(value, dict):
            value = value.get(token)
        elif isinstance(value, list) and _is_index(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            return None
    return value


def tokens_of(text: str) -> tuple[str, ...]:
    """Return the unescaped tokens of a JSON pointer (§3, §4).

    It is not empty. Raises ValueError.
    """
    if re.search(r"~(?![01])", text):
        raise ValueError(f"{text} is not a JSON pointer (RFC 6901); write ~0 for ~ and ~1 for / inside a name")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def _is_index(token: str) -> bool:
    return len(token) <= _INDEX_MAX_DIGITS and _INDEX.fullmatch(token) is not None


def members(text: bytes) -> dict[str, bytes]:
    """Return the text of each of an object's values by name.

    Of a repeated name, the last counts, as in parsers. Takes 0.2 µs for each: see `hermes.json_nesting.has_more_parts`.
    """
    return {name: bytes(value) for name, value in _members(text).items()}


def elements(text: bytes) -> list[bytes]:
    """Return the texts of an array's elements, at the same cost."""
    return [bytes(value) for value in _elements(text)]


def text_at(pointer: Sequence[str], text: bytes) -> bytes:
    """Return the text of the value at the unescaped tokens of a JSON pointer.

    Empty if there is none. ``text`` begins with the value. Takes 1 to 2 ms for a megabyte and token.
    The tokens are those of templates, because a decoder is stored for each.
    """
    for token in pointer:
        if text.startswith(b"{"):
            text = bytes(msgspec.structs.astuple(_member(token)(text))[0])
        elif text.startswith(b"[") and _is_index(token) and int(token) <= TEXT_INDEX_MAX:
            text = bytes(msgspec.structs.astuple(_element(int(token))(text))[-1])
        else:
            return b""
    return text


@functools.cache
def _member(name: str) -> Callable[[bytes], msgspec.Struct]:
    """Return a decoder that skips all members of an object except this one."""
    fields = [("value", msgspec.Raw, _ABSENT)]
    return msgspec.json.Decoder(msgspec.defstruct("Member", fields, rename={"value": name})).decode


@functools.cache
def _element(index: int) -> Callable[[bytes], msgspec.Struct]:
    """Return a decoder of the first elements of an array, up to this one."""
    fields = [(f"element_{number}", msgspec.Raw, _ABSENT) for number in range(index + 1)]
    return msgspec.json.Decoder(msgspec.defstruct("Elements", fields, array_like=True)).decode
