"""The ``websockets`` library and its ``broadcast()``, which builds each frame once."""

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import Iterator

from bench.contenders import Broadcaster, line_broadcaster
from bench.contenders.line_source import serve_lines
from bench.processes import NotInstalledError


@contextlib.contextmanager
def websockets_broadcast() -> Iterator[Broadcaster]:
    """Start it, stop it at the end. Raises `NotInstalledError` if the library is missing."""
    if importlib.util.find_spec("websockets") is None:
        raise NotInstalledError("websockets is missing: pip install websockets")
    with line_broadcaster("websockets", [sys.executable, "-m", __name__]) as broadcaster:
        yield broadcaster


async def _serve() -> None:
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    async def stay(connection: ServerConnection) -> None:
        await connection.wait_closed()

    server = await serve(stay, "127.0.0.1", 0, compression=None, backlog=4_096)
    port = next(iter(server.sockets)).getsockname()[1]
    # a str becomes a text frame
    await serve_lines(lambda line: broadcast(server.connections, line.decode()), port=port)


if __name__ == "__main__":
    asyncio.run(_serve())
