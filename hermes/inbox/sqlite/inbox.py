"""An `Inbox` in one SQLite file."""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hermes.delivery.messages import Acknowledgement, Notification, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.inbox import (
    PAGE_ENTRIES,
    Conflict,
    Duplicate,
    FailureReason,
    InboxStats,
    InboxUnavailable,
    Page,
    Reader,
    ReceiptRecord,
    Resumed,
    Stored,
    Submission,
)
from hermes.inbox.position import Position
from hermes.inbox.sqlite.file import prepare_folder
from hermes.inbox.sqlite.file_lock import FileLock
from hermes.inbox.sqlite.store import IDS_KEPT_MS, Store, StoreLimits, Undo
from hermes.inbox.sqlite.store_thread import Lane, Operation, StoreThread
from hermes.log import LogThrottle
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

COMMIT_MAX_S: Final = 2.0  # a longer one is a failed store
LOG_INTERVAL_S: Final = 10.0  # of commits that take too long
UNSTORED_IDS_MAX: Final = 10_000  # ids that are recognised although their row could not be stored

_Key = tuple[str, str, str, str]
_Unstored = tuple[bytes, int, int, FailureReason]  # digest, sockets, Unix milliseconds, why


class SqliteInbox:
    """The inbox in the file ``path``; its lock is ``path.lock``.

    `start` opens it and `stop` commits what was accepted. One process at a time can have it.
    """

    def __init__(self, path: Path, *, limits: StoreLimits, now_ms: Callable[[], int], metrics: Metrics) -> None:
        self.path = path
        self._now_ms = now_ms
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        self._thread = StoreThread(path, limits=limits, now_ms=now_ms, metrics=metrics)
        self._under_way: dict[_Key, asyncio.Future[None]] = {}  # ids whose first request is not answered
        self._unstored: OrderedDict[_Key, _Unstored] = OrderedDict()
        self._appends: deque[tuple[float, Operation, Callable[[Store], None]]] = deque()  # in order of their deadlines
        self._timer: asyncio.TimerHandle | None = None
        self._log_throttle = LogThrottle(LOG_INTERVAL_S)

    def start(self) -> None:
        """Lock and open the file.

        Raises `HermesError` if another process has it, if it is from a newer Hermes or on a network file system.
        """
        prepare_folder(self.path)
        self._lock.acquire()
        try:
            self._thread.start()
        except BaseException:
            self._lock.release()
            raise

    async def stop(self) -> None:
        """Commit what was accepted and close the file; may be repeated.

        It takes no longer than `STOP_MAX_S` of the thread; if the disk hangs, the file stays locked until the process
        ends.
        """
        has_ended = await self._thread.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if has_ended:
            self._lock.release()

    @property
    def problem(self) -> str | None:
        """What is wrong with the inbox now, in words; None if it works."""
        hangs_for_s = self.stuck_for_s(time.monotonic())
        if hangs_for_s > COMMIT_MAX_S:
            return f"the disk of {self.path} has not answered for {hangs_for_s:.0f} s"
        return self._thread.problem

    @property
    def epoch(self) -> str:
        """The name of the present series of numbers."""
        return self._thread.epoch

    @property
    def waiting(self) -> int:
        """The number of operations that wait."""
        return self._thread.waiting

    def stuck_for_s(self, now: float) -> float:
        """Return the seconds since the present transaction began.

        ``now`` is the monotonic clock.
        """
        since = self._thread.busy_since
        return 0.0 if since is None else now - since

    # -- senders ------------------------------------------------------------------------------------------------

    async def append(self, submission: Submission, publish: Callable[[Stored], None]) -> Stored | Duplicate | Conflict:
        """Store a row, durably, or find that its id is known.

        ``publish`` is called after the commit, as `Inbox.append` says. A second request with an id waits for the answer
        of the first: after `Stored` or `InboxUnavailable`, the caller must call `delivered`. Raises `InboxUnavailable`.
        """
        key = _key(submission)
        while (first := self._under_way.get(key)) is not None:
            await asyncio.shield(first)
        known = self._unstored.get(key)
        if known is not None and known[2] > self._now_ms() - IDS_KEPT_MS:
            digest, sockets, _, reason = known
            return (
                Duplicate(None, sockets, replaced=False, reason=reason) if digest == submission.digest else Conflict()
            )
        self._unstored.pop(key, None)
        self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            outcome: Stored | Duplicate | Conflict = await self._append(submission, publish)
        except InboxUnavailable as failure:
            self._unstored[key] = (submission.digest, 0, self._now_ms(), failure.reason)
            if len(self._unstored) > UNSTORED_IDS_MAX:
                self._unstored.popitem(last=False)
            raise
        except BaseException:
            self._end(key)
            raise
        if not isinstance(outcome, Stored):
            self._end(key)
        return outcome

    async def _append(self, submission: Submission, publish: Callable[[Stored], None]) -> Any:
        def publish_stored(outcome: Stored | Duplicate | Conflict) -> None:
            if isinstance(outcome, Stored):
                publish(outcome)

        undo: list[Undo] = []  # known to the thread before the commit

        def run(store: Store) -> Stored | Duplicate | Conflict:
            outcome, undo[:] = store.append_undoable(submission)  # it may be run again
            return outcome

        def forget(store: Store) -> None:
            """Take back what this append has done: not what an earlier one with its id has."""
            for each in undo:
                store.forget(submission, each)

        operation = self._thread.submit(run, stores_row=True, then=publish_stored)
        loop = asyncio.get_running_loop()
        self._appends.append((loop.time() + COMMIT_MAX_S, operation, forget))
        if self._timer is None:
            self._timer = loop.call_at(self._appends[0][0], self._end_slow_appends)
        return await operation.future

    def _end_slow_appends(self) -> None:
        """Fail the appends that were not committed in time.

        What is committed later is taken back before anybody reads it, the last one first.
        """
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._appends and (self._appends[0][1].future.done() or self._appends[0][0] <= loop.time()):
            _deadline, operation, forget = self._appends.popleft()
            if not operation.future.done():
                operation.abandoned = True
                operation.future.set_exception(InboxUnavailable("timeout"))
                self._thread.undo(forget)
                if self._log_throttle.allow("timeout"):
                    logger.error("inbox: %s", self.problem or f"no commit within {COMMIT_MAX_S:g} s")
        if self._appends:
            self._timer = loop.call_at(self._appends[0][0], self._end_slow_appends)

    def delivered(self, submission: Submission, sockets: int | None) -> None:
        """Note how many sockets took it; requests with the same id continue.

        None: it was refused because it could not be stored, so its id is not remembered.
        """
        key = _key(submission)
        if sockets is None:
            self._unstored.pop(key, None)
        elif key in self._unstored:
            digest, _, at_ms, reason = self._unstored[key]
            self._unstored[key] = (digest, sockets, at_ms, reason)
        elif sockets:
            self._thread.note(lambda store: store.delivered(submission, sockets))
        self._end(key)

    def _end(self, key: _Key) -> None:
        first = self._under_way.pop(key, None)
        if first is not None and not first.done():
            first.set_result(None)

    async def withdraw(
        self,
        *,
        user_id: UserId | None,
        tenant_id: TenantId | None,
        notification_id: str,
        sender: str | None,
        bound_tenant: TenantId | None,
        publish: Callable[[Withdrawal | None], None],
    ) -> Withdrawal | None:
        """Withdraw a row; None if there is none of this sender.

        ``sender`` None is any sender.
        """
        found: Withdrawal | None = await self._call(
            lambda store: store.withdraw(
                user_id=user_id,
                tenant_id=tenant_id,
                notification_id=notification_id,
                sender=sender,
                bound_tenant=bound_tenant,
            ),
            publish,
        )
        return found

    async def receipts(
        self,
        notification_id: str,
        *,
        user_id: UserId | None = None,
        tenant_id: TenantId | None = None,
        sender: str | None = None,
        bound_tenant: TenantId | None = None,
    ) -> list[ReceiptRecord]:
        """Return the receipts of this id.

        Of one recipient, or, without one, of at most two. None is any sender, and any ``bound_tenant``.
        """
        found: list[ReceiptRecord] = await self._call(
            lambda store: store.receipts(
                notification_id, user_id=user_id, tenant_id=tenant_id, sender=sender, bound_tenant=bound_tenant
            ),
            lane=Lane.READERS,
        )
        return found

    # -- readers ------------------------------------------------------------------------------------------------

    async def resume(self, reader: Reader, position: Position | None, *, capped: bool = True) -> Resumed:
        """Return what a reader at this position has missed.

        None is a position that cannot be parsed.
        """
        found: Resumed = await self._call(
            lambda store: store.resume(reader, position, capped=capped), lane=Lane.READERS
        )
        return found

    async def replay(
        self,
        reader: Reader,
        resumed: Resumed,
        *,
        after_seq: int,
        then: Callable[[Page], None],
        limit: int = PAGE_ENTRIES,
    ) -> None:
        """Give ``then`` the next entries of a resume, in rising order."""
        await self._call(
            lambda store: store.replay(reader, resumed, after_seq=after_seq, limit=min(limit, PAGE_ENTRIES)),
            then,
            lane=Lane.READERS,
        )

    async def ack(
        self, reader: Reader, notification_id: str, publish: Callable[[list[Acknowledgement]], None]
    ) -> list[Acknowledgement]:
        """Acknowledge the user's row and the tenant's broadcast with this id.

        Empty if nothing changed.
        """
        made: list[Acknowledgement] = await self._call(
            lambda store: store.ack(reader, notification_id), publish, lane=Lane.ACKS
        )
        return made

    async def ack_upto(
        self, reader: Reader, upto: int, publish: Callable[[tuple[int, Acknowledgement | None]], None]
    ) -> tuple[int, Acknowledgement | None]:
        """Acknowledge all rows up to this number; return how many there were."""
        made: tuple[int, Acknowledgement | None] = await self._call(
            lambda store: store.ack_upto(reader, upto), publish, lane=Lane.ACKS
        )
        return made

    # -- the operator -------------------------------------------------------------------------------------------

    async def purge(self, user_id: UserId) -> int:
        """Remove everything about a user; return the number of rows."""
        rows: int = await self._call(lambda store: store.purge(user_id))
        for key in [key for key in self._unstored if key[:2] == ("notification", user_id)]:
            del self._unstored[key]
        return rows

    async def back_up(self, path: Path) -> None:
        """Copy the inbox into a new private file. Raises `InboxUnavailable`."""
        await self._thread.back_up(path)

    async def stats(self) -> InboxStats:
        """Return the size of the inbox."""
        found: InboxStats = await self._call(Store.stats, lane=Lane.READERS)
        return found

    async def _call(
        self, run: Callable[[Store], Any], then: Callable[[Any], None] | None = None, *, lane: Lane = Lane.SENDERS
    ) -> Any:
        """Return the result of an operation after its commit.

        Raises `InboxUnavailable` ``timeout`` while the thread hangs in one transaction. A change may be committed, and
        published by ``then``, after that; the result of a read is not used any more.
        """
        operation = self._thread.submit(run, lane=lane, then=then)
        future = operation.future
        try:
            while not future.done():
                await asyncio.wait((future,), timeout=COMMIT_MAX_S)
                if not future.done() and self.stuck_for_s(time.monotonic()) > COMMIT_MAX_S:
                    if lane is Lane.READERS:
                        operation.abandoned = True
                        future.cancel()
                    else:
                        future.add_done_callback(_ignore)
                    raise InboxUnavailable("timeout")
        except asyncio.CancelledError:
            future.cancel()
            raise
        return future.result()


def _key(submission: Submission) -> _Key:
    message = submission.message
    owner = message.user_id if isinstance(message, Notification) else message.tenant_id
    return (message.kind, owner, submission.bound_tenant or "", message.id)


def _ignore(future: "asyncio.Future[Any]") -> None:
    """Read the error of an operation without a caller: the thread reports it."""
    if not future.cancelled():
        future.exception()
