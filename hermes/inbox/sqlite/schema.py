"""Tables of the SQLite inbox, and the steps from an older version to this one.

``log`` has the rows and, with a number of the same series, what happened to them later. SQLite's ``AUTOINCREMENT``
never gives a number twice, even after the newest rows are deleted. Triggers keep ``shares``, the size of what each
user or tenant has, and remove what belongs to a deleted row.
"""

import sqlite3
from typing import Final

VERSION: Final = 2  # PRAGMA user_version
APPLICATION_ID: Final = 0x48524D53  # "HRMS": file(1) and `check` recognise an inbox

# kinds of the log
NOTIFICATION, BROADCAST, ACK, WITHDRAWAL, BROADCAST_WITHDRAWAL = range(5)

ROW_OVERHEAD_BYTES = 400  # of a row in the table, its indexes and the table of ids, measured with short ids

LARGE_BYTES: Final = 1_048_576  # a smaller share is not looked for by an index

_SHARE = """
  CASE WHEN {0}.kind IN (1, 4) OR {0}.bound IS NOT NULL THEN 'tenant' ELSE 'user' END,
  CASE WHEN {0}.kind IN (1, 4) THEN {0}.owner ELSE coalesce({0}.bound, {0}.owner) END
"""

_TABLES: Final = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE log (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  kind INTEGER NOT NULL,
  owner TEXT NOT NULL,        -- the user, or the tenant of a broadcast
  bound TEXT,                 -- the only tenant that may read it: that of the sender's key
  id TEXT NOT NULL,           -- of the notification; empty for an acknowledgement of several rows
  target INTEGER,             -- the row that an acknowledgement or a withdrawal is about
  text BLOB,                  -- the frame; NULL after a withdrawal
  sender TEXT NOT NULL DEFAULT '',  -- the name of the key; of an acknowledgement of several rows, the reader's tenant
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  acked_ms INTEGER,
  sockets INTEGER NOT NULL DEFAULT 0,
  size INTEGER NOT NULL       -- as --inbox-max-bytes counts it
);
CREATE INDEX log_owner ON log (kind, owner, seq);
CREATE INDEX log_id ON log (id, kind, owner) WHERE kind < 2;
CREATE INDEX log_expiry ON log (expires_ms);
CREATE INDEX log_target ON log (target) WHERE target IS NOT NULL;
CREATE INDEX log_unread ON log (owner, bound) WHERE kind = 0 AND acked_ms IS NULL AND text IS NOT NULL;
CREATE INDEX log_share ON log (coalesce(bound, owner), seq) WHERE kind < 2;

-- who has acknowledged a broadcast
CREATE TABLE acks (
  seq INTEGER NOT NULL REFERENCES log (seq) ON DELETE CASCADE,
  user TEXT NOT NULL,
  acked_ms INTEGER NOT NULL,
  PRIMARY KEY (seq, user)
) WITHOUT ROWID;
CREATE INDEX acks_user ON acks (user);

-- ids of the last 24 hours
CREATE TABLE ids (
  kind INTEGER NOT NULL,
  owner TEXT NOT NULL,
  bound TEXT NOT NULL,        -- empty without
  id TEXT NOT NULL,
  digest BLOB NOT NULL,
  seq INTEGER,
  sockets INTEGER NOT NULL DEFAULT 0,
  replaced INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  PRIMARY KEY (kind, owner, bound, id)
) WITHOUT ROWID;
CREATE INDEX ids_age ON ids (created_ms);

-- the highest number that each reader has lost; 'all' for those that are no longer listed
CREATE TABLE losses (
  kind INTEGER NOT NULL,
  owner TEXT NOT NULL,
  bound TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (kind, owner, bound)
) WITHOUT ROWID;
CREATE INDEX losses_age ON losses (seq);

CREATE TABLE shares (
  kind TEXT NOT NULL,         -- user, tenant, all
  name TEXT NOT NULL,
  entries INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE INDEX shares_bytes ON shares (bytes);
INSERT INTO shares VALUES ('all', '', 0, 0);

CREATE TRIGGER log_inserted AFTER INSERT ON log BEGIN
  INSERT INTO shares VALUES ({_SHARE.format("new")}, 1, new.size)
    ON CONFLICT DO UPDATE SET entries = entries + 1, bytes = bytes + new.size;
  UPDATE shares SET entries = entries + 1, bytes = bytes + new.size WHERE kind = 'all' AND name = '';
END;

CREATE TRIGGER log_resized AFTER UPDATE OF size ON log BEGIN
  UPDATE shares SET bytes = bytes + new.size - old.size WHERE (kind, name) = ({_SHARE.format("new")});
  UPDATE shares SET bytes = bytes + new.size - old.size WHERE kind = 'all' AND name = '';
END;

CREATE TRIGGER log_deleted AFTER DELETE ON log BEGIN
  UPDATE shares SET entries = entries - 1, bytes = bytes - old.size WHERE (kind, name) = ({_SHARE.format("old")});
  DELETE FROM shares WHERE (kind, name) = ({_SHARE.format("old")}) AND entries = 0;
  UPDATE shares SET entries = entries - 1, bytes = bytes - old.size WHERE kind = 'all' AND name = '';
  DELETE FROM log WHERE target = old.seq AND id <> '';  -- recursive, for the shares
END;
"""

# Each index of a row takes about as long as the row. The first two served only the removal of rows over
# --inbox-max-bytes: now one has only a share that may be too large, and one only rows that are bound to a tenant. The
# others have all that is needed to count unread rows, which are on as many pages of the file.
_INDEXES: Final = f"""
DROP INDEX shares_bytes;
CREATE INDEX shares_large ON shares (bytes) WHERE bytes > {LARGE_BYTES} AND kind <> 'all';
DROP INDEX log_share;
CREATE INDEX log_bound ON log (bound, seq) WHERE bound IS NOT NULL AND kind = 0;
DROP INDEX log_unread;
CREATE INDEX log_unread ON log (owner, bound, expires_ms) WHERE kind = 0 AND acked_ms IS NULL AND text IS NOT NULL;
CREATE INDEX log_broadcasts ON log (owner, expires_ms) WHERE kind = 1 AND text IS NOT NULL;
"""

STEPS: Final = {0: _TABLES, 1: _INDEXES}  # from this version to the next one


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables from this version to `VERSION` in one transaction."""
    for step in range(version, VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {STEPS[step]} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {step + 1}; COMMIT;"
        )
