"""What an inbox removes: the oldest rows beyond a limit, and what has expired.

As the `Store` that uses it, it runs inside a transaction that a caller began and will commit. Times are Unix
milliseconds.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from hermes.inbox.inbox import IDS_KEPT_MS, StoreLimits
from hermes.inbox.sqlite.schema import LARGE_BYTES
from hermes.inbox.sqlite.statements import KEEP_IDS, LOSE, TOTALS, totals_of

RECOUNTED_AFTER: Final = 1_000  # evicted rows
OWNERS_COUNTED: Final = 10_000  # users and tenants of which the number of rows is known without counting; about 2 MB
EVICTED_AT_ONCE: Final = 100  # rows of one statement
EXPIRED_AT_ONCE: Final = 500

_Owner = tuple[int, str]  # the kind of a row, and its user or tenant
_Listed = tuple[str, int]  # a JSON array of numbers, and how many they are


class Removed(NamedTuple):
    """Numbers of rows that were removed: at their end, and by a limit."""

    expired: int
    evicted: int


class Retention:
    """The limits of an open inbox, and how many rows each user and tenant has."""

    def __init__(self, connection: sqlite3.Connection, *, limits: StoreLimits, now_ms: Callable[[], int]) -> None:
        self._sql = connection
        self._limits = limits
        self._now_ms = now_ms
        self._rows_at_most: OrderedDict[_Owner, int] = OrderedDict()  # never too low
        self._exact: set[_Owner] = set()  # those of which it is not too high either
        self._expired = 0
        self._evicted = 0
        self._uncounted_losses = 0

    def make_room(self, owners: Mapping[_Owner, int], size: int, used_bytes: int) -> None:
        """Make room for so many rows of these users and tenants, with this size in all."""
        for name, number in owners.items():
            rows = self._rows_at_most.pop(name, None)
            if rows is None or rows + number > self._limits.rows_per_owner:
                rows = self._evict_owner(name, number, rows)
            self._rows_at_most[name] = rows + number
        while len(self._rows_at_most) > OWNERS_COUNTED:
            name, _ = self._rows_at_most.popitem(last=False)
            self._exact.discard(name)
        if used_bytes + size > self._limits.max_bytes:
            self._evict_bytes(size)

    def rows_removed(self) -> None:
        """Note that rows were removed elsewhere: a number may be too high."""
        self._exact.clear()

    def rolled_back(self) -> None:
        """Trust no number of rows: what was added or removed is undone."""
        self._rows_at_most.clear()
        self._exact.clear()

    def sweep(self) -> bool:
        """Remove a part of what has expired; return whether there may be more."""
        now_ms = self._now_ms()
        seqs, rows = self._listed(
            "SELECT seq FROM log WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?", (now_ms, EXPIRED_AT_ONCE)
        )
        if rows:
            self._exact.clear()
            self._remove(seqs)
        self._expired += rows
        ids = self._sql.execute(
            "DELETE FROM ids WHERE (kind, owner, bound, id) IN"
            " (SELECT kind, owner, bound, id FROM ids WHERE created_ms <= ? ORDER BY created_ms LIMIT ?)",
            (now_ms - IDS_KEPT_MS, EXPIRED_AT_ONCE),
        ).rowcount
        return EXPIRED_AT_ONCE in (rows, ids)

    def take_removed(self) -> Removed:
        """Return how many rows were removed since the last call."""
        removed = Removed(self._expired, self._evicted)
        self._expired = self._evicted = 0
        return removed

    def _evict_owner(self, name: _Owner, number: int, rows: int | None) -> int:
        """Make room for so many rows of a user or tenant: its oldest rows end.

        It has ``rows`` at most, or an unknown number. Returns how many are left.
        """
        if rows is None or name not in self._exact:
            [rows] = self._sql.execute("SELECT count(*) FROM log WHERE (kind, owner) = (?, ?)", name).fetchone()
            self._exact.add(name)
        left = max(0, min(rows, self._limits.rows_per_owner - number))
        if rows > left:
            oldest = "SELECT seq FROM log WHERE (kind, owner) = (?, ?) ORDER BY seq LIMIT ?"
            self._evict(self._listed(oldest, (*name, rows - left)))
        return left

    def _evict_bytes(self, size: int) -> None:
        """Make room for this many bytes.

        Whoever has more than half loses its oldest rows; otherwise the oldest of all end.
        """
        maximum = self._limits.max_bytes
        self._exact.clear()
        while self._used_bytes() + size > maximum:
            in_index = f"AND bytes > {LARGE_BYTES}" if maximum // 2 >= LARGE_BYTES else ""
            large = self._sql.execute(
                f"SELECT kind, name FROM shares WHERE bytes > ? {in_index} ORDER BY bytes DESC LIMIT 1",
                (maximum // 2,),
            ).fetchone()
            rows = self._oldest(*large) if large else self._oldest()
            if not rows[1]:
                return
            self._evict(rows)

    def _used_bytes(self) -> int:
        _, _, used_bytes = totals_of(self._sql.execute(TOTALS).fetchone())
        return used_bytes

    def _oldest(self, kind: str | None = None, name: str | None = None) -> _Listed:
        rows = "SELECT seq FROM log WHERE +kind < 2"
        if kind == "user":
            rows = "SELECT seq FROM log WHERE kind = 0 AND owner = :name AND bound IS NULL"
        elif kind == "tenant":
            rows = (
                "SELECT seq FROM log WHERE kind = 1 AND owner = :name"
                " UNION ALL SELECT seq FROM log WHERE kind = 0 AND bound = :name"
            )
        return self._listed(f"{rows} ORDER BY seq LIMIT {EVICTED_AT_ONCE}", {"name": name})

    def _listed(self, query: str, values: Any) -> _Listed:
        """Return the numbers that a query finds, in one step."""
        seqs, number = self._sql.execute(f"SELECT json_group_array(seq), count(*) FROM ({query})", values).fetchone()
        return seqs, number

    def _evict(self, listed: _Listed) -> None:
        """Remove rows; each reader that has not seen one has a gap."""
        seqs, number = listed
        self._sql.execute(LOSE, (seqs, self._now_ms()))
        self._remove(seqs)
        self._evicted += number
        self._uncounted_losses += number
        if self._uncounted_losses >= RECOUNTED_AFTER:
            self._uncounted_losses = 0
            self._bound_losses()

    def _remove(self, seqs: str) -> None:
        """Remove entries; ids of the last 24 hours are kept."""
        self._sql.execute(KEEP_IDS, (seqs, self._now_ms() - IDS_KEPT_MS))
        self._sql.execute("DELETE FROM log WHERE seq IN (SELECT value FROM json_each(?))", (seqs,))

    def _bound_losses(self) -> None:
        """Replace the oldest losses by one for all readers if too many are listed."""
        (listed,) = self._sql.execute("SELECT count(*) FROM losses").fetchone()
        if listed > self._limits.losses_max:
            (seq,) = self._sql.execute(
                "SELECT seq FROM losses ORDER BY seq LIMIT 1 OFFSET ?", (listed - self._limits.losses_max // 2,)
            ).fetchone()
            before = self._sql.execute("SELECT value FROM meta WHERE name = 'lost_by_all'").fetchone()
            lost_by_all = max(seq, int(before[0]) if before else 0)
            self._sql.execute("INSERT OR REPLACE INTO meta VALUES ('lost_by_all', ?)", (str(lost_by_all),))
            self._sql.execute("DELETE FROM losses WHERE seq <= ?", (seq,))
