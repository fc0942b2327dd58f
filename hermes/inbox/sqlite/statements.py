"""The SQL of an SQLite inbox."""

from functools import cache
from typing import Any

from hermes.inbox.sqlite.file import RowDamaged
from hermes.inbox.sqlite.schema import ROW_OVERHEAD_BYTES
from hermes.inbox.sqlite.several_rows import places

COLUMNS = (
    *("owner", "kind", "seq", "bound", "id", "target", "sender", "created_ms", "expires_ms", "acked_ms", "size"),
    *("digest", "replaced", "text"),
)
SEQ, SIZE = COLUMNS.index("seq"), COLUMNS.index("size")
NO_ROW = (None,) * len(COLUMNS)

KNOWN_ID = """
SELECT digest, seq, sockets, replaced, acked_ms FROM log INDEXED BY log_id
  WHERE id = :id AND kind = :kind AND digest IS NOT NULL AND owner = :owner AND coalesce(bound, '') = :bound
  AND created_ms > :since
UNION ALL
SELECT digest, seq, sockets, replaced, NULL FROM ids
  WHERE (kind, owner, bound, id) = (:kind, :owner, :bound, :id) AND created_ms > :since
LIMIT 1
"""

_THE_ROW = (
    "log.id = sent.id AND log.kind = sent.kind AND log.digest IS NOT NULL AND log.owner = sent.owner"
    " AND coalesce(log.bound, '') = sent.bound"
)
_THE_ID = "(ids.kind, ids.owner, ids.bound, ids.id) = (sent.kind, sent.owner, sent.bound, sent.id)"


@cache
def known_of(rows: int) -> str:
    """Return the query which of these keys are known.

    And the last number, and the bytes that are used.
    """
    values = ", ".join(f"({number}, ?, ?, ?, ?)" for number in range(rows))
    return f"""
WITH since (ms) AS (SELECT ?), sent (number, kind, owner, bound, id) AS (VALUES {values})
SELECT
  (SELECT group_concat(number) FROM (
    SELECT number FROM sent CROSS JOIN log INDEXED BY log_id WHERE {_THE_ROW} AND created_ms > (SELECT ms FROM since)
    UNION ALL
    SELECT number FROM sent CROSS JOIN ids WHERE {_THE_ID} AND created_ms > (SELECT ms FROM since))),
  last_seq, bytes
FROM totals
"""


TOTALS = "SELECT NULL, last_seq, bytes FROM totals"


def totals_of(found: tuple[Any, ...] | None) -> tuple[str | None, int, int]:
    """Check a row of `TOTALS` or `known_of`, and return it.

    Raises `RowDamaged` if the last number or the bytes that are used are not what Hermes wrote.
    """
    if found is None or not isinstance(found[1], int) or not isinstance(found[2], int):
        raise RowDamaged("the counts are gone")
    return found[0], found[1], found[2]


@cache
def insert_of(rows: int) -> str:
    """Return the statement that inserts rows of `COLUMNS`.

    Those without a number are padding.
    """
    values = places(len(COLUMNS), rows)
    return (
        f"INSERT OR ROLLBACK INTO log ({', '.join(COLUMNS)})"
        f" SELECT * FROM (VALUES {values}) WHERE column{SEQ + 1} IS NOT NULL"
    )


@cache
def share_of(rows: int) -> str:
    """Return the statement that adds to shares.

    Its values are kind, name, entries, bytes.
    """
    return (
        f"INSERT INTO shares (kind, name, entries, bytes) VALUES {places(4, rows)}"
        " ON CONFLICT DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes"
    )


_SENT_SOCKETS = (
    "SELECT column1 AS kind, column2 AS owner, column3 AS bound, column4 AS id, column5 AS created_ms,"
    " column6 AS sockets"
)


# UPDATE is the first word: the module sqlite3 counts the rows of no other statement
@cache
def sockets_of(rows: int) -> str:
    """Return the statement that sets how many sockets took each row.

    Its values are kind, owner, bound, id, created_ms, sockets.
    """
    sent = f"({_SENT_SOCKETS} FROM (VALUES {places(6, rows)})) AS sent"
    return (
        f"UPDATE log INDEXED BY log_id SET sockets = sent.sockets FROM {sent}"
        f" WHERE {_THE_ROW} AND log.created_ms = sent.created_ms"
    )


@cache
def sockets_of_ids(rows: int) -> str:
    """Return the same for ids without a row."""
    sent = f"({_SENT_SOCKETS} FROM (VALUES {places(6, rows)})) AS sent"
    return f"UPDATE ids SET sockets = sent.sockets FROM {sent} WHERE {_THE_ID}"


LOSE = """
INSERT INTO losses SELECT kind, owner, coalesce(bound, ''), max(seq) FROM log
  WHERE seq IN (SELECT value FROM json_each(?)) AND +kind < 2 AND text IS NOT NULL AND expires_ms > ?
  GROUP BY kind, owner, coalesce(bound, '')
  ON CONFLICT DO UPDATE SET seq = max(losses.seq, excluded.seq)
"""

KEEP_IDS = """
INSERT OR REPLACE INTO ids (kind, owner, bound, id, digest, seq, sockets, replaced, created_ms)
SELECT kind, owner, coalesce(bound, ''), id, digest, seq, sockets, replaced, created_ms FROM log
  WHERE seq IN (SELECT value FROM json_each(?)) AND digest IS NOT NULL AND created_ms > ?
"""

# what it is, when it was acknowledged, the size of its text
_ROWS = f"""
SELECT kind, seq, acked_ms, size - {ROW_OVERHEAD_BYTES} AS size FROM log
  WHERE kind = 0 AND owner = :user AND seq > max(:after, :oldest) AND size > {ROW_OVERHEAD_BYTES}
  AND expires_ms > :now AND (bound IS NULL OR bound = :tenant)
UNION ALL
SELECT kind, seq, (SELECT acks.acked_ms FROM acks WHERE acks.seq = log.seq AND user = :user),
  size - {ROW_OVERHEAD_BYTES} FROM log
  WHERE kind = 1 AND owner = :tenant AND :broadcasts AND seq > max(:after, :oldest)
  AND size > {ROW_OVERHEAD_BYTES} AND expires_ms > :now
"""

# of rows that the reader had before, or got in an earlier page of this replay
_CHANGES = """
SELECT kind, seq, acked_ms, 0 FROM log
  WHERE kind = 2 AND owner = :user AND seq > :after
  AND (target <= :had OR id = '' OR seq > :answered AND target <= :after)
  AND (bound IS NULL OR bound = :tenant) AND (id <> '' OR sender = coalesce(:tenant, ''))
UNION ALL
SELECT kind, seq, acked_ms, 0 FROM log
  WHERE kind = 3 AND owner = :user AND seq > :after
  AND (target <= :had OR seq > :answered AND target <= :after)
  AND (bound IS NULL OR bound = :tenant)
UNION ALL
SELECT kind, seq, acked_ms, 0 FROM log
  WHERE kind = 4 AND owner = :tenant AND :broadcasts AND seq > :after
  AND (target <= :had OR seq > :answered AND target <= :after)
"""

# What a reader has missed, and a page of it, are one row each: SQLite lets other threads run once for each row, and
# on a busy machine it takes milliseconds until this one goes on.
MISSED = f"""
WITH place (last, position) AS MATERIALIZED (SELECT last_seq, iif(:after <= last_seq, :after, 0) FROM totals)
SELECT
  (SELECT last FROM place),
  (SELECT count(*) > :most FROM (
    SELECT 1 FROM log WHERE kind = 0 AND owner = :user AND seq > (SELECT position FROM place)
    UNION ALL
    SELECT 1 FROM log WHERE kind = 1 AND owner = :tenant AND :broadcasts AND seq > (SELECT position FROM place)
    LIMIT :most + 1)),
  (SELECT value FROM meta WHERE name = 'lost_by_all'),
  EXISTS (SELECT 1 FROM losses WHERE seq > (SELECT position FROM place) AND (bound = '' OR bound = :tenant)
    AND (kind = 0 AND owner IN (:user, :purged) OR kind = 1 AND owner = :tenant AND :broadcasts)),
  (SELECT count(*) FROM log WHERE kind = 0 AND owner = :user AND acked_ms IS NULL
    AND size > {ROW_OVERHEAD_BYTES} AND (bound IS NULL OR bound = :tenant) AND expires_ms > :now)
  + (SELECT count(*) FROM log WHERE kind = 1 AND owner = :tenant AND :broadcasts
    AND size > {ROW_OVERHEAD_BYTES} AND expires_ms > :now
    AND NOT EXISTS (SELECT 1 FROM acks WHERE acks.seq = log.seq AND acks.user = :user))
"""
NEWEST_SKIPPED = f"SELECT seq FROM ({_ROWS}) ORDER BY seq DESC LIMIT 1 OFFSET :most"

SEPARATOR = b"\x1e"  # no JSON text has it (RFC 7464)
NO_CHANGES = "[]"
LISTED = f"SELECT kind, seq, acked_ms, size FROM ({_ROWS} UNION ALL {_CHANGES} ORDER BY seq LIMIT :limit)"
PAGE = f"""
WITH page AS MATERIALIZED ({LISTED})
SELECT
  group_concat(page.seq) FILTER (WHERE page.kind < 2),
  CAST(group_concat(substr(text, 1, length(text) - 1) || ',"seq":' || page.seq || ',"replayed":true'
    || CASE WHEN page.acked_ms IS NULL THEN '}}' ELSE ',"acked_at":' || page.acked_ms || '}}' END, char(30))
    FILTER (WHERE page.kind < 2) AS BLOB),
  json_group_array(json_array(page.seq, page.kind, page.acked_ms, id, target, bound)) FILTER (WHERE page.kind > 1),
  (SELECT count(*) FROM page)
FROM page CROSS JOIN log ON log.seq = page.seq
WHERE (SELECT sum(size) FROM page) <= :bytes
"""
