"""The inbox in PostgreSQL: group commit, several processes, a database that is slow, gone, full or another one."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from bench.contenders.postgres import PostgresServer, postgres_server
from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.messages import Acknowledgement, EncodedMessage, Withdrawal
from hermes.errors import HermesError
from hermes.ids import TenantId, UserId
from hermes.inbox import inbox
from hermes.inbox.inbox import (
    Conflict,
    Duplicate,
    InboxUnavailable,
    Page,
    Reader,
    RemoteEntry,
    Row,
    Stored,
    StoreLimits,
    Submission,
)
from hermes.inbox.position import BEGINNING, Position
from hermes.metrics import Metrics
from hermes.net import resolver
from tests.support.inboxes import HOUR_MS, FakeClock, submission
from tests.support.outages import end_handshake, hanging_resolver
from tests.support.postgres import FAST, Databases, needs_postgres, psycopg
from tests.support.programs import free_port

pytest.importorskip("psycopg")

from hermes.inbox.postgres import database, session, statements, writer
from hermes.inbox.postgres import inbox as postgres_inbox

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("patient")]

ANA = Reader(UserId("ana"), TenantId("acme"), broadcasts=True)
ENOUGH_S = 60.0  # reached only in a test that fails


@pytest.fixture
def url(postgres: Databases) -> str:
    """The URL of an empty inbox."""
    return postgres.empty()


@pytest.fixture
def as_configured(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of the product, for a database that hangs."""
    monkeypatch.setattr(postgres_inbox, "COMMIT_MAX_S", inbox.COMMIT_MAX_S)
    monkeypatch.setattr(session, "STATEMENT_MAX_S", inbox.COMMIT_MAX_S)
    monkeypatch.setattr(writer, "STALL_MAX_S", 1.5 * inbox.COMMIT_MAX_S)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A clock that stands still, also that of the database."""
    found = FakeClock()
    set_database_clock(monkeypatch, found())
    return found


def set_database_clock(monkeypatch: pytest.MonkeyPatch, now_ms: int) -> None:
    """Let the database's clock show this."""
    monkeypatch.setattr(statements, "DATABASE_CLOCK", f"{now_ms}::bigint")


class Node:
    """One process of several: its inbox, and what was published here, in order."""

    def __init__(self, url: str, clock: FakeClock, *, wants: Callable[[Channel], bool] = lambda _channel: True) -> None:
        self.clock = clock
        self.metrics = Metrics()
        self.inbox = postgres_inbox.PostgresInbox(
            "the database",
            lambda: session.parameters_of(url, lambda: None),
            limits=StoreLimits(),
            now_ms=clock,
            metrics=self.metrics,
        )
        self.numbers: list[int] = []
        self.remote: list[RemoteEntry] = []
        self.inbox.follow(self._publish_remote, wants)
        self.new_epochs: list[str] = []
        self.inbox.on_new_epoch(lambda: self.new_epochs.append(self.inbox.epoch))

    def _publish_remote(self, entry: RemoteEntry) -> None:
        self.numbers.append(entry.seq)
        self.remote.append(entry)

    def sent(self, id: str, **values: Any) -> Submission:
        """Return a notification to ana, or what the values say."""
        given = {"at_ms": self.clock(), **({} if "tenant" in values else {"user": "ana"}), **values}
        return submission(id, **given)

    async def append(self, id: str, **values: Any) -> Stored | Duplicate | Conflict:
        """Store a notification; note its number when it is published."""

        def publish(stored: Stored) -> None:
            assert stored.seq is not None
            self.numbers.append(stored.seq)

        sent = self.sent(id, **values)
        try:
            outcome = await self.inbox.append(sent, publish)
        except InboxUnavailable:
            self.inbox.delivered(sent, 0)
            raise
        if isinstance(outcome, Stored):
            self.inbox.delivered(sent, 1)
        return outcome

    async def ids(self, position: Position = BEGINNING) -> list[str]:
        """Return the ids of ana's rows."""
        resumed = await self.inbox.resume(ANA, position)
        pages: list[Page] = []
        while not pages or not pages[-1].is_last:
            after_seq = pages[-1].last_seq if pages else resumed.from_seq
            await self.inbox.replay(ANA, resumed, after_seq=after_seq, then=pages.append)
        rows = [entry for page in pages for entry in page.read_entries() if isinstance(entry, Row)]
        return [row.text.decode().split('"')[3] for row in rows]

    async def works(self) -> None:
        """Wait until it stores again."""
        until = time.monotonic() + ENOUGH_S
        while True:
            with contextlib.suppress(InboxUnavailable):
                await self.inbox.stats()
                if self.inbox.problem is None:
                    return
            assert time.monotonic() < until, self.inbox.problem
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(url: str, clock: FakeClock, **values: Any) -> AsyncIterator[Node]:
    """Run one process."""
    node = Node(url, clock, **values)
    await node.inbox.start()
    try:
        yield node
    finally:
        await node.inbox.stop()


@contextlib.contextmanager
def locked(url: str) -> Any:
    """Hold the lock of the series, as another process that hangs in its commit."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT FROM hermes.state FOR UPDATE")
        yield
        connection.rollback()


def test_what_waits_is_committed_together(url: str, clock: FakeClock) -> None:
    """Notifications that come during one commit need one more, whatever their number."""

    async def test() -> None:
        async with running(url, clock) as node:
            await node.append("first")
            before = node.inbox._writer.commits
            sends = [asyncio.ensure_future(node.append(str(number))) for number in range(150)]
            outcomes = await asyncio.gather(*sends)
            assert [outcome.seq for outcome in outcomes if isinstance(outcome, Stored)] == list(range(2, 152))
            assert node.inbox._writer.commits - before <= 5
            assert await node.ids() == ["first", *map(str, range(150))]

    asyncio.run(test())


def test_every_process_publishes_everything_in_the_order_of_the_numbers(url: str, clock: FakeClock) -> None:
    """Its own rows and those of the others, each once, while all of them write."""

    async def test() -> None:
        async with running(url, clock) as one, running(url, clock) as two, running(url, clock) as three:
            nodes = (one, two, three)

            async def send(node: Node, name: str) -> None:
                for number in range(40):
                    await node.append(f"{name}-{number}")

            await asyncio.gather(*(send(node, f"{name}{part}") for name, node in enumerate(nodes) for part in "ab"))
            for node in nodes:
                await node.inbox.catch_up()
                assert node.numbers == list(range(1, 241))

    asyncio.run(test())


@pytest.mark.slow
def test_an_entry_of_another_process_is_found_without_a_wake_up(url: str, clock: FakeClock) -> None:
    """Rows, broadcasts, acknowledgements and withdrawals, as this process would publish its own."""

    async def test() -> None:
        async with running(url, clock) as one, running(url, clock) as two:
            await one.append("a", text="A", bound="acme")
            await one.append("b", tenant="acme")
            await one.inbox.ack(ANA, "a", lambda _made: None)
            await one.inbox.ack_upto(ANA, 9, lambda _made: None)
            await one.inbox.withdraw(
                user_id=None,
                tenant_id=TenantId("acme"),
                notification_id="b",
                sender=None,
                bound_tenant=None,
                publish=lambda _made: None,
            )
            until = time.monotonic() + ENOUGH_S
            while time.monotonic() < until:
                if two.remote and isinstance(two.remote[-1].message, Withdrawal):
                    break
                await asyncio.sleep(0.02)
            now, acme, ana = clock(), TenantId("acme"), UserId("ana")
            first, *rest = two.remote
            assert first == RemoteEntry(
                1, EncodedMessage("notification", channels.user(ana), b'{"id": "a", "title": "A","seq":1}'), acme
            )
            # a broadcast that was withdrawn before it was read here is not published
            assert [entry for entry in rest if not isinstance(entry.message, EncodedMessage)] == [
                RemoteEntry(3, Acknowledgement(3, ana, now, notification_id="a", bound_tenant=acme), acme),
                RemoteEntry(4, Acknowledgement(4, ana, now, upto=3, bound_tenant=acme), acme),
                RemoteEntry(5, Withdrawal("b", 5, None, acme, None), None),
            ]

    asyncio.run(test())


def test_what_has_no_receiver_here_is_not_read(url: str, clock: FakeClock) -> None:
    """Nor given to the hub."""
    mine = channels.user(UserId("ben"))

    async def test() -> None:
        async with running(url, clock) as one, running(url, clock, wants=mine.__eq__) as two:
            for user in ("ana", "ben", "ana"):
                await one.append("a" if user == "ana" and not one.numbers else user, user=user)
            assert await two.inbox.catch_up() == 3
            assert two.numbers == [2]

    asyncio.run(test())


def test_a_socket_that_resumes_meets_rows_of_others_in_a_page_or_after_it(url: str, clock: FakeClock) -> None:
    """Each once: what a page has was published before it, to those that were live then."""

    async def test() -> None:
        async with running(url, clock) as one, running(url, clock) as two:
            sending = asyncio.gather(*(one.append(str(number)) for number in range(100)))
            for _ in range(20):
                resumed = await two.inbox.resume(ANA, BEGINNING)
                seen: list[int] = []

                def check(page: Page, seen: list[int] = seen) -> None:
                    seen += [entry.seq for entry in page.read_entries()]
                    assert two.numbers == list(range(1, (seen[-1] if seen else 0) + 1))

                await two.inbox.replay(ANA, resumed, after_seq=0, then=check, limit=100)
            await sending

    asyncio.run(test())


def test_a_commit_that_takes_too_long_is_a_failed_store_and_leaves_nothing(
    url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same request again gets the same answer; the row that is committed later is removed."""

    async def test() -> None:
        async with running(url, clock) as node:
            await node.append("before")
        async with running(url, clock) as node:
            with monkeypatch.context() as patch, locked(url):
                patch.setattr(postgres_inbox, "COMMIT_MAX_S", 0.05)
                with pytest.raises(InboxUnavailable) as failed:
                    await node.append("late")
                assert failed.value.reason == "timeout"
                again = await node.append("late")
                assert again == Duplicate(None, 0, replaced=False, reason="timeout")
                assert isinstance(await node.append("late", text="other"), Conflict)
            await node.works()
            assert await node.append("after")
            assert await node.ids() == ["before", "after"]

    asyncio.run(test())


@pytest.mark.slow
@pytest.mark.usefixtures("as_configured")
def test_a_lock_that_is_never_freed_ends_at_the_server(url: str, clock: FakeClock) -> None:
    """Its statement time-out; the connection is kept, and reading goes on."""

    async def test() -> None:
        async with running(url, clock) as node:
            await node.append("before")
            with locked(url):
                with pytest.raises(InboxUnavailable):
                    await node.append("late")
                assert await node.ids() == ["before"]
            await node.works()
            assert isinstance(await node.append("after"), Stored)
            assert await node.ids() == ["before", "after"]

    asyncio.run(test())


def test_a_row_that_cannot_follow_those_of_others_is_taken_back(
    url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed, but what others had committed before it could not be read."""

    async def test() -> None:
        async with running(url, clock) as one, running(url, clock) as two:
            monkeypatch.setattr(writer, "CATCH_UP_INTERVAL_S", ENOUGH_S)
            await one.inbox.catch_up()
            await two.append("of-others")
            with monkeypatch.context() as patch:

                async def fail(*_args: object) -> None:
                    patch.undo()
                    raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")

                patch.setattr(one.inbox._writer.follower, "publish_remote", fail)
                with pytest.raises(InboxUnavailable):
                    await one.append("late")
            await one.works()
            assert isinstance(await one.append("after"), Stored)
            assert await one.ids() == ["of-others", "after"]
            assert one.numbers == sorted(one.numbers)
            assert [entry.seq for entry in one.remote] == [1]

    asyncio.run(test())


@pytest.mark.parametrize(
    "given", ["postgresql://u:s3cr%zzet@h/db", "postgresql://u:s3cr@[::1/db", "postgresql://u@h/db?password=s3cr%zz"]
)
def test_a_url_that_cannot_be_read_is_not_repeated(given: str) -> None:
    """It may have a password."""
    with pytest.raises(HermesError, match="cannot be read") as caught:
        session.parameters_of(given, lambda: None)
    assert "s3cr" not in str(caught.value)
    assert "--inbox-password-file" in str(caught.value)


def test_sockets_of_a_row_are_in_its_receipt_and_in_the_answer_to_a_repetition(url: str, clock: FakeClock) -> None:
    """Although they are noted after the answer, and at another process."""

    async def test() -> None:
        async with running(url, clock) as one, running(url, clock) as two:
            await one.append("a")
            [receipt] = await one.inbox.receipts("a")
            assert receipt.sockets == 1
            assert await two.append("a") == Duplicate(1, 1, replaced=False)
            await one.append("b")
            assert await one.append("b") == Duplicate(2, 1, replaced=False)  # in the transaction that notes them

    asyncio.run(test())


def test_a_full_queue_is_busy(url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits without bound."""
    monkeypatch.setattr(writer, "QUEUE_MAX", 2)

    async def test() -> None:
        async with running(url, clock) as node:
            waiting = [asyncio.ensure_future(node.append(str(number))) for number in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(InboxUnavailable) as failed:
                await node.append("a")
            assert failed.value.reason == "busy"
            reading = [asyncio.ensure_future(node.inbox.stats()) for _ in range(9)]
            await asyncio.gather(*waiting, *reading)

    asyncio.run(test())


def test_a_call_that_fails_harms_no_other(url: str, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """An id that is not text, and a number that the database does not take."""

    async def test() -> None:
        async with running(url, clock) as node:
            good = asyncio.ensure_future(node.append("good"))
            bad = asyncio.ensure_future(node.append("\ud800"))
            too_late = asyncio.ensure_future(node.append("never", ttl_ms=2**63))
            later = asyncio.ensure_future(node.append("later"))
            assert isinstance(await good, Stored)
            with pytest.raises(UnicodeEncodeError):
                await bad
            with pytest.raises(InboxUnavailable) as failed:
                await too_late
            assert failed.value.reason == "corrupt"
            assert isinstance(await later, Stored)
            assert await node.ids() == ["good", "later"]
            assert node.inbox.problem is None

    asyncio.run(test())
    caplog.clear()


def test_stopping_commits_what_was_accepted(url: str, clock: FakeClock) -> None:
    """What waits when the server stops is there after a restart."""

    async def test() -> None:
        async with running(url, clock) as node:
            sends = [asyncio.ensure_future(node.append(str(number))) for number in range(10)]
            await asyncio.sleep(0)
            stopping = asyncio.ensure_future(node.inbox.stop())
            await asyncio.sleep(0)
            with pytest.raises(InboxUnavailable):
                await node.append("too late")
            await stopping
            assert all(isinstance(outcome, Stored) for outcome in await asyncio.gather(*sends))
        async with running(url, clock) as node:
            assert await node.ids() == list(map(str, range(10)))

    asyncio.run(test())


# -- the server fails -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_files() -> Iterator[PostgresServer]:
    """The files of a server with a database, which does not run."""
    needs_postgres()
    with postgres_server(free_port(), FAST) as server:
        server.stop()
        yield server


@pytest.fixture
def own(own_files: PostgresServer) -> Iterator[Databases]:
    """A server that only this test uses, with an empty inbox."""
    own_files.start()
    yield Databases(own_files, f"own{time.monotonic_ns()}x")
    own_files.stop()


def restarted(server: PostgresServer) -> None:
    """Kill the server and start it again."""
    server.kill()
    server.start()


@pytest.mark.usefixtures("as_configured")
@pytest.mark.parametrize("fail", ["kill", pytest.param("freeze", marks=pytest.mark.slow)])
def test_a_server_that_fails_loses_nothing_and_is_used_again(
    own: Databases, clock: FakeClock, fail: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was stored is there, what was not is not; a sender does not wait for a server that does not answer."""
    server, url = own.server, own.empty()

    async def test() -> None:
        async with running(url, clock) as node:
            stored = [id for id in map(str, range(20)) if isinstance(await node.append(id), Stored)]
            server.kill() if fail == "kill" else server.freeze()
            try:
                refused = 0
                while node.inbox.problem is None or refused < 3:
                    with contextlib.suppress(InboxUnavailable):
                        await node.append(f"refused {refused}")
                    refused += 1
                until = time.monotonic() + ENOUGH_S
                while not node.inbox._writer._is_down and time.monotonic() < until:
                    await asyncio.sleep(0.02)
                begun = time.monotonic()
                for number in range(100):
                    with pytest.raises(InboxUnavailable):
                        await node.append(f"refused at once {number}")
                assert time.monotonic() - begun < 100  # not 2 s for each
            finally:
                server.start() if fail == "kill" else server.thaw()
            await node.works()
            assert isinstance(await node.append("after"), Stored)
            assert await node.ids() == [*stored, "after"]
            assert not (await node.inbox.resume(ANA, BEGINNING)).gap

    asyncio.run(test())
    assert "cannot use the database" in caplog.text
    caplog.clear()


@pytest.mark.slow
def test_a_restart_of_the_server_is_survived_by_what_waits(
    own: Databases, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Several processes go on with their order, and a row that was answered as not stored does not come later."""
    url = own.empty()

    async def test() -> None:
        async with running(url, clock) as one, running(url, clock) as two:
            outcomes: dict[str, bool] = {}

            async def send(node: Node, name: str) -> None:
                for number in range(200):
                    id = f"{name}-{number}"
                    try:
                        outcomes[id] = isinstance(await node.append(id), Stored)
                    except InboxUnavailable:
                        outcomes[id] = False
                        await asyncio.sleep(0.01)

            sending = asyncio.gather(send(one, "one"), send(two, "two"))
            while len(outcomes) < 50:
                await asyncio.sleep(0.001)
            await asyncio.to_thread(restarted, own.server)
            await sending
            for node in (one, two):
                await node.works()
                await node.inbox.catch_up()
                assert node.numbers == sorted(set(node.numbers))
            kept = await one.ids()
            assert {id for id, stored in outcomes.items() if stored} == set(kept)
            assert len(kept) == len(set(kept))

    asyncio.run(test())
    caplog.clear()


@pytest.mark.usefixtures("as_configured")
def test_a_resolver_that_hangs_delays_no_request(
    own: Databases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Senders and readers get an answer, whichever waited before; with an answer, the inbox works again."""
    own.empty()
    monkeypatch.setattr(resolver, "RESOLVE_TIMEOUT_S", ENOUGH_S)  # the deadlines of the inbox must do
    monkeypatch.setattr(writer, "GRACE_S", 0.3)
    url = own.server.tcp_url(own.main)
    assert "127.0.0.1" in url

    async def test() -> None:
        async with running(url.replace("127.0.0.1", "localhost"), clock) as node:
            assert isinstance(await node.append("a"), Stored)
            may_answer, _ = hanging_resolver(monkeypatch, "localhost")
            try:
                own.server.kill()
                begun = time.monotonic()
                waiting = asyncio.gather(
                    *(node.append("b"), node.ids(), node.inbox.stats(), node.inbox.ack(ANA, "a", lambda _made: None)),
                    return_exceptions=True,
                )
                for result in await waiting:
                    assert isinstance(result, InboxUnavailable)
                    assert result.reason == "timeout"
                assert time.monotonic() - begun < ENOUGH_S / 2  # not the resolver's time
                own.server.start()
            finally:
                may_answer.set()
            await node.works()
            assert await node.ids() == ["a"]

    asyncio.run(test())
    caplog.clear()


@pytest.mark.parametrize("ending", ["reset", "closed", "cut", "alert"])
@pytest.mark.parametrize("mode", ["require", "prefer"])
def test_a_handshake_that_is_cut_off_is_tried_again(
    clock: FakeClock, ending: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Although libpq may try without TLS then, which this server does not permit."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4))
        if size == 8:  # SSLRequest
            await reader.readexactly(4)
            writer.write(b"S")
            await reader.read(1)  # of the client's hello
            end_handshake(writer, ending)
        else:
            text = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for host, no encryption\0\0"
            writer.write(b"E" + (len(text) + 4).to_bytes(4) + text)
        writer.close()

    async def test() -> None:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with running(f"postgresql://u@127.0.0.1:{port}/db?sslmode={mode}&gssencmode=disable", clock) as node:
                assert node.inbox.problem is not None

    asyncio.run(test())
    caplog.clear()


# -- what is refused at the start -------------------------------------------------------------------------------------


async def refused(url: str, clock: FakeClock) -> str:
    """Start an inbox that must not start; return the text."""
    node = Node(url, clock)
    try:
        with pytest.raises(HermesError) as failed:
            await node.inbox.start()
    finally:
        await node.inbox.stop()
    return str(failed.value)


def test_a_database_without_the_tables_is_refused(postgres: Databases, clock: FakeClock) -> None:
    """The text names the command."""
    text = asyncio.run(refused(postgres.server.url(postgres.new()), clock))
    assert "hermes inbox migrate" in text


def test_tables_of_another_version_are_refused(postgres: Databases, url: str, clock: FakeClock) -> None:
    """An older one names the command, a newer one the Hermes that is needed."""
    name = url.partition("@/")[2].partition("?")[0]
    for version, words in ((0, "hermes inbox migrate"), (99, "newer Hermes")):
        postgres.server.execute(f"UPDATE hermes.meta SET value = '{version}' WHERE name = 'version'", name=name)
        assert words in asyncio.run(refused(url, clock))
    postgres.server.execute("UPDATE hermes.meta SET value = '1' WHERE name = 'version'", name=name)


def test_a_role_needs_the_rights_that_the_command_gives(postgres: Databases, clock: FakeClock) -> None:
    """Without them it is refused in words; with them it can do everything."""
    name, server = postgres.new(), postgres.server
    postgres.migrate(name)
    server.execute("DROP ROLE IF EXISTS runner")
    server.execute("CREATE ROLE runner LOGIN")
    url = server.url(name, user="runner")
    assert "hermes inbox migrate --grant runner" in asyncio.run(refused(url, clock))
    assert database.migrate(postgres.parameters(name), grants=["runner"]) == (1, 1)

    async def test() -> None:
        async with running(url, clock) as node:
            assert isinstance(await node.append("a"), Stored)
            assert len(await node.inbox.ack(ANA, "a", lambda _made: None)) == 1
            assert await node.inbox.purge(UserId("ana")) == 1

    asyncio.run(test())
    server.execute("REVOKE DELETE ON hermes.log FROM runner", name=name)
    assert "hermes.log" in asyncio.run(refused(url, clock)) or "log (DELETE)" in asyncio.run(refused(url, clock))
    server.execute("DROP OWNED BY runner", name=name)
    server.execute("DROP ROLE runner")


@pytest.mark.parametrize(
    ("user", "name", "words"),
    [("nobody-known", "postgres", "nobody-known"), ("postgres", "unknown-database", "unknown-database")],
)
def test_an_unknown_role_or_database_is_refused(
    postgres: Databases, clock: FakeClock, user: str, name: str, words: str
) -> None:
    """At the start a person can act."""
    assert words in asyncio.run(refused(postgres.server.url(name, user=user), clock))


def test_a_wrong_password_is_refused_and_not_repeated(postgres: Databases, clock: FakeClock) -> None:
    """By the text of the server."""
    server = postgres.server
    server.execute("DROP ROLE IF EXISTS locked")
    server.execute("CREATE ROLE locked LOGIN PASSWORD 'the-right-one'")
    text = asyncio.run(refused(server.tcp_url("postgres", user="locked", password="the-wrong-one"), clock))
    assert "password authentication failed" in text
    assert "the-wrong-one" not in text
    server.execute("DROP ROLE locked")


@pytest.mark.slow
def test_a_database_that_cannot_be_reached_is_awaited(
    own: Databases, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Hermes starts, says what is missing, stores nothing, and does so when the server is there."""
    url = own.empty()
    own.server.stop()

    async def test() -> None:
        async with running(url, clock) as node:
            assert node.inbox.problem is not None
            with pytest.raises(InboxUnavailable) as failed:
                await node.append("a")
            assert failed.value.reason == "timeout"
            await asyncio.to_thread(own.server.start)
            await node.works()
            assert await node.append("b") == Stored(1)

    asyncio.run(test())
    caplog.clear()


def test_another_database_begins_a_new_epoch(
    postgres: Databases, url: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A failover or a restored copy may have lost rows: an old position is a gap, and no number is given twice."""
    name = url.partition("@/")[2].partition("?")[0]

    async def test() -> None:
        async with running(url, clock) as node:
            await node.append("a")
            old = node.inbox.epoch
        async with running(url, clock) as node:
            assert node.inbox.epoch == old
        postgres.server.execute("UPDATE hermes.meta SET value = 'x' WHERE name = 'incarnation'", name=name)
        async with running(url, clock) as node:
            assert node.inbox.epoch != old
            assert (await node.inbox.resume(ANA, Position(old, 1))).gap
            assert await node.append("b") == Stored(2)

    asyncio.run(test())
    caplog.clear()


def test_another_database_while_processes_run(
    postgres: Databases,
    url: str,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each says that a new epoch begins: one that has to connect again, and one that keeps its connection."""
    monkeypatch.setattr(writer, "CATCH_UP_INTERVAL_S", 0.05)
    name = url.partition("@/")[2].partition("?")[0]

    async def test() -> None:
        async with running(url, clock) as one, running(url, clock) as two:
            await one.append("a")
            old = one.inbox.epoch
            postgres.server.execute("UPDATE hermes.meta SET value = 'x' WHERE name = 'incarnation'", name=name)
            assert one.inbox._writer._session is not None
            one.inbox._writer._session.cut()
            until = time.monotonic() + ENOUGH_S
            while not (one.new_epochs and two.new_epochs) and time.monotonic() < until:
                await asyncio.sleep(0.02)
            await one.works()
            await two.works()
            assert one.new_epochs == two.new_epochs == [one.inbox.epoch]
            assert two.inbox.epoch == one.inbox.epoch != old
            assert await two.append("b") == Stored(2)
            assert await one.inbox.catch_up() == 2
            assert one.numbers == two.numbers == [1, 2]

    asyncio.run(test())
    caplog.clear()


def test_what_is_prepared_after_a_failed_store_can_be_used_again(
    postgres: Databases, url: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is tried after an outage leaves the session as it was: each statement works more than once."""

    async def test() -> None:
        async with running(url, clock) as node:
            with postgres.outage(), pytest.raises(InboxUnavailable):
                await node.append("lost")
            until = time.monotonic() + ENOUGH_S
            while (node.inbox.problem or node.inbox._writer._cannot_store) and time.monotonic() < until:
                await asyncio.sleep(0.02)
            for id in "abc":
                assert isinstance(await node.append(id), Stored)
            for _ in range(3):
                assert await asyncio.gather(*(node.ids() for _ in range(3))) == [["a", "b", "c"]] * 3

    asyncio.run(test())
    caplog.clear()


@pytest.mark.parametrize("ends_at_once", [False, True])
def test_another_database_after_an_outage(
    postgres: Databases,
    url: str,
    clock: FakeClock,
    ends_at_once: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener to the new epoch can read, unless the connection ends at once: then it does not wait."""
    monkeypatch.setattr(writer, "GRACE_S", 0.0)
    monkeypatch.setattr(writer, "RETRY_S", 0.2)

    async def test() -> None:
        async with running(url, clock) as node:
            await node.append("a")
            reads: list[asyncio.Task[list[str]]] = []

            def read() -> None:
                reads.append(asyncio.ensure_future(node.ids()))
                if ends_at_once:
                    assert node.inbox._writer._session is not None
                    node.inbox._writer._session.cut()

            node.inbox.on_new_epoch(read)
            postgres.replace()
            until = time.monotonic() + ENOUGH_S
            with postgres.outage():
                while not node.inbox._writer._is_down and time.monotonic() < until:
                    await asyncio.sleep(0.02)
            while not reads and time.monotonic() < until:
                await asyncio.sleep(0.02)
            [read_ids] = await asyncio.gather(*reads, return_exceptions=True)
            if ends_at_once:
                assert isinstance(read_ids, InboxUnavailable)
                assert node.inbox._writer._is_down
                await node.works()
                read_ids = await node.ids()
            assert read_ids == ["a"]
            assert len(reads) == 1

    asyncio.run(test())
    caplog.clear()


def test_the_clock_of_a_process_ends_nothing(
    url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is stored ends by the database's: whether a process is a day ahead or behind."""

    async def test() -> None:
        monkeypatch.setattr(writer, "CATCH_UP_INTERVAL_S", 0.05)
        ahead, behind = FakeClock(clock() + 24 * HOUR_MS), FakeClock(clock() - 24 * HOUR_MS)
        async with running(url, clock) as right, running(url, ahead) as one, running(url, behind) as two:
            nodes = (right, one, two)
            for node, id in zip(nodes, "abc", strict=True):
                await node.append(id)
            for node in nodes:
                await next_check(node)
                assert await node.ids() == ["a", "b", "c"]
                assert isinstance(await node.append("a"), Duplicate)
            [ahead_s] = [sample.value for each in one.metrics.inbox_clock_ahead_s.collect() for sample in each.samples]
            assert ahead_s == -86_400
            for each in (clock, ahead, behind):
                each.now_ms += HOUR_MS + 1
            set_database_clock(monkeypatch, clock())
            for node in nodes:
                await next_check(node)
                assert await node.ids() == []

    asyncio.run(test())
    reported = [record.getMessage() for record in caplog.records if "clock of this machine" in record.getMessage()]
    assert ["86400.0 s ahead of" in reported[0], "86400.0 s behind" in reported[1]] == [True, True]
    caplog.clear()


async def next_check(node: Node) -> None:
    """Wait until the task has looked for what has expired, twice: one look may be under way."""
    for _ in range(2):
        before = node.inbox._writer._next_check
        until = time.monotonic() + ENOUGH_S
        while node.inbox._writer._next_check == before and time.monotonic() < until:
            await asyncio.sleep(0.02)


def test_a_read_only_database_is_a_problem_that_names_itself(
    postgres: Databases, url: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As a standby: it is no reason to stop, because a failover may be under way."""
    name = url.partition("@/")[2].partition("?")[0]
    postgres.server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    async def test() -> None:
        async with running(url, clock) as node:
            assert node.inbox.problem is not None
            assert "read-only" in node.inbox.problem
            with pytest.raises(InboxUnavailable) as failed:
                await node.append("a")
            assert failed.value.reason == "disk_full"
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            await node.works()
            assert isinstance(await node.append("b"), Stored)

    asyncio.run(test())
    caplog.clear()


FULL = """
CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON hermes.log EXECUTE FUNCTION public.full();
"""
ROOM = "DROP TRIGGER full_disk ON hermes.log; DROP FUNCTION public.full();"


@pytest.mark.slow
def test_a_full_disk_is_a_problem_until_something_can_be_stored(
    url: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading works meanwhile, and does not end it; storing is tried again without a notification."""

    async def test() -> None:
        async with running(url, clock) as node:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(FULL)
                try:
                    with pytest.raises(InboxUnavailable) as failed:
                        await node.append("a")
                    assert failed.value.reason == "disk_full"
                    for _ in range(3):
                        await checked(node)
                        assert await node.ids() == []
                        assert node.inbox.problem is not None
                        assert "could not extend file" in node.inbox.problem
                finally:
                    connection.execute(ROOM)
            await node.works()
            assert await node.append("b") == Stored(1)

    asyncio.run(test())
    caplog.clear()


async def checked(node: Node) -> None:
    """Wait until the task has looked at the database once more."""
    before = node.inbox._writer._next_check
    while node.inbox._writer._next_check == before:
        await asyncio.sleep(0.02)


def test_a_purge_of_many_rows_is_done_in_parts(url: str, clock: FakeClock) -> None:
    """The number is that of all."""

    async def test() -> None:
        async with running(url, clock) as node:
            for start in range(0, 1_100, 100):
                await asyncio.gather(*(node.append(str(number)) for number in range(start, start + 100)))
            assert await node.inbox.purge(UserId("ana")) == 1_100
            assert await node.ids() == []
            assert (await node.inbox.resume(ANA, BEGINNING)).gap

    asyncio.run(test())


def test_what_has_expired_is_removed(url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the task, without a call."""

    async def test() -> None:
        async with running(url, clock) as node:
            for start in range(0, 600, 100):
                rows = range(start, start + 100)
                await asyncio.gather(*(node.append(str(number), ttl_ms=1_000) for number in rows))
            clock.now_ms += 2_000
            set_database_clock(monkeypatch, clock())
            until = time.monotonic() + ENOUGH_S
            while (await node.inbox.stats()).rows and time.monotonic() < until:
                await asyncio.sleep(0.05)
            assert (await node.inbox.stats()).rows == 0

    asyncio.run(test())
