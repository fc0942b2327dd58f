"""The inbox as the gateway uses it: group commit, repeated requests, failures, the end."""

import asyncio
import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from hermes.errors import HermesError
from hermes.ids import UserId
from hermes.inbox.inbox import (
    Conflict,
    Duplicate,
    InboxUnavailable,
    Page,
    Reader,
    Resumed,
    Row,
    Stored,
    StoreLimits,
    Submission,
)
from hermes.inbox.position import BEGINNING, Position
from hermes.inbox.sqlite import database_file, store_thread
from hermes.inbox.sqlite import inbox as sqlite_inbox
from hermes.inbox.sqlite.inbox import SqliteInbox
from hermes.inbox.sqlite.store import Appended, Store
from hermes.metrics import Metrics
from tests.support.inboxes import FakeClock, submission

pytestmark = pytest.mark.usefixtures("patient")

ANA = Reader(UserId("ana"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the inbox, in a folder that does not exist yet."""
    return tmp_path / "state" / "inbox.db"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


def inbox_at(path: Path, clock: FakeClock) -> SqliteInbox:
    """Return an inbox that is not started."""
    return SqliteInbox(path, limits=StoreLimits(), now_ms=clock, metrics=Metrics())


class Runner:
    """Run one asynchronous test with an open inbox."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.path = path
        self.clock = clock

    def __call__(self, test: Callable[[SqliteInbox], Awaitable[None]]) -> None:
        """Start, run and stop."""

        async def whole() -> None:
            inbox = inbox_at(self.path, self.clock)
            await inbox.start()
            try:
                await test(inbox)
            finally:
                await inbox.stop()

        asyncio.run(whole())

    def sent(self, id: str, **values: str | None) -> Submission:
        """Return a notification to ana."""
        return submission(id, user="ana", at_ms=self.clock(), **values)  # type: ignore[arg-type]


@pytest.fixture
def run(path: Path, clock: FakeClock) -> Runner:
    """Run asynchronous functions with an open inbox."""
    return Runner(path, clock)


async def append(inbox: SqliteInbox, sent: Submission) -> Stored | Duplicate | Conflict:
    """Store it; what is published is what was stored."""
    published: list[Stored] = []
    outcome = await inbox.append(sent, published.append)
    assert published == ([outcome] if isinstance(outcome, Stored) else [])
    return outcome


async def rows(inbox: SqliteInbox, position: Position = BEGINNING) -> list[int]:
    """Return the numbers of ana's rows."""
    resumed = await inbox.resume(ANA, position)
    pages: list[Page] = []
    while not pages or not pages[-1].is_last:
        after_seq = pages[-1].last_seq if pages else resumed.from_seq
        await inbox.replay(ANA, resumed, after_seq=after_seq, then=pages.append)
    return [entry.seq for page in pages for entry in page.read_entries() if isinstance(entry, Row)]


class Blocked:
    """The inbox's thread waits inside an operation until this is released."""

    def __init__(self, inbox: SqliteInbox) -> None:
        self._go_on = threading.Event()
        self._waits = threading.Event()
        self._operation = inbox._thread.submit(self._wait)

    def _wait(self, _store: object) -> None:
        self._waits.set()
        assert self._go_on.wait(60)

    async def __aenter__(self) -> None:
        await asyncio.to_thread(self._waits.wait, 60)

    async def __aexit__(self, *_error: object) -> None:
        self._go_on.set()


def test_what_waits_is_committed_together(run: Runner) -> None:
    """A hundred notifications that come during one commit need one more."""

    async def test(inbox: SqliteInbox) -> None:
        async with Blocked(inbox):
            before = inbox._thread.commits
            sends = [asyncio.ensure_future(append(inbox, run.sent(str(number)))) for number in range(100)]
            await asyncio.sleep(0)
        outcomes = await asyncio.gather(*sends)
        assert [outcome.seq for outcome in outcomes if isinstance(outcome, Stored)] == list(range(1, 101))
        assert inbox._thread.commits - before <= 10  # a slice ends after 20 ms on a slow machine
        assert await rows(inbox) == list(range(1, 101))

    run(test)


def test_a_repeated_request_waits_for_the_first_answer(run: Runner) -> None:
    """It gets the sockets that the first one reached."""

    async def test(inbox: SqliteInbox) -> None:
        first = run.sent("a")
        assert await append(inbox, first) == Stored(1)
        second = asyncio.ensure_future(append(inbox, run.sent("a")))
        other = asyncio.ensure_future(append(inbox, run.sent("a", text="other")))
        await inbox.stats()
        assert not second.done()
        inbox.delivered(first, 2)
        assert await second == Duplicate(1, 2, replaced=False)
        assert await other == Conflict()

    run(test)


def test_a_slow_commit_is_a_failed_store_and_leaves_nothing(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller does not wait longer; a repeated request gets the same answer, and the row does not come later."""
    monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 0.05)

    async def test(inbox: SqliteInbox) -> None:
        sent = run.sent("a")
        async with Blocked(inbox):
            with pytest.raises(InboxUnavailable) as failed:
                await append(inbox, sent)
            assert failed.value.reason == "timeout"
            inbox.delivered(sent, 1)
            assert await append(inbox, run.sent("a")) == Duplicate(None, 1, replaced=False, reason="timeout")
            assert await append(inbox, run.sent("a", text="other")) == Conflict()
        monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 60.0)
        assert await rows(inbox) == []
        assert inbox.waiting == 0

    run(test)


def test_a_row_that_is_committed_too_late_is_removed(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was run before the time was over, and its commit ended after it."""
    monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 0.05)
    monkeypatch.setattr(store_thread, "SLICE_S", 60.0)  # all that waits is one transaction

    async def test(inbox: SqliteInbox) -> None:
        sent = run.sent("a")
        first = Blocked(inbox)
        async with first:
            storing = asyncio.ensure_future(append(inbox, sent))
            await asyncio.sleep(0)
            last = Blocked(inbox)
        async with last:
            with pytest.raises(InboxUnavailable):
                await storing
            inbox.delivered(sent, 0)
        monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 60.0)
        assert await rows(inbox) == []
        assert (await inbox.stats()).last_seq == 1

    run(test)


def test_a_request_that_was_refused_is_not_remembered(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """``require: stored`` that failed may be tried again."""
    monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 0.05)

    async def test(inbox: SqliteInbox) -> None:
        sent = run.sent("a")
        async with Blocked(inbox):
            with pytest.raises(InboxUnavailable):
                await append(inbox, sent)
            inbox.delivered(sent, None)
        monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 60.0)
        outcome = await append(inbox, sent)
        inbox.delivered(sent, 1)
        assert isinstance(outcome, Stored)
        assert await rows(inbox) == [outcome.seq]

    run(test)


def test_a_full_queue_is_busy(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits without bound, and those that wait are served."""
    monkeypatch.setattr(store_thread, "QUEUE_MAX", 2)

    async def test(inbox: SqliteInbox) -> None:
        async with Blocked(inbox):
            waiting = [asyncio.ensure_future(append(inbox, run.sent(str(number)))) for number in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(InboxUnavailable) as failed:
                await append(inbox, run.sent("a"))
            assert failed.value.reason == "busy"
        await asyncio.gather(*waiting)

    run(test)


def test_readers_do_not_take_the_places_of_senders(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do acknowledgements, which any client may send."""
    monkeypatch.setattr(store_thread, "QUEUE_MAX", 2)

    async def test(inbox: SqliteInbox) -> None:
        async with Blocked(inbox):
            reads = [asyncio.ensure_future(inbox.stats()) for _ in range(9)]
            acks = [asyncio.ensure_future(inbox.ack(ANA, "a", lambda _made: None)) for _ in range(3)]
            await asyncio.sleep(0)
            sent = asyncio.ensure_future(append(inbox, run.sent("a")))
            await asyncio.sleep(0)
        assert await sent == Stored(1)
        *made, failed = await asyncio.gather(*acks, return_exceptions=True)
        assert [type(each) for each in (*made, failed)] == [list, list, InboxUnavailable]
        await asyncio.gather(*reads)

    run(test)


def test_the_number_of_sockets_costs_no_commit(run: Runner) -> None:
    """It is stored with what comes next, and at the end."""

    async def first(inbox: SqliteInbox) -> None:
        await append(inbox, run.sent("a"))
        before = inbox._thread.commits
        inbox.delivered(run.sent("a"), 2)
        await asyncio.sleep(0.05)
        assert inbox._thread.commits == before
        [receipt] = await inbox.receipts("a")
        assert receipt.sockets == 2
        await append(inbox, run.sent("b"))
        inbox.delivered(run.sent("b"), 3)

    async def second(inbox: SqliteInbox) -> None:
        [receipt] = await inbox.receipts("b")
        assert receipt.sockets == 3

    run(first)
    run(second)


def test_a_late_commit_leaves_what_it_was_to_replace(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is undone before a reader can see it; so is one that replaces another late one."""
    monkeypatch.setattr(store_thread, "SLICE_S", 60.0)  # all that waits is one transaction

    async def test(inbox: SqliteInbox) -> None:
        await append(inbox, run.sent("a"))
        inbox.delivered(run.sent("a"), 0)
        monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 0.05)
        late = [run.sent("b", replaces="a"), run.sent("c", replaces="b")]
        first = Blocked(inbox)
        async with first:
            storing = [asyncio.ensure_future(append(inbox, each)) for each in late]
            await asyncio.sleep(0)
            last = Blocked(inbox)
        async with last:
            reading = asyncio.ensure_future(rows(inbox))
            for each, sent in zip(storing, late, strict=True):
                with pytest.raises(InboxUnavailable):
                    await each
                inbox.delivered(sent, 0)
            assert inbox._thread.waiting
        with contextlib.suppress(InboxUnavailable):  # it has waited for as long
            assert await reading == [1]
        monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 60.0)
        assert await rows(inbox) == [1]

    run(test)


def test_stopping_does_not_wait_for_a_disk_that_hangs(
    path: Path, clock: FakeClock, run: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits fails, the log says so, and the file stays locked as long as the thread has it."""
    monkeypatch.setattr(store_thread, "STOP_MAX_S", 0.05)

    async def test() -> None:
        inbox = inbox_at(path, clock)
        await inbox.start()
        thread = inbox._thread._thread
        assert thread is not None
        async with Blocked(inbox):
            waiting = asyncio.ensure_future(append(inbox, run.sent("a")))
            await asyncio.sleep(0)
            await inbox.stop()
            with pytest.raises(InboxUnavailable) as failed:
                await waiting
            assert failed.value.reason == "timeout"
            with pytest.raises(HermesError, match="in use"):
                await inbox_at(path, clock).start()
        await asyncio.to_thread(thread.join)
        await inbox.stop()

    asyncio.run(test())
    assert "are not done: 1" in caplog.text
    caplog.clear()

    async def opened(inbox: SqliteInbox) -> None:
        assert await rows(inbox) == []

    run(opened)


def test_a_call_that_fails_changes_nothing_and_harms_no_other(run: Runner) -> None:
    """An id that SQLite cannot store fails alone."""

    async def test(inbox: SqliteInbox) -> None:
        async with Blocked(inbox):
            good = asyncio.ensure_future(append(inbox, run.sent("good")))
            bad = asyncio.ensure_future(append(inbox, run.sent("\ud800")))
            later = asyncio.ensure_future(append(inbox, run.sent("later")))
            await asyncio.sleep(0)
        assert await good == Stored(1)
        with pytest.raises(UnicodeEncodeError):
            await bad
        assert await later == Stored(2)
        assert inbox.problem is None

    run(test)


def test_stopping_commits_what_was_accepted(path: Path, clock: FakeClock, run: Runner) -> None:
    """What waits when the server stops is there after a restart."""

    async def first() -> None:
        inbox = inbox_at(path, clock)
        await inbox.start()
        blocked = Blocked(inbox)
        async with blocked:
            sends = [asyncio.ensure_future(append(inbox, run.sent(str(number)))) for number in range(10)]
            await asyncio.sleep(0)
            stopping = asyncio.ensure_future(inbox.stop())
            await asyncio.sleep(0)
            with pytest.raises(InboxUnavailable):
                await append(inbox, run.sent("too late"))
        await stopping
        assert all(isinstance(outcome, Stored) for outcome in await asyncio.gather(*sends))
        await inbox.stop()

    asyncio.run(first())

    async def second(inbox: SqliteInbox) -> None:
        assert await rows(inbox) == list(range(1, 11))

    run(second)


def test_a_second_process_is_refused_with_the_pid_of_the_first(path: Path, clock: FakeClock, run: Runner) -> None:
    """The lock ends with the inbox."""

    async def test(_inbox: SqliteInbox) -> None:
        with pytest.raises(HermesError, match=rf"in use by process {os.getpid()}\b"):
            await inbox_at(path, clock).start()

    run(test)
    run(test)


def test_the_files_are_private(path: Path, run: Runner) -> None:
    """The folder is 0700, every file 0600."""

    async def test(inbox: SqliteInbox) -> None:
        await append(inbox, run.sent("a"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert {"inbox.db", "inbox.db-wal", "inbox.db.lock"} <= set(modes)
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    run(test)


@pytest.mark.parametrize("damage", ["header", "middle", "text"])
def test_a_damaged_file_is_moved_aside_and_a_new_inbox_begins(
    path: Path, run: Runner, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost, the log has its new name, and old positions are a gap."""
    epochs = []

    async def fill(inbox: SqliteInbox) -> None:
        await asyncio.gather(*(append(inbox, run.sent(str(number), text="x" * 500)) for number in range(200)))
        epochs.append((await inbox.stats()).epoch)

    run(fill)
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:100] = b"\xff" * 100
    elif damage == "middle":
        content[4096 : 4096 * 4] = os.urandom(4096 * 3)
    else:
        content = bytearray(b"this is not a database " * 1_000)
    path.write_bytes(content)

    async def check(inbox: SqliteInbox) -> None:
        assert (path.parent / "inbox.db.damaged-1").read_bytes() == content
        assert await rows(inbox) == []
        assert (await inbox.resume(ANA, Position(epochs[0], 1))).gap
        assert isinstance(await append(inbox, run.sent("a")), Stored)

    run(check)
    assert "damaged-1" in caplog.text
    caplog.clear()


def test_a_file_from_a_newer_hermes_is_refused(path: Path, run: Runner, clock: FakeClock) -> None:
    """It is left as it is, and the error says what to do."""

    async def nothing(_inbox: SqliteInbox) -> None:
        pass

    run(nothing)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    async def test() -> None:
        with pytest.raises(HermesError, match="newer Hermes"):
            await inbox_at(path, clock).start()

    asyncio.run(test())
    assert not path.with_name("inbox.db.damaged-1").exists()


def test_a_file_that_is_deleted_while_it_runs_is_noticed(
    path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A new inbox with a new epoch begins without a restart."""
    monkeypatch.setattr(store_thread, "HEALTH_CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr(database_file, "REOPEN_INTERVAL_S", 0.0)

    async def test(inbox: SqliteInbox) -> None:
        await append(inbox, run.sent("a"))
        old = (await inbox.stats()).epoch
        os.unlink(path)
        while True:
            try:
                if (await inbox.stats()).epoch != old:
                    break
            except InboxUnavailable:
                pass
            await asyncio.sleep(0.01)
        inbox.delivered(run.sent("a"), 0)
        assert isinstance(await append(inbox, run.sent("a")), Stored)
        assert (await inbox.resume(ANA, Position(old, 0))).gap
        assert inbox.problem is None

    run(test)
    assert "was deleted or replaced" in caplog.text
    caplog.clear()


def test_the_log_is_copied_into_the_file_when_nothing_is_to_be_done(
    path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the commit of a notification."""
    monkeypatch.setattr(database_file, "CHECKPOINT_COMMITS", 3)
    monkeypatch.setattr(store_thread, "CHECKPOINT_IDLE_S", 0.01)

    def rows_in_the_file() -> int:
        file = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)  # without the log
        with contextlib.closing(file), contextlib.suppress(sqlite3.DatabaseError):  # empty, or half of it is copied
            return int(file.execute("SELECT count(*) FROM log").fetchone()[0])
        return 0

    async def test(inbox: SqliteInbox) -> None:
        for number in range(3):
            assert rows_in_the_file() == 0
            await append(inbox, run.sent(str(number)))
        while rows_in_the_file() < 3:
            await asyncio.sleep(0.01)
        assert await rows(inbox) == [1, 2, 3]

    run(test)


def test_nothing_is_stored_while_the_disk_is_nearly_full(
    run: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading and acknowledging go on; when there is room again, storing does too."""
    monkeypatch.setattr(store_thread, "HEALTH_CHECK_INTERVAL_S", 0.01)
    full = False
    monkeypatch.setattr(database_file, "is_nearly_full", lambda _folder, *, free_min: full)

    async def test(inbox: SqliteInbox) -> None:
        nonlocal full
        assert await append(inbox, run.sent("a")) == Stored(1)
        full = True
        while inbox.problem is None:
            await asyncio.sleep(0.01)
        refused = run.sent("b")
        with pytest.raises(InboxUnavailable) as failed:
            await append(inbox, refused)
        inbox.delivered(refused, None)
        assert failed.value.reason == "disk_full"
        assert len(await inbox.ack(ANA, "a", lambda _made: None)) == 1
        full = False
        while inbox.problem is not None:
            await asyncio.sleep(0.01)
        assert isinstance(await append(inbox, run.sent("b")), Stored)

    run(test)
    assert "of the disk is free" in caplog.text
    caplog.clear()


def test_a_late_repetition_does_not_remove_the_stored_row(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered as stored stays, also if the same request comes again while the disk hangs."""
    monkeypatch.setattr(store_thread, "SLICE_S", 60.0)  # all that waits is one transaction

    async def test(inbox: SqliteInbox) -> None:
        assert await append(inbox, run.sent("a")) == Stored(1)
        inbox.delivered(run.sent("a"), 0)
        monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 0.05)
        for has_begun in (True, False):
            first = Blocked(inbox)
            async with first:
                again = asyncio.ensure_future(append(inbox, run.sent("a")))
                await asyncio.sleep(0)
                last = Blocked(inbox)
                if not has_begun:
                    with pytest.raises(InboxUnavailable):
                        await again
            async with last:
                if has_begun:
                    with pytest.raises(InboxUnavailable):
                        await again
            inbox.delivered(run.sent("a"), 0)
            inbox._repetitions._unstored.clear()
            monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 60.0)
            assert await rows(inbox) == [1]
            monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 0.05)

    run(test)


def test_nobody_waits_for_a_thread_that_hangs(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader gets an error; an acknowledgement that is committed later is still published."""

    async def test(inbox: SqliteInbox) -> None:
        await append(inbox, run.sent("a"))
        inbox.delivered(run.sent("a"), 0)
        monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 0.05)
        made: list[object] = []
        pages: list[Page] = []
        async with Blocked(inbox):
            for call in (
                inbox.resume(ANA, BEGINNING),
                inbox.replay(ANA, Resumed(inbox.epoch, 0, 1, 0, gap=False, unread=0), after_seq=0, then=pages.append),
                inbox.receipts("a"),
                inbox.ack(ANA, "a", made.append),
            ):
                with pytest.raises(InboxUnavailable) as failed:
                    await call
                assert failed.value.reason == "timeout"
        monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", 60.0)
        await inbox.stats()
        assert (len(made), pages) == (1, [])

    run(test)


def test_a_wait_that_is_cancelled_gets_nothing_later(run: Runner) -> None:
    """A socket that resumes again must not get the page of its first resume."""

    async def test(inbox: SqliteInbox) -> None:
        pages: list[Page] = []
        async with Blocked(inbox):
            resumed = Resumed(inbox.epoch, 0, 1, 0, gap=False, unread=0)
            waiting = asyncio.ensure_future(inbox.replay(ANA, resumed, after_seq=0, then=pages.append))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await inbox.stats()
        assert pages == []

    run(test)


def test_the_results_of_a_large_commit_do_not_hold_the_loop(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between slices of them the loop does other work; their order stays."""
    monkeypatch.setattr(store_thread, "SLICE_S", 60.0)  # all that waits is one transaction

    async def test(inbox: SqliteInbox) -> None:
        turn = 0
        turns: list[int] = []

        def publish(_stored: Stored) -> None:
            turns.append(turn)
            time.sleep(0.001)

        async with Blocked(inbox):
            sends = [asyncio.ensure_future(inbox.append(run.sent(str(number)), publish)) for number in range(30)]
            await asyncio.sleep(0)
        while len(turns) < 30:
            await asyncio.sleep(0)
            turn += 1
        assert [outcome.seq for outcome in await asyncio.gather(*sends) if isinstance(outcome, Stored)] == [
            *range(1, 31)
        ]
        assert max(turns.count(each) for each in turns) <= 7  # each took at least 1 ms of 5

    run(test)


def test_a_backup_that_did_not_begin_ends_with_the_inbox(path: Path, run: Runner) -> None:
    """Its request is answered."""

    async def test(inbox: SqliteInbox) -> None:
        async with Blocked(inbox):
            backup = asyncio.ensure_future(inbox.back_up(path.with_name("copy.db")))
            await asyncio.sleep(0)
            stopping = asyncio.ensure_future(inbox.stop())
            await asyncio.sleep(0)
        await stopping
        await asyncio.wait((backup,), timeout=60)
        assert backup.done()
        assert backup.exception() is None or isinstance(backup.exception(), InboxUnavailable)

    run(test)


def test_values_that_make_no_sense_do_not_end_the_thread(
    run: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Overwritten pages may hold any: the store is opened again, and the error is logged."""
    monkeypatch.setattr(store_thread, "HEALTH_CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr(database_file, "REOPEN_INTERVAL_S", 0.0)
    sweep = Store.sweep
    sweeps = 0

    def fail_once(store: Store) -> bool:
        nonlocal sweeps
        sweeps += 1
        if sweeps == 1:
            raise TypeError("a text in the place of a number")
        return sweep(store)

    monkeypatch.setattr(Store, "sweep", fail_once)

    async def test(inbox: SqliteInbox) -> None:
        while sweeps < 2:
            await asyncio.sleep(0.01)
        assert await append(inbox, run.sent("a")) == Stored(1)
        inbox.delivered(run.sent("a"), 0)

    run(test)
    assert "a text in the place of a number" in caplog.text
    caplog.clear()


def test_a_row_that_cannot_be_stored_because_of_such_values_is_delivered(
    run: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a failed store, not an error of the request."""

    def fail(_store: Store, _submissions: Sequence[Submission]) -> list[Appended]:
        raise TypeError("cannot unpack None")

    monkeypatch.setattr(Store, "append_all", fail)

    async def test(inbox: SqliteInbox) -> None:
        with pytest.raises(InboxUnavailable) as failed:
            await append(inbox, run.sent("a"))
        inbox.delivered(run.sent("a"), 1)
        assert failed.value.reason == "corrupt"

    run(test)
    assert "cannot unpack None" in caplog.text
    caplog.clear()
