"""The calls of an inbox as SQL: text, values, and how to read the answer.

They have no connection and no state, so that a transaction can send many of them at once. Times are Unix milliseconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from hermes.delivery.channels import Channel
from hermes.delivery.frames import with_seq
from hermes.delivery.messages import Acknowledgement, Broadcast, EncodedMessage, Notification, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.frames import page_of
from hermes.inbox.inbox import (
    IDS_KEPT_MS,
    PAGE_BYTES,
    PAGE_ENTRIES,
    REPLAY_MAX_ROWS,
    Entry,
    InboxStats,
    Page,
    Reader,
    ReceiptRecord,
    RemoteEntry,
    Resumed,
    Row,
    StoreLimits,
)
from hermes.inbox.position import SEQ_MAX, Position
from hermes.inbox.postgres.schema import ACK, BROADCAST, NOTIFICATION, REPLACED_KEPT_MS
from hermes.inbox.postgres.values import bytes_of, channel_of, tenant_of, withdrawal_of

T = TypeVar("T")
Rows = list[tuple[Any, ...]]

# What expires does so by this clock, in Unix milliseconds, whatever those of the processes show.
DATABASE_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
EXPIRED_AT_ONCE: Final = 500  # rows of one sweep
PURGED_AT_ONCE: Final = 500
HEADS_AT_ONCE: Final = 1_000  # entries of other processes, without their texts


@dataclass(frozen=True, slots=True)
class Statement(Generic[T]):
    """One statement, and the function that makes its result of the rows."""

    sql: str
    values: Mapping[str, object] | Sequence[object]
    decode: Callable[[Rows], T]


@dataclass(frozen=True, slots=True)
class Head:
    """An entry of another process, without its text.

    ``channel`` is that of its receivers.
    """

    seq: int
    channel: Channel


# of a read: the highest number of its snapshot, and whether that has entries of others which were not published here
_WITH_POSITION: Final = """
SELECT s.last_seq, EXISTS (SELECT FROM hermes.log WHERE seq > %(cursor)s), r.*
FROM hermes.state s LEFT JOIN LATERAL ({sql}) r ON true
"""


def with_position(statement: "Statement[T]", cursor: int) -> "Statement[tuple[int, bool, T]]":
    """Return a read that also returns the position of the series.

    That is the highest number, and whether there are entries after the cursor. All is of one snapshot. The values of
    the statement are named.
    """

    def decode(rows: Rows) -> tuple[int, bool, T]:
        last_seq, is_behind = rows[0][:2]
        # without a row, the join gives one of NULLs
        return (
            last_seq,
            is_behind,
            statement.decode([row[2:] for row in rows if any(each is not None for each in row[2:])]),
        )

    assert isinstance(statement.values, Mapping)
    return Statement(_WITH_POSITION.format(sql=statement.sql), {**statement.values, "cursor": cursor}, decode)


def position() -> "Statement[None]":
    """Return a read of nothing, for `with_position`."""
    return Statement("SELECT 1 AS one", {}, _nothing)


LAST_SEQ: Final = "SELECT last_seq FROM hermes.state"

# -- readers ----------------------------------------------------------------------------------------------------------


def resume(reader: Reader, position: Position | None, *, now_ms: int, capped: bool = True) -> Statement[Resumed]:
    """Return what a reader at this position has missed."""
    values = {
        **_reader(reader, now_ms),
        "epoch": None if position is None else position.epoch,
        "seq": None if position is None else position.seq,
        "skipped": REPLAY_MAX_ROWS if capped else None,
    }
    return Statement(
        "SELECT o_epoch, o_from, o_to, o_after, o_gap, o_unread FROM hermes.resume(%(user)s, %(tenant)s,"
        " %(broadcasts)s, %(epoch)s, %(seq)s, %(skipped)s, %(now)s)",
        values,
        lambda rows: Resumed(*rows[0]),
    )


# seq, kind, id, text, acknowledged at, owner, bound, target; each part reads its index from the position on
_FIELDS: Final = "seq, kind, id, text, acked_ms, owner, bound, target"
_PART: Final = "ORDER BY seq LIMIT %(limit)s"
_REPLAY: Final = f"""
(SELECT {_FIELDS} FROM hermes.log
  WHERE kind = 0 AND owner = %(user)s AND seq > %(rows_after)s AND text IS NOT NULL
  AND expires_ms > %(now)s AND (bound IS NULL OR bound = %(tenant)s) {_PART})
UNION ALL
(SELECT seq, kind, id, text,
  (SELECT a.acked_ms FROM hermes.acks a WHERE a.seq = log.seq AND a.reader = %(user)s), owner, bound, target
  FROM hermes.log
  WHERE kind = 1 AND owner = %(tenant)s AND %(broadcasts)s AND seq > %(rows_after)s AND text IS NOT NULL
  AND expires_ms > %(now)s {_PART})
UNION ALL
(SELECT {_FIELDS} FROM hermes.log
  WHERE kind = 2 AND owner = %(user)s AND seq > %(after)s
  AND (target <= %(had)s OR id = '' OR seq > %(answered)s AND target <= %(after)s)
  AND (bound IS NULL OR bound = %(tenant)s) AND (id <> '' OR sender = coalesce(%(tenant)s, '')) {_PART})
UNION ALL
(SELECT {_FIELDS} FROM hermes.log
  WHERE kind = 3 AND owner = %(user)s AND seq > %(after)s
  AND (target <= %(had)s OR seq > %(answered)s AND target <= %(after)s)
  AND (bound IS NULL OR bound = %(tenant)s) {_PART})
UNION ALL
(SELECT {_FIELDS} FROM hermes.log
  WHERE kind = 4 AND owner = %(tenant)s AND %(broadcasts)s AND seq > %(after)s
  AND (target <= %(had)s OR seq > %(answered)s AND target <= %(after)s) {_PART})
{_PART}
"""


def replay(
    reader: Reader, resumed: Resumed, *, after_seq: int, now_ms: int, limit: int = PAGE_ENTRIES
) -> Statement[Page]:
    """Return the next entries of a resume, up to now."""
    values = {
        **_reader(reader, now_ms),
        "after": after_seq,
        "rows_after": max(after_seq, resumed.after_seq),
        "had": resumed.from_seq,
        "answered": resumed.to_seq,
        "limit": limit,
    }
    return Statement(_REPLAY, values, lambda rows: _page(reader, sorted(rows, key=_number), limit))


def _number(row: tuple[Any, ...]) -> int:
    return int(row[0])


def _page(reader: Reader, rows: Rows, limit: int) -> Page:
    entries: list[Entry] = []
    size = 0
    for fields in rows:
        entry = _entry(reader, fields)
        size += len(fields[3]) if isinstance(entry, Row) else 0
        if entries and size > PAGE_BYTES:
            return page_of(entries, is_last=False)
        entries.append(entry)
    return page_of(entries, is_last=len(entries) < limit)


def _entry(reader: Reader, fields: tuple[Any, ...]) -> Entry:
    seq, kind, notification_id, text, acked_ms, owner, bound, target = fields
    if kind in (NOTIFICATION, BROADCAST):
        acked = b"" if acked_ms is None else b',"acked_at":%d' % acked_ms
        return Row(seq, b'%b,"seq":%d,"replayed":true%b}' % (text[:-1], seq, acked))
    if kind == ACK:
        if notification_id:
            return Acknowledgement(seq, reader.user_id, acked_ms, notification_id=notification_id.decode())
        return Acknowledgement(seq, reader.user_id, acked_ms, upto=target)
    return withdrawal_of(kind, owner, notification_id.decode(), seq, bound)


def ack(reader: Reader, notification_id: str, *, now_ms: int) -> Statement[list[Acknowledgement]]:
    """Acknowledge the user's row and the tenant's broadcast with this id."""
    return Statement(
        "SELECT o_seq, o_bound FROM hermes.ack(%s, %s, %s, %s)",
        (reader.user_id.encode(), bytes_of(reader.tenant_id), notification_id.encode(), now_ms),
        lambda rows: [
            Acknowledgement(seq, reader.user_id, now_ms, notification_id=notification_id, bound_tenant=tenant_of(bound))
            for seq, bound in rows
        ],
    )


def ack_upto(reader: Reader, upto: int, *, now_ms: int) -> Statement[tuple[int, Acknowledgement | None]]:
    """Acknowledge all rows of the reader up to this number."""

    def decode(rows: Rows) -> tuple[int, Acknowledgement | None]:
        [(number, seq, last)] = rows
        if not number:
            return 0, None
        return number, Acknowledgement(seq, reader.user_id, now_ms, upto=last, bound_tenant=reader.tenant_id)

    return Statement(
        "SELECT o_number, o_seq, o_upto FROM hermes.ack_upto(%(user)s, %(tenant)s, %(broadcasts)s, %(upto)s, %(now)s)",
        {**_reader(reader, now_ms), "upto": upto},
        decode,
    )


def withdraw(
    *,
    user_id: UserId | None,
    tenant_id: TenantId | None,
    notification_id: str,
    sender: str | None,
    bound_tenant: TenantId | None,
    now_ms: int,
) -> Statement[Withdrawal | None]:
    """Withdraw the row with this id that this sender has sent.

    It is bound to this tenant, or, with None, to none.
    """
    owner_id = user_id if user_id is not None else tenant_id
    assert owner_id is not None
    kind, owner = NOTIFICATION if user_id is not None else BROADCAST, owner_id.encode()

    def decode(rows: Rows) -> Withdrawal | None:
        [(seq,)] = rows
        return None if seq is None else withdrawal_of(kind, owner, notification_id, seq, bytes_of(bound_tenant))

    return Statement(
        "SELECT hermes.withdraw(%s, %s, %s, %s, %s, NULL, %s)",
        (kind, owner, notification_id.encode(), bytes_of(bound_tenant), bytes_of(sender), now_ms),
        decode,
    )


def receipts(
    notification_id: str,
    *,
    user_id: UserId | None,
    tenant_id: TenantId | None,
    sender: str | None,
    bound_tenant: TenantId | None,
) -> Statement[list[ReceiptRecord]]:
    """Return the newest receipt of this id for each of at most two recipients."""
    return Statement(
        "SELECT DISTINCT ON (kind, owner) kind, owner, seq, sockets, acked_ms, text IS NULL, expires_ms, sender,"
        " bound FROM hermes.log WHERE id = %(id)s AND kind < 2 AND (%(sender)s::bytea IS NULL OR sender = %(sender)s)"
        " AND (%(bound)s::bytea IS NULL OR bound = %(bound)s)"
        " AND (%(user)s::bytea IS NULL OR kind = 0 AND owner = %(user)s)"
        " AND (%(tenant)s::bytea IS NULL OR kind = 1 AND owner = %(tenant)s)"
        " ORDER BY kind, owner, seq DESC LIMIT 2",
        {
            "id": notification_id.encode(),
            "user": bytes_of(user_id),
            "tenant": bytes_of(tenant_id),
            "sender": bytes_of(sender),
            "bound": bytes_of(bound_tenant),
        },
        lambda rows: [
            ReceiptRecord(
                id=notification_id,
                user_id=UserId(owner.decode()) if kind == NOTIFICATION else None,
                tenant_id=TenantId(owner.decode()) if kind == BROADCAST else None,
                seq=seq,
                sockets=sockets,
                acked_ms=acked_ms,
                withdrawn=withdrawn,
                expires_ms=expires_ms,
                sender=sender.decode(),
                bound_tenant=tenant_of(bound),
            )
            for kind, owner, seq, sockets, acked_ms, withdrawn, expires_ms, sender, bound in rows
        ],
    )


# -- the operator -----------------------------------------------------------------------------------------------------


def stats() -> Statement[InboxStats]:
    """Return the size of the inbox; the bytes are those of its tables and indexes."""
    return Statement(
        "SELECT (SELECT value FROM hermes.meta WHERE name = 'epoch') AS epoch, s.entries,"
        " (SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c"
        "  WHERE c.relnamespace = 'hermes'::regnamespace AND c.relkind = 'r') AS bytes,"
        " (SELECT created_ms FROM hermes.log ORDER BY seq LIMIT 1) AS oldest, s.last_seq FROM hermes.state s",
        {},
        lambda rows: InboxStats(*rows[0]),
    )


def sweep(*, limits: StoreLimits, now_ms: int) -> Statement[tuple[int, bool]]:
    """Remove a part of what has expired.

    Returns the number of entries, and whether there may be more.
    """
    return Statement(
        "SELECT o_rows, o_ids FROM hermes.sweep(%s, %s, %s, %s)",
        (now_ms, now_ms - IDS_KEPT_MS, EXPIRED_AT_ONCE, limits.losses_max),
        lambda rows: (rows[0][0], EXPIRED_AT_ONCE in rows[0]),
    )


def health(*, limits: StoreLimits, now_ms: int) -> Statement[tuple[InboxStats, bool, int]]:
    """Return the size of the inbox, whether to sweep, and the database's clock."""
    figures = stats()
    return Statement(
        f"SELECT f.*, EXISTS (SELECT FROM hermes.log WHERE expires_ms <= %(now)s)"
        f" OR EXISTS (SELECT FROM hermes.ids WHERE created_ms <= %(ids_before)s)"
        f" OR EXISTS (SELECT FROM hermes.replaced WHERE created_ms <= %(replaced_before)s)"
        f" OR (SELECT count(*) FROM hermes.losses) > %(losses_max)s, {DATABASE_CLOCK} FROM ({figures.sql}) f",
        {
            "now": now_ms,
            "ids_before": now_ms - IDS_KEPT_MS,
            "replaced_before": now_ms - REPLACED_KEPT_MS,
            "losses_max": limits.losses_max,
        },
        lambda rows: (figures.decode([rows[0][:-2]]), rows[0][-2], rows[0][-1]),
    )


def purge(user_id: UserId) -> Statement[tuple[int, bool]]:
    """Remove a part of what there is about a user.

    Returns the number of notifications, and whether to call it again.
    """
    return Statement(
        "SELECT o_rows, o_more FROM hermes.purge(%s, %s)",
        (user_id.encode(), PURGED_AT_ONCE),
        lambda rows: (rows[0][0], rows[0][1]),
    )


# -- other processes --------------------------------------------------------------------------------------------------


def heads(after_seq: int, upto: int = SEQ_MAX) -> Statement[list[Head]]:
    """Return the entries after a number and up to another, without their texts."""
    return Statement(
        "SELECT seq, kind, owner FROM hermes.log WHERE seq > %s AND seq <= %s ORDER BY seq LIMIT %s",
        (after_seq, upto, HEADS_AT_ONCE),
        lambda rows: [Head(seq, channel_of(kind, owner)) for seq, kind, owner in rows],
    )


def remote_entries(numbers: Sequence[int]) -> Statement[list[RemoteEntry]]:
    """Return these entries for the hub, without those that were withdrawn meanwhile."""
    return Statement(
        "SELECT seq, kind, id, text, acked_ms, owner, bound, target, sender FROM hermes.log"
        " WHERE seq = ANY (%s) AND (kind > 1 OR text IS NOT NULL) ORDER BY seq",
        (list(numbers),),
        lambda rows: [_remote_entry(row) for row in rows],
    )


def _remote_entry(fields: tuple[Any, ...]) -> RemoteEntry:
    seq, kind, notification_id, text, acked_ms, owner, bound, target, sender = fields
    tenant = tenant_of(bound)
    if kind in (NOTIFICATION, BROADCAST):
        word = Notification.kind if kind == NOTIFICATION else Broadcast.kind
        message = EncodedMessage(word, channel_of(kind, owner), with_seq(text, seq))
        return RemoteEntry(seq, message, tenant)
    if kind != ACK:
        return RemoteEntry(seq, withdrawal_of(kind, owner, notification_id.decode(), seq, bound), tenant)
    user = UserId(owner.decode())
    if notification_id:
        change = Acknowledgement(seq, user, acked_ms, notification_id=notification_id.decode(), bound_tenant=tenant)
        return RemoteEntry(seq, change, change.only_tenant)
    change = Acknowledgement(seq, user, acked_ms, upto=target, bound_tenant=tenant_of(sender or None))
    return RemoteEntry(seq, change, change.only_tenant)


def _reader(reader: Reader, now_ms: int) -> dict[str, object]:
    return {
        "user": reader.user_id.encode(),
        "tenant": bytes_of(reader.tenant_id),
        "broadcasts": reader.broadcasts and reader.tenant_id is not None,
        "now": now_ms,
    }


def _nothing(_rows: Rows) -> None:
    return None
