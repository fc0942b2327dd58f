"""The prototype that Hermes' delivery is held against: Tornado, each frame built once and sent directly.

No tokens, no outbox, no registry but a list: what is left is the price of doing it in Python at all.
"""

import asyncio
import sys
from contextlib import AbstractContextManager, suppress
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from bench.contenders import Broadcaster, line_broadcaster
from bench.contenders.line_source import serve_lines


def direct_tornado() -> AbstractContextManager[Broadcaster]:
    """Start it, stop it at the end."""
    return line_broadcaster("direct Tornado", [sys.executable, "-m", __name__])


class _Handler(WebSocketHandler):
    """One of the list."""

    def initialize(self, members: list["_Handler"]) -> None:
        self._members = members

    def open(self, *_: str) -> None:
        self.set_nodelay(True)
        assert self.ws_connection is not None
        stream = self.ws_connection.stream
        assert stream is not None
        self.stream = stream
        self.socket = self.stream.socket
        self._members.append(self)

    def on_close(self) -> None:
        self._members.remove(self)

    def on_message(self, message: str | bytes) -> None:
        pass


def text_frame(payload: bytes) -> bytes:
    """RFC 6455 §5.2, without a mask."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    return b"\x81\x7e" + size.to_bytes(2, "big") + payload


def _broadcast(members: list[_Handler], payload: bytes) -> None:
    frame = text_frame(payload)
    size = len(frame)
    for member in members:
        stream = member.stream
        if stream.closed() or stream.writing():
            _queue(member, frame)
            continue
        try:
            sent = member.socket.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            continue  # the stream finds out for itself
        if sent < size:
            _queue(member, frame[sent:])


def _queue(member: _Handler, data: bytes) -> None:
    with suppress(StreamClosedError):
        member.stream.write(data)


async def _serve() -> None:
    members: list[_Handler] = []
    arguments: dict[str, Any] = {"members": members}
    server = HTTPServer(Application([("/ws", _Handler, arguments)]))
    sockets = bind_sockets(0, "127.0.0.1", backlog=4_096)
    server.add_sockets(sockets)
    await serve_lines(lambda line: _broadcast(members, line), port=sockets[0].getsockname()[1])


if __name__ == "__main__":
    asyncio.run(_serve())
