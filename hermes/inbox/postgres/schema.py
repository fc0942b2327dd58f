"""Tables and functions of the PostgreSQL inbox, and steps to this version.

They have the meaning of those of the SQLite inbox. What one call changes is one function, so that all calls of a
transaction are sent at once and answered at once. Ids are ``bytea``, their UTF-8: ``text`` has no NUL, and its order
and its encoding depend on the database.

``state`` is one row. It is locked from the first number that a transaction gives until its commit: so the order of
the numbers is the order in which their rows become visible, and no number is given twice. A SEQUENCE promises neither.
"""

from typing import Final

VERSION: Final = 1  # of the tables, in hermes.meta
SCHEMA: Final = "hermes"

# kinds of the log
NOTIFICATION, BROADCAST, ACK, WITHDRAWAL, BROADCAST_WITHDRAWAL = range(5)
STORED, DUPLICATE, CONFLICT = range(3)  # outcomes of an append
BEFORE, HEAD, APPENDED, AFTER = range(4)  # parts of the answer of hermes.store

ROW_OVERHEAD_BYTES: Final = 400  # of a row, as for the SQLite inbox: a limit means the same in both
REPLACED_KEPT_MS: Final = 600_000  # longer than a process tries to take a row back
EVICTED_AT_ONCE: Final = 100  # rows of one statement

TABLES: Final = ("meta", "state", "log", "acks", "ids", "replaced", "losses", "shares", "owners")

_TABLES: Final = """
CREATE TABLE hermes.meta (name text PRIMARY KEY, value text NOT NULL);

CREATE TABLE hermes.state (
  last_seq bigint NOT NULL,
  entries bigint NOT NULL,    -- of the log
  bytes bigint NOT NULL       -- as --inbox-max-bytes counts them
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_cost_delay = 0);
INSERT INTO hermes.state VALUES (0, 0, 0);

CREATE TABLE hermes.log (
  seq bigint PRIMARY KEY,
  kind smallint NOT NULL,
  owner bytea NOT NULL,       -- the user, or the tenant of a broadcast
  bound bytea,                -- the only tenant that may read it: that of the sender's key
  id bytea NOT NULL,          -- of the notification; empty for an acknowledgement of several rows
  target bigint,              -- the row that an acknowledgement or a withdrawal is about
  text bytea,                 -- the frame; NULL after a withdrawal
  sender bytea NOT NULL,      -- name of the sender's key; of an acknowledgement of several rows: the reader's tenant
  created_ms bigint NOT NULL,
  expires_ms bigint NOT NULL,
  acked_ms bigint,
  sockets integer NOT NULL DEFAULT 0,
  size integer NOT NULL,      -- as --inbox-max-bytes counts it
  is_tenants boolean NOT NULL, -- of hermes.shares; not GENERATED, which costs each INSERT a tenth more
  share bytea NOT NULL
) WITH (fillfactor = 85);     -- room to note the sockets of a row without a new place in every index
CREATE INDEX log_owner ON hermes.log (kind, owner, seq);
CREATE INDEX log_id ON hermes.log (id, kind, owner) WHERE kind < 2;
CREATE INDEX log_expiry ON hermes.log (expires_ms);
CREATE INDEX log_target ON hermes.log (target) WHERE target IS NOT NULL;
CREATE INDEX log_unread ON hermes.log (owner) WHERE kind = 0 AND acked_ms IS NULL AND text IS NOT NULL;
CREATE INDEX log_bound ON hermes.log (bound, seq) WHERE bound IS NOT NULL AND kind = 0;

-- who has acknowledged a broadcast
CREATE TABLE hermes.acks (
  seq bigint NOT NULL REFERENCES hermes.log (seq) ON DELETE CASCADE,
  reader bytea NOT NULL,
  acked_ms bigint NOT NULL,
  PRIMARY KEY (seq, reader)
);
CREATE INDEX acks_reader ON hermes.acks (reader);

-- ids of the last 24 hours
CREATE TABLE hermes.ids (
  kind smallint NOT NULL,
  owner bytea NOT NULL,
  bound bytea NOT NULL,       -- empty without
  id bytea NOT NULL,
  digest bytea NOT NULL,
  attempt bytea NOT NULL,     -- of the process that stored it, to take back what was answered as not stored
  seq bigint,
  sockets integer NOT NULL DEFAULT 0,
  replaced boolean NOT NULL,
  created_ms bigint NOT NULL,
  PRIMARY KEY (kind, owner, bound, id)
) WITH (fillfactor = 85);
CREATE INDEX ids_age ON hermes.ids (created_ms);

-- rows as they were before an attempt replaced them, for some minutes: until it is known that it was stored in time
CREATE TABLE hermes.replaced (
  attempt bytea NOT NULL,
  seq bigint NOT NULL REFERENCES hermes.log (seq) ON DELETE CASCADE,
  text bytea NOT NULL,
  size integer NOT NULL,
  created_ms bigint NOT NULL,
  PRIMARY KEY (attempt, seq)
);
CREATE INDEX replaced_seq ON hermes.replaced (seq);
CREATE INDEX replaced_age ON hermes.replaced (created_ms);

-- the highest number that each reader has lost; meta has that of those that are no longer listed
CREATE TABLE hermes.losses (
  kind smallint NOT NULL,
  owner bytea NOT NULL,
  bound bytea NOT NULL,
  seq bigint NOT NULL,
  PRIMARY KEY (kind, owner, bound)
);
CREATE INDEX losses_age ON hermes.losses (seq);

-- what each user or tenant has of the log
CREATE TABLE hermes.shares (
  is_tenants boolean NOT NULL,
  share bytea NOT NULL,
  entries bigint NOT NULL,
  bytes bigint NOT NULL,
  PRIMARY KEY (is_tenants, share)
) WITH (fillfactor = 70);

-- the number of rows for each user, and of broadcasts for each tenant
CREATE TABLE hermes.owners (
  kind smallint NOT NULL,
  owner bytea NOT NULL,
  rows bigint NOT NULL,
  PRIMARY KEY (kind, owner)
) WITH (fillfactor = 70);

CREATE FUNCTION hermes.log_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM gone) THEN
    RETURN NULL;
  END IF;
  UPDATE hermes.state SET entries = state.entries - g.entries, bytes = state.bytes - g.bytes
    FROM (SELECT count(*) AS entries, sum(size) AS bytes FROM gone) g;
  UPDATE hermes.shares s SET entries = s.entries - g.entries, bytes = s.bytes - g.bytes
    FROM (SELECT is_tenants, share, count(*) AS entries, sum(size) AS bytes FROM gone GROUP BY 1, 2) g
    WHERE s.is_tenants = g.is_tenants AND s.share = g.share;
  DELETE FROM hermes.shares s USING (SELECT DISTINCT is_tenants, share FROM gone) g
    WHERE s.is_tenants = g.is_tenants AND s.share = g.share AND s.entries = 0;
  UPDATE hermes.owners o SET rows = o.rows - g.rows
    FROM (SELECT kind, owner, count(*) AS rows FROM gone WHERE kind < 2 GROUP BY 1, 2) g
    WHERE o.kind = g.kind AND o.owner = g.owner;
  DELETE FROM hermes.owners o USING (SELECT DISTINCT kind, owner FROM gone WHERE kind < 2) g
    WHERE o.kind = g.kind AND o.owner = g.owner AND o.rows = 0;
  DELETE FROM hermes.log l USING gone g WHERE g.kind < 2 AND l.target = g.seq AND l.id <> '';
  RETURN NULL;
END $$;
CREATE TRIGGER log_deleted AFTER DELETE ON hermes.log REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION hermes.log_deleted();
"""

_FUNCTIONS: Final = f"""
-- who counts the bytes of an entry: the tenant that is its only reader or gets it as a broadcast, or else the user
CREATE FUNCTION hermes.is_tenants(p_kind integer, p_bound bytea) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT p_kind IN ({BROADCAST}, {BROADCAST_WITHDRAWAL}) OR p_bound IS NOT NULL;
$$;
CREATE FUNCTION hermes.share(p_kind integer, p_owner bytea, p_bound bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_kind IN ({BROADCAST}, {BROADCAST_WITHDRAWAL}) THEN p_owner ELSE coalesce(p_bound, p_owner) END;
$$;

-- add an acknowledgement or a withdrawal
CREATE FUNCTION hermes.put(
  p_kind integer, p_owner bytea, p_bound bytea, p_id bytea, p_target bigint, p_sender bytea,
  p_created bigint, p_expires bigint, p_acked bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_seq bigint;
  v_is_tenants boolean := hermes.is_tenants(p_kind, p_bound);
  v_share bytea := hermes.share(p_kind, p_owner, p_bound);
BEGIN
  UPDATE hermes.state SET last_seq = last_seq + 1, entries = entries + 1, bytes = bytes + {ROW_OVERHEAD_BYTES}
    RETURNING last_seq INTO v_seq;
  INSERT INTO hermes.log (seq, kind, owner, bound, id, target, sender, created_ms, expires_ms, acked_ms, size,
      is_tenants, share)
    VALUES (v_seq, p_kind, p_owner, p_bound, p_id, p_target, p_sender, p_created, p_expires, p_acked,
      {ROW_OVERHEAD_BYTES}, v_is_tenants, v_share);
  INSERT INTO hermes.shares AS s VALUES (v_is_tenants, v_share, 1, {ROW_OVERHEAD_BYTES})
    ON CONFLICT (is_tenants, share) DO UPDATE SET entries = s.entries + 1, bytes = s.bytes + excluded.bytes;
  RETURN v_seq;
END $$;

-- remove rows; each reader that has not seen one has a gap
CREATE FUNCTION hermes.evict(p_rows bigint[], p_now bigint) RETURNS void LANGUAGE sql AS $$
  INSERT INTO hermes.losses AS l (kind, owner, bound, seq)
    SELECT kind, owner, coalesce(bound, ''), max(seq) FROM hermes.log
      WHERE seq = ANY (p_rows) AND text IS NOT NULL AND expires_ms > p_now GROUP BY 1, 2, 3
    ON CONFLICT (kind, owner, bound) DO UPDATE SET seq = greatest(l.seq, excluded.seq);
  DELETE FROM hermes.log WHERE seq = ANY (p_rows);
$$;

-- the newest row gets a withdrawal; an id may be used again after a day; the same id in another tenant is another row
CREATE FUNCTION hermes.withdraw(
  p_kind integer, p_owner bytea, p_id bytea, p_bound bytea, p_sender bytea, p_attempt bytea, p_now bigint,
  OUT o_seq bigint
) LANGUAGE plpgsql AS $$
DECLARE
  v_row record;
  v_target bigint;
  v_expires bigint;
BEGIN
  FOR v_row IN
    SELECT seq, expires_ms, text, size, is_tenants, share FROM hermes.log
      WHERE id = p_id AND kind = p_kind AND owner = p_owner AND text IS NOT NULL AND expires_ms > p_now
        AND (p_sender IS NULL OR sender = p_sender) AND bound IS NOT DISTINCT FROM p_bound ORDER BY seq DESC
  LOOP
    IF v_target IS NULL THEN
      v_target := v_row.seq;
      v_expires := v_row.expires_ms;
    END IF;
    IF p_attempt IS NOT NULL THEN
      INSERT INTO hermes.replaced VALUES (p_attempt, v_row.seq, v_row.text, v_row.size, p_now);
    END IF;
    UPDATE hermes.log SET text = NULL, size = {ROW_OVERHEAD_BYTES} WHERE seq = v_row.seq;
    UPDATE hermes.state SET bytes = bytes - (v_row.size - {ROW_OVERHEAD_BYTES});
    UPDATE hermes.shares SET bytes = bytes - (v_row.size - {ROW_OVERHEAD_BYTES})
      WHERE is_tenants = v_row.is_tenants AND share = v_row.share;
  END LOOP;
  IF v_target IS NOT NULL THEN
    o_seq := hermes.put(
      CASE p_kind WHEN {NOTIFICATION} THEN {WITHDRAWAL} ELSE {BROADCAST_WITHDRAWAL} END,
      p_owner, p_bound, p_id, v_target, '', p_now, v_expires, NULL);
  END IF;
END $$;

-- store a row, unless its id is known; o_before is the highest number before that. Its number comes first: this also
-- locks the state, and tells what is stored, with one statement.
CREATE FUNCTION hermes.append(
  p_kind integer, p_owner bytea, p_bound bytea, p_id bytea, p_digest bytea, p_attempt bytea, p_text bytea,
  p_sender bytea, p_created bigint, p_expires bigint, p_replaces bytea,
  p_now bigint, p_ids_after bigint, p_rows_max bigint, p_bytes_max bigint,
  OUT o_outcome integer, OUT o_seq bigint, OUT o_sockets integer, OUT o_acked bigint, OUT o_replaced boolean,
  OUT o_withdrawal bigint, OUT o_evicted integer, OUT o_before bigint
) LANGUAGE plpgsql AS $$
DECLARE
  v_known record;
  v_seqs bigint[];
  v_size integer;
  v_rows bigint;
  v_bytes bigint;
  v_share record;
  v_is_tenants boolean := hermes.is_tenants(p_kind, p_bound);
  v_own_share bytea := hermes.share(p_kind, p_owner, p_bound);
BEGIN
  o_outcome := {STORED};
  o_evicted := 0;
  IF p_replaces IS NOT NULL OR p_expires IS NULL THEN
    SELECT last_seq INTO o_before FROM hermes.state FOR UPDATE;
  END IF;
  IF p_replaces IS NOT NULL AND NOT EXISTS (
    SELECT FROM hermes.ids WHERE kind = p_kind AND owner = p_owner AND bound = coalesce(p_bound, '') AND id = p_id
      AND created_ms > p_ids_after)
  THEN
    o_withdrawal := hermes.withdraw(p_kind, p_owner, p_replaces, p_bound, NULL, p_attempt, p_now);
  END IF;
  o_replaced := o_withdrawal IS NOT NULL;
  IF p_expires IS NOT NULL THEN
    v_size := octet_length(p_text) + {ROW_OVERHEAD_BYTES};
    UPDATE hermes.state SET last_seq = last_seq + 1, entries = entries + 1, bytes = bytes + v_size
      RETURNING last_seq, bytes INTO o_seq, v_bytes;
    o_before := coalesce(o_before, o_seq - 1);
  END IF;
  INSERT INTO hermes.ids AS i (kind, owner, bound, id, digest, attempt, seq, replaced, created_ms)
    VALUES (p_kind, p_owner, coalesce(p_bound, ''), p_id, p_digest, p_attempt, o_seq, o_replaced, p_now)
    ON CONFLICT (kind, owner, bound, id) DO UPDATE SET digest = excluded.digest, attempt = excluded.attempt,
      seq = excluded.seq, sockets = 0, replaced = excluded.replaced, created_ms = excluded.created_ms
      WHERE i.created_ms <= p_ids_after;
  IF NOT FOUND THEN
    IF p_expires IS NOT NULL THEN
      UPDATE hermes.state SET last_seq = last_seq - 1, entries = entries - 1, bytes = bytes - v_size;
    END IF;
    SELECT i.digest, i.seq, i.sockets, i.replaced, l.acked_ms INTO v_known
      FROM hermes.ids i LEFT JOIN hermes.log l ON l.seq = i.seq
      WHERE i.kind = p_kind AND i.owner = p_owner AND i.bound = coalesce(p_bound, '') AND i.id = p_id;
    o_outcome := CASE WHEN v_known.digest = p_digest THEN {DUPLICATE} ELSE {CONFLICT} END;
    o_seq := v_known.seq;
    o_sockets := v_known.sockets;
    o_acked := v_known.acked_ms;
    o_replaced := v_known.replaced;
    RETURN;
  END IF;
  IF p_expires IS NULL THEN
    RETURN;
  END IF;
  INSERT INTO hermes.owners AS o VALUES (p_kind, p_owner, 1)
    ON CONFLICT (kind, owner) DO UPDATE SET rows = o.rows + 1 RETURNING rows INTO v_rows;
  IF v_rows > p_rows_max THEN
    v_seqs := ARRAY(
      SELECT seq FROM hermes.log WHERE kind = p_kind AND owner = p_owner ORDER BY seq LIMIT v_rows - p_rows_max);
    PERFORM hermes.evict(v_seqs, p_now);
    o_evicted := o_evicted + cardinality(v_seqs);
    SELECT bytes INTO v_bytes FROM hermes.state;
  END IF;
  -- whoever has more than half loses its oldest rows; otherwise the oldest of all end
  WHILE v_bytes > p_bytes_max LOOP
    SELECT is_tenants, share INTO v_share FROM hermes.shares
      WHERE bytes > p_bytes_max / 2 ORDER BY bytes DESC LIMIT 1;
    IF NOT FOUND THEN
      v_seqs := ARRAY(SELECT seq FROM hermes.log WHERE kind < 2 ORDER BY seq LIMIT {EVICTED_AT_ONCE});
    ELSIF v_share.is_tenants THEN
      v_seqs := ARRAY(
        (SELECT seq FROM hermes.log WHERE kind = {BROADCAST} AND owner = v_share.share
          ORDER BY seq LIMIT {EVICTED_AT_ONCE})
        UNION ALL
        (SELECT seq FROM hermes.log WHERE kind = {NOTIFICATION} AND bound = v_share.share
          ORDER BY seq LIMIT {EVICTED_AT_ONCE})
        ORDER BY seq LIMIT {EVICTED_AT_ONCE});
    ELSE
      v_seqs := ARRAY(
        SELECT seq FROM hermes.log WHERE kind = {NOTIFICATION} AND owner = v_share.share AND bound IS NULL
          ORDER BY seq LIMIT {EVICTED_AT_ONCE});
    END IF;
    EXIT WHEN v_seqs = '{{}}';
    PERFORM hermes.evict(v_seqs, p_now);
    o_evicted := o_evicted + cardinality(v_seqs);
    SELECT bytes INTO v_bytes FROM hermes.state;
  END LOOP;
  INSERT INTO hermes.log (seq, kind, owner, bound, id, text, sender, created_ms, expires_ms, size, is_tenants, share)
    VALUES (o_seq, p_kind, p_owner, p_bound, p_id, p_text, p_sender, p_created, p_expires, v_size, v_is_tenants,
      v_own_share);
  INSERT INTO hermes.shares AS s VALUES (v_is_tenants, v_own_share, 1, v_size)
    ON CONFLICT (is_tenants, share) DO UPDATE SET entries = s.entries + 1, bytes = s.bytes + excluded.bytes;
END $$;

-- remove a row that was delivered as not stored, and its id; what it replaced is there again
CREATE FUNCTION hermes.forget(p_kind integer, p_owner bytea, p_bound bytea, p_id bytea, p_attempt bytea)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_seq bigint;
  v_row record;
BEGIN
  DELETE FROM hermes.ids
    WHERE kind = p_kind AND owner = p_owner AND bound = p_bound AND id = p_id AND attempt = p_attempt
    RETURNING seq INTO v_seq;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  DELETE FROM hermes.log WHERE seq = v_seq;
  FOR v_row IN
    DELETE FROM hermes.replaced r USING hermes.log l WHERE r.attempt = p_attempt AND l.seq = r.seq
      RETURNING r.seq, r.text, r.size, r.size - l.size AS more, l.is_tenants, l.share
  LOOP
    DELETE FROM hermes.log WHERE target = v_row.seq AND kind IN ({WITHDRAWAL}, {BROADCAST_WITHDRAWAL});
    UPDATE hermes.log SET text = v_row.text, size = v_row.size WHERE seq = v_row.seq;
    UPDATE hermes.state SET bytes = bytes + v_row.more;
    UPDATE hermes.shares SET bytes = bytes + v_row.more WHERE is_tenants = v_row.is_tenants AND share = v_row.share;
  END LOOP;
END $$;

CREATE FUNCTION hermes.delivered(p_kind integer, p_owner bytea, p_bound bytea, p_id bytea, p_sockets integer)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_seq bigint;
BEGIN
  UPDATE hermes.ids SET sockets = p_sockets
    WHERE kind = p_kind AND owner = p_owner AND bound = p_bound AND id = p_id RETURNING seq INTO v_seq;
  IF v_seq IS NOT NULL THEN
    UPDATE hermes.log SET sockets = p_sockets WHERE seq = v_seq;
  END IF;
END $$;

-- One transaction that stores, as one call: one message to the server and one answer. Returns the highest number before
-- it, the entries of other processes after p_cursor, what became of each row, and the highest number after it.
CREATE FUNCTION hermes.store(
  p_cursor bigint, p_heads_max integer,
  p_forget_kind integer[], p_forget_owner bytea[], p_forget_bound bytea[], p_forget_id bytea[],
  p_forget_attempt bytea[],
  p_note_kind integer[], p_note_owner bytea[], p_note_bound bytea[], p_note_id bytea[], p_note_sockets integer[],
  p_kind integer[], p_owner bytea[], p_bound bytea[], p_id bytea[], p_digest bytea[], p_attempt bytea[],
  p_text bytea[], p_sender bytea[], p_created bigint[], p_expires bigint[], p_replaces bytea[],
  p_now bigint, p_ids_after bigint, p_rows_max bigint, p_bytes_max bigint
) RETURNS TABLE (
  o_part integer, o_seq bigint, o_kind integer, o_owner bytea, o_sockets integer, o_acked bigint, o_replaced boolean,
  o_withdrawal bigint, o_evicted integer
) LANGUAGE plpgsql AS $$
DECLARE
  v_row record;
BEGIN
  SELECT {BEFORE}, state.last_seq INTO o_part, o_seq FROM hermes.state FOR UPDATE;
  RETURN NEXT;
  IF p_forget_kind IS NOT NULL THEN
    PERFORM hermes.forget(f.kind, f.owner, f.bound, f.id, f.attempt)
      FROM unnest(p_forget_kind, p_forget_owner, p_forget_bound, p_forget_id, p_forget_attempt)
        AS f (kind, owner, bound, id, attempt);
  END IF;
  IF o_seq > p_cursor THEN
    RETURN QUERY SELECT {HEAD}, l.seq, l.kind::integer, l.owner, NULL::integer, NULL::bigint, NULL::boolean,
        NULL::bigint, NULL::integer
      FROM hermes.log l WHERE l.seq > p_cursor ORDER BY l.seq LIMIT p_heads_max;
  END IF;
  IF p_note_kind IS NOT NULL THEN
    PERFORM hermes.delivered(n.kind, n.owner, n.bound, n.id, n.sockets)
      FROM unnest(p_note_kind, p_note_owner, p_note_bound, p_note_id, p_note_sockets)
        AS n (kind, owner, bound, id, sockets);
  END IF;
  FOR v_row IN
    SELECT a.* FROM unnest(p_kind, p_owner, p_bound, p_id, p_digest, p_attempt, p_text, p_sender, p_created, p_expires,
        p_replaces) WITH ORDINALITY AS s (kind, owner, bound, id, digest, attempt, text, sender, created, expires,
        replaces, number),
      LATERAL hermes.append(s.kind, s.owner, s.bound, s.id, s.digest, s.attempt, s.text, s.sender, s.created,
        s.expires, s.replaces, p_now, p_ids_after, p_rows_max, p_bytes_max) AS a
  LOOP
    o_part := {APPENDED};
    o_seq := v_row.o_seq;
    o_kind := v_row.o_outcome;
    o_owner := NULL;
    o_sockets := v_row.o_sockets;
    o_acked := v_row.o_acked;
    o_replaced := v_row.o_replaced;
    o_withdrawal := v_row.o_withdrawal;
    o_evicted := v_row.o_evicted;
    RETURN NEXT;
  END LOOP;
  RETURN QUERY SELECT {AFTER}, s.last_seq, NULL::integer, NULL::bytea, NULL::integer, NULL::bigint, NULL::boolean,
      NULL::bigint, NULL::integer
    FROM hermes.state s;
END $$;

-- The same for one row and the sockets of at most one (kind -1: none), at half the CPU: no arrays, and no set of rows.
CREATE FUNCTION hermes.store_one(
  p_cursor bigint, p_heads_max integer,
  p_note_kind integer, p_note_owner bytea, p_note_bound bytea, p_note_id bytea, p_note_sockets integer,
  p_kind integer, p_owner bytea, p_bound bytea, p_id bytea, p_digest bytea, p_attempt bytea, p_text bytea,
  p_sender bytea, p_created bigint, p_expires bigint, p_replaces bytea,
  p_now bigint, p_ids_after bigint, p_rows_max bigint, p_bytes_max bigint,
  OUT o_outcome integer, OUT o_seq bigint, OUT o_sockets integer, OUT o_acked bigint, OUT o_replaced boolean,
  OUT o_withdrawal bigint, OUT o_evicted integer, OUT o_before bigint,
  OUT o_heads bigint[], OUT o_head_kinds integer[], OUT o_head_owners bytea[]
) LANGUAGE plpgsql AS $$
BEGIN
  SELECT a.* INTO o_outcome, o_seq, o_sockets, o_acked, o_replaced, o_withdrawal, o_evicted, o_before
    FROM hermes.append(p_kind, p_owner, p_bound, p_id, p_digest, p_attempt, p_text, p_sender, p_created, p_expires,
      p_replaces, p_now, p_ids_after, p_rows_max, p_bytes_max) AS a;
  IF p_note_kind >= 0 THEN
    PERFORM hermes.delivered(p_note_kind, p_note_owner, p_note_bound, p_note_id, p_note_sockets);
    IF o_outcome = {DUPLICATE} THEN -- perhaps of that one
      SELECT sockets INTO o_sockets FROM hermes.ids
        WHERE kind = p_kind AND owner = p_owner AND bound = coalesce(p_bound, '') AND id = p_id;
    END IF;
  END IF;
  IF o_before > p_cursor THEN
    SELECT array_agg(h.seq), array_agg(h.kind), array_agg(h.owner) INTO o_heads, o_head_kinds, o_head_owners
      FROM (SELECT l.seq, l.kind::integer, l.owner FROM hermes.log l WHERE l.seq > p_cursor AND l.seq <= o_before
        ORDER BY l.seq LIMIT p_heads_max) AS h;
  END IF;
END $$;

CREATE FUNCTION hermes.ack(p_user bytea, p_tenant bytea, p_id bytea, p_now bigint)
RETURNS TABLE (o_seq bigint, o_bound bytea) LANGUAGE plpgsql AS $$
DECLARE
  v_row record;
BEGIN
  FOR v_row IN
    SELECT seq, expires_ms, bound FROM hermes.log
      WHERE id = p_id AND kind = {NOTIFICATION} AND owner = p_user AND text IS NOT NULL AND acked_ms IS NULL
        AND expires_ms > p_now AND (bound IS NULL OR bound = p_tenant) ORDER BY seq
  LOOP
    UPDATE hermes.log SET acked_ms = p_now WHERE seq = v_row.seq;
    o_bound := v_row.bound;
    o_seq := hermes.put(
      {ACK}, p_user, o_bound, p_id, v_row.seq, '', p_now, v_row.expires_ms, p_now);
    RETURN NEXT;
  END LOOP;
  FOR v_row IN
    SELECT l.seq, l.expires_ms FROM hermes.log l
      WHERE l.id = p_id AND l.kind = {BROADCAST} AND l.owner = p_tenant AND l.text IS NOT NULL
        AND l.expires_ms > p_now
        AND NOT EXISTS (SELECT FROM hermes.acks a WHERE a.seq = l.seq AND a.reader = p_user) ORDER BY l.seq
  LOOP
    INSERT INTO hermes.acks VALUES (v_row.seq, p_user, p_now);
    o_bound := p_tenant;
    o_seq := hermes.put(
      {ACK}, p_user, p_tenant, p_id, v_row.seq, '', p_now, v_row.expires_ms, p_now);
    RETURN NEXT;
  END LOOP;
END $$;

CREATE FUNCTION hermes.ack_upto(
  p_user bytea, p_tenant bytea, p_broadcasts boolean, p_upto bigint, p_now bigint,
  OUT o_number bigint, OUT o_seq bigint, OUT o_upto bigint
) LANGUAGE plpgsql AS $$
DECLARE
  v_latest bigint;
  v_end bigint;
  v_number bigint;
BEGIN
  SELECT least(p_upto, last_seq) INTO o_upto FROM hermes.state;
  WITH acked AS (
    UPDATE hermes.log SET acked_ms = p_now
      WHERE kind = {NOTIFICATION} AND owner = p_user AND seq <= o_upto AND text IS NOT NULL AND acked_ms IS NULL
        AND expires_ms > p_now AND (bound IS NULL OR bound = p_tenant) RETURNING expires_ms)
    SELECT count(*), max(expires_ms) INTO o_number, v_latest FROM acked;
  IF p_broadcasts THEN
    WITH acked AS (
      INSERT INTO hermes.acks (seq, reader, acked_ms)
        SELECT seq, p_user, p_now FROM hermes.log
          WHERE kind = {BROADCAST} AND owner = p_tenant AND seq <= o_upto AND text IS NOT NULL AND expires_ms > p_now
        ON CONFLICT DO NOTHING RETURNING seq)
      SELECT count(*), max(l.expires_ms) INTO v_number, v_end FROM acked JOIN hermes.log l USING (seq);
    o_number := o_number + v_number;
    v_latest := greatest(v_latest, v_end);
  END IF;
  IF o_number > 0 THEN
    o_seq := hermes.put(
      {ACK}, p_user, NULL, '', o_upto, coalesce(p_tenant, ''), p_now, v_latest, p_now);
  END IF;
END $$;

-- the name of a purged user in the table of losses: not an id, and of this inbox only
CREATE FUNCTION hermes.purged_name(p_user bytea) RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT '\\x00'::bytea || sha256(convert_to(value || ':', 'UTF8') || p_user) FROM hermes.meta WHERE name = 'epoch';
$$;

CREATE FUNCTION hermes.resume(
  p_user bytea, p_tenant bytea, p_broadcasts boolean, p_epoch text, p_seq bigint, p_skipped integer, p_now bigint,
  OUT o_epoch text, OUT o_from bigint, OUT o_to bigint, OUT o_after bigint, OUT o_gap boolean, OUT o_unread bigint
) LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_known boolean;
BEGIN
  SELECT last_seq INTO o_to FROM hermes.state;
  SELECT value INTO o_epoch FROM hermes.meta WHERE name = 'epoch';
  v_known := p_seq IS NOT NULL AND p_epoch IN ('', o_epoch) AND p_seq <= o_to;
  o_from := CASE WHEN v_known THEN p_seq ELSE 0 END;
  o_after := o_from;
  IF p_skipped IS NOT NULL THEN
    SELECT greatest(o_from, seq) INTO o_after FROM (
      (SELECT seq FROM hermes.log WHERE kind = {NOTIFICATION} AND owner = p_user AND seq > o_from
        AND text IS NOT NULL AND expires_ms > p_now AND (bound IS NULL OR bound = p_tenant)
        ORDER BY seq DESC LIMIT p_skipped + 1)
      UNION ALL
      (SELECT seq FROM hermes.log WHERE p_broadcasts AND kind = {BROADCAST} AND owner = p_tenant AND seq > o_from
        AND text IS NOT NULL AND expires_ms > p_now ORDER BY seq DESC LIMIT p_skipped + 1)
    ) newest ORDER BY seq DESC OFFSET p_skipped LIMIT 1;
    o_after := coalesce(o_after, o_from);
  END IF;
  o_gap := NOT v_known OR o_after > o_from
    OR o_from < coalesce((SELECT value::bigint FROM hermes.meta WHERE name = 'lost_by_all'), 0)
    OR EXISTS (
      SELECT FROM hermes.losses WHERE seq > o_from AND (bound = '' OR bound = p_tenant)
        AND (kind = 0 AND owner IN (p_user, hermes.purged_name(p_user))
          OR kind = 1 AND owner = p_tenant AND p_broadcasts));
  SELECT count(*) INTO o_unread FROM hermes.log
    WHERE kind = 0 AND owner = p_user AND acked_ms IS NULL AND text IS NOT NULL
      AND (bound IS NULL OR bound = p_tenant) AND expires_ms > p_now;
  IF p_broadcasts THEN
    o_unread := o_unread + (
      SELECT count(*) FROM hermes.log l WHERE kind = 1 AND owner = p_tenant AND text IS NOT NULL AND expires_ms > p_now
        AND NOT EXISTS (SELECT FROM hermes.acks a WHERE a.seq = l.seq AND a.reader = p_user));
  END IF;
END $$;

-- remove a part of what has expired, and replace the oldest losses by one for all readers if too many are listed
CREATE FUNCTION hermes.sweep(
  p_now bigint, p_ids_before bigint, p_limit integer, p_losses_max bigint, OUT o_rows bigint, OUT o_ids bigint
) LANGUAGE plpgsql AS $$
DECLARE
  v_listed bigint;
  v_seq bigint;
BEGIN
  PERFORM FROM hermes.state FOR UPDATE;
  DELETE FROM hermes.log
    WHERE seq IN (SELECT seq FROM hermes.log WHERE expires_ms <= p_now ORDER BY expires_ms LIMIT p_limit);
  GET DIAGNOSTICS o_rows = ROW_COUNT;
  DELETE FROM hermes.ids WHERE (kind, owner, bound, id) IN (
    SELECT kind, owner, bound, id FROM hermes.ids WHERE created_ms <= p_ids_before ORDER BY created_ms LIMIT p_limit);
  GET DIAGNOSTICS o_ids = ROW_COUNT;
  DELETE FROM hermes.replaced WHERE created_ms <= p_now - {REPLACED_KEPT_MS};
  SELECT count(*) INTO v_listed FROM hermes.losses;
  IF v_listed > p_losses_max THEN
    SELECT seq INTO v_seq FROM hermes.losses ORDER BY seq OFFSET v_listed - p_losses_max / 2 LIMIT 1;
    INSERT INTO hermes.meta AS m VALUES ('lost_by_all', v_seq::text)
      ON CONFLICT (name) DO UPDATE SET value = greatest(m.value::bigint, v_seq)::text;
    DELETE FROM hermes.losses WHERE seq <= v_seq;
  END IF;
END $$;

-- remove a part of what there is about a user; o_more: call it again
CREATE FUNCTION hermes.purge(p_user bytea, p_limit integer, OUT o_rows bigint, OUT o_more boolean)
LANGUAGE plpgsql AS $$
DECLARE
  v_last bigint;
BEGIN
  PERFORM FROM hermes.state FOR UPDATE;
  DELETE FROM hermes.log WHERE seq IN (
    SELECT seq FROM hermes.log WHERE kind = {NOTIFICATION} AND owner = p_user ORDER BY seq LIMIT p_limit);
  GET DIAGNOSTICS o_rows = ROW_COUNT;
  IF o_rows > 0 THEN
    SELECT last_seq INTO v_last FROM hermes.state;
    INSERT INTO hermes.losses AS l VALUES ({NOTIFICATION}, hermes.purged_name(p_user), '', v_last)
      ON CONFLICT (kind, owner, bound) DO UPDATE SET seq = excluded.seq;
  END IF;
  o_more := o_rows = p_limit;
  IF o_more THEN
    RETURN;
  END IF;
  DELETE FROM hermes.log WHERE kind IN ({ACK}, {WITHDRAWAL}) AND owner = p_user;
  DELETE FROM hermes.acks WHERE reader = p_user;
  DELETE FROM hermes.ids WHERE kind = {NOTIFICATION} AND owner = p_user;
  DELETE FROM hermes.losses WHERE kind = {NOTIFICATION} AND owner = p_user;
END $$;
"""

STEPS: Final = {0: _TABLES + _FUNCTIONS}  # from this version to the next one
