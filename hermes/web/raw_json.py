"""Floor 2: the text of a JSON value's parts, so that ``data`` travels as it was written.

Parsing and printing again would turn ``1.0e2`` into ``100.0`` and lose digits of large numbers. Both functions
are for text that a strict parser has accepted already (RFC 8259); on anything else their answer is undefined.
They count brackets instead of recursing, so depth costs nothing.
"""

import json
import re

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rf"{_STRING}|[\[\]{{}},]")
_MEMBER = re.compile(rf"({_STRING})[ \t\n\r]*:")
_SPACE = " \t\n\r"


def members(text: str) -> dict[str, str]:
    """An object's members, name to the text of its value; of a repeated name the last, as parsers have it."""
    found: dict[str, str] = {}
    for part in elements(text):
        member = _MEMBER.match(part)
        assert member is not None, "not the text of an object"
        found[json.loads(member[1])] = part[member.end() :].strip(_SPACE)
    return found


def elements(text: str) -> list[str]:
    """The texts of an array's elements, or of an object's members with their names."""
    parts: list[str] = []
    depth = start = 0
    for token in _TOKEN.finditer(text):
        match text[token.start()]:
            case "[" | "{":
                depth += 1
                if depth == 1:
                    start = token.end()
            case "]" | "}":
                depth -= 1
                if depth == 0 and (last := text[start : token.start()].strip(_SPACE)):
                    parts.append(last)
            case "," if depth == 1:
                parts.append(text[start : token.start()].strip(_SPACE))
                start = token.end()
    return parts
