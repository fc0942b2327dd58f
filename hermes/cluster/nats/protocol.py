"""The text protocol of NATS: the verbs that a client receives.

Source: https://docs.nats.io/reference/reference-protocols/nats-protocol. No I/O: `Parser` gets bytes and calls a
`Sink`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import orjson

CONTROL_LINE_MAX_BYTES = 65_536  # an INFO with the addresses of a large NATS cluster
MESSAGE_MAX_BYTES = 8_388_608  # eight times the servers' default for max_payload; larger ones are skipped
SKIPPED_MAX_BYTES = 67_108_864  # the most that a server can be configured for
END = b"\r\n"
NO_RESPONDERS = 503  # status of the reply to a request on a subject without subscribers


class NatsProtocolError(Exception):
    """The peer does not speak the protocol; the connection must be closed."""


@dataclass(frozen=True, slots=True)
class NatsMessage:
    """One message: ``sid`` is the subscription that it is for.

    ``reply`` is the subject for an answer, empty without. ``status`` is that of its headers, 0 without. ``data`` is
    empty if there was more than `MESSAGE_MAX_BYTES`.
    """

    subject: str
    sid: int
    reply: str
    status: int
    data: bytes


class Sink(Protocol):
    """What a `Parser` calls, once for each operation of the server."""

    def on_info(self, info: dict[str, Any]) -> None:
        """Handle the description of the server; it may come again."""

    def on_message(self, message: NatsMessage) -> None:
        """Handle a message."""

    def on_ping(self) -> None:
        """Answer the server's question whether the client is alive."""

    def on_pong(self) -> None:
        """Handle the answer to a ping: everything before it is processed."""

    def on_error(self, text: str) -> None:
        """Handle an error, which the server has quoted."""


class Parser:
    """Split the bytes of a connection into operations."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = bytearray()
        self._skipped = 0  # bytes that follow, of a message that is too large

    @property
    def pending_bytes(self) -> int:
        """The number of bytes of an operation that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Handle every operation that is complete. Raises `NatsProtocolError`."""
        if self._skipped:
            skipped = min(self._skipped, len(data))
            self._skipped -= skipped
            data = data[skipped:]
        buffer = self._buffer
        buffer += data
        start = 0
        while (end := buffer.find(END, start)) >= 0:
            next_start = self._operation(bytes(buffer[start:end]), end + len(END))
            if next_start is None:
                break  # the rest of a message is missing
            start = next_start
        else:
            if len(buffer) - start > CONTROL_LINE_MAX_BYTES:
                raise NatsProtocolError("a line without an end")
        self._skipped += max(0, start - len(buffer))
        del buffer[:start]

    def _operation(self, line: bytes, after: int) -> int | None:
        """Handle the operation of a line.

        Returns where the next one begins; None if it is not complete.
        """
        verb, _, rest = line.partition(b" ")
        match verb.upper():
            case b"MSG":
                return self._message(rest.split(), after, has_headers=False)
            case b"HMSG":
                return self._message(rest.split(), after, has_headers=True)
            case b"PING":
                self._sink.on_ping()
            case b"PONG":
                self._sink.on_pong()
            case b"INFO":
                self._sink.on_info(_info(rest))
            case b"-ERR":
                self._sink.on_error(rest.strip().strip(b"'").decode("utf-8", "replace"))
            case b"+OK":
                pass
            case _:
                raise NatsProtocolError(f"unknown operation {verb[:20]!r}")
        return after

    def _message(self, fields: list[bytes], after: int, *, has_headers: bool) -> int | None:
        """Handle ``SUBJECT SID [REPLY] [HEADERS] SIZE`` and the bytes that follow."""
        try:
            subject, sid, *replies = fields[: -2 if has_headers else -1]
            header_size = int(fields[-2]) if has_headers else 0
            size = int(fields[-1])
            (reply,) = replies or [b""]
        except (ValueError, IndexError):
            raise NatsProtocolError("a message without subject or size") from None
        if not 0 <= header_size <= size <= SKIPPED_MAX_BYTES:
            raise NatsProtocolError(f"a message of {size} bytes")
        buffer, end = self._buffer, after + size
        if size > MESSAGE_MAX_BYTES:
            header_size, size = 0, 0
        elif len(buffer) < end + len(END):
            return None
        status = _status(bytes(buffer[after : after + header_size])) if has_headers else 0
        data = bytes(buffer[after + header_size : after + size])
        try:
            message = NatsMessage(subject.decode(), int(sid), reply.decode(), status, data)
        except ValueError:
            raise NatsProtocolError("a message with a subject that is not text") from None
        self._sink.on_message(message)
        return end + len(END)


def _info(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise NatsProtocolError("an INFO that is not a JSON object")
    return value


def _status(headers: bytes) -> int:
    """Return the status of ``NATS/1.0 503``, 0 if the headers have none."""
    words = headers.partition(END)[0].split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() and len(words[1]) == 3 else 0
