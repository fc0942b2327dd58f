"""The devices' door: MQTT's bytes in the binary frames of a WebSocket (MQTT 5 §6, RFC 6455), the client's end.

A frame's border means nothing to MQTT: what is in the frames is handed on as one stream, in as few reads as the socket
allows.
"""

import base64
import hashlib
import os
import ssl
from email.parser import BytesParser
from typing import Any, NamedTuple, Self

from hermes.mqtt.failures import ConnectionFailure, RefusedByBroker
from hermes.mqtt.net.deadline import READ, WRITE, Deadline
from hermes.settings.mqtt_url import MqttUrl

ANSWER_MAX_BYTES = 16_384
CONTROL_MAX_BYTES = 125  # RFC 6455 §5.5

_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


class _Header(NamedTuple):
    opcode: int
    payload_bytes: int
    end: int  # where the payload begins


class WebSocket:
    """A socket, as far as paho uses one. Everything but reading and writing is the socket's own."""

    def __init__(self, sock: Any, rest: bytes = b"") -> None:
        self._sock = sock
        self._rest = rest  # the beginning of a frame whose header is not complete
        self._opcode = _BINARY
        self._left_bytes = 0  # of the current frame's payload
        self._control = b""
        self._closed = False
        self._unsent = b""  # of the frames on their way out
        self._promised_bytes = 0  # of the caller's data in them
        self._pong = b""

    @classmethod
    def open(cls, sock: Any, url: MqttUrl, deadline: Deadline) -> Self:
        """Ask for the upgrade.

        Raises `ConnectionFailure` that names the answer that came instead, OSError, or `Cancelled`.
        """
        key = base64.b64encode(os.urandom(16))
        _send_all(sock, _request(url, key), deadline)
        head, rest = _read_answer(sock, deadline)
        _check_answer(head, key, url)
        return cls(sock, rest)

    def recv(self, size: int) -> bytes:
        """What has arrived of MQTT's bytes; b"" at the end. Raises BlockingIOError where there is none."""
        if self._closed:
            return b""
        chunk: bytes = self._sock.recv(size)
        if not chunk:
            return b""
        if data := self._decode(chunk):
            return data
        if self._closed:
            return b""
        raise BlockingIOError

    def send(self, data: bytes | bytearray) -> int:
        """All of the data. Raises BlockingIOError where the socket did not take its frame whole: then to be called
        again with the same.
        """
        if not self._promised_bytes:
            self._unsent += _frame(_BINARY, bytes(data))
            self._promised_bytes = len(data)
        self._unsent = self._unsent[self._sock.send(self._unsent) :]
        if self._unsent:
            raise BlockingIOError  # paho forgets a packet of which 0 bytes were sent
        sent_bytes, self._promised_bytes = self._promised_bytes, 0
        self._send_pong()
        return sent_bytes

    def pending(self) -> int:
        """Bytes that TLS has decrypted, of which a selector knows nothing."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _decode(self, chunk: bytes) -> bytes:
        raw, self._rest = self._rest + chunk, b""
        parts: list[bytes] = []
        at = 0
        while at < len(raw) and not self._closed:
            if self._left_bytes == 0:
                header = _header(raw, at)
                if header is None:
                    self._rest = raw[at:]
                    break
                self._opcode, self._left_bytes, at = header
            part = raw[at : at + self._left_bytes]
            at += len(part)
            self._left_bytes -= len(part)
            if self._opcode in (_BINARY, _CONTINUATION):
                parts.append(part)
            else:
                self._take_control(part)
        return b"".join(parts)

    def _take_control(self, part: bytes) -> None:
        self._control += part
        if self._left_bytes:
            return
        payload, self._control = self._control, b""
        if self._opcode == _CLOSE:
            self._closed = True
        elif self._opcode == _PING:
            self._pong = _frame(_PONG, payload)
            if not self._unsent:
                self._send_pong()

    def _send_pong(self) -> None:
        """At once, between two frames; a socket that is full gets it after the next."""
        if self._pong:
            try:
                sent = self._sock.send(self._pong)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            self._unsent, self._pong = self._pong[sent:], b""


def _frame(opcode: int, data: bytes) -> bytes:
    """A whole message, masked as a client's must be (RFC 6455 §5.3)."""
    size = len(data)
    if size <= CONTROL_MAX_BYTES:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    cover = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(data, "big") ^ int.from_bytes(cover, "big")
    return head + mask + masked.to_bytes(size, "big")


def _header(raw: bytes, at: int) -> _Header | None:
    """The frame's header that begins here; None where it is not complete. Raises ConnectionError."""
    if len(raw) < at + 2:
        return None
    opcode, length = raw[at] & 0x0F, raw[at + 1]
    known = opcode in (_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG)
    if raw[at] & 0x70 or length & 0x80 or not known or (opcode >= _CLOSE and length > CONTROL_MAX_BYTES):
        raise ConnectionError("its WebSocket sent a frame that MQTT does not allow")
    more = {126: 2, 127: 8}.get(length, 0)
    end = at + 2 + more
    if len(raw) < end:
        return None
    return _Header(opcode, int.from_bytes(raw[at + 2 : end], "big") if more else length, end)


# -- the handshake ----------------------------------------------------------------------------------------------------


def _request(url: MqttUrl, key: bytes) -> bytes:
    usual = url.port == (443 if url.tls else 80)
    lines = (
        f"GET {url.path} HTTP/1.1",
        f"Host: {url.authority.rpartition(':')[0] if usual else url.authority}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key.decode()}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _send_all(sock: Any, data: bytes, deadline: Deadline) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            deadline.wait_for(sock, WRITE)
        except ssl.SSLWantReadError:
            deadline.wait_for(sock, READ)


def _read_answer(sock: Any, deadline: Deadline) -> tuple[bytes, bytes]:
    """The answer's head, and what came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            chunk = sock.recv(4_096)
        except (BlockingIOError, ssl.SSLWantReadError):
            deadline.wait_for(sock, READ)
            continue
        data += chunk
        if not data.startswith(b"HTTP/"[: len(data)]) or len(data) > ANSWER_MAX_BYTES:
            raise ConnectionFailure("what answers there is no WebSocket: look at the port, and at wss:// for ws://")
        if not chunk:
            raise ConnectionFailure(
                "the broker closed the connection during the WebSocket handshake: does this port offer one?"
            )
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _check_answer(head: bytes, key: bytes, url: MqttUrl) -> None:
    status, _, fields = head.partition(b"\r\n")
    code, _, text = status.decode("latin-1").partition(" ")[2].partition(" ")
    if code != "101":
        raise RefusedByBroker(
            f"the broker's HTTP server answered {code} {text[:60]!r} to a WebSocket on {url.path}: "
            "look at the URL's path"
        )
    headers = BytesParser().parsebytes(fields + b"\r\n\r\n", headersonly=True)
    expected = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()  # noqa: S324 - as RFC 6455 §4.1 has it
    if headers.get("Sec-WebSocket-Accept", "").strip() != expected:
        raise ConnectionFailure("the WebSocket handshake was answered for another request: look for a cache in between")
    if headers.get("Sec-WebSocket-Protocol", "mqtt").strip() != "mqtt":
        raise RefusedByBroker("the WebSocket there does not speak MQTT: look at the URL's port and path")
