"""Ten thousand sockets on one process: nothing is lost, and a delivery costs no more than the kernel makes it."""

import math
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders.floor import floor
from bench.contenders.hermes import hermes_broadcasts
from bench.figures import Figure, Mark
from bench.load.swarm import Seen, Swarm
from bench.processes import allow_open_files
from bench.scenarios.delivery import FILES_RESERVED, deliver


@dataclass(frozen=True, slots=True)
class TenThousand:
    """``messages`` at a steady rate to ``sockets``; then one at a time to them and to ``fewer``, beside the floor."""

    summary: ClassVar[str] = "10,000 sockets: one message a second to all, and the share of the floor"
    sockets: int = 10_000
    fewer: int = 1_000
    messages: int = 10
    rate_per_s: float = 1.0
    for_s: float = 3.0

    def run(self) -> list[Figure]:
        """Latency from just before the request's write; the share is the floor's CPU per delivery : Hermes'."""
        seen = self._steady()
        many, few = self._share(self.sockets), self._share(self.fewer)
        return [
            Figure("Hermes", "latency p50", seen.p50_ns / 1e6, "ms"),
            Figure("Hermes", "latency p99", seen.p99_ns / 1e6, "ms", Mark(at_most=250)),
            Figure("Hermes", "frames lost, or too many", seen.lost + seen.surplus, "", Mark(exactly=0)),
            Figure("Hermes", "frames out of order", seen.out_of_order, "", Mark(exactly=0)),
            Figure("Hermes", "sockets closed or cut", seen.closed + seen.cut, "", Mark(exactly=0)),
            Figure("Hermes", f"share of the floor, {self.fewer:,} sockets", few),
            Figure("Hermes", f"share of the floor, {self.sockets:,} sockets", many),
            Figure("Hermes", "share with many : with few", many / few if few else math.nan, "", Mark(at_least=0.9)),
        ]

    def _steady(self) -> Seen:
        allow_open_files(self.sockets + FILES_RESERVED)
        with hermes_broadcasts() as server:
            return Swarm(
                port=server.port,
                paths=server.paths(self.sockets),
                sockets=self.sockets,
                source=server.source,
                messages=self.messages,
                rate_per_s=self.rate_per_s,
                for_s=self.messages / self.rate_per_s + 10,
            ).run()

    def _share(self, sockets: int) -> float:
        bare = deliver(floor, sockets=sockets, for_s=self.for_s)
        ours = deliver(hermes_broadcasts, sockets=sockets, for_s=self.for_s)
        return bare.server_us / ours.server_us if ours.server_us else math.nan
