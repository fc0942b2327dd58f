"""The devices' door: fewer reads of the broker's socket.

paho asks for a packet's first byte, for its length byte by byte, and then for the rest: three system calls and more a
message, each of which gives the interpreter away.
"""

import socket
import ssl
from typing import Any

READ_BYTES = 65_536


class ReadAhead:
    """A connected socket whose small reads are served from one large one; everything else is the socket's own."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._next = 0  # where in the buffer the unread bytes begin

    def pending(self) -> int:
        """Bytes at hand of which a selector knows nothing: read ahead, or decrypted by TLS. paho asks this too."""
        own = len(self._buffer) - self._next
        if own > 0:
            return own
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    def recv(self, size: int) -> bytes:
        """At most so many bytes, as `socket.socket.recv`; its exceptions pass through."""
        begin = self._next
        if begin >= len(self._buffer):
            self._buffer = self._sock.recv(max(size, READ_BYTES))
            begin = 0
        self._next = begin + size
        return self._buffer[begin : begin + size]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
