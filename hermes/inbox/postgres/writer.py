"""The task of a PostgreSQL inbox: group commit, and recovery after an error.

One task owns one connection. What waits to be stored goes into one transaction, sent in one piece and answered in one:
a round trip and a sync, whether for one row or for a hundred. A second transaction has the reads. Each of them first
finds what other processes have committed. So what the loop gets is in the order of the commits of all processes.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any, Final, TypeVar

import psycopg

from hermes.delivery.messages import Notification
from hermes.ids import UserId
from hermes.inbox.inbox import (
    CATCH_UP_INTERVAL_S,
    COMMIT_MAX_S,
    FailureReason,
    InboxUnavailable,
    Stored,
    StoreLimits,
    Submission,
)
from hermes.inbox.postgres import statements, storing
from hermes.inbox.postgres.clock import ClockReading, DatabaseClock
from hermes.inbox.postgres.follower import Follower
from hermes.inbox.postgres.operations import Append, Operation, Outcome, decoded
from hermes.inbox.postgres.session import (
    APPLICATION_PREFIX,
    NotUsable,
    Session,
    Unreachable,
    describe,
    open_session,
    reason_of,
)
from hermes.inbox.postgres.statements import Statement
from hermes.inbox.postgres.transactions import fetch, fetch_all, rehearse, transact, try_to_store
from hermes.inbox.results import set_result
from hermes.log import LogThrottle
from hermes.metrics import Metrics
from hermes.net.resolver import Resolver

logger = logging.getLogger(__name__)

T = TypeVar("T")

QUEUE_MAX: Final = 10_000  # notifications that wait, and as many acknowledgements and other changes
READERS_MAX: Final = 100_000  # each socket and each request has at most one: the number of open files is the limit
APPENDS_AT_ONCE: Final = 200  # of one transaction: a commit of many rows delays no other for longer
APPENDS_MAX_BYTES: Final = 2_097_152  # of their texts, which are in memory three times while they are sent
CHANGES_AT_ONCE: Final = 50
READS_AT_ONCE: Final = 20
FORGETS_MAX: Final = 10_000  # rows to take back; more are not, and come as a duplicate
SOCKETS_NOTED_AFTER_S: Final = 0.02  # the numbers of sockets wait so long for a transaction of their own
LOG_INTERVAL_S: Final = 10.0  # of commits that take too long
STALL_MAX_S: Final = 1.5 * COMMIT_MAX_S  # of a transaction, then its connection is cut
STOP_MAX_S: Final = 10.0  # with the 10 s for sockets, less than the 30 s after which systemd kills the service
GRACE_S: Final = COMMIT_MAX_S  # without a connection; then what comes fails at once
POSTPONED_MAX_S: Final = 5.0  # a look at the database, while notifications wait
RETRY_S, GRACE_RETRY_S = 1.0, 0.1
RESULTS_SLICE_S: Final = 0.005  # of the loop, for the results of many operations
EPOCH_BYTES: Final = 12
TRIED_BYTES: Final = 16_384  # to see whether the disk has room again: more than fits into a page


class Writer:
    """The operations that wait, and the task that runs them.

    ``parameters`` gives those of the connection, read again for each.
    """

    def __init__(
        self,
        parameters: Callable[[], Mapping[str, Any]],
        *,
        limits: StoreLimits,
        now_ms: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._parameters = parameters
        self._limits = limits
        self._now_ms = now_ms
        self._metrics = metrics
        self.clock = DatabaseClock(now_ms, metrics)
        self.follower = Follower()
        self._appends: deque[Append] = deque()
        self._changes: deque[Operation[Any]] = deque()
        self._reads: deque[Operation[Any]] = deque()
        self._forgets: deque[tuple[Submission, bytes]] = deque(maxlen=FORGETS_MAX)
        self._sockets: list[tuple[Submission, int]] = []
        self._sockets_due = 0.0
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._last_name: str | None = None
        self._resolver = Resolver()
        self._grace_timer: asyncio.TimerHandle | None = None
        self._down_since = 0.0  # monotonic seconds, while there is no connection
        self._is_down = False
        self._next_check = 0.0
        self._cannot_store = False  # the last transaction that stores failed
        self._log_throttle = LogThrottle(LOG_INTERVAL_S)
        self.commits = 0
        self.problem: str | None = None  # what is wrong now, in words
        self.reason: FailureReason = "timeout"  # of the problem

    # -- what the inbox calls -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect and start the task; a database that does not answer is tried again.

        Raises `NotUsable` if a person must act.
        """
        try:
            await self._open()
        except Unreachable as error:
            self._report(error.reason, str(error))
            self._is_down = True
        self._task = asyncio.get_running_loop().create_task(self._run(), name="inbox in PostgreSQL")

    async def stop(self) -> None:
        """Commit what waits and close the connection; may be repeated.

        A database that does not answer is not waited for.
        """
        self._stopping = True
        self._wake.set()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait((task,), timeout=STOP_MAX_S)
            if not task.done() and self._session is not None:
                logger.error("inbox: %d operations are not done: the database is too slow", self.waiting)
                self._session.cut()
            await task

    @property
    def waiting(self) -> int:
        """The number of operations that wait."""
        return len(self._appends) + len(self._changes) + len(self._reads)

    def append(self, submission: Submission, then: Callable[[Any], None]) -> Append:
        """Queue a row.

        Raises `InboxUnavailable`, and UnicodeEncodeError for an id that is not text.
        """
        self._check_room(self._appends, QUEUE_MAX)
        operation = Append(submission, then, ahead_ms=self.clock.ahead_ms)
        self._appends.append(operation)
        self._wake.set()
        return operation

    def change(self, statement: "Statement[T]", then: Callable[[T], None] | None = None) -> Operation[T]:
        """Queue a change. Raises `InboxUnavailable`."""
        return self._queue(self._changes, QUEUE_MAX, statement, then)

    def read(self, statement: "Statement[T] | None", then: Callable[[T], None] | None = None) -> Operation[T]:
        """Queue a read. Raises `InboxUnavailable`.

        Without a statement it gives the highest number.
        """
        return self._queue(self._reads, READERS_MAX, statement, then)

    def forget(self, append: Append) -> None:
        """Take a row back that was answered as not stored, if it is committed."""
        self._forgets.append((append.submission, append.attempt))
        self._wake.set()

    def report_late(self) -> None:
        """Log that a commit takes too long, now and then."""
        if self._log_throttle.allow("timeout"):
            logger.error("inbox: %s", self.problem or f"no commit within {COMMIT_MAX_S:g} s")

    def note_sockets(self, submission: Submission, sockets: int) -> None:
        """Note how many sockets took a row: with the next transaction, or soon."""
        if len(self._sockets) < QUEUE_MAX:
            if not self._sockets:
                self._sockets_due = time.monotonic() + SOCKETS_NOTED_AFTER_S
                self._wake.set()
            self._sockets.append((submission, sockets))

    def _queue(
        self,
        queue: "deque[Operation[Any]]",
        maximum: int,
        statement: "Statement[T] | None",
        then: Callable[[T], None] | None,
    ) -> Operation[T]:
        self._check_room(queue, maximum)
        operation = Operation(statement, then)
        queue.append(operation)
        self._wake.set()
        return operation

    def _check_room(self, queue: Sized, maximum: int) -> None:
        if self._stopping or len(queue) >= maximum:
            raise InboxUnavailable("busy")
        if self._is_down:
            raise InboxUnavailable(self.reason)

    # -- the task -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not self._is_done:
                if self._session is None:
                    await self._reconnect()
                else:
                    await self._wait()
                    await self._work()
        except Exception:
            logger.exception("the task of the inbox ended")
            self.problem = "its task ended: restart Hermes"
            self._is_down = True
        finally:
            if self._grace_timer is not None:
                self._grace_timer.cancel()
            self._fail_all("timeout")
            if self._session is not None:
                await self._session.close()

    @property
    def _is_done(self) -> bool:
        if not self._stopping:
            return False
        return self._session is None or not (self.waiting or self._forgets or self._sockets)

    async def _wait(self) -> None:
        """Wait until there is something to do."""
        if self.waiting or self._forgets or self._stopping:
            return
        due = min(self._next_check, self._sockets_due) if self._sockets else self._next_check
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._wake.wait()

    async def _work(self) -> None:
        if self._appends or self._changes or self._forgets or self._sockets_are_due:
            await self._write()
        if self._session is not None and self._reads:
            await self._read()
        # what waits to be stored comes first; that transaction finds the entries of others too
        due = self._next_check + (POSTPONED_MAX_S if self._appends else 0.0)
        if self._session is not None and time.monotonic() >= due:
            await self._check_health()

    @property
    def _sockets_are_due(self) -> bool:
        return bool(self._sockets) and (bool(self._reads) or self._stopping or time.monotonic() >= self._sockets_due)

    # -- transactions -------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Store what waits in one transaction."""
        appends = self._take_appends()
        changes = [each for each in _take(self._changes, CHANGES_AT_ONCE) if not each.future.done()]
        forgets, sockets = _take(self._forgets, APPENDS_AT_ONCE), self._sockets
        self._sockets = []
        try:
            await self._store(appends, changes, forgets, sockets)
        except (psycopg.Error, OSError) as error:
            is_lost = await self._failed(error)
            self._forgets.extendleft(reversed(forgets))
            if is_lost:  # it may be committed
                self._forgets.extend((each.submission, each.attempt) for each in appends)
            elif _is_of_values(error):
                await self._store_alone(appends, changes)
                return
            self._cannot_store = True
            self._fail([*appends, *changes], reason_of(error))

    def _take_appends(self) -> list[Append]:
        """Return the rows for the next transaction."""
        taken: list[Append] = []
        size = 0
        while self._appends and len(taken) < APPENDS_AT_ONCE and size < APPENDS_MAX_BYTES:
            operation = self._appends.popleft()
            if not operation.future.done():
                taken.append(operation)
                size += len(operation.submission.text)
        return taken

    async def _store_alone(self, appends: Sequence[Append], changes: Sequence[Operation[Any]]) -> None:
        """Run each operation in a transaction of its own.

        So one with wrong values fails alone.
        """
        for operation in (*appends, *changes):
            if self._session is None:
                self._fail([operation], self.reason)
                continue
            alone = [operation] if isinstance(operation, Append) else []
            try:
                await self._store(alone, [] if alone else [operation], (), ())
            except (psycopg.Error, OSError) as error:
                is_lost = await self._failed(error)
                if is_lost and isinstance(operation, Append):
                    self.forget(operation)
                if not is_lost and _is_of_values(error):
                    logger.error("inbox: an operation failed: %s", describe(error))
                    self._fail([operation], "corrupt")
                else:
                    self._cannot_store = True
                    self._fail([operation], reason_of(error))

    async def _store(
        self,
        appends: Sequence[Append],
        changes: Sequence[Operation[Any]],
        forgets: Sequence[storing.Forget],
        sockets: Sequence[tuple[Submission, int]],
    ) -> None:
        statement = storing.store(
            [each.submission for each in appends],
            [each.row for each in appends],
            cursor=self.follower.cursor,
            forgets=forgets,
            sockets=sockets,
            limits=self._limits,
            now_ms=self.clock.now_ms(),
        )
        begun = time.monotonic()
        with self._limited() as session:
            if changes:
                rest = [each.statement for each in changes if each.statement is not None]
                batch, results, last_seq = await transact(session, statement, rest)
            else:
                batch, results = await fetch(session, statement), []
                last_seq = batch.last_seq
            await self._publish_committed(session, batch, appends)
        self.follower.cursor = last_seq
        self._cannot_store = False
        self.commits += 1
        self._metrics.inbox_commit_s.observe(time.monotonic() - begun)
        self._metrics.inbox_removed.labels("evicted").inc(sum([each.evicted for each in batch.appended]))
        self._works_again()
        outcomes: list[Outcome] = [(each, one.outcome, None) for each, one in zip(appends, batch.appended, strict=True)]
        outcomes += [decoded(each, rows) for each, rows in zip(changes, results, strict=True)]
        await self._hand_over(outcomes)

    async def _publish_committed(self, session: Session, batch: storing.StoredBatch, appends: Sequence[Append]) -> None:
        """Publish what others had committed before; take back what cannot follow it.

        Raises OSError.
        """
        try:
            await self.follower.publish_remote(session, batch.heads, batch.first_seq)
        except (psycopg.Error, OSError) as error:
            for each in appends:
                self.forget(each)
            raise OSError(f"what others have stored cannot be read: {describe(error)}") from None

    async def _read(self) -> None:
        """Answer the reads that wait, each from a snapshot of its own."""
        reads = [each for each in _take(self._reads, READS_AT_ONCE) if not each.future.done()]
        for each in reads:
            each.has_begun = True
        asked = [
            statements.with_position(each.statement or statements.position(), self.follower.cursor) for each in reads
        ]
        try:
            with self._limited() as session:
                for operation, statement, rows in zip(reads, asked, await fetch_all(session, asked), strict=True):
                    last_seq, is_behind, result = statement.decode(rows)
                    await self.follower.catch_up(session, last_seq, is_behind=is_behind)
                    await self._hand_over([(operation, last_seq if operation.statement is None else result, None)])
        except (psycopg.Error, OSError) as error:
            await self._failed(error)
            self._fail(reads, reason_of(error))

    async def _check_health(self) -> None:
        """Find entries of others, count what is stored, remove what has expired.

        After a transaction that failed, also see whether something can be stored again: reading works on a full disk.
        """
        has_more = False
        now_ms = self.clock.now_ms()
        health = statements.with_position(statements.health(limits=self._limits, now_ms=now_ms), self.follower.cursor)
        try:
            with self._limited() as session:
                asked_ms = self._now_ms()
                last_seq, is_behind, (stats, needs_sweep, clock_ms) = await fetch(session, health)
                self.clock.follow(ClockReading(clock_ms, asked_ms, self._now_ms()))
                if stats.epoch != self.follower.epoch:
                    # another process has found another database behind this connection
                    await session.close()
                    raise OSError("another epoch has begun")
                await self.follower.catch_up(session, last_seq, is_behind=is_behind)
            metrics = self._metrics
            metrics.inbox_rows.set(stats.rows)
            metrics.inbox_bytes.set(stats.bytes)
            age_ms = 0 if stats.oldest_ms is None else now_ms - stats.oldest_ms
            metrics.inbox_oldest_s.set(max(0, age_ms) / 1_000)
            if needs_sweep:
                with self._limited() as session:
                    removed, has_more = await fetch(session, statements.sweep(limits=self._limits, now_ms=now_ms))
                metrics.inbox_removed.labels("expired").inc(removed)
            if self._cannot_store:
                with self._limited() as session:
                    await try_to_store(session, self._rehearsal(1, secrets.token_bytes(TRIED_BYTES)))
                self._cannot_store = False
            self._works_again()
        except (psycopg.Error, OSError) as error:
            await self._failed(error)
        # from its end on: on a slow link it must not be under way all the time
        self._next_check = time.monotonic() + (0.0 if has_more else CATCH_UP_INTERVAL_S)

    @contextlib.contextmanager
    def _limited(self) -> Iterator[Session]:
        """Give the session; cut it after `STALL_MAX_S`.

        So nothing waits for a server that hangs.
        """
        session = self._session
        if session is None:
            raise OSError("no connection")
        timer = asyncio.get_running_loop().call_later(STALL_MAX_S, session.cut)
        try:
            yield session
        finally:
            timer.cancel()

    # -- results ------------------------------------------------------------------------------------------------

    async def _hand_over(self, outcomes: Sequence[Outcome]) -> None:
        """Set results, in order; after `RESULTS_SLICE_S` the loop does other work first."""
        until = time.monotonic() + RESULTS_SLICE_S
        for operation, result, error in outcomes:
            if time.monotonic() > until:
                await asyncio.sleep(0)
                until = time.monotonic() + RESULTS_SLICE_S
            if isinstance(operation, Append) and operation.is_late and isinstance(result, Stored):
                self.forget(operation)
            set_result(operation.future, result, error, operation.then)

    def _fail(self, operations: Sequence[Operation[Any]], reason: FailureReason) -> None:
        for operation in operations:
            set_result(operation.future, None, InboxUnavailable(reason), operation.then)

    def _fail_all(self, reason: FailureReason) -> None:
        for queue in (self._appends, self._changes, self._reads):
            self._fail(list(queue), reason)
            queue.clear()

    # -- the connection -----------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Connect, and begin or go on with the series.

        Raises `NotUsable` and `Unreachable`; then there is no session.
        """
        name = f"{APPLICATION_PREFIX}{secrets.token_hex(8)}"
        session = await open_session(
            self._parameters(),
            resolver=self._resolver,
            name=name,
            last_name=self._last_name,
            new_epoch=_new_epoch,
            seen=self.follower.seen,
            now_ms=self._now_ms,
        )
        self.clock.follow(session.clock)
        self._session, self._last_name = session, name
        self._is_down = False  # who is called by a new series reads at once
        self.follower.begin(session.origin)
        with self._limited():
            await rehearse(session, [self._rehearsal(rows) for rows in (1, 2)])  # one row has a function of its own
        if session.connection.closed:
            self._session = None
            await session.close()
            raise Unreachable("cannot use the database: the new connection ended at its first transaction")
        self._next_check = 0.0

    def _rehearsal(self, rows: int, text: bytes = b"{}") -> "Statement[storing.StoredBatch]":
        message = Notification(UserId(""), "", "", "", "info", 0)  # an empty text is no id
        submission = Submission(message=message, text=text, digest=b"", expires_ms=0)
        row = storing.append_row(submission, b"")
        limits, now_ms = self._limits, self.clock.now_ms()
        return storing.store(
            [submission] * rows, [row] * rows, cursor=self.follower.cursor, limits=limits, now_ms=now_ms
        )

    async def _reconnect(self) -> None:
        """Connect again; wait before the next attempt if that fails."""
        try:
            await self._open()
            return
        except Unreachable as error:
            self._report(error.reason, str(error))
        except NotUsable as error:
            self._report("timeout", str(error))
        in_grace = time.monotonic() - self._down_since < GRACE_S and not self._stopping
        if not in_grace:
            self._is_down = True
            self._fail_all(self.reason)
        until = time.monotonic() + (GRACE_RETRY_S if in_grace else RETRY_S)
        while not self._stopping and time.monotonic() < until:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    await self._wake.wait()

    async def _failed(self, error: Exception) -> bool:
        """Undo the transaction; return whether the connection is lost.

        Then its outcome is not known.
        """
        if not _is_of_values(error):
            self._report(reason_of(error), f"cannot use the database: {describe(error)}")
        session = self._session
        if session is None:
            return True
        try:
            with self._limited():
                await session.connection.rollback()
        except (psycopg.Error, OSError):
            pass
        if not session.connection.closed:
            return False
        await session.close()
        self._session = None
        self._down_since = time.monotonic()
        if self._grace_timer is not None:
            self._grace_timer.cancel()
        self._grace_timer = asyncio.get_running_loop().call_later(GRACE_S, self._end_grace)
        return True

    def _end_grace(self) -> None:
        """Fail what waits, although a connection may be on its way.

        A name or a server may take long to answer.
        """
        if self._session is None:
            self._is_down = True
            self._fail_all(self.reason)

    def _report(self, reason: FailureReason, text: str) -> None:
        if text != self.problem:
            logger.error("inbox: %s", text)
        self.reason, self.problem = reason, text

    def _works_again(self) -> None:
        if self.problem is not None:
            logger.info("inbox: it works again")
            self.problem = None


def _take(queue: "deque[T]", number: int) -> list[T]:
    return [queue.popleft() for _ in range(min(number, len(queue)))]


def _is_of_values(error: Exception) -> bool:
    """Return whether the error is of one operation, not of the database."""
    return isinstance(error, psycopg.DataError | psycopg.IntegrityError)


def _new_epoch() -> str:
    return secrets.token_urlsafe(EPOCH_BYTES)
