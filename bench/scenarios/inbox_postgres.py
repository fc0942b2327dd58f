"""What an inbox costs a notification: none, a file, and PostgreSQL on this machine, each with its syncs to the disk."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from bench.contenders.hermes import hermes
from bench.contenders.postgres import INBOX, inbox_server
from bench.figures import Figure, Mark, percentile
from bench.load.notifier import Notifier


@dataclass(frozen=True, slots=True)
class InboxPostgres:
    """``requests`` notifications one by one at ``rate_per_s`` to a user with one socket, for each inbox."""

    summary: ClassVar[str] = "POST /notify at 200/s with an inbox in PostgreSQL, in SQLite, and without"
    rate_per_s: int = 200
    requests: int = 1_000

    def run(self) -> list[Figure]:
        """Latency in milliseconds from just before the request is written until its frame is read."""
        none, none_missing = self._latencies()
        with TemporaryDirectory(prefix="hermes-bench-") as folder:
            file, file_missing = self._latencies("--inbox", str(Path(folder, "inbox.db")))
        with inbox_server() as database:
            postgres, postgres_missing = self._latencies("--inbox", database.url(INBOX))
        middle, file_middle, base = (percentile(values, 50) for values in (postgres, file, none))
        return [
            Figure("no inbox", "latency p50", base, "ms"),
            Figure("SQLite", "latency p50", file_middle, "ms"),
            Figure("PostgreSQL", "latency p50", middle, "ms"),
            Figure("PostgreSQL", "latency p99", percentile(postgres, 99), "ms"),
            Figure("PostgreSQL", "more than without an inbox, p50", middle - base, "ms", Mark(below=2)),
            Figure("all", "not arrived", none_missing + file_missing + postgres_missing, "", Mark(exactly=0)),
        ]

    def _latencies(self, *options: str) -> tuple[list[float], int]:
        with hermes(*options) as server, Notifier.opened(server) as notifier:
            notifier.drive(self.rate_per_s, lambda: notifier.sent < self.requests)
            notifier.finish()
            return notifier.latencies_ms, notifier.missing
