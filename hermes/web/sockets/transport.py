"""Floor 3: the real `Transport`: a session's bytes onto Tornado's stream.

A frame goes straight to the kernel while nothing is queued on the stream; the rest of a partial send, and
everything of the closing handshake, goes through the stream, so the order of bytes is Tornado's to keep.
"""

import asyncio
import socket
from collections.abc import Callable

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from hermes.web.sockets.deflate import SharedDeflateProtocol

# Else the kernel holds megabytes of stale telemetry for each frozen socket. Notifications do not go stale: there the
# kernel's buffer (4 MiB by default) lets a burst of ten thousand pass a client that is busy for a moment.
NOTSENT_LOWAT_BYTES = 131_072


class WebSocketTransport:
    """One accepted WebSocket. ``on_drained`` is called when a write that had to wait has gone."""

    __slots__ = ("_connection", "_on_drained", "_socket", "_stream")

    def __init__(
        self, connection: SharedDeflateProtocol, on_drained: Callable[[], None], *, carries_telemetry: bool
    ) -> None:
        self._connection = connection
        self._stream: IOStream = connection.stream
        self._socket = None if isinstance(self._stream, SSLIOStream) else self._stream.socket
        self._on_drained = on_drained
        self._stream.set_nodelay(True)
        if carries_telemetry and self._socket is not None and self._socket.family in (socket.AF_INET, socket.AF_INET6):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)

    @property
    def compressed(self) -> bool:
        """Whether permessage-deflate was negotiated."""
        return self._connection.compressed

    def write(self, data: bytes) -> bool:
        """Send; True when the kernel has all of it. Raises OSError where the connection is closing or gone."""
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
        """Call ``on_drained`` in the next turn."""
        asyncio.get_running_loop().call_soon(self._on_drained)

    def ping(self) -> None:
        """A protocol ping, behind whatever the stream still holds."""
        if not self._connection.is_closing():
            self._connection.write_ping(b"")

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; Tornado drops the connection when no answer comes in five seconds."""
        self._connection.close(code, reason or None)

    def abort(self) -> None:
        """Drop the connection after the current turn, when no loop over sessions is under way."""
        asyncio.get_running_loop().call_soon(self._stream.close)
