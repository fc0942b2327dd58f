"""The peer for what a socket and a request cost: Tornado with the smallest handlers there are, no token, no registry.

Run as a program (``python -m bench.contenders.bare_tornado [--compress]``) it serves; `bare_tornado` starts that.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from bench.processes import Child, running


@dataclass(frozen=True, slots=True)
class BareTornado:
    """A ready bare server."""

    child: Child
    port: int
    name: str = "bare Tornado"

    def user_socket(self, user_id: str) -> str:
        """The same for every socket."""
        return "/ws"


@contextlib.contextmanager
def bare_tornado(*, compress: bool = False) -> Iterator[BareTornado]:
    """Start it, wait until it listens, stop it at the end. ``compress`` takes offers of permessage-deflate."""
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        command = [sys.executable, "-m", __name__, *(["--compress"] if compress else [])]
        with running(command, output=Path(folder, "output")) as child:
            port = int(child.wait_for(r"listening on (\d+)")[1])
            yield BareTornado(child, port)


class _Handler(WebSocketHandler):
    """Accept the socket and send nothing."""

    def initialize(self, compress: bool) -> None:
        self._compress = compress

    def get_compression_options(self) -> dict[str, Any] | None:
        return {} if self._compress else None

    def on_message(self, message: str | bytes) -> None:
        pass


class _NotifyHandler(RequestHandler):
    """Reads JSON, answers JSON, does nothing."""

    def post(self) -> None:
        json.loads(self.request.body)
        self.write({"status": "success"})


async def _serve(*, compress: bool) -> None:
    server = HTTPServer(Application([("/ws", _Handler, {"compress": compress}), ("/notify", _NotifyHandler)]))
    sockets = bind_sockets(0, "127.0.0.1", backlog=4_096)
    server.add_sockets(sockets)
    print(f"listening on {sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(compress="--compress" in sys.argv))
