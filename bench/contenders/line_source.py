"""Source of the contenders written for this benchmark: plain TCP, one message per line."""

import asyncio
from collections.abc import Callable


class _Lines(asyncio.Protocol):
    """One publisher; plain callbacks, because a stream and a task would cost more than some contenders do."""

    def __init__(self, broadcast: Callable[[bytes], None]) -> None:
        self._broadcast = broadcast
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._broadcast(line)


async def serve_lines(broadcast: Callable[[bytes], None], *, port: int) -> None:
    """Print ``listening on PORT source PORT``, and call this with each line received, for ever."""
    server = await asyncio.get_running_loop().create_server(lambda: _Lines(broadcast), "127.0.0.1", 0)
    print(f"listening on {port} source {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()
