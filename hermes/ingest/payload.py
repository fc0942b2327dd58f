"""The devices' door: payload bytes → one JSON value that can be put into a frame as it is.

What a payload becomes, decided once:

- empty: ``null``;
- JSON (RFC 8259), but for the white space around it, stays byte for byte what the device wrote: also with names
  that appear twice (readers take the last), with more digits than a double holds, with escapes;
- everything else that is UTF-8 becomes a JSON string, ``encoding`` says ``text``: ``NaN`` and ``Infinity``, numbers
  that overflow a double (``1e999``), lone surrogates, a byte order mark, half a document, and JSON nested more than
  `MAX_DEPTH` deep, which some readers would refuse;
- the rest becomes a JSON string of its base64 (RFC 4648 §4), ``encoding`` says ``base64``.

A payload is embedded only after a strict parser has read all of it as one value, so none can end the frame around it.
"""

import base64
from typing import Literal, NamedTuple

import orjson

# Counted in [ and {. The strictest common reader, Rust's serde_json, stops at 128 with the frame around it; Python's
# json at about 1,000; orjson at 1,024.
MAX_DEPTH = 100

_WHITE_SPACE = b" \t\n\r"


class Payload(NamedTuple):
    """One JSON value: its text, what its bytes were if not JSON, and what a parser makes of it (else None)."""

    data: bytes
    encoding: Literal["", "text", "base64"]
    value: object


EMPTY = Payload(b"null", "", None)


def decode(payload: bytes) -> Payload:
    """The JSON value that stands for the payload; every payload has one. 1 MiB of JSON takes a few ms."""
    if not payload:
        return EMPTY
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return _not_json(payload)
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        return _not_json(payload)
    return Payload(payload.strip(_WHITE_SPACE), "", value)


def _not_json(payload: bytes) -> Payload:
    try:
        return Payload(orjson.dumps(payload.decode()), "text", None)
    except UnicodeDecodeError:
        return Payload(b'"%s"' % base64.b64encode(payload), "base64", None)


def _depth(value: object) -> int:
    """How many arrays and objects lie around the innermost value; level by level, because it may be deep."""
    depth = 0
    containers = [value] if isinstance(value, dict | list) else []
    while containers:
        depth += 1
        containers = [
            child
            for container in containers
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
    return depth
