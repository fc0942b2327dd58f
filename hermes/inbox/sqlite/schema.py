"""Tables of the SQLite inbox, and the steps from an older version to this one.

``log`` has the rows and, with a number of the same series, what happened to them later. `Store` gives the numbers and
counts what is added: in ``totals``, and in ``shares``, the size of what each user or tenant has. Triggers count what is
removed, and remove what belongs to a deleted row.
"""

import sqlite3
from typing import Final

VERSION: Final = 3  # PRAGMA user_version
FIRST_VERSION: Final = 3  # that a release had; those before are of development versions
APPLICATION_ID: Final = 0x48524D53  # "HRMS": file(1) and `check` recognise an inbox

# kinds of the log
NOTIFICATION, BROADCAST, ACK, WITHDRAWAL, BROADCAST_WITHDRAWAL = range(5)

ROW_OVERHEAD_BYTES = 400  # of a row in the table and its indexes, measured with short ids

LARGE_BYTES: Final = 1_048_576  # a smaller share is not looked for by an index

_OLD_SHARE = """
  CASE WHEN old.kind IN (1, 4) OR old.bound IS NOT NULL THEN 'tenant' ELSE 'user' END,
  CASE WHEN old.kind IN (1, 4) THEN old.owner ELSE coalesce(old.bound, old.owner) END
"""

_TABLES: Final = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- one row: the highest number that was given, and what the log has
CREATE TABLE totals (
  last_seq INTEGER NOT NULL,
  entries INTEGER NOT NULL,
  bytes INTEGER NOT NULL
);
INSERT INTO totals VALUES (0, 0, 0);

CREATE TABLE log (
  seq INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  owner TEXT NOT NULL,        -- the user, or the tenant of a broadcast
  bound TEXT,                 -- the only tenant that may read it: that of the sender's key
  id TEXT NOT NULL,           -- of the notification; empty for an acknowledgement of several rows
  target INTEGER,             -- the row that an acknowledgement or a withdrawal is about
  sender TEXT NOT NULL,       -- the name of the key; of an acknowledgement of several rows, the reader's tenant
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  acked_ms INTEGER,
  sockets INTEGER NOT NULL DEFAULT 0,
  size INTEGER NOT NULL,      -- as --inbox-max-bytes counts it
  digest BLOB,                -- of the request; NULL for an acknowledgement and a withdrawal
  replaced INTEGER,           -- whether the request has replaced a row
  text BLOB                   -- the frame; NULL after a withdrawal
);
-- Each entry that is not added at the end of its index is a page of the write-ahead log: so there is one index by
-- owner. It has all columns that listing and counting need, because the pages of the rows are far from each other.
CREATE INDEX log_owner ON log (owner, kind, seq, size, acked_ms, bound, expires_ms);
CREATE INDEX log_id ON log (id, kind, owner) WHERE digest IS NOT NULL;
CREATE INDEX log_expiry ON log (expires_ms);
CREATE INDEX log_target ON log (target) WHERE target IS NOT NULL;
CREATE INDEX log_bound ON log (bound, seq) WHERE bound IS NOT NULL AND kind = 0;

-- who has acknowledged a broadcast
CREATE TABLE acks (
  seq INTEGER NOT NULL REFERENCES log (seq) ON DELETE CASCADE,
  user TEXT NOT NULL,
  acked_ms INTEGER NOT NULL,
  PRIMARY KEY (seq, user)
) WITHOUT ROWID;
CREATE INDEX acks_user ON acks (user);

-- ids of the last 24 hours without a row in the log: it has ended, or only the id was stored
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

-- the highest number that each reader has lost; `lost_by_all` in meta for those that are no longer listed
CREATE TABLE losses (
  kind INTEGER NOT NULL,
  owner TEXT NOT NULL,
  bound TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (kind, owner, bound)
) WITHOUT ROWID;
CREATE INDEX losses_age ON losses (seq);

CREATE TABLE shares (
  kind TEXT NOT NULL,         -- user, tenant
  name TEXT NOT NULL,
  entries INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE INDEX shares_large ON shares (bytes) WHERE bytes > {LARGE_BYTES};

CREATE TRIGGER log_resized AFTER UPDATE OF size ON log BEGIN
  UPDATE shares SET bytes = bytes + new.size - old.size WHERE (kind, name) = ({_OLD_SHARE});
  UPDATE totals SET bytes = bytes + new.size - old.size;
END;

CREATE TRIGGER log_deleted AFTER DELETE ON log BEGIN
  UPDATE shares SET entries = entries - 1, bytes = bytes - old.size WHERE (kind, name) = ({_OLD_SHARE});
  DELETE FROM shares WHERE (kind, name) = ({_OLD_SHARE}) AND entries = 0;
  UPDATE totals SET entries = entries - 1, bytes = bytes - old.size;
  DELETE FROM log WHERE target = old.seq AND id <> '';  -- recursive, for the shares
END;
"""

STEPS: Final = {0: _TABLES}  # from this version to the next one; an empty file has version 0


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables from this version to `VERSION` in one transaction."""
    while version < VERSION:
        reached = max(version + 1, FIRST_VERSION)
        connection.executescript(
            f"BEGIN IMMEDIATE; {STEPS[version]} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {reached}; COMMIT;"
        )
        version = reached
