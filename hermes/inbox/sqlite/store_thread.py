"""The thread of an inbox: group commit, and recovery after an error.

All operations that wait go into one transaction, and none is answered before its commit. The queue is bounded, one
wake-up of the loop carries the results of a whole transaction.
"""

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hermes.errors import HermesError
from hermes.inbox.inbox import FailureReason, InboxUnavailable
from hermes.inbox.sqlite.file import copy_inbox, is_damage, is_nearly_full, is_replaced, move_aside, open_inbox
from hermes.inbox.sqlite.store import Store, StoreLimits
from hermes.log import printable
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

QUEUE_MAX: Final = 10_000  # operations that wait
SLICE_S: Final = 0.02  # of one transaction, without its commit: a long replay delays no notification for longer
RESULTS_SLICE_S: Final = 0.005  # of the loop, for the results of many operations; a page of a replay takes 2 ms
HEALTH_CHECK_INTERVAL_S: Final = 1.0
REOPEN_INTERVAL_S: Final = 1.0
FREE_DISK_MIN: Final = 0.05  # below this part of the disk, nothing is stored


class Operation:
    """One call of the store that waits; ``future`` gets its result after the commit.

    ``then`` is called with the result just before: in the order of the operations, and not some iterations of the loop
    later. With ``stores_row`` it is refused while the disk is nearly full.
    """

    __slots__ = ("abandoned", "future", "run", "stores_row", "then")

    def __init__(
        self,
        run: Callable[[Store], Any],
        future: "asyncio.Future[Any]",
        *,
        stores_row: bool,
        then: Callable[[Any], None] | None,
    ) -> None:
        self.run = run
        self.then = then
        self.future = future
        self.stores_row = stores_row
        self.abandoned = False  # nobody waits: it is not run if it has not begun


_Outcome = tuple[Operation, Any, Exception | None]


class StoreThread:
    """A bounded queue of operations, and the thread that runs them.

    All methods but those that the thread runs are called on the event loop's thread.
    """

    def __init__(self, path: Path, *, limits: StoreLimits, now_ms: Callable[[], int], metrics: Metrics) -> None:
        self._metrics = metrics
        self._path = path
        self._limits = limits
        self._now_ms = now_ms
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[Operation] = deque()
        self._results: deque[_Outcome] = deque()  # on the loop
        self._wake = threading.Condition()
        self._stopping = False
        self._backup: tuple[Path, Operation] | None = None
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._store: Store | None = None
        self._identity = (0, 0)
        self._reopen_at = 0.0
        self._nearly_full = False
        self.epoch = ""
        self.commits = 0
        self.busy_since: float | None = None  # monotonic seconds, while it works
        self.problem: str | None = None  # what is wrong now, in words
        self.reason: FailureReason = "corrupt"  # of the problem

    # -- on the loop --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the inbox and start the thread.

        Raises `HermesError` if the file cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            raise HermesError(f"cannot open the inbox {self._path}: {printable(str(error))}") from None
        self._thread = threading.Thread(target=self._run, name="hermes-inbox", daemon=True)
        self._thread.start()

    async def back_up(self, path: Path) -> None:
        """Copy the inbox into a new file, beside what else waits.

        Raises `InboxUnavailable`.
        """
        assert self._loop is not None
        future: asyncio.Future[Any] = self._loop.create_future()
        with self._wake:
            if self._backup is not None or self._stopping:
                raise InboxUnavailable("busy")
            self._backup = (path, Operation(lambda _store: None, future, stores_row=False, then=None))
            self._wake.notify()
        await future

    def submit(
        self, run: Callable[[Store], Any], *, stores_row: bool = False, then: Callable[[Any], None] | None = None
    ) -> Operation:
        """Queue a call. Raises `InboxUnavailable` ``busy`` if too many wait."""
        assert self._loop is not None
        operation = Operation(run, self._loop.create_future(), stores_row=stores_row, then=then)
        with self._wake:
            if len(self._queue) >= QUEUE_MAX or self._stopping:
                raise InboxUnavailable("busy")
            self._queue.append(operation)
            self._wake.notify()
        return operation

    @property
    def waiting(self) -> int:
        """The number of operations that wait."""
        return len(self._queue)

    async def stop(self) -> None:
        """Run what waits, commit it and close the file; may be repeated."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join)
            await asyncio.sleep(0)
            while self._results:  # the last ones
                await asyncio.sleep(0)

    def _deliver(self, outcomes: list[_Outcome]) -> None:
        """Set results, in order; after `RESULTS_SLICE_S` the loop does other work first."""
        is_scheduled = bool(self._results)
        self._results.extend(outcomes)
        if not is_scheduled:
            self._set_results()

    def _set_results(self) -> None:
        until = time.monotonic() + RESULTS_SLICE_S
        while self._results:
            if time.monotonic() > until:
                assert self._loop is not None
                self._loop.call_soon(self._set_results)
                return
            _set_result(*self._results.popleft())

    # -- in the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        next_check = time.monotonic() + HEALTH_CHECK_INTERVAL_S
        sweeps = False
        try:
            while True:
                with self._wake:
                    if not self._queue and not self._stopping and not sweeps and self._backup is None:
                        self._wake.wait(max(0.0, next_check - time.monotonic()))
                    if self._stopping and not self._queue:
                        return
                self.busy_since = time.monotonic()
                if self._queue:
                    self._transact()
                if self._backup is not None:
                    self._run_backup()
                if sweeps or time.monotonic() >= next_check:
                    self._check_health()
                    sweeps = self._sweep()
                    next_check = time.monotonic() + HEALTH_CHECK_INTERVAL_S
                self.busy_since = None
        except Exception:
            logger.exception("the thread of the inbox ended")
            self.problem = "its thread ended: restart Hermes"
            self._fail_all()
        finally:
            if self._backup is not None:
                self._hand_over([(self._backup[1], None, InboxUnavailable("busy"))])
                self._backup = None
            self._close()

    def _transact(self) -> None:
        """Run what waits, for at most `SLICE_S`, in one transaction."""
        outcomes: list[_Outcome] = []
        taken: list[Operation] = []
        if not self._is_open():
            self._hand_over([(operation, None, InboxUnavailable(self.reason)) for operation in self._take_all()])
            return
        assert self._connection is not None
        assert self._store is not None
        until = time.monotonic() + SLICE_S
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            while (operation := self._take()) is not None:
                taken.append(operation)
                outcomes.append(self._outcome(self._connection, self._store, operation))
                if time.monotonic() > until:
                    break
            begun = time.monotonic()
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - a damaged page may have any values
            reason = self._recover(error)
            outcomes = [(operation, None, InboxUnavailable(reason)) for operation in taken]
        else:
            self.commits += 1
            self._metrics.inbox_commit_s.observe(time.monotonic() - begun)
            self._works_again()
            self._checkpoint(self._store)
        self._hand_over(outcomes)

    def _checkpoint(self, store: Store) -> None:
        """Empty the write-ahead log after a purge.

        What was committed stays committed if that fails.
        """
        if store.needs_checkpoint:
            try:
                store.checkpoint()
            except sqlite3.Error as error:
                self._recover(error)

    def _run_backup(self) -> None:
        """Copy the file in parts; between two of them, what waits is run."""
        assert self._backup is not None
        path, operation = self._backup
        error: Exception | None = None
        if self._is_open():
            assert self._connection is not None
            try:
                copy_inbox(self._connection, path, between=self._transact_waiting)
            except (sqlite3.Error, OSError) as failure:
                logger.error("inbox: cannot write the backup: %s", printable(str(failure)))
                error = InboxUnavailable(_reason_of(failure))
        else:
            error = InboxUnavailable(self.reason)
        self._backup = None
        self._hand_over([(operation, None, error)])

    def _transact_waiting(self) -> None:
        self.busy_since = time.monotonic()
        if self._queue:
            self._transact()

    def _outcome(self, connection: sqlite3.Connection, store: Store, operation: Operation) -> _Outcome:
        """Run one operation; one that fails changes nothing."""
        if operation.abandoned:
            return operation, None, None
        if operation.stores_row and self._nearly_full:
            return operation, None, InboxUnavailable("disk_full")
        connection.execute("SAVEPOINT operation")
        try:
            result = operation.run(store)
        except (sqlite3.OperationalError, sqlite3.InternalError):  # of the file, not of the values
            raise
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise
            connection.execute("ROLLBACK TO operation")
            return operation, None, error
        except Exception as error:
            connection.execute("ROLLBACK TO operation")
            if operation.stores_row and not isinstance(error, ValueError):  # of the file: delivered without it
                logger.error("inbox: a notification cannot be stored", exc_info=error)
                error = InboxUnavailable("corrupt")
            return operation, None, error
        finally:
            with contextlib.suppress(sqlite3.Error):  # a full disk has ended the transaction
                connection.execute("RELEASE operation")
        return operation, result, None

    def _take(self) -> Operation | None:
        with self._wake:
            return self._queue.popleft() if self._queue else None

    def _take_all(self) -> list[Operation]:
        with self._wake:
            taken, self._queue = list(self._queue), deque()
        return taken

    def _hand_over(self, outcomes: list[_Outcome]) -> None:
        assert self._loop is not None
        if outcomes:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._deliver, outcomes)

    def _fail_all(self) -> None:
        with self._wake:
            self._stopping = True
        self._hand_over([(operation, None, InboxUnavailable("corrupt")) for operation in self._take_all()])

    # -- the file -----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        connection = open_inbox(self._path)
        try:
            status = self._path.stat()
            self._store = Store(connection, limits=self._limits, now_ms=self._now_ms)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self.epoch = self._store.epoch
        self._identity = (status.st_dev, status.st_ino)

    def _is_open(self) -> bool:
        """Open the file again if it was closed after an error.

        At most once in `REOPEN_INTERVAL_S`.
        """
        if self._connection is not None:
            return True
        if time.monotonic() < self._reopen_at:
            return False
        self._reopen_at = time.monotonic() + REOPEN_INTERVAL_S
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - a new file on a broken disk may be damaged too
            self._report(_reason_of(error), f"cannot open {self._path}: {printable(str(error))}")
            return False
        return True

    def _close(self) -> None:
        connection, self._connection, self._store = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _recover(self, error: Exception) -> FailureReason:
        """Undo the transaction; replace a damaged file; close one that cannot be written."""
        reason = _reason_of(error)
        assert self._connection is not None
        if not isinstance(error, sqlite3.Error):
            logger.error("inbox: a transaction failed", exc_info=error)
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        text = f"cannot write {self._path}: {printable(str(error))}"
        self._report(reason, text)
        if is_damage(error):
            self._close()
            with contextlib.suppress(OSError):
                logger.error("the damaged inbox is now %s, and a new inbox begins", move_aside(self._path))
        elif (getattr(error, "sqlite_errorcode", 0) & 0xFF) != sqlite3.SQLITE_FULL:
            self._close()
        return reason

    def _check_health(self) -> None:
        """Notice a file that was deleted or replaced, and a disk that is nearly full."""
        if self._connection is not None and is_replaced(self._path, self._identity):
            self._report("corrupt", f"{self._path} was deleted or replaced: a new inbox begins")
            self._close()
        try:
            nearly_full = is_nearly_full(self._path.parent, free_min=FREE_DISK_MIN)
        except OSError:
            return
        if nearly_full:
            self._report("disk_full", f"less than {FREE_DISK_MIN:.0%} of the disk is free: nothing is stored")
        elif self._nearly_full:
            self._works_again()
        self._nearly_full = nearly_full

    def _sweep(self) -> bool:
        """Remove a part of what has expired; return whether there may be more."""
        if not self._is_open():
            return False
        assert self._connection is not None
        assert self._store is not None
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            more = self._store.sweep()
            self._connection.execute("COMMIT")
            self._count(self._store)
        except Exception as error:  # noqa: BLE001 - a damaged page may have any values
            self._recover(error)
            return False
        if not self._nearly_full:
            self._works_again()
        return more

    def _count(self, store: Store) -> None:
        metrics, stats = self._metrics, store.stats()
        metrics.inbox_rows.set(stats.rows)
        metrics.inbox_bytes.set(stats.bytes)
        age_ms = 0 if stats.oldest_ms is None else self._now_ms() - stats.oldest_ms
        metrics.inbox_oldest_s.set(max(0, age_ms) / 1_000)
        metrics.inbox_removed.labels("expired").inc(store.expired)
        metrics.inbox_removed.labels("evicted").inc(store.evicted)
        store.expired = store.evicted = 0

    def _report(self, reason: FailureReason, text: str) -> None:
        if text != self.problem:
            logger.error("inbox: %s", text)
        self.reason, self.problem = reason, text

    def _works_again(self) -> None:
        if self.problem is not None and not self._nearly_full:
            logger.info("inbox: it works again")
            self.problem = None


def _set_result(operation: Operation, result: Any, error: Exception | None) -> None:
    if operation.future.done():
        return
    if error is None and operation.then is not None:
        try:
            operation.then(result)
        except Exception as failure:  # noqa: BLE001 - the caller gets it
            error = failure
    if error is not None:
        operation.future.set_exception(error)
    else:
        operation.future.set_result(result)


def _reason_of(error: Exception) -> FailureReason:
    if isinstance(error, (sqlite3.Error, OSError)) and not is_damage(error):
        return "disk_full"
    return "corrupt"
