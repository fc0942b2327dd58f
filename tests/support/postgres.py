"""A real PostgreSQL for tests, started once, and its store with the methods of the SQLite store."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import pytest

from bench.contenders.postgres import PostgresServer, postgres_server, programs
from hermes.delivery.messages import Acknowledgement, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.inbox import (
    PAGE_ENTRIES,
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
from hermes.inbox.sqlite.retention import Removed
from tests.support.inboxes import FakeClock
from tests.support.programs import free_port

try:
    import psycopg as psycopg

    from hermes.inbox.postgres import database, session, statements, storing
    from hermes.inbox.postgres.schema import TABLES
except ImportError:
    psycopg = None  # an extra

T = TypeVar("T")

FAST = ("fsync = off", "full_page_writes = off", "autovacuum_naptime = 5s")  # the machine is not switched off


def needs_postgres() -> None:
    """Skip the test without PostgreSQL or psycopg, or fail if CI=true."""
    reason = "psycopg is missing" if psycopg is None else "" if programs() else "PostgreSQL is missing"
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


class Databases:
    """Databases with empty tables on one server, for one test after the other."""

    def __init__(self, server: PostgresServer, prefix: str = "hermes") -> None:
        self.server = server
        self._prefix = prefix
        self._number = 0
        self._main = self.new()
        self.migrate(self._main)

    @property
    def main(self) -> str:
        """The name of the database of `empty`."""
        return self._main

    def new(self) -> str:
        """Return the name of a new database, without tables."""
        self._number += 1
        name = f"{self._prefix}{self._number}"
        self.server.execute(f"CREATE DATABASE {name}")
        return name

    def migrate(self, name: str) -> None:
        """Create the tables."""
        database.migrate(self.parameters(name))

    def parameters(self, name: str) -> dict[str, Any]:
        """Return the parameters of libpq."""
        return session.parameters_of(self.server.url(name), lambda: None)

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Let the database of `empty` end its connections and accept none; the others of the server go on."""
        self.server.execute(f"ALTER DATABASE {self._main} ALLOW_CONNECTIONS false")
        try:
            self.server.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._main}'"
            )
            yield
        finally:
            self.server.execute(f"ALTER DATABASE {self._main} ALLOW_CONNECTIONS true")

    def replace(self) -> None:
        """Let the database of `empty` look like another one at the next connection: a failover, a restored copy."""
        self.server.execute("UPDATE hermes.meta SET value = 'x' WHERE name = 'incarnation'", name=self._main)

    def empty(self) -> str:
        """Return the URL of a database with empty tables, as a new inbox has them."""
        tables = ", ".join(f"hermes.{table}" for table in TABLES if table not in ("meta", "state"))
        self.server.execute(f"TRUNCATE {tables}", name=self._main)
        self.server.execute("DELETE FROM hermes.meta WHERE name <> 'version'", name=self._main)
        self.server.execute("UPDATE hermes.state SET last_seq = 0, entries = 0, bytes = 0", name=self._main)
        return self.server.url(self._main)


class PostgresStore:
    """The calls of an inbox, one after the other in one transaction, with the methods of the SQLite store."""

    def __init__(self, url: str, *, limits: StoreLimits, now_ms: FakeClock) -> None:
        self.connection = psycopg.connect(url)
        self._limits = limits
        self._now_ms = now_ms
        self._number = 0
        self._evicted = 0
        self._expired = 0
        self.connection.execute(
            "INSERT INTO hermes.meta VALUES ('epoch', %s) ON CONFLICT DO NOTHING", (os.urandom(6).hex(),)
        )

    @property
    def epoch(self) -> str:
        """The name of the series."""
        found = self.connection.execute("SELECT value FROM hermes.meta WHERE name = 'epoch'").fetchone()
        return str(found[0])

    def renew_epoch(self) -> None:
        """Begin a new series."""
        self.connection.execute("UPDATE hermes.meta SET value = value || 'x' WHERE name = 'epoch'")

    def append(self, submission: Submission) -> Stored | Duplicate | Conflict:
        """As `Store.append`."""
        return self.append_undoable(submission)[0]

    def append_undoable(self, submission: Submission) -> tuple[Stored | Duplicate | Conflict, list[Any]]:
        """As `Store.append_undoable`."""
        self._number += 1
        attempt = b"attempt %d" % self._number
        [made] = self._store([submission], [storing.append_row(submission, attempt)]).appended
        self._evicted += made.evicted
        return made.outcome, [attempt] if isinstance(made.outcome, Stored) else []

    def forget(self, submission: Submission, undo: Any) -> None:
        """As `Store.forget`."""
        self._store(forgets=[(submission, undo)])

    def delivered(self, submission: Submission, sockets: int) -> None:
        """As `Store.delivered`."""
        self._store(sockets=[(submission, sockets)])

    def resume(self, reader: Reader, position: Position | None, *, capped: bool = True) -> Resumed:
        """As `Store.resume`."""
        return self._run(statements.resume(reader, position, now_ms=self._now_ms(), capped=capped))

    def replay(self, reader: Reader, resumed: Resumed, *, after_seq: int, limit: int = PAGE_ENTRIES) -> Page:
        """As `Store.replay`."""
        if resumed.epoch != self.epoch:
            raise InboxUnavailable("corrupt")
        return self._run(statements.replay(reader, resumed, after_seq=after_seq, now_ms=self._now_ms(), limit=limit))

    def ack(self, reader: Reader, notification_id: str) -> list[Acknowledgement]:
        """As `Store.ack`."""
        return self._run(statements.ack(reader, notification_id, now_ms=self._now_ms()))

    def ack_upto(self, reader: Reader, upto: int) -> tuple[int, Acknowledgement | None]:
        """As `Store.ack_upto`."""
        return self._run(statements.ack_upto(reader, upto, now_ms=self._now_ms()))

    def withdraw(
        self,
        *,
        user_id: UserId | None,
        tenant_id: TenantId | None,
        notification_id: str,
        sender: str | None,
        bound_tenant: TenantId | None = None,
    ) -> Withdrawal | None:
        """As `Store.withdraw`."""
        return self._run(
            statements.withdraw(
                user_id=user_id,
                tenant_id=tenant_id,
                notification_id=notification_id,
                sender=sender,
                bound_tenant=bound_tenant,
                now_ms=self._now_ms(),
            )
        )

    def receipts(
        self,
        notification_id: str,
        *,
        user_id: UserId | None = None,
        tenant_id: TenantId | None = None,
        sender: str | None = None,
        bound_tenant: TenantId | None = None,
    ) -> list[ReceiptRecord]:
        """As `Store.receipts`."""
        statement = statements.receipts(
            notification_id, user_id=user_id, tenant_id=tenant_id, sender=sender, bound_tenant=bound_tenant
        )
        return self._run(statement)

    def last_seq(self) -> int:
        """As `Store.last_seq`."""
        found = self.connection.execute(statements.LAST_SEQ).fetchone()
        return int(found[0])

    def stats(self) -> InboxStats:
        """As `Store.stats`."""
        return self._run(statements.stats())

    def sweep(self) -> bool:
        """As `Store.sweep`."""
        removed, has_more = self._run(statements.sweep(limits=self._limits, now_ms=self._now_ms()))
        self._expired += removed
        return has_more

    def take_removed(self) -> Removed:
        """As `Store.take_removed`."""
        removed = Removed(self._expired, self._evicted)
        self._expired = self._evicted = 0
        return removed

    def purge(self, user_id: UserId) -> int:
        """As `Store.purge`."""
        removed, has_more = 0, True
        while has_more:
            rows, has_more = self._run(statements.purge(user_id))
            removed += rows
        return removed

    def totals(self) -> list[tuple[Any, ...]]:
        """Return number and size of all entries: of the log, of the counters, of the shares; and the rows."""
        queries = (
            "SELECT count(*), coalesce(sum(size), 0) FROM hermes.log",
            "SELECT entries, bytes FROM hermes.state",
            "SELECT coalesce(sum(entries), 0), coalesce(sum(bytes), 0) FROM hermes.shares",
            "SELECT count(*), count(*) FROM hermes.log WHERE kind < 2",
            "SELECT coalesce(sum(rows), 0), coalesce(sum(rows), 0) FROM hermes.owners",
        )
        return [tuple(map(int, self.connection.execute(query).fetchone())) for query in queries]

    def _store(
        self, submissions: Sequence[Submission] = (), rows: Sequence[Any] = (), **values: Any
    ) -> "storing.StoredBatch":
        return self._run(
            storing.store(
                submissions, rows, cursor=self.last_seq(), limits=self._limits, now_ms=self._now_ms(), **values
            )
        )

    def _run(self, statement: "statements.Statement[T]") -> T:
        rows = self.connection.execute(statement.sql, statement.values or None, binary=True).fetchall()
        return statement.decode(rows)


@contextlib.contextmanager
def open_postgres_store(url: str, clock: FakeClock, limits: StoreLimits | None = None) -> Iterator[PostgresStore]:
    """Open the inbox; all that the test does is one transaction, which is committed at the end."""
    store = PostgresStore(url, limits=limits or StoreLimits(), now_ms=clock)
    try:
        yield store
        store.connection.commit()
    finally:
        store.connection.close()


class PostgresCache:
    """The server of this process, started when the first test needs it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._databases: Databases | None = None

    def databases(self) -> Databases:
        """Return its databases. Skips the test without PostgreSQL, or fails if CI=true."""
        if self._databases is None:
            needs_postgres()
            self._databases = Databases(self._stack.enter_context(postgres_server(free_port(), FAST)))
        return self._databases

    def stop(self) -> None:
        """Stop it, if it was started."""
        self._stack.close()


@pytest.fixture(scope="session")
def postgres_cache() -> Iterator[PostgresCache]:
    """Give the server of this process; nothing is started yet."""
    cache = PostgresCache()
    yield cache
    cache.stop()


@pytest.fixture(scope="session")
def postgres(postgres_cache: PostgresCache) -> Databases:
    """Run PostgreSQL."""
    return postgres_cache.databases()


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def inbox_databases(request: pytest.FixtureRequest, postgres_cache: PostgresCache) -> Databases | None:
    """Run each test with an inbox in a file (None), and with one in PostgreSQL.

    Of the widest scope, so that what is started here does not belong to a test.
    """
    return postgres_cache.databases() if request.param == "postgres" else None


def mark_slow_on_postgres(items: Sequence[pytest.Item]) -> None:
    """Mark the tests that are slow with PostgreSQL only, before the slow ones are left out."""
    for item in items:
        given = getattr(getattr(item, "callspec", None), "params", {})
        marker = item.get_closest_marker("slow_on_postgres")
        if marker is not None and given.get("inbox_databases") == "postgres" and marker.args != (False,):
            item.add_marker(pytest.mark.slow)
