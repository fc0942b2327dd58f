"""The `Transport` of a real socket, on Tornado's stream.

A frame is sent directly to the kernel while the stream has nothing queued. The rest of a partial send, and the closing
handshake, go through the stream: Tornado then preserves the order of the bytes.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

# Otherwise the kernel buffers megabytes of stale telemetry for each frozen socket. Notifications do not become stale:
# the kernel's buffer (4 MiB by default) takes a burst of ten thousand of them for a client that is busy for a moment.
NOTSENT_LOWAT_BYTES = 131_072
LINGER_NONE = struct.pack("ii", 1, 0)  # struct linger of socket(7)


class WebSocketConnection(Protocol):
    """What the transport needs of the server's end of a WebSocket."""

    stream: IOStream
    compressed: bool

    def is_closing(self) -> bool:
        """Return whether a close frame was sent or received."""

    def write_ping(self, data: bytes) -> None:
        """Send a protocol ping."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Start the closing handshake."""


class WebSocketTransport:
    """One open WebSocket; ``on_drained`` is called when a queued write has been sent."""

    __slots__ = ("_connection", "_on_drained", "_socket", "_stream")

    def __init__(
        self, connection: WebSocketConnection, on_drained: Callable[[], None], *, carries_telemetry: bool
    ) -> None:
        self._connection = connection
        self._stream: IOStream = connection.stream
        tcp = self._stream.socket
        self._socket = None if isinstance(self._stream, SSLIOStream) else tcp
        self._on_drained = on_drained
        self._stream.set_nodelay(True)
        if carries_telemetry and tcp.family in (socket.AF_INET, socket.AF_INET6):
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)

    @property
    def compressed(self) -> bool:
        """True if permessage-deflate was negotiated."""
        return self._connection.compressed

    def write(self, data: bytes) -> bool:
        """Send the bytes; return True if the kernel took all of them.

        Raises OSError if the connection is closing or closed.
        """
        if self._connection.is_closing():
            raise StreamClosedError
        sent = 0
        if self._socket is not None and not self._stream.writing():
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
        if sent == len(data):
            return True
        written = self._stream.write(memoryview(data)[sent:] if sent else data)
        if not self._stream.writing():
            return True
        written.add_done_callback(self._after_write)
        return False

    def _after_write(self, written: asyncio.Future[None]) -> None:
        if not written.cancelled() and written.exception() is None:
            self._on_drained()

    def resume(self) -> None:
        """Call ``on_drained`` in the next iteration of the loop."""
        asyncio.get_running_loop().call_soon(self._on_drained)

    def ping(self, data: bytes) -> None:
        """Send a protocol ping, after the bytes that the stream still has queued."""
        if not self._connection.is_closing():
            self._connection.write_ping(data)

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake.

        Tornado drops the connection if the client does not respond in 5 s.
        """
        self._connection.close(code, reason or None)

    def abort(self) -> None:
        """Drop the connection after this iteration of the loop.

        The caller may be iterating over the sessions.
        """
        asyncio.get_running_loop().call_soon(reset, self._stream)


def reset(stream: IOStream) -> None:
    """Reset a connection and discard what the kernel has not sent.

    May be repeated. Otherwise the kernel would keep both after the close, for a client that is gone or never reads.
    """
    if not stream.closed():
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        stream.close()


def send(stream: IOStream, data: bytes) -> None:
    """Send bytes directly; the stream sends what the kernel does not take."""
    sent = 0
    if not isinstance(stream, SSLIOStream) and not stream.closed():
        try:
            sent = stream.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            stream.close()
    if sent < len(data) and not stream.closed():
        stream.write(data[sent:])
