"""Floor 1: JSON pointers (RFC 6901)."""

import re
from collections.abc import Sequence

_INDEX = re.compile(r"0|[1-9][0-9]*", re.ASCII)  # §4: an array index has no leading zeros
_INDEX_MAX_DIGITS = 9  # no payload holds more elements, and Python reads no integer of a million digits


def pointed_at(pointer: Sequence[str], value: object) -> object:
    """The value that the pointer's unescaped tokens lead to (§4); None where they lead nowhere."""
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
