"""How each contender does as sockets grow from ten to ten thousand: what the plots are drawn from."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders.broadcasters import BROADCASTERS
from bench.figures import Figure
from bench.load.swarm import Swarm
from bench.processes import NotInstalledError, allow_open_files
from bench.scenarios.delivery import FILES_RESERVED, deliver

DELIVERED, LATENCY, MEMORY = "delivered", "latency p99", "memory of an idle socket"


def with_sockets(measure: str, sockets: int) -> str:
    """The measure's name in the table."""
    return f"{measure}, {sockets:,} sockets"


@dataclass(frozen=True, slots=True)
class Sweep:
    """One message at a time for ``for_s`` to each number of sockets; memory when ``idle`` of them do nothing."""

    summary: ClassVar[str] = "each contender with 10, 100, 1,000 and 10,000 sockets; only by name, for the plots"
    numbers: Sequence[int] = (10, 100, 1_000, 10_000)
    idle: int = 1_000
    for_s: float = 2.0
    settle_s: float = 1.2  # more than one sweep of all sessions
    contenders: Sequence[str] = tuple(BROADCASTERS)

    def run(self) -> list[Figure]:
        """Those that are not installed are left out."""
        figures: list[Figure] = []
        for name in self.contenders:
            try:
                figures += self._figures(name)
            except NotInstalledError as error:
                print(f"bench: {name} is left out: {error}", file=sys.stderr, flush=True)
        return figures

    def _figures(self, name: str) -> Iterator[Figure]:
        for sockets in self.numbers:
            seen = deliver(BROADCASTERS[name], sockets=sockets, for_s=self.for_s).seen
            yield Figure(name, with_sockets(DELIVERED, sockets), seen.deliveries_per_s, "1/s")
            yield Figure(name, with_sockets(LATENCY, sockets), seen.p99_ns / 1e6, "ms")
        yield Figure(name, MEMORY, self._idle_kib(name), "KiB")

    def _idle_kib(self, name: str) -> float:
        allow_open_files(self.idle + FILES_RESERVED)
        with BROADCASTERS[name]() as server:

            def opened(sockets: int) -> Swarm:
                paths = server.paths(sockets)
                return Swarm(port=server.port, paths=paths, sockets=sockets, subscription=server.subscription)

            with opened(1).opened():  # what is loaded only once
                time.sleep(self.settle_s)
            before_bytes = server.child.rss_bytes
            with opened(self.idle).opened():
                time.sleep(self.settle_s)
                return (server.child.rss_bytes - before_bytes) / 1_024 / self.idle
