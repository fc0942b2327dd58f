"""Floor 2: the text of a JSON value's parts, so that ``data`` travels as it was written.

Parsing and printing again would turn ``1.0e2`` into ``100.0`` and lose digits of large numbers. Both functions
are for text that a strict parser has accepted already (RFC 8259); on anything else their answer is undefined.
"""

import json
import re

# Numbers are kept as text: converting them is wasted, and refuses integers of more than 4,300 digits.
_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str)
_SPACE = re.compile(r"[ \t\n\r]*")


def members(text: str) -> dict[str, str]:
    """An object's members, name to the text of its value; the last of a repeated name, as parsers have it.

    Raises `RecursionError` where a value is nested too deeply.
    """
    found: dict[str, str] = {}
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "}":
        name, position = _SCANNER.raw_decode(text, position)
        start = _skip(text, _skip(text, position) + 1)
        _, end = _SCANNER.raw_decode(text, start)
        found[name] = text[start:end]
        position = _after_comma(text, end)
    return found


def elements(text: str) -> list[str]:
    """The texts of an array's elements. Raises `RecursionError` where one is nested too deeply."""
    found: list[str] = []
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "]":
        _, end = _SCANNER.raw_decode(text, position)
        found.append(text[position:end])
        position = _after_comma(text, end)
    return found


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _after_comma(text: str, position: int) -> int:
    position = _skip(text, position)
    return _skip(text, position + 1) if text[position] == "," else position
