"""picows, a WebSocket library in Cython, on uvloop, as its documentation recommends."""

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import Iterator

from bench.contenders import Broadcaster, line_broadcaster
from bench.contenders.line_source import serve_lines
from bench.processes import NotInstalledError

HEADER_ROOM = 14  # what send_reuse_external_bytearray wants before the message


@contextlib.contextmanager
def picows_broadcast() -> Iterator[Broadcaster]:
    """Start it, stop it at the end. Raises `NotInstalledError` if a library is missing."""
    for library in ("picows", "uvloop"):
        if importlib.util.find_spec(library) is None:
            raise NotInstalledError(f"{library} is missing: pip install {library}")
    with line_broadcaster("picows", [sys.executable, "-m", __name__]) as broadcaster:
        yield broadcaster


async def _serve() -> None:
    from picows import WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

    members: set[WSTransport] = set()

    class Member(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            members.add(transport)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            members.discard(transport)

    def broadcast(line: bytes) -> None:
        buffer = bytearray(HEADER_ROOM) + line  # a copy for all, and none for each
        for transport in members:
            transport.send_reuse_external_bytearray(WSMsgType.TEXT, buffer, HEADER_ROOM)

    def listener(_request: WSUpgradeRequest) -> Member:
        return Member()

    server = await ws_create_server(listener, "127.0.0.1", 0, backlog=4_096)
    await serve_lines(broadcast, port=server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
