"""The thread of an inbox: bounded queues, and group commit.

All operations that wait go into one transaction, and none is answered before its commit. Senders, acknowledgements and
readers have a bounded queue each; one wake-up of the loop carries the results of a whole transaction.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

from hermes.inbox.inbox import InboxUnavailable, StoreLimits, Submission
from hermes.inbox.results import set_result
from hermes.inbox.sqlite.database_file import DatabaseFile
from hermes.inbox.sqlite.file import is_of_the_file
from hermes.inbox.sqlite.several_rows import ROWS_MAX
from hermes.inbox.sqlite.store import Store, Undo
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

QUEUE_MAX: Final = 10_000  # operations of senders that wait, and as many acknowledgements
READERS_MAX: Final = 100_000  # each socket and each request has at most one: the number of open files is the limit
NOTES_MAX: Final = 10_000  # that wait for the next transaction
SLICE_S: Final = 0.02  # of one transaction, for senders and for acknowledgements
READERS_SLICE_S: Final = 0.005  # for readers: notifications that come meanwhile wait for the end
STOP_MAX_S: Final = 10.0  # with the 10 s for sockets, less than the 30 s after which systemd kills the service
RESULTS_SLICE_S: Final = 0.005  # of the loop, for the results of many operations; a page of a replay takes 2 ms
HEALTH_CHECK_INTERVAL_S: Final = 1.0
CHECKPOINT_IDLE_S: Final = 0.1  # without an operation, after which a long write-ahead log is copied into the file


class Lane(Enum):
    """A queue for each kind of caller: none can take the places of another.

    In each transaction the senders come first.
    """

    SENDERS = "senders"
    ACKS = "acks"
    READERS = "readers"


class Operation:
    """One call of the store that waits; ``future`` gets its result after the commit.

    ``then`` is called with the result just before: in the order of the operations, and not some iterations of the loop
    later. With ``submission``, ``run`` stores it: so do all that wait with one call of the store, which sets ``undos``.
    It is refused while the disk is nearly full.
    """

    __slots__ = ("abandoned", "future", "run", "submission", "then", "undos")

    def __init__(
        self,
        run: Callable[[Store], Any],
        future: "asyncio.Future[Any]",
        *,
        submission: Submission | None = None,
        then: Callable[[Any], None] | None = None,
    ) -> None:
        self.run = run
        self.then = then
        self.future = future
        self.submission = submission
        self.undos: Sequence[Undo] = ()
        self.abandoned = False  # no request waits: it is not run if it has not begun


_Outcome = tuple[Operation, Any, Exception | None]
_Note = tuple[Submission, int]  # a row, and how many sockets took it


class StoreThread:
    """A bounded queue of operations, and the thread that runs them.

    All methods but those that the thread runs are called on the event loop's thread.
    """

    def __init__(self, path: Path, *, limits: StoreLimits, now_ms: Callable[[], int], metrics: Metrics) -> None:
        self._file = DatabaseFile(
            path, limits=limits, now_ms=now_ms, metrics=metrics, on_new_epoch=self._report_new_epoch
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: dict[Lane, deque[Operation]] = {lane: deque() for lane in Lane}
        self._notes: deque[_Note] = deque()
        self._results: deque[_Outcome] = deque()  # on the loop
        self._wake = threading.Condition()
        self._is_woken = False  # in the next iteration of the loop
        self._stopping = False
        self._backup: tuple[Path, Operation] | None = None
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[None] | None = None
        self._failure: str | None = None  # why the thread ended, in words
        self.new_epoch: Callable[[], None] = lambda: None  # called on the loop when it has changed
        self.commits = 0
        self.busy_since: float | None = None  # monotonic seconds, while it works

    # -- on the loop --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the inbox and start the thread.

        Raises `HermesError` if the file cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._file.open()
        self._ended = self._loop.create_future()
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
            self._backup = (path, Operation(_nothing, future))
            self._wake.notify()
        await future

    def append(self, submission: Submission, then: Callable[[Any], None]) -> Operation:
        """Queue a row. Raises `InboxUnavailable` ``busy`` if too many wait."""
        assert self._loop is not None
        operation = Operation(_nothing, self._loop.create_future(), submission=submission, then=then)
        self._queue(operation, Lane.SENDERS)
        return operation

    def submit(
        self,
        run: Callable[[Store], Any],
        *,
        lane: Lane = Lane.SENDERS,
        then: Callable[[Any], None] | None = None,
    ) -> Operation:
        """Queue a call. Raises `InboxUnavailable` ``busy`` if too many wait."""
        assert self._loop is not None
        operation = Operation(run, self._loop.create_future(), then=then)
        self._queue(operation, lane)
        return operation

    def _queue(self, operation: Operation, lane: Lane) -> None:
        queue = self._queues[lane]
        with self._wake:
            if len(queue) >= (READERS_MAX if lane is Lane.READERS else QUEUE_MAX) or self._stopping:
                raise InboxUnavailable("busy")
            queue.append(operation)
        self._wake_soon()

    def _wake_soon(self) -> None:
        """Wake the thread when this iteration of the loop has queued all that it has.

        A commit for the first of many requests would let all others wait for it, and for another one.
        """
        if not self._is_woken:
            self._is_woken = True
            assert self._loop is not None
            self._loop.call_soon(self._wake_now)

    def _wake_now(self) -> None:
        self._is_woken = False
        with self._wake:
            self._wake.notify()

    def undo(self, run: Callable[[Store], Any]) -> None:
        """Queue a call before all others, without an answer.

        No reader gets what it takes back: it is in the first transaction after the one that it is about. There is at
        most one for each operation of a sender.
        """
        assert self._loop is not None
        operation = Operation(run, self._loop.create_future())
        operation.future.add_done_callback(_ignore)
        with self._wake:
            if not self._stopping:
                self._queues[Lane.SENDERS].appendleft(operation)
        self._wake_soon()

    def note(self, submission: Submission, sockets: int) -> None:
        """Store how many sockets took a row, at the beginning of the next transaction.

        At the latest, at the next check. It has no answer and no commit of its own, so that it costs no sync of the
        disk. It is dropped if `NOTES_MAX` wait, and lost with a crash.
        """
        if len(self._notes) < NOTES_MAX:
            self._notes.append((submission, sockets))

    @property
    def problem(self) -> str | None:
        """What is wrong now, in words; None if it works."""
        return self._failure or self._file.problem

    @property
    def epoch(self) -> str:
        """The name of the present series of numbers."""
        return self._file.epoch

    @property
    def waiting(self) -> int:
        """The number of operations that wait."""
        return sum(map(len, self._queues.values()))

    async def stop(self) -> bool:
        """Run what waits, commit it and close the file; may be repeated.

        If the disk hangs for `STOP_MAX_S`, what waits fails and the thread is left alone: it ends with the process.
        Returns whether the thread has ended.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._ended is None:
            return True
        if self._thread is not None:
            await asyncio.wait((self._ended,), timeout=STOP_MAX_S)
            thread, self._thread = self._thread, None
            if self._ended.done():
                thread.join()
            else:
                self._give_up()
        while self._results:  # the last ones
            await asyncio.sleep(0)
        return self._ended.done()

    def _give_up(self) -> None:
        waiting = self._take_all()
        logger.error(
            "inbox: the disk has not answered for %g s: Hermes ends without it. What was answered as stored is on the "
            "disk; operations that wait and are not done: %d",
            STOP_MAX_S,
            len(waiting),
        )
        self._deliver([(operation, None, InboxUnavailable("timeout")) for operation in waiting])

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
            operation, result, error = self._results.popleft()
            set_result(operation.future, result, error, operation.then)

    # -- in the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        next_check = time.monotonic() + HEALTH_CHECK_INTERVAL_S
        sweeps = False
        try:
            while True:
                is_idle = False
                with self._wake:
                    if not self.waiting and not self._stopping and not sweeps and self._backup is None:
                        wait_s = max(0.0, next_check - time.monotonic())
                        if self._file.is_log_long:
                            wait_s = min(wait_s, CHECKPOINT_IDLE_S)
                        is_idle = not self._wake.wait(wait_s)
                    if self._stopping and not self.waiting and not self._notes:
                        return
                self.busy_since = time.monotonic()
                if self.waiting or (self._notes and (self._stopping or self.busy_since >= next_check)):
                    self._transact()
                elif is_idle and self._file.is_log_long:
                    self._file.checkpoint(wanted=True)
                if self._backup is not None:
                    self._run_backup()
                if sweeps or time.monotonic() >= next_check:
                    self._file.check_health()
                    sweeps = self._file.sweep()
                    next_check = time.monotonic() + HEALTH_CHECK_INTERVAL_S
                self.busy_since = None
        except Exception:
            logger.exception("the thread of the inbox ended")
            self._failure = "its thread ended: restart Hermes"
            self._fail_all()
        finally:
            if self._backup is not None:
                self._hand_over([(self._backup[1], None, InboxUnavailable("busy"))])
                self._backup = None
            self._file.close()
            self._report_end()

    def _report_new_epoch(self) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: there are no sockets
            self._loop.call_soon_threadsafe(self.new_epoch)

    def _report_end(self) -> None:
        assert self._loop is not None
        assert self._ended is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: no request waits
            self._loop.call_soon_threadsafe(_set_done, self._ended)

    def _transact(self) -> None:
        """Run what waits in one transaction, a slice of each queue."""
        taken: list[Operation] = []
        outcomes: list[_Outcome] | None
        if not self._file.ensure_open():
            self._notes.clear()
            self._hand_over([(operation, None, InboxUnavailable(self._file.reason)) for operation in self._take_all()])
            return
        notes = self._take_notes()
        try:
            outcomes = self._run_waiting(self._begin(notes), taken)
            if outcomes is None:
                self._file.roll_back()
                store = self._begin(notes)
                outcomes = [self._outcome(store, operation) for operation in taken]
            self._file.commit()
        except Exception as error:  # noqa: BLE001 - a damaged page may have any values
            reason = self._file.recover(error)
            outcomes = [(operation, None, InboxUnavailable(reason)) for operation in taken]
        else:
            self.commits += 1
            self._file.checkpoint()
        self._hand_over(outcomes)

    def _begin(self, notes: Sequence[_Note]) -> Store:
        store = self._file.begin()
        if notes:
            store.delivered_all(notes)
        return store

    def _run_waiting(self, store: Store, taken: list[Operation]) -> list[_Outcome] | None:
        """Run what waits, and add it to ``taken``.

        None if an operation failed by itself and may have changed a part: then all must be undone, and run one by one.
        A savepoint for each would cost a third of the rate.
        """
        outcomes: list[_Outcome] = []
        for lane, queue in self._queues.items():
            until = time.monotonic() + (READERS_SLICE_S if lane is Lane.READERS else SLICE_S)
            while operations := self._take_some(queue):
                taken += operations
                try:
                    outcomes += self._run_some(store, operations)
                except Exception as error:
                    if is_of_the_file(error):
                        raise
                    if lane is not Lane.READERS:
                        return None
                    outcomes.append((operations[0], None, error))
                if time.monotonic() > until:
                    break
        return outcomes

    def _take_some(self, queue: deque[Operation]) -> list[Operation]:
        """Take one operation, or the rows of one call of the store and what is next."""
        taken: list[Operation] = []
        while len(taken) < ROWS_MAX and (operation := self._take(queue)) is not None:
            taken.append(operation)
            if operation.submission is None:
                break
        return taken

    def _run_some(self, store: Store, operations: Sequence[Operation]) -> list[_Outcome]:
        """Run operations in order; of those that store a row, all with one call."""
        refused = {operation: refusal for operation in operations if (refusal := self._refusal(operation)) is not None}
        rows = [each for each in operations if each.submission is not None and each not in refused]
        results: dict[Operation, Any] = {}
        if rows:
            appended = store.append_all([each.submission for each in rows if each.submission is not None])
            for operation, (result, undos) in zip(rows, appended, strict=True):
                operation.undos = undos
                results[operation] = result
        for operation in operations:
            if operation.submission is None and operation not in refused:  # at most one, the last
                results[operation] = operation.run(store)
        return [refused.get(each) or (each, results[each], None) for each in operations]

    def _run_backup(self) -> None:
        """Copy the file in parts; between two of them, what waits is run."""
        assert self._backup is not None
        path, operation = self._backup
        error: Exception | None = None
        try:
            self._file.back_up(path, between=self._transact_waiting)
        except InboxUnavailable as unavailable:
            error = unavailable
        self._backup = None
        self._hand_over([(operation, None, error)])

    def _transact_waiting(self) -> None:
        self.busy_since = time.monotonic()
        if self.waiting:
            self._transact()

    def _refusal(self, operation: Operation) -> _Outcome | None:
        """Return the outcome of an operation that is not run; None for all others."""
        if operation.abandoned:
            operation.undos = ()  # of an attempt that was rolled back
            return operation, None, None
        if operation.submission is not None and self._file.nearly_full:
            return operation, None, InboxUnavailable("disk_full")
        return None

    def _outcome(self, store: Store, operation: Operation) -> _Outcome:
        """Run one operation; one that fails changes nothing."""
        if (refusal := self._refusal(operation)) is not None:
            return refusal
        with self._file.savepoint() as undo:
            try:
                return self._run_some(store, (operation,))[0]
            except Exception as error:
                if is_of_the_file(error):
                    raise
                undo()
                if operation.submission is not None and not isinstance(error, ValueError):
                    logger.error("inbox: a notification cannot be stored", exc_info=error)
                    error = InboxUnavailable("corrupt")  # of the file: delivered without it
                return operation, None, error

    def _take_notes(self) -> list[_Note]:
        notes: list[_Note] = []
        while self._notes:
            notes.append(self._notes.popleft())
        return notes

    @staticmethod
    def _take(queue: deque[Operation]) -> Operation | None:
        try:
            return queue.popleft()
        except IndexError:
            return None

    def _take_all(self) -> list[Operation]:
        taken: list[Operation] = []
        for queue in self._queues.values():
            while (operation := self._take(queue)) is not None:
                taken.append(operation)
        return taken

    def _hand_over(self, outcomes: list[_Outcome]) -> None:
        assert self._loop is not None
        if outcomes:
            with contextlib.suppress(RuntimeError):  # the loop is closed: no request waits
                self._loop.call_soon_threadsafe(self._deliver, outcomes)

    def _fail_all(self) -> None:
        with self._wake:
            self._stopping = True
        self._hand_over([(operation, None, InboxUnavailable("corrupt")) for operation in self._take_all()])


def _nothing(_store: Store) -> None:
    """Do nothing: the operation has no function of its own."""


def _set_done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _ignore(future: "asyncio.Future[Any]") -> None:
    """Read the error of an operation without a caller: the thread reports it."""
    if not future.cancelled():
        future.exception()
