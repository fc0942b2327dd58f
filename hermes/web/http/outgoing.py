"""Send bytes on a non-blocking socket; keep what the kernel does not take at once."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from tornado.iostream import StreamClosedError


class Outgoing:
    """The bytes of one connection that wait to be sent.

    Nothing bounds them here: a handler that sends much awaits the futures, and `on_progress` is called whenever the
    client has taken some. ``on_lost`` is called when the connection has failed. ``done`` is a future that is done, for
    what the kernel takes at once.
    """

    __slots__ = ("_done", "_loop", "_on_lost", "_on_progress", "_sent", "_socket", "_waiting")

    def __init__(
        self,
        connection: socket.socket,
        *,
        done: "asyncio.Future[None]",
        on_progress: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._socket = connection
        self._done = done
        self._on_progress = on_progress
        self._on_lost = on_lost
        self._loop = done.get_loop()
        self._waiting: deque[memoryview] = deque()
        self._sent: asyncio.Future[None] | None = None  # of all that waits

    def __bool__(self) -> bool:
        """Return True while bytes wait."""
        return bool(self._waiting)

    def send(self, data: bytes) -> "asyncio.Future[None]":
        """Send bytes; the future is done when the kernel has taken them and all before."""
        if self._waiting:
            self._waiting.append(memoryview(data))
        else:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._on_lost()
                return lost_write(self._loop)
            if sent == len(data):
                return self._done
            self._waiting.append(memoryview(data)[sent:])
            self._sent = self._loop.create_future()
            self._loop.add_writer(self._socket, self._on_writable)
        assert self._sent is not None
        return self._sent

    def _on_writable(self) -> None:
        try:
            while self._waiting:
                part = self._waiting[0]
                sent = self._socket.send(part)
                if sent < len(part):
                    self._waiting[0] = part[sent:]
                    break
                self._waiting.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._on_lost()
            return
        if not self._waiting:
            self._loop.remove_writer(self._socket)
            if self._sent is not None and not self._sent.done():
                self._sent.set_result(None)
        self._on_progress()

    def close(self) -> None:
        """Discard the bytes that wait, and call nothing more.

        May be repeated.
        """
        self._on_progress = self._on_lost = _nothing
        if self._waiting:
            self._waiting.clear()
            self._loop.remove_writer(self._socket)
            if self._sent is not None and not self._sent.done():
                _fail(self._sent)


def _nothing() -> None:
    """Do nothing, in the place of a callback."""


def lost_write(loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
    """Return the future of a write to a connection that has ended."""
    future: asyncio.Future[None] = loop.create_future()
    _fail(future)
    return future


def _fail(sent: "asyncio.Future[None]") -> None:
    sent.set_exception(StreamClosedError())
    sent.exception()  # otherwise asyncio logs an error if no handler awaits it
