"""The tables of an inbox: one SQLite connection, used by one thread.

Every method runs inside a transaction that its caller began and will commit. Times are Unix milliseconds.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hermes.delivery.messages import Acknowledgement, Notification, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.inbox import (
    IDS_KEPT_MS,
    PAGE_BYTES,
    PAGE_ENTRIES,
    REPLAY_MAX_ROWS,
    Conflict,
    Duplicate,
    InboxStats,
    InboxUnavailable,
    Page,
    Reader,
    ReceiptRecord,
    Resumed,
    Stored,
    StoreLimits,
    Submission,
)
from hermes.inbox.position import Position
from hermes.inbox.sqlite.file import RowDamaged
from hermes.inbox.sqlite.pages import fitting, joined_page
from hermes.inbox.sqlite.retention import Removed, Retention
from hermes.inbox.sqlite.schema import (
    ACK,
    BROADCAST,
    BROADCAST_WITHDRAWAL,
    NOTIFICATION,
    ROW_OVERHEAD_BYTES,
    WITHDRAWAL,
)
from hermes.inbox.sqlite.several_rows import ROWS_MAX, flat, padded
from hermes.inbox.sqlite.statements import (
    COLUMNS,
    KNOWN_ID,
    LISTED,
    MISSED,
    NEWEST_SKIPPED,
    NO_CHANGES,
    NO_ROW,
    PAGE,
    SEQ,
    SIZE,
    TOTALS,
    insert_of,
    known_of,
    share_of,
    sockets_of,
    sockets_of_ids,
    totals_of,
)

EPOCH_BYTES = 12
SQLITE_MAX = 2**62


@dataclass(frozen=True, slots=True)
class WithdrawnRow:
    """A row before it was withdrawn."""

    seq: int
    text: bytes
    size: int


class Undo(NamedTuple):
    """What `Store.forget` needs: the row's number, and what it replaced."""

    stored: Stored
    replaced: tuple[WithdrawnRow, ...] = ()


Appended = tuple[Stored | Duplicate | Conflict, Sequence[Undo]]  # an answer, and how to undo what was done


class Store:
    """The tables of one open inbox, with the schema of this version."""

    def __init__(self, connection: sqlite3.Connection, *, limits: StoreLimits, now_ms: Callable[[], int]) -> None:
        self._sql = connection
        self._limits = limits
        self._now_ms = now_ms
        self._retention = Retention(connection, limits=limits, now_ms=now_ms)
        self.needs_checkpoint = False  # what was removed is still in the write-ahead log
        self._sql.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (new_epoch(),))
        found = self._sql.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
        self.epoch: str = found[0] if found else ""

    # -- rows ---------------------------------------------------------------------------------------------------

    def append(self, submission: Submission) -> Stored | Duplicate | Conflict:
        """Store a row, unless its id is known."""
        return self.append_undoable(submission)[0]

    def append_undoable(self, submission: Submission) -> "Appended":
        """Store a row, unless its id is known; also return how to undo that."""
        [appended] = self.append_all((submission,))
        return appended

    def append_all(self, submissions: Sequence[Submission]) -> "list[Appended]":
        """Store at most `ROWS_MAX` rows, in order, unless their ids are known.

        Also return how to undo each.
        """
        now_ms = self._now_ms()
        if all(map(_is_plain, submissions)):
            keys = [*map(_key, submissions)]
            if len(set(keys)) == len(keys):
                return self._append_plain(submissions, keys, now_ms)
        return [self._append_one(submission, now_ms) for submission in submissions]

    def _append_plain(self, submissions: Sequence[Submission], keys: Sequence["_Key"], now_ms: int) -> "list[Appended]":
        """Store rows that replace nothing and have different ids.

        With a few statements for all.
        """
        keys_of_all = padded(keys, keys[-1])
        found, last_seq, used_bytes = totals_of(
            self._sql.execute(known_of(len(keys_of_all)), (now_ms - IDS_KEPT_MS, *flat(keys_of_all))).fetchone()
        )
        known = map(int, found.split(",")) if found is not None else ()  # also numbers of the padding
        answers = {  # they store nothing
            number: self._append_one(submissions[number], now_ms) for number in known if number < len(submissions)
        }
        owners: dict[tuple[int, str], int] = {}
        rows: list[tuple[Any, ...]] = []
        size = 0
        for number, submission in enumerate(submissions):
            if number not in answers:
                kind, owner, _, _ = keys[number]
                owners[kind, owner] = owners.get((kind, owner), 0) + 1
                row = _row(submission, kind, owner, last_seq + 1 + len(rows))
                size += row[SIZE]
                rows.append(row)
        if len(rows) > 1 and (size > self._limits.max_bytes // 2 or max(owners.values()) > self._limits.rows_per_owner):
            return [self._append_one(submission, now_ms) for submission in submissions]
        if rows:
            self._retention.make_room(owners, size, used_bytes)
            self._add(rows)
        seqs = iter(range(last_seq + 1, last_seq + 1 + len(rows)))
        return [answers.get(number) or _appended(next(seqs)) for number in range(len(submissions))]

    def _append_one(self, submission: Submission, now_ms: int) -> "Appended":
        kind, owner, bound, id = _key(submission)
        found = self._sql.execute(
            KNOWN_ID, {"kind": kind, "owner": owner, "bound": bound, "id": id, "since": now_ms - IDS_KEPT_MS}
        ).fetchone()
        if found is not None:
            digest, seq, sockets, replaced, acked_ms = found
            is_same = digest == submission.digest
            return Duplicate(seq, sockets, bool(replaced), acked_ms) if is_same else Conflict(), ()
        withdrawal: Withdrawal | None = None
        before: tuple[WithdrawnRow, ...] = ()
        if submission.replaces is not None:
            withdrawal, before = self._withdraw(kind, owner, submission.replaces, bound=submission.bound_tenant)
        if submission.expires_ms is None:
            self._sql.execute(
                "INSERT OR REPLACE INTO ids (kind, owner, bound, id, digest, replaced, created_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (kind, owner, bound, id, submission.digest, withdrawal is not None, now_ms),
            )
            return _appended(None, withdrawal, before)
        last_seq, used_bytes = self._counts()
        seq = last_seq + 1
        row = _row(submission, kind, owner, seq, replaced=withdrawal is not None)
        self._retention.make_room({(kind, owner): 1}, row[SIZE], used_bytes)
        self._add([row])
        return _appended(seq, withdrawal, before)

    def _add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows with the next numbers, and count them."""
        try:
            values = padded(rows, NO_ROW)
            self._sql.execute(insert_of(len(values)), flat(values))
        except sqlite3.IntegrityError as error:
            raise RowDamaged(f"the numbers or the counts are wrong: {error}") from None
        shares: dict[tuple[str, str], tuple[int, int]] = {}
        size = 0
        for row in rows:
            share = _share(row)
            entries, used = shares.get(share, (0, 0))
            shares[share] = (entries + 1, used + row[SIZE])
            size += row[SIZE]
        values = padded([(*share, *counted) for share, counted in shares.items()], (*_share(rows[-1]), 0, 0))
        self._sql.execute(share_of(len(values)), flat(values))
        self._sql.execute(
            "UPDATE totals SET last_seq = ?, entries = entries + ?, bytes = bytes + ?",
            (rows[-1][SEQ], len(rows), size),
        )

    def _add_change(self, **values: Any) -> int:
        """Insert an acknowledgement or a withdrawal; return its number."""
        values |= {"seq": self.last_seq() + 1, "size": ROW_OVERHEAD_BYTES}
        self._add([tuple([values.get(name) for name in COLUMNS])])
        return int(values["seq"])

    def forget(self, submission: Submission, undo: Undo) -> None:
        """Remove a row that was delivered as not stored, and its id.

        What it replaced is there again.
        """
        key = kind, owner, _, id = _key(submission)
        seq = undo.stored.seq
        removed = 0
        if seq is not None:
            removed += self._sql.execute(
                "DELETE FROM log WHERE seq = ? AND (kind, owner, id) = (?, ?, ?) AND digest = ?",
                (seq, kind, owner, id, submission.digest),
            ).rowcount
        removed += self._sql.execute(
            "DELETE FROM ids WHERE (kind, owner, bound, id) = (?, ?, ?, ?) AND digest = ? AND seq IS ?",
            (*key, submission.digest, seq),
        ).rowcount
        if not removed:
            return
        self._retention.rows_removed()
        if undo.stored.replaced is not None:
            self._sql.execute("DELETE FROM log WHERE seq = ?", (undo.stored.replaced.seq,))
        for row in undo.replaced:
            self._sql.execute("UPDATE log SET text = ?, size = ? WHERE seq = ?", (row.text, row.size, row.seq))

    def delivered(self, submission: Submission, sockets: int) -> None:
        """Note how many sockets took a row."""
        self.delivered_all(((submission, sockets),))

    def delivered_all(self, notes: Sequence[tuple[Submission, int]]) -> None:
        """Note how many sockets took each of some rows."""
        rows = [(*_key(submission), submission.message.timestamp_ms, sockets) for submission, sockets in notes]
        for begin in range(0, len(rows), ROWS_MAX):
            part = rows[begin : begin + ROWS_MAX]
            values = padded(part, part[-1])
            if self._sql.execute(sockets_of(len(values)), flat(values)).rowcount < len(part):
                self._sql.execute(sockets_of_ids(len(values)), flat(values))

    # -- readers ------------------------------------------------------------------------------------------------

    def resume(self, reader: Reader, position: Position | None, *, capped: bool = True) -> Resumed:
        """Return what a reader at this position has missed.

        Without ``capped``, all rows that are kept will be read.
        """
        seq = position.seq if position is not None and position.epoch in ("", self.epoch) else SQLITE_MAX
        values = self._range(reader, seq)
        values |= {"oldest": 0, "most": REPLAY_MAX_ROWS, "purged": self._purged_name(reader.user_id)}
        last, many, lost_by_all, is_lost, unread = self._sql.execute(MISSED, values).fetchone()
        if not isinstance(last, int):
            raise RowDamaged("the counts are gone")
        known = seq <= last
        from_seq = after = values["after"] = seq if known else 0
        if many and capped and (found := self._sql.execute(NEWEST_SKIPPED, values).fetchone()):
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
        values = self._range(reader, after_seq)
        values |= {
            "had": resumed.from_seq,
            "answered": resumed.to_seq,
            "oldest": resumed.after_seq,
            "limit": limit,
        }
        *listed, number = self._sql.execute(PAGE, values | {"bytes": PAGE_BYTES}).fetchone()
        if number and listed == [None, None, NO_CHANGES]:  # too large for one page
            number = fitting(size for *_, size in self._sql.execute(LISTED, values))
            values |= {"limit": number, "bytes": SQLITE_MAX}
            *listed, number = self._sql.execute(PAGE, values).fetchone()
            return joined_page(reader, *listed, is_last=False)
        return joined_page(reader, *listed, is_last=number < limit)

    def _range(self, reader: Reader, after_seq: int) -> dict[str, object]:
        return {
            "user": reader.user_id,
            "tenant": reader.tenant_id,
            "broadcasts": reader.broadcasts and reader.tenant_id is not None,
            "after": after_seq,
            "now": self._now_ms(),
        }

    # -- acknowledgements and withdrawals -----------------------------------------------------------------------

    def ack(self, reader: Reader, notification_id: str) -> list[Acknowledgement]:
        """Acknowledge the user's row and the tenant's broadcast with this id."""
        now_ms = self._now_ms()
        values = self._range(reader, 0) | {"id": notification_id}
        made = []
        for seq, expires_ms, bound in self._sql.execute(
            "SELECT seq, expires_ms, bound FROM log INDEXED BY log_id"
            " WHERE id = :id AND kind = 0 AND digest IS NOT NULL AND owner = :user"
            " AND text IS NOT NULL AND acked_ms IS NULL AND expires_ms > :now AND (bound IS NULL OR bound = :tenant)",
            values,
        ).fetchall():
            self._sql.execute("UPDATE log SET acked_ms = ? WHERE seq = ?", (now_ms, seq))
            made.append(self._insert_ack(reader, notification_id, seq, expires_ms, bound=bound))
        for seq, expires_ms in self._sql.execute(
            "SELECT seq, expires_ms FROM log INDEXED BY log_id"
            " WHERE id = :id AND kind = 1 AND digest IS NOT NULL AND owner = :tenant"
            " AND text IS NOT NULL AND expires_ms > :now"
            " AND NOT EXISTS (SELECT 1 FROM acks WHERE acks.seq = log.seq AND user = :user)",
            values,
        ).fetchall():
            self._sql.execute("INSERT INTO acks VALUES (?, ?, ?)", (seq, reader.user_id, now_ms))
            made.append(self._insert_ack(reader, notification_id, seq, expires_ms, bound=reader.tenant_id))
        return made

    def _insert_ack(
        self, reader: Reader, notification_id: str, target: int, expires_ms: int, *, bound: TenantId | None
    ) -> Acknowledgement:
        now_ms = self._now_ms()
        seq = self._add_change(
            kind=ACK,
            owner=reader.user_id,
            bound=bound,
            id=notification_id,
            target=target,
            sender="" if notification_id else reader.tenant_id or "",
            created_ms=now_ms,
            acked_ms=now_ms,
            expires_ms=expires_ms,
        )
        if notification_id:
            return Acknowledgement(seq, reader.user_id, now_ms, notification_id=notification_id, bound_tenant=bound)
        return Acknowledgement(seq, reader.user_id, now_ms, upto=target, bound_tenant=reader.tenant_id)

    def ack_upto(self, reader: Reader, upto: int) -> tuple[int, Acknowledgement | None]:
        """Acknowledge all rows of the reader up to this number."""
        upto = min(upto, self.last_seq())
        values = self._range(reader, 0) | {"to": upto}
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
            "SELECT seq, expires_ms, text, size FROM log INDEXED BY log_id"
            " WHERE id = :id AND kind = :kind AND digest IS NOT NULL"
            " AND owner = :owner AND text IS NOT NULL AND expires_ms > :now AND (:sender IS NULL OR sender = :sender)"
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
        seq = self._add_change(
            kind=WITHDRAWAL if kind == NOTIFICATION else BROADCAST_WITHDRAWAL,
            owner=owner,
            bound=bound,
            id=notification_id,
            target=target,
            sender="",
            created_ms=self._now_ms(),
            expires_ms=expires_ms,
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
            " INDEXED BY log_id WHERE id = :id AND digest IS NOT NULL AND (:sender IS NULL OR sender = :sender)"
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
        return self._counts()[0]

    def _counts(self) -> tuple[int, int]:
        """Return the last number and the bytes that are used."""
        return totals_of(self._sql.execute(TOTALS).fetchone())[1:]

    def stats(self) -> InboxStats:
        """Return the size of the inbox."""
        (pages,) = self._sql.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = self._sql.execute("PRAGMA page_size").fetchone()
        (entries,) = self._sql.execute("SELECT entries FROM totals").fetchone()
        oldest = self._sql.execute("SELECT created_ms FROM log ORDER BY seq LIMIT 1").fetchone()
        return InboxStats(self.epoch, entries, pages * page_bytes, oldest[0] if oldest else None, self.last_seq())

    # -- what is removed ----------------------------------------------------------------------------------------

    def sweep(self) -> bool:
        """Remove a part of what has expired; return whether there may be more."""
        return self._retention.sweep()

    def take_removed(self) -> Removed:
        """Return how many rows have expired, or a limit has removed, since the last call."""
        return self._retention.take_removed()

    def rolled_back(self) -> None:
        """Trust nothing that was counted: the transaction is undone."""
        self._retention.rolled_back()

    def purge(self, user_id: UserId) -> int:
        """Remove everything about a user; return the number of its notifications.

        A reader with an old position finds a gap: a hash of the id is kept for that.
        """
        self._retention.rows_removed()
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

    def copy_log(self) -> None:
        """Copy the write-ahead log into the file; outside of a transaction."""
        self._sql.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def renew_epoch(self) -> None:
        """Begin a new series: every position that was given before is unknown from now on."""
        self.epoch = new_epoch()
        self._sql.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (self.epoch,))


def new_epoch() -> str:
    """Return a name for a new series."""
    return secrets.token_urlsafe(EPOCH_BYTES)


# of a row: kind, owner, the tenant that it is bound to or an empty text, id
_Key = tuple[int, str, str, str]


def _key(submission: Submission) -> _Key:
    message = submission.message
    if isinstance(message, Notification):
        return NOTIFICATION, message.user_id, submission.bound_tenant or "", message.id
    return BROADCAST, message.tenant_id, submission.bound_tenant or "", message.id


def _is_plain(submission: Submission) -> bool:
    return submission.replaces is None and submission.expires_ms is not None


def _row(submission: Submission, kind: int, owner: str, seq: int, *, replaced: bool = False) -> tuple[Any, ...]:
    """Return the values of `COLUMNS`."""
    message = submission.message
    return (
        owner,
        kind,
        seq,
        submission.bound_tenant,
        message.id,
        None,
        submission.sender,
        message.timestamp_ms,
        submission.expires_ms,
        None,
        len(submission.text) + ROW_OVERHEAD_BYTES,
        submission.digest,
        replaced,
        submission.text,
    )


def _share(row: Sequence[Any]) -> tuple[str, str]:
    """Return the user or tenant that the bytes of a row of `COLUMNS` count for."""
    owner, kind, _, bound, *_ = row
    if kind in (BROADCAST, BROADCAST_WITHDRAWAL):
        return "tenant", owner
    return ("user", owner) if bound is None else ("tenant", bound)


def _appended(seq: int | None, withdrawal: Withdrawal | None = None, before: tuple[WithdrawnRow, ...] = ()) -> Appended:
    stored = Stored(seq, withdrawal)
    return stored, (Undo(stored, before),)
