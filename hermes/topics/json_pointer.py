"""JSON pointers (RFC 6901)."""

import re
from collections.abc import Sequence

_INDEX = re.compile(r"0|[1-9][0-9]*", re.ASCII)  # §4: an array index has no leading zeros
_INDEX_MAX_DIGITS = 9  # a payload has fewer elements, and `int` refuses very long texts


def tokens_of(text: str) -> tuple[str, ...]:
    """Return the unescaped tokens of a JSON pointer (§3, §4).

    It is not empty. Raises ValueError.
    """
    if re.search(r"~(?![01])", text):
        raise ValueError(f"{text} is not a JSON pointer (RFC 6901); write ~0 for ~ and ~1 for / inside a name")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def pointed_at(pointer: Sequence[str], value: object) -> object:
    """Return the value at the unescaped tokens (§4), or None if there is none."""
    for token in pointer:
        if isinstance(value, dict):
            value = value.get(token)
        elif (
            isinstance(value, list)
            and len(token) <= _INDEX_MAX_DIGITS
            and _INDEX.fullmatch(token)
            and int(token) < len(value)
        ):
            value = value[int(token)]
        else:
            return None
    return value
