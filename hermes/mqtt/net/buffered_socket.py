"""Read the broker's socket in large pieces.

paho reads a packet's first byte, then its length byte by byte, then the rest: three or more system calls for each
message, and each of them releases the interpreter lock.
"""

import ssl
from typing import Any

READ_BYTES = 65_536
FIRST_BYTES = 5  # enough to tell MQTT from TLS and HTTP

# With MQTT 5 the CONNECT packet asks for less; with 3.1.1 it cannot. A packet can have 256 MB (MQTT 3.1.1 §2.2.3)
PACKET_MAX_BYTES = 16 * 1_048_576

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class UnacceptableData(OSError):
    """The broker sent, or announced, bytes that a connection must not accept.

    The text describes them.
    """


class BufferedSocket:
    """A connected socket that serves small reads from one large read.

    ``sock`` is a TCP, Unix or TLS socket, or a `WebSocket` over one. Everything but reading is passed on to it.
    """

    def __init__(self, sock: Any) -> None:
        self.first_bytes = b""  # the first that the broker sent
        self.failure: OSError | None = None  # why reading failed; paho does not report it
        self._sock = sock
        self._sock_pending = getattr(sock, "pending", None)  # TLS decrypts more than was asked for
        self._buffer = b""
        self._next = 0  # the index in the buffer of the first unread byte

    def pending(self) -> int:
        """Return the number of available bytes that a selector cannot see.

        They were read ahead, or decrypted by TLS. paho calls this method too.
        """
        buffered = len(self._buffer) - self._next
        if buffered > 0:
            return buffered
        return self._sock_pending() if self._sock_pending is not None else 0

    def recv(self, size: int) -> bytes:
        """Return at most ``size`` bytes, as `socket.socket.recv` does.

        Raises what the socket raises.
        """
        begin = self._next
        if begin >= len(self._buffer):
            if size > PACKET_MAX_BYTES:
                self.failure = UnacceptableData(f"the broker sent a packet of {size:,} bytes")
                raise self.failure
            self._buffer = self._read(max(size, READ_BYTES))
            begin = 0
        self._next = begin + size
        return self._buffer[begin : begin + size]

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._sock.recv(size)
        except _WOULD_BLOCK:
            raise
        except OSError as error:
            self.failure = error
            raise
        self.first_bytes = self.first_bytes or data[:FIRST_BYTES]
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
