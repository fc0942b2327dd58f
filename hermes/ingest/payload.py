"""Convert payload bytes to one JSON value that can be embedded into a frame.

By default, a payload becomes:

- empty: ``null``;
- JSON (RFC 8259): the bytes of the device without the surrounding white space, also with repeated names (readers use
  the last one), with more digits than a double has, and with escapes;
- other UTF-8: a JSON string with ``encoding`` ``text``. This includes ``NaN`` and ``Infinity``, numbers that overflow a
  double (``1e999``), lone surrogates, a byte order mark, half a document, and JSON with more than `MAX_DEPTH` levels,
  which some readers would reject;
- other bytes: a JSON string of the base64 (RFC 4648 §4) with ``encoding`` ``base64``.

A payload is embedded only after a strict parser has read all of it as one value, so it cannot end the frame around it.
"""

import base64
from typing import Literal, NamedTuple, Protocol

import orjson

# Counted in [ and {. The strictest common reader, Rust's serde_json, stops at 128 with the frame around it; Python's
# json at about 1,000; orjson at 1,024.
MAX_DEPTH = 100

_WHITE_SPACE = b" \t\n\r"


class Payload(NamedTuple):
    """One JSON value.

    ``data`` is its text, ``encoding`` the form of a payload that is not JSON, ``value`` the parsed value (None if the
    payload is not JSON).
    """

    data: bytes
    encoding: Literal["", "text", "base64"]
    value: object


class PayloadDecoder(Protocol):
    """Convert the payload of one message: the extension point for payload formats."""

    def __call__(self, payload: bytes, /) -> Payload:
        """Return the JSON value of a payload that is not empty.

        Called on the event loop, for payloads of up to 1 MiB. Raises `PayloadError` if the bytes do not have the
        format: the message is then dropped as ``undecodable``.
        """


EMPTY = Payload(b"null", "", None)


def decode(payload: bytes) -> Payload:
    """Return the JSON value of any payload; 1 MiB of JSON needs a few milliseconds."""
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
    """Return the number of arrays and objects around the innermost value.

    It is counted level by level, not recursively, because the value may be deep.
    """
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
