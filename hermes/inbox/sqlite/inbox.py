"""An `Inbox` in one SQLite file."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hermes.delivery.channels import Channel
from hermes.delivery.messages import Acknowledgement, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.inbox import (
    COMMIT_MAX_S,
    PAGE_ENTRIES,
    Conflict,
    Duplicate,
    InboxStats,
    InboxUnavailable,
    Page,
    Reader,
    ReceiptRecord,
    RemoteEntry,
    Resumed,
    Stored,
    StoreLimits,
    Submission,
)
from hermes.inbox.position import Position
from hermes.inbox.repetitions import Repetitions
from hermes.inbox.results import Deadlines
from hermes.inbox.sqlite.file import prepare_folder
from hermes.inbox.sqlite.file_lock import FileLock
from hermes.inbox.sqlite.store import Store
from hermes.inbox.sqlite.store_thread import Lane, StoreThread
from hermes.log import LogThrottle
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 10.0  # of commits that take too long


class SqliteInbox:
    """The inbox in the file ``path``; its lock is ``path.lock``.

    `start` opens it and `stop` commits what was accepted. One process at a time can have it.
    """

    def __init__(self, path: Path, *, limits: StoreLimits, now_ms: Callable[[], int], metrics: Metrics) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        self._thread = StoreThread(path, limits=limits, now_ms=now_ms, metrics=metrics)
        self._repetitions = Repetitions(now_ms)
        self._deadlines = Deadlines()
        self._log_throttle = LogThrottle(LOG_INTERVAL_S)

    async def start(self) -> None:
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
        self._deadlines.stop()
        if has_ended:
            self._lock.release()

    @property
    def place(self) -> str:
        """The file."""
        return str(self.path)

    @property
    def backup_folder(self) -> Path:
        """The folder of the file."""
        return self.path.parent

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

    def on_new_epoch(self, call: Callable[[], None]) -> None:
        """Call this when a new file begins while the inbox is open."""
        self._thread.new_epoch = call

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
        known = await self._repetitions.begin(submission)
        if known is not None:
            return known
        try:
            outcome: Stored | Duplicate | Conflict = await self._append(submission, publish)
        except InboxUnavailable as failure:
            self._repetitions.not_stored(submission, failure.reason)
            raise
        except BaseException:
            self._repetitions.end(submission)
            raise
        if not isinstance(outcome, Stored):
            self._repetitions.end(submission)
        return outcome

    async def _append(self, submission: Submission, publish: Callable[[Stored], None]) -> Any:
        def publish_stored(outcome: Stored | Duplicate | Conflict) -> None:
            if isinstance(outcome, Stored):
                publish(outcome)

        operation = self._thread.append(submission, publish_stored)

        def forget(store: Store) -> None:
            """Take back what this append has done: not what an earlier one with its id has."""
            for each in operation.undos:
                store.forget(submission, each)

        def late() -> bool:
            """Take it back before a reader gets it; of several, the last one first."""
            operation.abandoned = True
            self._thread.undo(forget)
            if self._log_throttle.allow("timeout"):
                logger.error("inbox: %s", self.problem or f"no commit within {COMMIT_MAX_S:g} s")
            return True

        self._deadlines.add(operation.future, COMMIT_MAX_S, late)
        return await operation.future

    def delivered(self, submission: Submission, sockets: int | None) -> None:
        """Note how many sockets took it; requests with the same id continue.

        None: it was refused because it could not be stored, so its id is not remembered.
        """
        if self._repetitions.delivered(submission, sockets) and sockets:
            self._thread.note(submission, sockets)
        self._repetitions.end(submission)

    async def sockets_without_row(self, kind: str, owner: str, bound_tenant: str | None, id: str) -> int:
        """Return how many sockets took a request of this process without a row."""
        return await self._repetitions.sockets_without_row(kind, owner, bound_tenant, id)

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

    async def resume(
        self,
        reader: Reader,
        position: Position | None,
        *,
        capped: bool = True,
        then: Callable[[Resumed, Page], None] | None = None,
    ) -> Resumed:
        """Return what a reader at this position has missed.

        None is a position that cannot be parsed. ``then`` also gets the first page.
        """
        if then is None:
            resumed: Resumed = await self._call(
                lambda store: store.resume(reader, position, capped=capped), lane=Lane.READERS
            )
            return resumed

        def read(store: Store) -> tuple[Resumed, Page]:
            resumed = store.resume(reader, position, capped=capped)
            return resumed, store.replay(reader, resumed, after_seq=resumed.from_seq)

        both: tuple[Resumed, Page] = await self._call(read, lambda found: then(*found), lane=Lane.READERS)
        return both[0]

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
        self._repetitions.purge(user_id)
        return rows

    async def back_up(self, path: Path) -> None:
        """Copy the inbox into a new private file. Raises `InboxUnavailable`."""
        await self._thread.back_up(path)

    async def stats(self) -> InboxStats:
        """Return the size of the inbox."""
        found: InboxStats = await self._call(Store.stats, lane=Lane.READERS)
        return found

    # -- other processes: there are none -------------------------------------------------------------------------

    def follow(self, publish: Callable[[RemoteEntry], None], wants: Callable[[Channel], bool]) -> None:
        """Call nothing: no other process can write to the file."""

    async def catch_up(self) -> int:
        """Return the highest number that is committed."""
        found: int = await self._call(lambda store: store.last_seq(), lane=Lane.READERS)
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
        if lane is Lane.READERS:

            def late() -> bool:
                operation.abandoned = self.stuck_for_s(time.monotonic()) > COMMIT_MAX_S
                return operation.abandoned

            self._deadlines.add(future, COMMIT_MAX_S, late)
            return await future
        try:
            while not future.done():
                await asyncio.wait((future,), timeout=COMMIT_MAX_S)
                if not future.done() and self.stuck_for_s(time.monotonic()) > COMMIT_MAX_S:
                    future.add_done_callback(_ignore)
                    raise InboxUnavailable("timeout")
        except asyncio.CancelledError:
            future.cancel()
            raise
        return future.result()


def _ignore(future: "asyncio.Future[Any]") -> None:
    """Read the error of an operation without a caller: the thread reports it."""
    if not future.cancelled():
        future.exception()
