"""Minimal WebSocket client (RFC 6455): the handshake, and parsing frame by frame."""

import socket
import time
import zlib
from collections.abc import Callable

from bench.processes import BenchError

TIMEOUT_S = 60.0
READ_BYTES = 65_536  # larger, each read would map and unmap its buffer, which costs five times the rest
CHROME_OFFER = "permessage-deflate; client_max_window_bits"

TEXT = 0x81  # FIN and opcode, as the first byte of a frame; RSV1 marks a deflated one
DEFLATED_TEXT = 0xC1
CLOSE = 0x88
PING = 0x89
PONG = 0x8A

Take = Callable[[bytes, int], None]


def open_socket(port: int, path: str, *, deflate: bool = False, speaks_first: bool = False) -> socket.socket:
    """An upgraded connection to 127.0.0.1; with ``deflate`` it offers compression as Chrome does.

    Raises `BenchError` if the server refuses, does not take the offer, or speaks before it is asked; unless it
    ``speaks_first``, then all that follows its answer is left to be read.
    """
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(request(port, path, deflate=deflate))
        _check_answer(_answer(sock, read_bytes=1 if speaks_first else READ_BYTES), deflate=deflate)
    except BaseException:
        sock.close()
        raise
    return sock


def request(port: int, path: str, *, deflate: bool) -> bytes:
    """The handshake that a client sends."""
    offer = f"Sec-WebSocket-Extensions: {CHROME_OFFER}\r\n" if deflate else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    ).encode()


def _answer(sock: socket.socket, *, read_bytes: int) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = sock.recv(read_bytes)
        if not part:
            raise BenchError(f"the server closed during the handshake: {answer!r}")
        answer += part
    return answer


def _check_answer(answer: bytes, *, deflate: bool) -> None:
    if not answer.startswith(b"HTTP/1.1 101 ") or not answer.endswith(b"\r\n\r\n"):
        raise BenchError(f"the server refused the WebSocket: {answer!r}")
    if deflate != (b"\r\nsec-websocket-extensions: permessage-deflate" in answer.lower()):
        raise BenchError(f"compression is not as asked: {answer!r}")


class Receiver:
    """One open socket: counts its text frames, and computes a checksum that distinguishes two streams.

    ``take(payload, monotonic_ns)`` gets every ``every``-th text frame, beginning with number ``first`` (from 1); the
    time is that of the read, once for all frames in it. Pings are answered.
    """

    def __init__(self, sock: socket.socket, take: Take, *, every: int = 1, first: int = 1) -> None:
        self.sock = sock
        self.frames = 0
        self.checksum = 0
        self._take = take
        self._every = every
        self._until_next = first
        self._rest = b""
        sock.setblocking(False)

    def read(self) -> None:
        """Take what there is. Raises `BenchError` if the server has closed."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise BenchError(f"a socket broke after {self.frames} frames: {error}") from None
        if not data:
            raise BenchError(f"the server cut a socket after {self.frames} frames")
        self.feed(data, time.monotonic_ns())

    def feed(self, data: bytes, now_ns: int) -> None:
        """Parse the frames in the data: this is the hot loop of the whole benchmark, hence its length."""
        if self._rest:
            data = self._rest + data
        size = len(data)
        at = unsummed = 0
        while size - at >= 2:
            length = data[at + 1]
            start = at + 2
            if length == 126:
                start = at + 4
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length == 127:
                start = at + 10
                length = int.from_bytes(data[at + 2 : start], "big")
            end = start + length
            if end > size:  # also when the length itself is cut, because start is past the end then
                break
            if data[at] == TEXT or data[at] == DEFLATED_TEXT:
                self.frames += 1
                self._until_next -= 1
                if not self._until_next:
                    self._until_next = self._every
                    self._take(data[start:end], now_ns)
            else:
                self.checksum = zlib.crc32(data[unsummed:at], self.checksum)
                unsummed = end
                self._control(data[at], data[start:end])
            at = end
        self.checksum = zlib.crc32(data[unsummed:at], self.checksum)
        self._rest = data[at:]

    def _control(self, first_byte: int, payload: bytes) -> None:
        if first_byte == PING:
            self.sock.send(bytes((PONG, 0x80 | len(payload), 0, 0, 0, 0)) + payload)  # masked with zeros
        elif first_byte == CLOSE:
            code = int.from_bytes(payload[:2], "big")
            raise BenchError(f"the server closed a socket after {self.frames} frames: {code} {payload[2:]!r}")
        elif first_byte != PONG:
            raise BenchError(f"a frame of an unknown kind: {first_byte:#x}")
