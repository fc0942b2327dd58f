"""What a good client notices while others attack, and what the attack costs Hermes."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from bench.contenders import TENANT
from bench.contenders.broker import broker
from bench.contenders.hermes import Hermes, hermes
from bench.figures import Figure, Mark, percentile
from bench.load.notifier import Notifier
from bench.processes import Child, allow_open_files, running

FILES = 12_000
NO_PROXY = ("--trusted-proxy", "192.0.2.1")  # the attackers are on loopback, which is trusted by default
START_S = 5.0  # until all attackers have started, with a burst of 5,000 connections


@dataclass(frozen=True, slots=True)
class Attacked:
    """Three times the same good client, ``rate_per_s`` notifications to one socket for ``for_s`` seconds.

    Alone; with the attackers against a dummy listener, which shows what they cost the machine; and with the same
    attackers against Hermes. ``idle`` processes have 500 sockets each.
    """

    summary: ClassVar[str] = "a good client while thousands of bad sockets, bombs, toggles, guesses and a flood come in"
    idle: int = 10
    rate_per_s: int = 50
    for_s: float = 10.0

    def run(self) -> list[Figure]:
        """Milliseconds from a request to its frame, what was lost, and Hermes' share of a core."""
        allow_open_files(FILES)
        with broker() as mosquitto, hermes(*NO_PROXY, mqtt_url=mosquitto.url) as server, TemporaryDirectory() as name:
            folder = Path(name)
            alone = self._measured(server)
            with _dummy(folder) as port, self._attackers(folder, server, port, port):
                others = self._measured(server)
            with self._attackers(folder, server, server.port, mosquitto.port):
                before_s, began_s = server.child.cpu_s, time.monotonic()
                attacked = self._measured(server)
                percent = 100 * (server.child.cpu_s - before_s) / (time.monotonic() - began_s)
        p99_ms = [percentile(each.latencies_ms, 99) for each in (alone, others, attacked)]
        return [
            Figure("Hermes", "notification alone p99", p99_ms[0], "ms"),
            Figure("Hermes", "notification with attackers elsewhere p99", p99_ms[1], "ms"),
            Figure("Hermes", "notification attacked p99", p99_ms[2], "ms", Mark(at_most=round(1.5 * p99_ms[1] + 5, 1))),
            Figure("Hermes", "notifications lost", attacked.lost, "", Mark(exactly=0)),
            Figure("Hermes", "CPU, attacked", percent, "% of a core", Mark(at_most=60)),
        ]

    def _measured(self, server: Hermes) -> Notifier:
        with Notifier.opened(server) as notifier:
            until_s = time.monotonic() + self.for_s
            notifier.drive(self.rate_per_s, lambda: time.monotonic() < until_s)
            notifier.finish()
            return notifier

    @contextmanager
    def _attackers(self, folder: Path, server: Hermes, port: int, mqtt_port: int) -> Iterator[None]:
        token = server.mint.sign(user_id="mallory", username="mallory", tenant_id=TENANT, ttl_s=3_600)
        kinds = [*["idle"] * self.idle, "bomber", "toggler", "guesser", "device"]
        seconds = str(self.for_s * 2 + START_S + 10)
        with ExitStack() as stack:
            for number, kind in enumerate(kinds):
                arguments = [kind, str(mqtt_port if kind == "device" else port), token, seconds]
                stack.enter_context(_python(folder / f"{port}-{number}", arguments))
            time.sleep(START_S)
            yield


@contextmanager
def _dummy(folder: Path) -> Iterator[int]:
    with _python(folder / "dummy", ["dummy"]) as child:
        yield int(child.wait_for(r"(\d+)\n")[1])


@contextmanager
def _python(output: Path, arguments: Sequence[str]) -> Iterator[Child]:
    with running([sys.executable, "-m", "bench.load.attacker", *arguments], output=output) as child:
        yield child
