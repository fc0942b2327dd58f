"""Pages of a replay, of which SQLite has joined the rows."""

from collections.abc import Iterable, Sequence

import orjson

from hermes.delivery.messages import Acknowledgement, Withdrawal
from hermes.ids import TenantId
from hermes.inbox.frames import page_of
from hermes.inbox.inbox import PAGE_BYTES, Entry, Page, Reader, Row
from hermes.inbox.sqlite.file import RowDamaged
from hermes.inbox.sqlite.schema import ACK, WITHDRAWAL
from hermes.inbox.sqlite.statements import NO_CHANGES, SEPARATOR


def fitting(sizes: Iterable[int]) -> int:
    """Return how many of these are in one page: at least one."""
    total = number = 0
    for size in sizes:
        total += size
        if number and total > PAGE_BYTES:
            break
        number += 1
    return number


def joined_page(reader: Reader, seqs: str | None, texts: bytes | None, changes: str, *, is_last: bool) -> Page:
    """Return a page of which the numbers and the texts of the rows are joined.

    ``changes`` is a JSON array of the acknowledgements and withdrawals. Without them nothing is made for each row.
    """
    rows = _texts(texts)
    if len(rows) != (0 if seqs is None else seqs.count(",") + 1):
        raise RowDamaged("a row is not one text")
    if changes == NO_CHANGES:
        last_seq = 0 if seqs is None else int(seqs.rpartition(",")[2])
        return Page(rows, last_seq, is_last, lambda: _rows(seqs, rows))
    try:
        found = [*_rows(seqs, rows), *(_change(reader, *change) for change in orjson.loads(changes))]
    except ValueError:
        raise RowDamaged("a change is not JSON") from None
    return page_of(sorted(found, key=_number), is_last=is_last)


def _rows(seqs: str | None, texts: Sequence[bytes]) -> list[Entry]:
    return [] if seqs is None else [*map(Row, map(int, seqs.split(",")), texts)]


def _number(entry: Entry) -> int:
    return entry.seq


def _texts(joined: bytes | None) -> list[bytes]:
    if joined is None:
        return []
    try:
        str(joined, "utf-8")
    except UnicodeDecodeError as error:  # it would end the socket of its reader, again and again
        raise RowDamaged(f"a row is not text: {error.reason}") from None
    return joined.split(SEPARATOR)


def _change(
    reader: Reader,
    seq: int,
    kind: int,
    at_ms: int | None,
    notification_id: str,
    target: int | None,
    bound: TenantId | None,
) -> Acknowledgement | Withdrawal:
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
