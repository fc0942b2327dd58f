"""The call that stores rows, as SQL: a whole transaction of a PostgreSQL inbox.

As those in `statements`, it has no connection and no state. Times are Unix milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from hermes.inbox.inbox import IDS_KEPT_MS, Conflict, Duplicate, Stored, StoreLimits, Submission
from hermes.inbox.postgres.schema import CONFLICT, DUPLICATE, HEAD, STORED
from hermes.inbox.postgres.statements import HEADS_AT_ONCE, Head, Rows, Statement
from hermes.inbox.postgres.values import address, bytes_of, channel_of, withdrawal_of

AppendRow = tuple[object, ...]
Forget = tuple[Submission, bytes]  # and the name of the attempt


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of one append, and how many rows a limit has removed for it."""

    outcome: Stored | Duplicate | Conflict
    evicted: int


def append_row(submission: Submission, attempt: bytes, *, ahead_ms: int = 0) -> AppendRow:
    """Return the values of one append.

    ``attempt`` is a name by which `forget` can take it back. ``ahead_ms`` is how far the database's clock is ahead of
    that of this process. Raises UnicodeEncodeError if an id is not text.
    """
    message, expires_ms = submission.message, submission.expires_ms
    return (
        *address(message),
        bytes_of(submission.bound_tenant),
        message.id.encode(),
        submission.digest,
        attempt,
        submission.text,
        submission.sender.encode(),
        message.timestamp_ms,
        None if expires_ms is None else expires_ms + ahead_ms,
        bytes_of(submission.replaces),
    )


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What one call of `store` has found and done."""

    first_seq: int
    last_seq: int
    heads: list[Head]
    appended: list[Appended]


_STORE_COLUMNS: Final = (
    *(("forget_kind", "integer"), ("forget_owner", "bytea"), ("forget_bound", "bytea"), ("forget_id", "bytea")),
    *(("forget_attempt", "bytea"), ("note_kind", "integer"), ("note_owner", "bytea"), ("note_bound", "bytea")),
    *(("note_id", "bytea"), ("note_sockets", "integer"), ("kind", "integer"), ("owner", "bytea"), ("bound", "bytea")),
    *(("id", "bytea"), ("digest", "bytea"), ("attempt", "bytea"), ("text", "bytea"), ("sender", "bytea")),
    *(("created", "bigint"), ("expires", "bigint"), ("replaces", "bytea")),
)
_STORE: Final = (
    "SELECT o_part, o_seq, o_kind, o_owner, o_sockets, o_acked, o_replaced, o_withdrawal, o_evicted FROM hermes.store("
    "%(cursor)s, %(heads_max)s, "
    + ", ".join(f"%({name})s::{kind}[]" for name, kind in _STORE_COLUMNS)
    + ", %(now)s, %(ids_after)s, %(rows_max)s, %(bytes_max)s)"
)


def store(
    submissions: Sequence[Submission],
    rows: Sequence[AppendRow],
    *,
    cursor: int,
    forgets: Sequence[Forget] = (),
    sockets: Sequence[tuple[Submission, int]] = (),
    limits: StoreLimits,
    now_ms: int,
) -> Statement[StoredBatch]:
    """Do a whole transaction that stores.

    Take back ``forgets``, find the entries of others after the cursor, note the ``sockets`` of earlier rows, and store
    rows unless their ids are known, one after the other. ``rows`` has the `append_row` of each submission.
    """
    if len(rows) == 1 and not forgets and len(sockets) <= 1:
        return _store_one(submissions[0], rows[0], cursor=cursor, sockets=sockets, limits=limits, now_ms=now_ms)
    notes = [(*address(each.message), _tenant_key(each), each.message.id.encode(), number) for each, number in sockets]
    taken = [
        (*address(each.message), _tenant_key(each), each.message.id.encode(), attempt) for each, attempt in forgets
    ]
    columns = [*_columns(taken, 5), *_columns(notes, 5), *_columns(rows, 11)]
    values: dict[str, object] = {
        "cursor": cursor,
        "heads_max": HEADS_AT_ONCE,
        "now": now_ms,
        "ids_after": now_ms - IDS_KEPT_MS,
        "rows_max": limits.rows_per_owner,
        "bytes_max": limits.max_bytes,
        **{name: column for (name, _), column in zip(_STORE_COLUMNS, columns, strict=True)},
    }
    return Statement(_STORE, values, partial(_stored_batch, submissions))


# No parameter is NULL: it would have no type, and psycopg prepares a statement for each combination of types.
_STORE_ONE: Final = (
    "SELECT o_outcome, o_seq, o_sockets, o_acked, o_replaced, o_withdrawal, o_evicted, o_before, o_heads, o_head_kinds,"
    " o_head_owners FROM hermes.store_one(%s::bigint, %s, %s, %s, %s, %s, %s, %s, %s, nullif(%s, ''::bytea), %s, %s,"
    " %s, %s, %s, %s::bigint, nullif(%s::bigint, -1), nullif(%s, ''::bytea), %s, %s, %s, %s::bigint)"
)
_NO_NOTE: Final = (-1, b"", b"", b"", 0)


def _store_one(
    submission: Submission,
    row: AppendRow,
    *,
    cursor: int,
    sockets: Sequence[tuple[Submission, int]],
    limits: StoreLimits,
    now_ms: int,
) -> Statement[StoredBatch]:
    """Do a whole transaction that stores one row: half the CPU of `store`."""
    note = [(*address(each.message), _tenant_key(each), each.message.id.encode(), number) for each, number in sockets]
    kind, owner, bound, *values, expires_ms, replaces = row
    return Statement(
        _STORE_ONE,
        (
            *(cursor, HEADS_AT_ONCE, *(note[0] if note else _NO_NOTE)),
            *(kind, owner, bound or b"", *values, -1 if expires_ms is None else expires_ms, replaces or b""),
            *(now_ms, now_ms - IDS_KEPT_MS, limits.rows_per_owner, limits.max_bytes),
        ),
        partial(_stored_one, submission),
    )


def _stored_one(submission: Submission, rows: Rows) -> StoredBatch:
    [(outcome, seq, *more, before, head_seqs, head_kinds, head_owners)] = rows
    heads = [
        Head(*head) for head in zip(head_seqs or (), map(channel_of, head_kinds or (), head_owners or ()), strict=True)
    ]
    last_seq = max(before, more[3] or 0, seq if outcome == STORED and seq is not None else 0)
    return StoredBatch(before, last_seq, heads, [_appended(submission, (outcome, seq, *more))])


def _columns(rows: Sequence[Sequence[object]], number: int) -> list[str | None]:
    """Return the columns of these rows as array literals, each None without rows.

    psycopg takes ten times as long for lists, on the event loop; an empty array would cost as much as a full one.
    """
    return [_array([row[index] for row in rows]) if rows else None for index in range(number)]


def _array(values: Sequence[object]) -> str:
    """Return the literal of an array of integers or ``bytea``.

    PostgreSQL, "Arrays".
    """
    return f"{{{','.join([_element(value) for value in values])}}}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    return f'"\\\\x{value.hex()}"' if isinstance(value, bytes) else str(value)


def _stored_batch(submissions: Sequence[Submission], rows: Rows) -> StoredBatch:
    heads: list[Head] = []
    appended: list[Appended] = []
    (_, first_seq, *_rest), (_, last_seq, *_rest) = rows[0], rows[-1]
    for part, seq, kind, owner, sockets, acked_ms, replaced, withdrawal_seq, evicted in rows[1:-1]:
        if part == HEAD:
            heads.append(Head(seq, channel_of(kind, owner)))
        else:
            row = (kind, seq, sockets, acked_ms, replaced, withdrawal_seq, evicted)
            appended.append(_appended(submissions[len(appended)], row))
    return StoredBatch(first_seq, last_seq, heads, appended)


def _appended(submission: Submission, row: tuple[Any, ...]) -> Appended:
    outcome, seq, sockets, acked_ms, replaced, withdrawal_seq, evicted = row
    if outcome == CONFLICT:
        return Appended(Conflict(), evicted)
    if outcome == DUPLICATE:
        return Appended(Duplicate(seq, sockets, replaced, acked_ms), evicted)
    if withdrawal_seq is None:
        return Appended(Stored(seq), evicted)
    assert submission.replaces is not None
    kind, owner = address(submission.message)
    return Appended(
        Stored(seq, withdrawal_of(kind, owner, submission.replaces, withdrawal_seq, bytes_of(submission.bound_tenant))),
        evicted,
    )


def _tenant_key(submission: Submission) -> bytes:
    return (submission.bound_tenant or "").encode()
