"""The devices' door: fewer reads of the broker's socket.

paho asks for a packet's first byte, for its length byte by byte, and then for the rest: three system calls and more a
message, each of which gives the interpreter away.
"""

import ssl
from typing import Any

READ_BYTES = 65_536
BEGINNING_BYTES = 5  # enough to tell MQTT from TLS and HTTP

# MQTT 5 agrees on less; with 3.1.1 nobody can. Without it one packet could take 256 MB, the most there can be
PACKET_MAX_BYTES = 16 * 1_048_576

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class OversizedPacket(OSError):
    """The other side announced more than we are willing to hold."""


class BufferedSocket:
    """A connected socket whose small reads are served from one large one; everything else is the socket's own.

    ``sock`` is a TCP, Unix or TLS socket, or a `WebSocket` over one.
    """

    def __init__(self, sock: Any) -> None:
        self.beginning = b""  # what the other side said first
        self.fault: OSError | None = None  # why nothing can be read any more; paho keeps that to itself
        self._sock = sock
        self._pending = getattr(sock, "pending", None)  # TLS decrypts more than was asked for
        self._buffer = b""
        self._next = 0  # where in the buffer the unread bytes begin

    def pending(self) -> int:
        """Bytes at hand of which a selector knows nothing: read ahead, or decrypted by TLS. paho asks this too."""
        own = len(self._buffer) - self._next
        if own > 0:
            return own
        return self._pending() if self._pending is not None else 0

    def recv(self, size: int) -> bytes:
        """At most so many bytes, as `socket.socket.recv`; its exceptions pass through."""
        begin = self._next
        if begin >= len(self._buffer):
            if size > PACKET_MAX_BYTES:
                self.fault = OversizedPacket(f"the broker sent a packet of {size:,} bytes")
                raise self.fault
            self._buffer = self._read(max(size, READ_BYTES))
            begin = 0
        self._next = begin + size
        return self._buffer[begin : begin + size]

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._sock.recv(size)
        except _NOT_NOW:
            raise
        except OSError as error:
            self.fault = error
            raise
        self.beginning = self.beginning or data[:BEGINNING_BYTES]
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
