"""What an open socket costs in memory while nothing happens on it."""

import math
import select
import socket
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders import Contender
from bench.contenders.bare_tornado import bare_tornado
from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark
from bench.load.websocket import open_socket
from bench.processes import BenchError, allow_open_files

FILES_RESERVED = 128


@dataclass(frozen=True, slots=True)
class IdleMemory:
    """``sockets`` of as many users, each with its own token; ``settle_s`` after the last the server is looked at."""

    summary: ClassVar[str] = "resident memory of 1,000 idle authenticated sockets"
    sockets: int = 1_000
    settle_s: float = 1.2  # more than one sweep of all sessions

    def run(self) -> list[Figure]:
        """KiB a socket, without and with compression negotiated, each in a fresh process, and against bare Tornado."""
        allow_open_files(self.sockets + FILES_RESERVED)
        return [*self._compare(deflate=False), *self._compare(deflate=True)]

    def _compare(self, *, deflate: bool) -> list[Figure]:
        kind = "with deflate" if deflate else "plain"
        ours = self.kib_a_socket(hermes(), deflate=deflate)
        mark = None if deflate else Mark(at_most=1.3)
        bare = self.kib_a_socket(bare_tornado(compress=deflate), deflate=deflate)
        return [
            Figure("Hermes", f"a socket, {kind}", ours, "KiB", Mark(below=20)),
            Figure("bare Tornado", f"a socket, {kind}", bare, "KiB"),
            Figure("Hermes : bare Tornado", f"a socket, {kind}", ours / bare if bare > 0 else math.nan, "", mark),
        ]

    def kib_a_socket(
        self, starting: AbstractContextManager[Contender], *, deflate: bool, speaks_first: bool = False
    ) -> float:
        """Return the resident memory of one socket of this server, in KiB.

        ``speaks_first`` if the server sends a frame to each new socket.
        """
        with starting as server, ExitStack() as stack:
            open_socket(
                server.port, server.user_socket("first"), deflate=deflate, speaks_first=speaks_first
            ).close()  # what is loaded only once
            time.sleep(self.settle_s)
            before_bytes = server.child.rss_bytes
            sockets = [
                stack.enter_context(
                    open_socket(
                        server.port, server.user_socket(str(number)), deflate=deflate, speaks_first=speaks_first
                    )
                )
                for number in range(self.sockets)
            ]
            time.sleep(self.settle_s)
            if not speaks_first:
                _check_idle(sockets)
            return (server.child.rss_bytes - before_bytes) / 1_024 / self.sockets


def _check_idle(sockets: Sequence[socket.socket]) -> None:
    """Nothing has come on any of them: no close frame, no end. Raises `BenchError`."""
    poll = select.poll()
    for sock in sockets:
        poll.register(sock, select.POLLIN)
    if spoken := len(poll.poll(0)):
        raise BenchError(f"{spoken} of {len(sockets)} sockets were not idle; were they closed?")
