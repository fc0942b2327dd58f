"""How long after the broker is back the link is back."""

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders.broker import broker
from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark
from bench.processes import BenchError, free_port

PATIENCE_S = 60.0
POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Reconnect:
    """``restarts`` of a broker, which is away for each of ``away_s`` in turn and then back for ``settle_s``."""

    summary: ClassVar[str] = "20 restarts of the broker, away for 0 to 10 s"
    restarts: int = 20
    away_s: tuple[float, ...] = (0.0, 0.5, 1.0, 3.0, 10.0)
    settle_s: float = 1.2

    def run(self) -> list[Figure]:
        """Seconds from just before the broker's start until ``/ready`` is 200 again."""
        port = free_port()
        took_s: list[float] = []
        with ExitStack() as site:
            site.enter_context(away := ExitStack())
            away.enter_context(broker(port=port))
            server = site.enter_context(hermes(mqtt_url=f"mqtt://127.0.0.1:{port}"))
            for number in range(self.restarts):
                time.sleep(self.settle_s)
                away.close()
                _wait(lambda: not server.is_ready(), "the loss is not detected")
                time.sleep(self.away_s[number % len(self.away_s)])
                began_s = time.monotonic()
                away.enter_context(broker(port=port))
                _wait(server.is_ready, "the link does not come back")
                took_s.append(time.monotonic() - began_s)
            outages = server.metric("hermes_mqtt_outages_total")
        return [
            Figure("Hermes", "back after, median", statistics.median(took_s), "s", Mark(at_most=2)),
            Figure("Hermes", "back after, longest", max(took_s), "s", Mark(at_most=35)),
            Figure("Hermes", "outages not counted, or too many", abs(outages - self.restarts), "", Mark(exactly=0)),
        ]


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise BenchError(what)
        time.sleep(POLL_S)
