"""From ``POST /notify`` to the user's open socket, at a rate that leaves the server mostly idle."""

import time
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark, percent_of_core, percentile
from bench.load.notifier import Notifier


@dataclass(frozen=True, slots=True)
class Notify:
    """``requests`` notifications one by one at ``rate_per_s`` to a user with one socket."""

    summary: ClassVar[str] = "POST /notify at 200/s to a user with one socket"
    rate_per_s: int = 200
    requests: int = 2_000

    def run(self) -> list[Figure]:
        """Latency in milliseconds from just before the request is written until its frame is read."""
        with hermes() as server, Notifier.opened(server) as notifier:
            began_s, cpu_s, own_cpu_s = time.monotonic(), server.child.cpu_s, time.process_time()
            notifier.drive(self.rate_per_s, lambda: notifier.sent < self.requests)
            notifier.finish()
            wall_s = time.monotonic() - began_s
            hermes_percent = percent_of_core(server.child.cpu_s - cpu_s, wall_s)
            client_percent = percent_of_core(time.process_time() - own_cpu_s, wall_s)
        return [
            Figure("Hermes", "latency p50", percentile(notifier.latencies_ms, 50), "ms", Mark(below=3)),
            Figure("Hermes", "latency p99", percentile(notifier.latencies_ms, 99), "ms"),
            Figure("Hermes", "not arrived, or not in order", notifier.missing, "", Mark(exactly=0)),
            Figure("Hermes", "answered without sent: true", notifier.sent - notifier.accepted, "", Mark(exactly=0)),
            Figure("client", "requests", self.requests / notifier.sending_s, "1/s"),
            Figure("Hermes", "CPU", hermes_percent, "% of a core"),
            Figure("client", "CPU", client_percent, "% of a core"),
        ]
