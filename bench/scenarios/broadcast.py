"""One message at a time to a thousand sockets: what a delivery costs when nothing can be coalesced."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders.broadcasters import BROADCASTERS
from bench.figures import Figure, Mark
from bench.processes import NotInstalledError
from bench.scenarios.delivery import Delivery, deliver

# Hermes' CPU per delivery, divided by theirs
COST = {"floor": Mark(at_most=1.65), "direct Tornado": Mark(at_most=1.1)}
# Hermes' deliveries per second of CPU, divided by theirs
YIELD = {
    "nchan": Mark(at_least=1.1),
    "picows": Mark(at_least=1.0),
    "Node ws": Mark(at_least=1.5),
    "mosquitto": Mark(at_least=3),
    "websockets": None,
    "naive Tornado": None,
}


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Each contender for ``for_s``, one after the other; those that are not installed are left out."""

    summary: ClassVar[str] = "one message at a time to 1,000 sockets, of Hermes and its peers"
    sockets: int = 1_000
    for_s: float = 3.0
    contenders: Sequence[str] = tuple(BROADCASTERS)

    def run(self) -> list[Figure]:
        """Deliveries a second, CPU of both ends, latency; then the ratios."""
        deliveries = {}
        for name in self.contenders:
            try:
                deliveries[name] = deliver(BROADCASTERS[name], sockets=self.sockets, for_s=self.for_s)
            except NotInstalledError as error:
                print(f"bench: {name} is left out: {error}", file=sys.stderr, flush=True)
        return [*(figure for each in deliveries.values() for figure in _figures(each)), *_ratios(deliveries)]


def _figures(delivery: Delivery) -> list[Figure]:
    name, seen = delivery.name, delivery.seen
    return [
        Figure(name, "delivered", seen.deliveries_per_s, "1/s"),
        Figure(name, "CPU per delivery", delivery.server_us, "µs"),
        Figure(name, "latency p50", seen.p50_ns / 1e6, "ms"),
        Figure(name, "latency p99", seen.p99_ns / 1e6, "ms"),
        Figure(name, "CPU", delivery.server_percent, "% of a core"),
        Figure(f"client of {name}", "CPU", seen.cpu_percent, "% of a core"),
    ]


def _ratios(deliveries: dict[str, Delivery]) -> list[Figure]:
    if "Hermes" not in deliveries:
        return []
    ours = deliveries["Hermes"]
    return [
        *(
            Figure(
                f"Hermes : {name}", "CPU per delivery", _quotient(ours.server_us, deliveries[name].server_us), "", mark
            )
            for name, mark in COST.items()
            if name in deliveries
        ),
        *(
            Figure(f"Hermes : {name}", "deliveries per CPU second", _quotient(theirs, ours.server_us), "", mark)
            for name, mark in YIELD.items()
            if name in deliveries and (theirs := deliveries[name].server_us)
        ),
        *(
            Figure(f"Hermes : {name}", "delivered", _quotient(ours.seen.deliveries_per_s, theirs.seen.deliveries_per_s))
            for name, theirs in deliveries.items()
            if theirs is not ours
        ),
    ]


def _quotient(dividend: float, divisor: float) -> float:
    return dividend / divisor if divisor > 0 else math.nan
