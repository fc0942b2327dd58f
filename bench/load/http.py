"""HTTP requests at a steady rate over connections that stay open."""

import socket
from collections.abc import Callable

from bench.load.websocket import READ_BYTES, TIMEOUT_S
from bench.processes import BenchError


class Connection:
    """One keep-alive HTTP/1.1 connection (RFC 9112), one request at a time; ``take`` gets status and body."""

    def __init__(self, port: int, take: Callable[[int, bytes], None]) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.busy = False
        self._host = f"127.0.0.1:{port}"
        self._take = take
        self._received = b""

    def post(self, path: str, body: bytes, *, api_key: str) -> None:
        """Send one JSON request; it is small enough for the kernel to take it whole."""
        self.busy = True
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nX-API-Key: {api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.sock.sendall(head.encode() + body)

    def read(self) -> None:
        """Take what there is of the answer. Raises `BenchError` if the server has closed."""
        part = self.sock.recv(READ_BYTES)
        if not part:
            raise BenchError("the server closed an HTTP connection")
        self._received += part
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) >= _content_length(head):
            self._received = b""
            self.busy = False
            self._take(int(head.split(b" ", 2)[1]), body)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise BenchError(f"an answer without its length: {head!r}")
