"""What it costs to store a notification before it is delivered."""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.contenders.hermes import Hermes, hermes
from bench.figures import Figure, Mark
from bench.load.requests import Asked, Total, post

SENT = '"sent":true'
COMMIT_BYTES = 16_384  # about what a commit of one row appends to the log
MARGIN_MS = 1.0


@dataclass(frozen=True, slots=True)
class InboxNotify:
    """``rounds`` by turns of a Hermes with an inbox and one without: one caller, then ``connections`` at once.

    Each notification goes to a user with one socket. ``syncs`` of the same disk are timed in each round. At once means
    twice: each caller asks again as soon as it has its answer, then all together ``rate_per_s``, which both can serve.
    """

    summary: ClassVar[str] = "POST /notify with an inbox against the same without, by one caller and by 64"
    requests: int = 3_000
    rounds: int = 3
    connections: int = 64
    rate_per_s: int = 800
    syncs: int = 100

    def run(self) -> list[Figure]:
        """Milliseconds of an answer, requests a second, and how both differ from those without an inbox."""
        one: dict[str, Total] = {"inbox": Total(), "without": Total()}
        many: dict[str, Total] = {"inbox": Total(), "without": Total()}
        steady: dict[str, Total] = {"inbox": Total(), "without": Total()}
        syncs_ms: list[float] = []
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-bench-")))
            servers = {
                "inbox": stack.enter_context(hermes("--inbox", str(folder / "inbox.db"))),
                "without": stack.enter_context(hermes()),
            }
            for number in range(self.rounds + 1):
                for name, server in servers.items():
                    single = self._post(server, connections=1, count=max(10, self.requests // 10))
                    several = self._post(server, connections=self.connections, count=self.requests)
                    paced = self._post(
                        server, connections=self.connections, count=self.requests, rate_per_s=self.rate_per_s
                    )
                    if number:  # in the first round everything is loaded
                        one[name].add(single)
                        many[name].add(several)
                        steady[name].add(paced)
                syncs_ms += _syncs_ms(folder, self.syncs)
        sync_ms = statistics.median(syncs_ms)
        more_ms = one["inbox"].p50_ms - one["without"].p50_ms - sync_ms
        slower_syncs = (many["inbox"].p99_ms - many["without"].p99_ms) / sync_ms
        steady_syncs = (steady["inbox"].p99_ms - steady["without"].p99_ms) / sync_ms
        at_rate = f"{self.connections} callers, {self.rate_per_s} requests/s"
        return [
            Figure("disk", "fdatasync of 16 KiB p50", sync_ms, "ms"),
            Figure("without inbox", "one caller p50", one["without"].p50_ms, "ms"),
            Figure("inbox", "one caller p50", one["inbox"].p50_ms, "ms"),
            Figure("inbox", "one caller p50 over that without and one sync", more_ms, "ms", Mark(at_most=MARGIN_MS)),
            Figure("without inbox", f"{self.connections} callers", many["without"].per_s, "1/s"),
            Figure("inbox", f"{self.connections} callers", many["inbox"].per_s, "1/s"),
            Figure(
                "inbox : without",
                f"{self.connections} callers, requests",
                many["inbox"].per_s / many["without"].per_s,
                "",
                Mark(at_least=0.7),
            ),
            Figure("without inbox", f"{self.connections} callers p99", many["without"].p99_ms, "ms"),
            Figure("inbox", f"{self.connections} callers p99", many["inbox"].p99_ms, "ms"),
            Figure(
                "inbox", f"{self.connections} callers p99 over that without", slower_syncs, "syncs", Mark(at_most=4)
            ),
            Figure("without inbox", f"{at_rate}: p99", steady["without"].p99_ms, "ms"),
            Figure("inbox", f"{at_rate}: p99", steady["inbox"].p99_ms, "ms"),
            Figure("inbox", f"{at_rate}: p99 over that without", steady_syncs, "syncs", Mark(at_most=4)),
            Figure("inbox", f"{self.connections} callers, CPU a request", many["inbox"].cpu_us, "µs"),
            Figure("without inbox", f"{self.connections} callers, CPU a request", many["without"].cpu_us, "µs"),
        ]

    def _post(self, server: Hermes, *, connections: int, count: int, rate_per_s: float | None = None) -> Asked:
        count -= count % connections
        asked = post(
            server.port,
            "/notify",
            _bodies(connections),
            headers=[f"X-API-Key: {server.api_key}"],
            connections=connections,
            count=count,
            word=SENT,
            listeners=[server.user_socket(str(number)) for number in range(connections)],
            frames_each=1,
            server_pid=server.child.pid,
            rate_per_s=rate_per_s,
        )
        return asked.only(200, count).sent(count, [count // connections] * connections)


def _bodies(users: int) -> Sequence[bytes]:
    return [
        b'{"user_id":"%d","title":"A door is open","message":"Cold room 4, since 08:15"}' % number
        for number in range(users)
    ]


def _syncs_ms(folder: Path, number: int) -> list[float]:
    """Return how long each of some syncs takes, as a commit makes it."""
    found: list[float] = []
    descriptor = os.open(folder / "syncs", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(number):
            os.write(descriptor, bytes(COMMIT_BYTES))
            began_s = time.perf_counter()
            os.fdatasync(descriptor)
            found.append(1e3 * (time.perf_counter() - began_s))
    finally:
        os.close(descriptor)
        os.unlink(folder / "syncs")
    return found
