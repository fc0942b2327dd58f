"""Split the text of a JSON value, so that ``data`` is passed on unchanged.

Parsing and printing again would change ``1.0e2`` to ``100.0`` and lose digits of large numbers. Both functions need
text that a strict parser has accepted (RFC 8259); their result for any other text is undefined. They count brackets
instead of recursing, so that the depth costs nothing.
"""

import json
import re

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rf"{_STRING}|[\[\]{{}},]")
_MEMBER = re.compile(rf"({_STRING})[ \t\n\r]*:")
_SPACE = " \t\n\r"


def members(text: str) -> dict[str, str]:
    """Return the text of each of an object's values by name.

    Of a repeated name, the last counts, as in parsers.
    """
    found: dict[str, str] = {}
    for part in elements(text):
        member = _MEMBER.match(part)
        assert member is not None, "not the text of an object"
        found[json.loads(member[1])] = part[member.end() :].strip(_SPACE)
    return found


def elements(text: str) -> list[str]:
    """Return the texts of an array's elements, or of an object's named members."""
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
