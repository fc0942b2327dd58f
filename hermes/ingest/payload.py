"""Convert payload bytes to one JSON value that can be embedded into a frame.

By default, a payload becomes:

- empty: ``null``;
- JSON (RFC 8259): the bytes of the device without the surrounding white space, also with repeated names (readers use
  the last one), with more digits than a double has, and with escapes;
- other UTF-8: a JSON string with ``encoding`` ``text``. This includes ``NaN`` and ``Infinity``, numbers that overflow a
  double (``1e999``), lone surrogates, a byte order mark, half a document, and JSON with more than 100 levels or 50,000
  arrays and objects, which some readers would reject (`hermes.json_nesting`);
- other bytes: a JSON string of the base64 (RFC 4648 §4) with ``encoding`` ``base64``.

A payload is embedded only after a strict parser has read all of it as one value, so it cannot end the frame around it.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

import orjson

from hermes.json_nesting import MAX_DEPTH, check_json, nested_too_deeply
from hermes.topics.json_pointer import pointed_at, text_at

# A larger payload is only checked: to parse a megabyte takes up to 31 ms, and to build an array 30 ns.
PARSED_MAX_BYTES = 16_384
PARSED_MAX_CONTAINERS = MAX_DEPTH

_WHITE_SPACE = b" \t\n\r"
_NOT_PARSED: object = object()


class Payload:
    """One JSON value.

    ``data`` is its text, ``encoding`` the form of a payload that is not JSON. Without a ``value`` it is parsed when it
    is needed.
    """

    __slots__ = ("_value", "data", "encoding")

    def __init__(self, data: bytes, encoding: Literal["", "text", "base64"] = "", value: object = _NOT_PARSED) -> None:
        self.data = data
        self.encoding = encoding
        self._value = value

    @property
    def value(self) -> object:
        """The parsed value; None if the payload is not JSON."""
        if self._value is _NOT_PARSED:
            self._value = orjson.loads(self.data)
        return self._value

    def selected(self, pointers: Iterable[Sequence[str]]) -> object:
        """Return the part of `value` that `pointed_at` needs for these pointers.

        If the payload was not parsed before, it has these strings, numbers and literals only: to parse a megabyte takes
        up to 80 ms, and to skip it 2 ms for each pointer.
        """
        if self._value is not _NOT_PARSED:
            return self._value
        found: dict[str, Any] = {}
        for pointer in pointers:
            text = text_at(pointer, self.data)
            if pointer and text and text[:1] not in (b"{", b"["):
                _set(found, pointer, orjson.loads(text))
        return found

    def at(self, pointer: Sequence[str]) -> object:
        """Return the string, number or literal at a pointer; None if there is none."""
        if pointer:
            return pointed_at(pointer, self.selected([pointer]))
        return None if self.data[:1] in (b"{", b"[") else self.value


class PayloadDecoder(Protocol):
    """Convert the payload of one message: the extension point for payload formats."""

    def __call__(self, payload: bytes, /) -> Payload:
        """Return the JSON value of a payload that is not empty.

        Called on the event loop, for payloads of up to 1 MiB. Raises `PayloadError` if the bytes do not have the
        format: the message is then dropped as ``undecodable``.
        """


def _set(found: dict[str, Any], pointer: Sequence[str], value: object) -> None:
    """Set the value at a pointer; the members before it become objects."""
    *parents, name = pointer
    for parent in parents:
        found = found.setdefault(parent, {})
    found[name] = value


EMPTY = Payload(b"null", "", None)


def decode(payload: bytes) -> Payload:
    """Return the JSON value of any payload, of up to 1 MiB."""
    if not payload:
        return EMPTY
    containers = payload.count(b"[") + payload.count(b"{")  # those in strings included
    if containers > PARSED_MAX_CONTAINERS and nested_too_deeply(payload):
        return _not_json(payload)
    try:
        if len(payload) <= PARSED_MAX_BYTES and containers <= PARSED_MAX_CONTAINERS:
            return Payload(payload.strip(_WHITE_SPACE), "", orjson.loads(payload))
        check_json(payload)
    except ValueError:
        return _not_json(payload)
    return Payload(payload.strip(_WHITE_SPACE))


def _not_json(payload: bytes) -> Payload:
    try:
        return Payload(orjson.dumps(payload.decode()), "text", None)
    except UnicodeDecodeError:
        return Payload(b'"%s"' % base64.b64encode(payload), "base64", None)
