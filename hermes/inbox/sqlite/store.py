"""The SQL of an inbox: one SQLite connection, used by one thread.

Every method runs inside a transaction that its caller began and will commit. Times are Unix milliseconds.
"""

import hashlib
import secrets
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from hermes.delivery.messages import Acknowledgement, Broadcast, Notification, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.inbox import (
    IDS_KEPT_MS,
    PAGE_BYTES,
    PAGE_ENTRIES,
    REPLAY_MAX_ROWS,
    Conflict,
    Duplicate,
    Entry,
    InboxStats,
    InboxUnavailable,
    Page,
    Reader,
    ReceiptRecord,
    Resumed,
    Row,
    Stored,
    StoreLimits,
    Submission,
)
from hermes.inbox.position import Position
from hermes.inbox.sqlite.file import RowDamaged
from hermes.inbox.sqlite.schema import (
    ACK,
    BROADCAST,
    BROADCAST_WITHDRAWAL,
    LARGE_BYTES,
    NOTIFICATION,
    ROW_OVERHEAD_BYTES,
    WITHDRAWAL,
)

RECOUNTED_AFTER = 1_000  # evicted rows
OWNERS_COUNTED = 10_000  # users and tenants of which the number of rows is known without counting; about 2 MB
EVICTED_AT_ONCE = 100  # rows of one statement
EXPIRED_AT_ONCE = 500
EPOCH_BYTES = 12
SQLITE_MAX = 2**62
_ROW_KINDS = frozenset(map(str, (NOTIFICATION, BROADCAST)))


@dataclass(frozen=True, slots=True)
class WithdrawnRow:
    """A row before it was withdrawn."""

    seq: int
    text: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Undo:
    """What `Store.forget` needs: the row's number, and what it replaced."""

    stored: Stored
    replaced: tuple[WithdrawnRow, ...] = ()


class Store:
    """The tables of one open inbox, with the schema of this version."""

    def __init__(self, connection: sqlite3.Connection, *, limits: StoreLimits, now_ms: Callable[[], int]) -> None:
        self._sql = connection
        self._limits = limits
        self._now_ms = now_ms
        self.evicted = 0  # rows that a limit removed; the thread counts and resets it
        self.expired = 0  # rows that were removed at their end; likewise
        self._uncounted_losses = 0
        self._rows_at_most: OrderedDict[tuple[int, str], int] = OrderedDict()  # of a user or tenant; never too low
        self.needs_checkpoint = False  # what was removed is still in the write-ahead log
        self._sql.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (new_epoch(),))
        self.epoch: str = self._meta("epoch") or ""

    # -- rows ---------------------------------------------------------------------------------------------------

    def append(self, submission: Submission) -> Stored | Duplicate | Conflict:
        """Store a row, unless its id is known."""
        return self.append_undoable(submission)[0]

    def append_undoable(self, submission: Submission) -> tuple[Stored | Duplicate | Conflict, Sequence[Undo]]:
        """Store a row, unless its id is known; also return how to undo that."""
        kind, owner = _address(submission.message)
        bound = submission.bound_tenant or ""
        digest, seq, sockets, replaced, acked_ms, used_bytes = self._sql.execute(
            _BEFORE_APPEND, (kind, owner, bound, submission.message.id, self._now_ms() - IDS_KEPT_MS)
        ).fetchone()
        if digest is not None:
            is_same = digest == submission.digest
            return Duplicate(seq, sockets, bool(replaced), acked_ms) if is_same else Conflict(), ()
        withdrawal: Withdrawal | None = None
        before: tuple[WithdrawnRow, ...] = ()
        if submission.replaces is not None:
            withdrawal, before = self._withdraw(kind, owner, submission.replaces, bound=submission.bound_tenant)
        seq = None
        if submission.expires_ms is not None:
            size = len(submission.text) + ROW_OVERHEAD_BYTES
            rows = self._rows_at_most.pop((kind, owner), self._limits.rows_per_owner)
            if rows >= self._limits.rows_per_owner:
                rows = self._evict_owner(kind, owner)
            self._rows_at_most[kind, owner] = rows + 1
            if len(self._rows_at_most) > OWNERS_COUNTED:
                self._rows_at_most.popitem(last=False)
            if used_bytes + size > self._limits.max_bytes:
                self._evict_bytes(size)
            seq = self._insert_row(submission, kind, owner, size)
        self._sql.execute(
            "INSERT OR REPLACE INTO ids (kind, owner, bound, id, digest, seq, replaced, created_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                kind,
                owner,
                bound,
                submission.message.id,
                submission.digest,
                seq,
                withdrawal is not None,
                self._now_ms(),
            ),
        )
        stored = Stored(seq, withdrawal)
        return stored, (Undo(stored, before),)

    def _insert_row(self, submission: Submission, kind: int, owner: str, size: int) -> int:
        return self._insert(
            kind=kind,
            owner=owner,
            bound=submission.bound_tenant,
            id=submission.message.id,
            text=submission.text,
            sender=submission.sender,
            created_ms=submission.message.timestamp_ms,
            expires_ms=submission.expires_ms,
            size=size,
        )

    def _insert(self, **values: object) -> int:
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        cursor = self._sql.execute(f"INSERT INTO log ({names}) VALUES ({marks})", tuple(values.values()))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def forget(self, submission: Submission, undo: Undo) -> None:
        """Remove a row that was delivered as not stored, and its id.

        What it replaced is there again.
        """
        kind, owner = _address(submission.message)
        key = (kind, owner, submission.bound_tenant or "", submission.message.id)
        stored = undo.stored
        found = self._sql.execute(
            "DELETE FROM ids WHERE (kind, owner, bound, id) = (?, ?, ?, ?) AND digest = ? AND seq IS ?",
            (*key, submission.digest, stored.seq),
        )
        if not found.rowcount:
            return
        if stored.seq is not None:
            self._sql.execute("DELETE FROM log WHERE seq = ?", (stored.seq,))
        if stored.replaced is not None:
            self._sql.execute("DELETE FROM log WHERE seq = ?", (stored.replaced.seq,))
        for row in undo.replaced:
            self._sql.execute("UPDATE log SET text = ?, size = ? WHERE seq = ?", (row.text, row.size, row.seq))

    def delivered(self, submission: Submission, sockets: int) -> None:
        """Note how many sockets took a row."""
        kind, owner = _address(submission.message)
        key = (kind, owner, submission.bound_tenant or "", submission.message.id)
        self._sql.execute("UPDATE ids SET sockets = ? WHERE (kind, owner, bound, id) = (?, ?, ?, ?)", (sockets, *key))
        self._sql.execute(
            "UPDATE log SET sockets = ? WHERE seq ="
            " (SELECT seq FROM ids WHERE (kind, owner, bound, id) = (?, ?, ?, ?))",
            (sockets, *key),
        )

    # -- readers ------------------------------------------------------------------------------------------------

    def resume(self, reader: Reader, position: Position | None, *, capped: bool = True) -> Resumed:
        """Return what a reader at this position has missed.

        Without ``capped``, all rows that are kept will be read.
        """
        last = self.last_seq()
        known = position is not None and position.epoch in ("", self.epoch) and position.seq <= last
        from_seq = position.seq if position is not None and known else 0
        values = self._range(reader, from_seq, last)
        values |= {"oldest": 0, "most": REPLAY_MAX_ROWS, "purged": self._purged_name(reader.user_id)}
        many, lost_by_all, is_lost, unread = self._sql.execute(_MISSED, values).fetchone()
        after = from_seq
        if many and capped and (found := self._sql.execute(_NEWEST_SKIPPED, values).fetchone()):
            after = found[0]
        return Resumed(
            epoch=self.epoch,
            from_seq=from_seq,
            to_seq=last,
            after_seq=after,
            gap=not known or after > from_seq or from_seq < int(lost_by_all or 0) or bool(is_lost),
            unread=unread,
        )

    def replay(self, reader: Reader, resumed: Resumed, *, after_seq: int, limit: int = PAGE_ENTRIES) -> Page:
        """Return the next entries of a resume, up to now.

        Rows, and the acknowledgements and withdrawals of rows that the reader had before. Raises `InboxUnavailable` if
        the inbox is another one since.
        """
        if resumed.epoch != self.epoch:
            raise InboxUnavailable("corrupt")
        values = self._range(reader, after_seq, self.last_seq())
        values |= {
            "had": resumed.from_seq,
            "answered": resumed.to_seq,
            "oldest": resumed.after_seq,
            "limit": limit,
        }
        *listed, number = self._sql.execute(_PAGE, values | {"bytes": PAGE_BYTES}).fetchone()
        if listed[0] is None and number:  # too large for one page
            number = _fitting(size for _seq, _acked_ms, size in self._sql.execute(_LISTED, values))
            values |= {"limit": number, "bytes": SQLITE_MAX}
            *listed, number = self._sql.execute(_PAGE, values).fetchone()
            return Page(_entries(reader, *listed), is_last=False)
        return Page(_entries(reader, *listed), is_last=number < limit)

    def _range(self, reader: Reader, after_seq: int, to_seq: int) -> dict[str, object]:
        return {
            "user": reader.user_id,
            "tenant": reader.tenant_id,
            "broadcasts": reader.broadcasts and reader.tenant_id is not None,
            "after": after_seq,
            "to": to_seq,
            "now": self._now_ms(),
        }

    # -- acknowledgements and withdrawals -----------------------------------------------------------------------

    def ack(self, reader: Reader, notification_id: str) -> list[Acknowledgement]:
        """Acknowledge the user's row and the tenant's broadcast with this id."""
        now_ms = self._now_ms()
        values = self._range(reader, 0, self.last_seq()) | {"id": notification_id}
        made = []
        for seq, expires_ms, bound in self._sql.execute(
            "SELECT seq, expires_ms, bound FROM log WHERE id = :id AND kind = 0 AND owner = :user AND text IS NOT NULL"
            " AND acked_ms IS NULL AND expires_ms > :now AND (bound IS NULL OR bound = :tenant)",
            values,
        ).fetchall():
            self._sql.execute("UPDATE log SET acked_ms = ? WHERE seq = ?", (now_ms, seq))
            made.append(self._insert_ack(reader, notification_id, seq, expires_ms, bound=bound))
        for seq, expires_ms in self._sql.execute(
            "SELECT seq, expires_ms FROM log WHERE id = :id AND kind = 1 AND owner = :tenant AND text IS NOT NULL"
            " AND expires_ms > :now AND NOT EXISTS (SELECT 1 FROM acks WHERE acks.seq = log.seq AND user = :user)",
            values,
        ).fetchall():
            self._sql.execute("INSERT INTO acks VALUES (?, ?, ?)", (seq, reader.user_id, now_ms))
            made.append(self._insert_ack(reader, notification_id, seq, expires_ms, bound=reader.tenant_id))
        return made

    def _insert_ack(
        self, reader: Reader, notification_id: str, target: int, expires_ms: int, *, bound: TenantId | None
    ) -> Acknowledgement:
        now_ms = self._now_ms()
        seq = self._insert(
            kind=ACK,
            owner=reader.user_id,
            bound=bound,
            id=notification_id,
            target=target,
            sender="" if notification_id else reader.tenant_id or "",
            created_ms=now_ms,
            acked_ms=now_ms,
            expires_ms=expires_ms,
            size=ROW_OVERHEAD_BYTES,
        )
        if notification_id:
            return Acknowledgement(seq, reader.user_id, now_ms, notification_id=notification_id, bound_tenant=bound)
        return Acknowledgement(seq, reader.user_id, now_ms, upto=target, bound_tenant=reader.tenant_id)

    def ack_upto(self, reader: Reader, upto: int) -> tuple[int, Acknowledgement | None]:
        """Acknowledge all rows of the reader up to this number."""
        upto = min(upto, self.last_seq())
        values = self._range(reader, 0, upto)
        where = (
            "kind = 0 AND owner = :user AND seq <= :to AND text IS NOT NULL AND acked_ms IS NULL"
            " AND expires_ms > :now AND (bound IS NULL OR bound = :tenant)"
        )
        (latest,) = self._sql.execute(f"SELECT max(expires_ms) FROM log WHERE {where}", values).fetchone()
        number = self._sql.execute(f"UPDATE log SET acked_ms = :now WHERE {where}", values).rowcount
        if reader.broadcasts:
            where = "kind = 1 AND owner = :tenant AND seq <= :to AND text IS NOT NULL AND expires_ms > :now"
            (end,) = self._sql.execute(f"SELECT max(expires_ms) FROM log WHERE {where}", values).fetchone()
            acked = self._sql.execute(
                f"INSERT OR IGNORE INTO acks SELECT seq, :user, :now FROM log WHERE {where}", values
            ).rowcount
            if acked:
                number, latest = number + acked, max(latest or 0, end)
        if not number:
            return 0, None
        return number, self._insert_ack(reader, "", upto, latest, bound=None)

    def withdraw(
        self,
        *,
        user_id: UserId | None,
        tenant_id: TenantId | None,
        notification_id: str,
        sender: str | None,
        bound_tenant: TenantId | None = None,
    ) -> Withdrawal | None:
        """Withdraw the row with this id that this sender has sent.

        It is bound to this tenant, or, with None, to none.
        """
        kind, owner = (NOTIFICATION, user_id) if user_id is not None else (BROADCAST, tenant_id)
        assert owner is not None
        return self._withdraw(kind, owner, notification_id, sender=sender, bound=bound_tenant)[0]

    def _withdraw(
        self, kind: int, owner: str, notification_id: str, *, bound: TenantId | None, sender: str | None = None
    ) -> tuple[Withdrawal | None, tuple[WithdrawnRow, ...]]:
        """Withdraw a row; also return it as it was before.

        The same id in another tenant is another row, of another person.
        """
        found = self._sql.execute(
            "SELECT seq, expires_ms, text, size FROM log WHERE id = :id AND kind = :kind AND owner = :owner"
            " AND text IS NOT NULL AND expires_ms > :now AND (:sender IS NULL OR sender = :sender)"
            " AND bound IS :bound ORDER BY seq DESC",
            {
                "id": notification_id,
                "kind": kind,
                "owner": owner,
                "now": self._now_ms(),
                "sender": sender,
                "bound": bound,
            },
        ).fetchall()
        if not found:
            return None, ()
        target, expires_ms, _text, _size = found[0]
        for seq, *_ in found:  # an id may be used again after a day
            self._sql.execute("UPDATE log SET text = NULL, size = ? WHERE seq = ?", (ROW_OVERHEAD_BYTES, seq))
        seq = self._insert(
            kind=WITHDRAWAL if kind == NOTIFICATION else BROADCAST_WITHDRAWAL,
            owner=owner,
            bound=bound,
            id=notification_id,
            target=target,
            created_ms=self._now_ms(),
            expires_ms=expires_ms,
            size=ROW_OVERHEAD_BYTES,
        )
        is_personal = kind == NOTIFICATION
        withdrawal = Withdrawal(
            notification_id,
            seq,
            UserId(owner) if is_personal else None,
            None if is_personal else TenantId(owner),
            bound,
        )
        return withdrawal, tuple(WithdrawnRow(row, text, size) for row, _end, text, size in found)

    # -- what is known ------------------------------------------------------------------------------------------

    def receipts(
        self,
        notification_id: str,
        *,
        user_id: UserId | None = None,
        tenant_id: TenantId | None = None,
        sender: str | None = None,
        bound_tenant: TenantId | None = None,
    ) -> list[ReceiptRecord]:
        """Return the newest receipt of this id for each of at most two recipients.

        With ``sender``, of what it has sent; with ``bound_tenant``, of what was sent with a key of this tenant.
        """
        found = self._sql.execute(
            "SELECT kind, owner, max(seq), sockets, acked_ms, text IS NULL, expires_ms, sender, bound FROM log"
            " WHERE id = :id AND kind < 2 AND (:sender IS NULL OR sender = :sender)"
            " AND (:bound IS NULL OR bound = :bound)"
            " AND (:user IS NULL OR kind = 0 AND owner = :user)"
            " AND (:tenant IS NULL OR kind = 1 AND owner = :tenant) GROUP BY kind, owner LIMIT 2",
            {"id": notification_id, "user": user_id, "tenant": tenant_id, "sender": sender, "bound": bound_tenant},
        )
        return [
            ReceiptRecord(
                id=notification_id,
                user_id=UserId(owner) if kind == NOTIFICATION else None,
                tenant_id=TenantId(owner) if kind == BROADCAST else None,
                seq=seq,
                sockets=sockets,
                acked_ms=acked_ms,
                withdrawn=bool(withdrawn),
                expires_ms=expires_ms,
                sender=sender,
                bound_tenant=bound,
            )
            for kind, owner, seq, sockets, acked_ms, withdrawn, expires_ms, sender, bound in found
        ]

    def last_seq(self) -> int:
        """Return the highest number that was given."""
        found = self._sql.execute("SELECT seq FROM sqlite_sequence WHERE name = 'log'").fetchone()
        return found[0] if found else 0

    def stats(self) -> InboxStats:
        """Return the size of the inbox."""
        (pages,) = self._sql.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = self._sql.execute("PRAGMA page_size").fetchone()
        (entries,) = self._sql.execute("SELECT entries FROM shares WHERE kind = 'all'").fetchone()
        oldest = self._sql.execute("SELECT created_ms FROM log ORDER BY seq LIMIT 1").fetchone()
        return InboxStats(self.epoch, entries, pages * page_bytes, oldest[0] if oldest else None, self.last_seq())

    def _meta(self, name: str) -> str | None:
        found = self._sql.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def _set_meta(self, name: str, value: object) -> None:
        self._sql.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, str(value)))

    # -- limits -------------------------------------------------------------------------------------------------

    def _evict_owner(self, kind: int, owner: str) -> int:
        """Make room for one row of this user or tenant: its oldest rows end.

        Returns how many are left.
        """
        (rows,) = self._sql.execute("SELECT count(*) FROM log WHERE kind = ? AND owner = ?", (kind, owner)).fetchone()
        left = min(int(rows), self._limits.rows_per_owner - 1)
        if rows > left:
            oldest = self._sql.execute(
                "SELECT seq FROM log WHERE kind = ? AND owner = ? ORDER BY seq LIMIT ?", (kind, owner, rows - left)
            ).fetchall()
            self._evict([seq for (seq,) in oldest])
        return left

    def _evict_bytes(self, size: int) -> None:
        """Make room for this many bytes.

        Whoever has more than half loses its oldest rows; otherwise the oldest of all end.
        """
        maximum = self._limits.max_bytes
        while self._bytes() + size > maximum:
            in_index = f"AND bytes > {LARGE_BYTES}" if maximum // 2 >= LARGE_BYTES else ""
            large = self._sql.execute(
                "SELECT kind, name FROM shares WHERE bytes > ? AND kind <> 'all'"
                f" {in_index} ORDER BY bytes DESC LIMIT 1",
                (maximum // 2,),
            ).fetchone()
            rows = self._oldest(*large) if large else self._oldest()
            if not rows:
                return
            self._evict(rows)

    def _bytes(self) -> int:
        (used,) = self._sql.execute("SELECT bytes FROM shares WHERE kind = 'all'").fetchone()
        return int(used)

    def _oldest(self, kind: str | None = None, name: str | None = None) -> list[int]:
        rows = "SELECT seq FROM log WHERE kind < 2"
        if kind == "user":
            rows = "SELECT seq FROM log WHERE kind = 0 AND owner = :name AND bound IS NULL"
        elif kind == "tenant":
            rows = (
                "SELECT seq FROM log WHERE kind = 1 AND owner = :name"
                " UNION ALL SELECT seq FROM log WHERE kind = 0 AND bound = :name"
            )
        found = self._sql.execute(f"{rows} ORDER BY seq LIMIT {EVICTED_AT_ONCE}", {"name": name})
        return [seq for (seq,) in found]

    def _evict(self, rows: Sequence[int]) -> None:
        """Remove rows; each reader that has not seen one has a gap."""
        for seq in rows:
            self._sql.execute(
                "INSERT INTO losses SELECT kind, owner, coalesce(bound, ''), seq FROM log"
                " WHERE seq = ? AND text IS NOT NULL AND expires_ms > ?"
                " ON CONFLICT DO UPDATE SET seq = max(losses.seq, excluded.seq)",
                (seq, self._now_ms()),
            )
            self._sql.execute("DELETE FROM log WHERE seq = ?", (seq,))
        self.evicted += len(rows)
        self._uncounted_losses += len(rows)
        if self._uncounted_losses >= RECOUNTED_AFTER:
            self._uncounted_losses = 0
            self._bound_losses()

    def _bound_losses(self) -> None:
        """Make the oldest losses those of all readers if too many are listed."""
        (listed,) = self._sql.execute("SELECT count(*) FROM losses").fetchone()
        if listed > self._limits.losses_max:
            (seq,) = self._sql.execute(
                "SELECT seq FROM losses ORDER BY seq LIMIT 1 OFFSET ?", (listed - self._limits.losses_max // 2,)
            ).fetchone()
            self._set_meta("lost_by_all", max(seq, int(self._meta("lost_by_all") or 0)))
            self._sql.execute("DELETE FROM losses WHERE seq <= ?", (seq,))

    def sweep(self) -> bool:
        """Remove a part of what has expired; return whether there may be more."""
        now_ms = self._now_ms()
        rows = self._sql.execute(
            "DELETE FROM log WHERE seq IN (SELECT seq FROM log WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?)",
            (now_ms, EXPIRED_AT_ONCE),
        ).rowcount
        self.expired += rows
        ids = self._sql.execute(
            "DELETE FROM ids WHERE (kind, owner, bound, id) IN"
            " (SELECT kind, owner, bound, id FROM ids WHERE created_ms <= ? ORDER BY created_ms LIMIT ?)",
            (now_ms - IDS_KEPT_MS, EXPIRED_AT_ONCE),
        ).rowcount
        return EXPIRED_AT_ONCE in (rows, ids)

    def purge(self, user_id: UserId) -> int:
        """Remove everything about a user; return the number of its notifications.

        A reader with an old position finds a gap: a hash of the id is kept for that.
        """
        rows = self._sql.execute("DELETE FROM log WHERE kind = 0 AND owner = ?", (user_id,)).rowcount
        self._sql.execute("DELETE FROM log WHERE kind IN (2, 3) AND owner = ?", (user_id,))
        self._sql.execute("DELETE FROM acks WHERE user = ?", (user_id,))
        self._sql.execute("DELETE FROM ids WHERE kind = 0 AND owner = ?", (user_id,))
        self._sql.execute("DELETE FROM losses WHERE kind = 0 AND owner = ?", (user_id,))
        if rows:
            self._sql.execute(
                "INSERT OR REPLACE INTO losses VALUES (0, ?, '', ?)", (self._purged_name(user_id), self.last_seq())
            )
        self.needs_checkpoint = True
        return rows

    def _purged_name(self, user_id: UserId) -> str:
        """Return the name of a purged user in the table of losses.

        It is not an id, and of this inbox only.
        """
        return f"\0{hashlib.sha256(f'{self.epoch}:{user_id}'.encode()).hexdigest()}"

    def checkpoint(self) -> None:
        """Empty the write-ahead log; outside of a transaction."""
        self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.needs_checkpoint = False

    def renew_epoch(self) -> None:
        """Begin a new series: every position that was given before is unknown from now on."""
        self.epoch = new_epoch()
        self._set_meta("epoch", self.epoch)


def new_epoch() -> str:
    """Return a name for a new series."""
    return secrets.token_urlsafe(EPOCH_BYTES)


def _address(message: Notification | Broadcast) -> tuple[int, str]:
    if isinstance(message, Notification):
        return NOTIFICATION, message.user_id
    return BROADCAST, message.tenant_id


# one step of SQLite, in which other threads may run: what is known of an id, and what is full
_BEFORE_APPEND = """
SELECT digest, seq, sockets, replaced, (SELECT acked_ms FROM log WHERE log.seq = ids.seq),
  (SELECT bytes FROM shares WHERE kind = 'all' AND name = '')
FROM (SELECT 1) LEFT JOIN ids ON (ids.kind, owner, bound, id) = (?, ?, ?, ?) AND created_ms > ?
"""

# seq, when it was acknowledged, its size
_ROWS = """
SELECT seq, acked_ms, length(text) AS size FROM log
  WHERE kind = 0 AND owner = :user AND seq > max(:after, :oldest) AND seq <= :to AND text IS NOT NULL
  AND expires_ms > :now AND (bound IS NULL OR bound = :tenant)
UNION ALL
SELECT seq, (SELECT acks.acked_ms FROM acks WHERE acks.seq = log.seq AND user = :user), length(text) FROM log
  WHERE kind = 1 AND owner = :tenant AND :broadcasts AND seq > max(:after, :oldest) AND seq <= :to AND text IS NOT NULL
  AND expires_ms > :now
"""

# of rows that the reader had before, or got in an earlier page of this replay
_CHANGES = """
SELECT seq, acked_ms, 0 FROM log
  WHERE kind = 2 AND owner = :user AND seq > :after AND seq <= :to
  AND (target <= :had OR id = '' OR seq > :answered AND target <= :after)
  AND (bound IS NULL OR bound = :tenant) AND (id <> '' OR sender = coalesce(:tenant, ''))
UNION ALL
SELECT seq, acked_ms, 0 FROM log
  WHERE kind = 3 AND owner = :user AND seq > :after AND seq <= :to
  AND (target <= :had OR seq > :answered AND target <= :after)
  AND (bound IS NULL OR bound = :tenant)
UNION ALL
SELECT seq, acked_ms, 0 FROM log
  WHERE kind = 4 AND owner = :tenant AND :broadcasts AND seq > :after AND seq <= :to
  AND (target <= :had OR seq > :answered AND target <= :after)
"""

# What a reader has missed, and a page of it, are one row each: SQLite lets other threads run once for each row, and
# on a busy machine it takes milliseconds until this one goes on.
_MISSED = """
SELECT
  (SELECT count(*) > :most FROM (
    SELECT 1 FROM log WHERE kind = 0 AND owner = :user AND seq > :after
    UNION ALL SELECT 1 FROM log WHERE kind = 1 AND owner = :tenant AND :broadcasts AND seq > :after
    LIMIT :most + 1)),
  (SELECT value FROM meta WHERE name = 'lost_by_all'),
  EXISTS (SELECT 1 FROM losses WHERE seq > :after AND (bound = '' OR bound = :tenant)
    AND (kind = 0 AND owner IN (:user, :purged) OR kind = 1 AND owner = :tenant AND :broadcasts)),
  (SELECT count(*) FROM log INDEXED BY log_unread WHERE kind = 0 AND owner = :user AND acked_ms IS NULL
    AND text IS NOT NULL AND (bound IS NULL OR bound = :tenant) AND expires_ms > :now)
  + (SELECT count(*) FROM log INDEXED BY log_broadcasts WHERE kind = 1 AND owner = :tenant AND :broadcasts
    AND text IS NOT NULL AND expires_ms > :now
    AND NOT EXISTS (SELECT 1 FROM acks WHERE acks.seq = log.seq AND acks.user = :user))
"""
_NEWEST_SKIPPED = f"SELECT seq FROM ({_ROWS}) ORDER BY seq DESC LIMIT 1 OFFSET :most"

_SEPARATOR = b"\x1e"  # no JSON text has it (RFC 7464)
_LISTED = f"SELECT seq, acked_ms, size FROM ({_ROWS} UNION ALL {_CHANGES} ORDER BY seq LIMIT :limit)"
_PAGE = f"""
WITH page AS MATERIALIZED ({_LISTED})
SELECT
  group_concat(page.seq), group_concat(kind), group_concat(coalesce(page.acked_ms, '')),
  CAST(group_concat(text, char(30)) AS BLOB),
  json_group_array(json_array(id, target, bound)) FILTER (WHERE kind > 1),
  (SELECT count(*) FROM page)
FROM page CROSS JOIN log ON log.seq = page.seq
WHERE (SELECT sum(size) FROM page) <= :bytes
"""


def _fitting(sizes: Iterable[int]) -> int:
    """Return how many of these are in one page: at least one."""
    total = number = 0
    for size in sizes:
        total += size
        if number and total > PAGE_BYTES:
            break
        number += 1
    return number


def _entries(
    reader: Reader, seqs: str | None, kinds: str, acked: str, texts: bytes | None, changes: str
) -> list[Entry]:
    """Return the entries of a page, of which each column is joined.

    ``changes`` has the id, the target and the tenant of each acknowledgement and withdrawal.
    """
    if seqs is None:
        return []
    rows = _texts(texts)
    change = iter(orjson.loads(changes))
    entries: list[Entry] = []
    try:
        for seq, kind, acked_ms in zip(seqs.split(","), kinds.split(","), acked.split(","), strict=True):
            at_ms = int(acked_ms) if acked_ms else None
            if kind in _ROW_KINDS:
                entries.append(Row(int(seq), next(rows), at_ms))
            else:
                entries.append(_change(reader, int(seq), int(kind), at_ms, next(change)))
    except (StopIteration, ValueError):
        raise RowDamaged("the rows of a page do not fit together") from None
    if next(rows, None) is not None:
        raise RowDamaged("a row is not text")
    return entries


def _texts(joined: bytes | None) -> Iterator[bytes]:
    if joined is None:
        return iter(())
    try:
        str(joined, "utf-8")
    except UnicodeDecodeError as error:  # it would end the socket of its reader, again and again
        raise RowDamaged(f"a row is not text: {error.reason}") from None
    return iter(joined.split(_SEPARATOR))


def _change(
    reader: Reader, seq: int, kind: int, at_ms: int | None, fields: tuple[str, int | None, TenantId | None]
) -> Acknowledgement | Withdrawal:
    notification_id, target, bound = fields
    if kind == ACK:
        if at_ms is None:
            raise RowDamaged("an acknowledgement without a time")
        if notification_id:
            return Acknowledgement(seq, reader.user_id, at_ms, notification_id=notification_id)
        return Acknowledgement(seq, reader.user_id, at_ms, upto=target)
    personal = kind == WITHDRAWAL
    return Withdrawal(
        notification_id,
        seq,
        reader.user_id if personal else None,
        None if personal else reader.tenant_id,
        bound,
    )
