"""What is measured, one file each: a frozen dataclass whose fields are its sizes.

To add one: write its file, and name it in `FULL` and, small, in `QUICK`.
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from bench.figures import Figure
from bench.scenarios.fan_out import FanOut
from bench.scenarios.idle_memory import IdleMemory
from bench.scenarios.notify import Notify


class Scenario(Protocol):
    """Starts what it measures, drives it, ends it."""

    summary: ClassVar[str]

    def run(self) -> list[Figure]:
        """One run, the same figures in the same order each time. Raises `BenchError` where it cannot."""


FULL: Mapping[str, Scenario] = {"notify": Notify(), "idle-memory": IdleMemory(), "fan-out": FanOut()}

QUICK: Mapping[str, Scenario] = {
    "notify": Notify(rate_per_s=50, requests=20),
    "idle-memory": IdleMemory(sockets=50, settle_s=0.1),
    "fan-out": FanOut(rate_per_s=200, messages=100, sockets=5),
}
