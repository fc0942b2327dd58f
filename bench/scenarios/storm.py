"""Effect on connected clients while thousands reconnect at once."""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark, percentile
from bench.load.notifier import Notifier
from bench.load.requests import Asked, upgrade
from bench.processes import CHECKOUT, BenchError, allow_open_files

FILES_RESERVED = 256
QUIET_S = 1.0  # before the storm, for comparison
STORM_MAX_S = 60.0
PATIENCE_S = STORM_MAX_S + 60.0


@dataclass(frozen=True, slots=True)
class Storm:
    """``sockets`` clients connect in one instant, each with a token never seen before, as after a restart; meanwhile
    notifications go to a user who is inside, at ``rate_per_s``. They come from ``addresses``.
    """

    summary: ClassVar[str] = "thousands of clients reconnect at once while notifications go to one connected client"
    sockets: int = 3_000
    rate_per_s: int = 200
    addresses: int = 10
    within_s: float | None = None  # the mark
    checkout: Path = CHECKOUT

    def run(self) -> list[Figure]:
        """Milliseconds from a request's writing to its frame, before the storm and in it; seconds until all are in."""
        allow_open_files(self.sockets + FILES_RESERVED)
        with hermes(checkout=self.checkout) as server, Notifier.opened(server) as notifier:
            paths = [server.user_socket(f"returning-{number}") for number in range(self.sockets)]
            quiet_until_s = time.monotonic() + QUIET_S
            notifier.drive(self.rate_per_s, lambda: time.monotonic() < quiet_until_s)
            notifier.finish()
            storm = ReturningAtOnce(server.port, paths, self.addresses)
            storm.start()
            notifier.drive(self.rate_per_s, storm.is_alive)
            asked = storm.asked()
            notifier.finish()
        quiet_ms = notifier.latencies_between(0, asked.began_ns)
        storm_ms = notifier.latencies_between(asked.began_ns, asked.answered_ns)
        mark = None if self.within_s is None else Mark(at_most=self.within_s)
        leaving_ms = notifier.latencies_between(asked.answered_ns, math.inf)
        return [
            Figure("Hermes", "all are in after", asked.answering_s, "s", mark),
            Figure("Hermes", "handshakes in the storm", asked.per_s, "1/s"),
            Figure("Hermes", "notification before the storm p50", percentile(quiet_ms, 50), "ms"),
            Figure("Hermes", "notification in the storm p50", percentile(storm_ms, 50), "ms"),
            Figure("Hermes", "notification in the storm p99", percentile(storm_ms, 99), "ms"),
            Figure("Hermes", "slowest notification while all leave at once", max(leaving_ms, default=0.0), "ms"),
            Figure("Hermes", "notifications lost", notifier.lost, "", Mark(exactly=0)),
        ]


class ReturningAtOnce(threading.Thread):
    """The storm, beside the one who measures. Each client reads until it has ``frames_each`` frames."""

    def __init__(self, port: int, paths: Sequence[str], addresses: int, *, frames_each: int = 0) -> None:
        super().__init__(name="storm")
        self._addresses = addresses
        self._frames_each = frames_each
        self._port = port
        self._paths = paths
        self._asked: Asked | None = None

    def run(self) -> None:
        """Let all connect, and wait for them."""
        count = len(self._paths)
        asked = upgrade(
            self._port,
            self._paths,
            connections=count,
            count=count,
            kept=count,
            addresses=self._addresses,
            frames_each=self._frames_each,
            time_limit_s=STORM_MAX_S,
        )
        self._asked = asked.only(101, count)

    def asked(self) -> Asked:
        """What came of it. Raises `BenchError` if a client did not connect."""
        self.join(PATIENCE_S)
        if self._asked is None:
            raise BenchError("not all clients reconnected; see above")
        return self._asked
