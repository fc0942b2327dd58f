"""Thousands of clients reconnect at once with their positions, and get what they have missed."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.contenders.hermes import Hermes, hermes
from bench.figures import Figure, Mark, percentile
from bench.load.notifier import Notifier
from bench.load.requests import Asked
from bench.processes import allow_open_files
from bench.scenarios.storm import FILES_RESERVED, ReturningAtOnce
from hermes.delivery.messages import now_ms
from hermes.inbox.sqlite.file import open_inbox

REPLAY = 'hermes_work_seconds{kind="replay"}'
KEPT_MS = 7 * 86_400_000
MIB = 1_048_576
# Row by row over all users, as they would come: those of one user are far from each other in the file.
FILL = """
WITH RECURSIVE users (user) AS (SELECT 0 UNION ALL SELECT user + 1 FROM users WHERE user < :users - 1),
  numbers (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM numbers WHERE number < :rows - 1)
INSERT INTO log (kind, owner, seq, id, sender, digest, replaced, text, created_ms, expires_ms, size)
SELECT 0, 'returning-' || user, number * :users + user + 1, 'n' || number, '', zeroblob(32), 0, CAST(printf(
  '{"channel":"notifications","id":"n%d","title":"A door is open","message":"Cold room %d, since 08:15",'
  || '"type":"warning","timestamp":%d}', number, user, :now) AS BLOB), :now, :now + :kept, 560
FROM numbers CROSS JOIN users
"""
COUNT = """
UPDATE totals SET (last_seq, entries, bytes) = (SELECT max(seq), count(*), sum(size) FROM log);
INSERT INTO shares SELECT 'user', owner, count(*), sum(size) FROM log GROUP BY owner;
"""


@dataclass(frozen=True, slots=True)
class InboxStorm:
    """``users`` connect in one instant, each with ``rows`` that it has missed, and the same without an inbox.

    Meanwhile notifications go to a user who is inside, at ``rate_per_s``; before, for ``quiet_s`` too.
    """

    summary: ClassVar[str] = "10,000 clients with 100 missed rows each reconnect at once, against the same without"
    users: int = 10_000
    rows: int = 100
    rate_per_s: int = 100
    addresses: int = 10
    quiet_s: float = 1.0

    def run(self) -> list[Figure]:
        """Seconds until all have everything, milliseconds of a live notification meanwhile, and both as ratios."""
        allow_open_files(self.users + FILES_RESERVED)
        with hermes() as server:
            plain, plain_ms, plain_lost = self._storm(server, frames_each=0)
        with _filled(0, 0) as path, hermes("--inbox", str(path)) as server:
            empty_bytes = server.child.rss_bytes
        with _filled(self.users, self.rows) as path, hermes("--inbox", str(path)) as server:
            more_bytes = server.child.rss_bytes - empty_bytes
            asked, storm_ms, lost = self._storm(server, frames_each=1 + self.rows)
            server.child.wait_until(lambda: server.metric(REPLAY) > 0, "no replay is measured")
            slice_ms = 1e3 * server.metric(REPLAY)
        wrong = sum(frames != 1 + self.rows for frames in asked.frames) + asked.closed
        took_s, plain_s = max(asked.answering_s, asked.receiving_s), plain.answering_s
        p99_ms, plain_p99_ms = percentile(storm_ms, 99), percentile(plain_ms, 99)
        return [
            Figure("without inbox", "all are in after", plain_s, "s"),
            Figure("inbox", "all have their rows after", took_s, "s"),
            Figure("inbox : without", "time", took_s / plain_s, "", Mark(at_most=2.5)),
            Figure("inbox", "rows", self.users * self.rows / took_s, "1/s"),
            Figure("inbox", "sockets without exactly their rows", wrong, "", Mark(exactly=0)),
            Figure("without inbox", "notification in the storm p99", plain_p99_ms, "ms"),
            Figure("inbox", "notification in the storm p99", p99_ms, "ms"),
            Figure("inbox : without", "notification in the storm p99", p99_ms / plain_p99_ms, "", Mark(at_most=2)),
            Figure("inbox", "longest slice of a replay", slice_ms, "ms", Mark(at_most=10)),
            Figure("inbox", "memory with all rows over that with none", more_bytes / MIB, "MiB", Mark(at_most=16)),
            Figure("inbox", "notifications lost", lost + plain_lost, "", Mark(exactly=0)),
        ]

    def _storm(self, server: Hermes, *, frames_each: int) -> tuple[Asked, list[float], int]:
        """Return what came of it, the milliseconds of the notifications meanwhile, and how many were lost."""
        query = "&since=0" if frames_each else ""
        paths = [f"{server.user_socket(f'returning-{number}')}{query}" for number in range(self.users)]
        with Notifier.opened(server) as notifier:
            quiet_until_s = time.monotonic() + self.quiet_s
            notifier.drive(self.rate_per_s, lambda: time.monotonic() < quiet_until_s)
            storm = ReturningAtOnce(server.port, paths, self.addresses, frames_each=frames_each)
            storm.start()
            notifier.drive(self.rate_per_s, storm.is_alive)
            asked = storm.asked()
            notifier.finish()
            ended_ns = asked.began_ns + int(1e9 * max(asked.answering_s, asked.receiving_s))
            return asked, notifier.latencies_between(asked.began_ns, ended_ns), notifier.lost


@contextlib.contextmanager
def _filled(users: int, rows: int) -> Iterator[Path]:
    """Give the path of an inbox with so many rows of so many users."""
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        path = Path(folder, "inbox.db")
        with contextlib.closing(open_inbox(path)) as connection:
            if users and rows:
                values = {"users": users, "rows": rows, "now": now_ms(), "kept": KEPT_MS}
                connection.execute("PRAGMA cache_size = -2000000")
                connection.execute("BEGIN")
                connection.execute(FILL, values)
                for statement in COUNT.split(";"):
                    connection.execute(statement)
                connection.execute("COMMIT")
        yield path
