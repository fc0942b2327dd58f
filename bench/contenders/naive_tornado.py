"""Tornado as its documentation would have one begin: ``write_message`` of a dict, per socket and message."""

import asyncio
import json
import sys
from contextlib import AbstractContextManager, suppress
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from bench.contenders import DATA, Broadcaster, line_broadcaster
from bench.contenders.line_source import serve_lines


def naive_tornado(*, compress: bool = False, data: str = DATA) -> AbstractContextManager[Broadcaster]:
    """Start it, stop it at the end. With ``compress`` it takes offers of permessage-deflate, each socket for itself."""
    name = "Tornado, compressing" if compress else "naive Tornado"
    return line_broadcaster(name, [sys.executable, "-m", __name__, *(["--compress"] if compress else [])], data=data)


class _Handler(WebSocketHandler):
    """One of the set."""

    def initialize(self, members: set["_Handler"], compress: bool) -> None:
        self._members = members
        self._compress = compress

    def get_compression_options(self) -> dict[str, Any] | None:
        return {} if self._compress else None

    def open(self, *_: str) -> None:
        self._members.add(self)

    def on_close(self) -> None:
        self._members.discard(self)

    def on_message(self, message: str | bytes) -> None:
        pass


def _broadcast(members: set[_Handler], line: bytes) -> None:
    message = json.loads(line)
    for member in members:
        with suppress(WebSocketClosedError):
            member.write_message(message)


async def _serve(*, compress: bool) -> None:
    members: set[_Handler] = set()
    server = HTTPServer(Application([("/ws", _Handler, {"members": members, "compress": compress})]))
    sockets = bind_sockets(0, "127.0.0.1", backlog=4_096)
    server.add_sockets(sockets)
    await serve_lines(lambda line: _broadcast(members, line), port=sockets[0].getsockname()[1])


if __name__ == "__main__":
    asyncio.run(_serve(compress="--compress" in sys.argv))
