"""An `Inbox` in a PostgreSQL database."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

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
from hermes.inbox.postgres import statements
from hermes.inbox.postgres.operations import Operation
from hermes.inbox.postgres.writer import Writer
from hermes.inbox.repetitions import Repetitions
from hermes.inbox.results import Deadlines
from hermes.metrics import Metrics

T = TypeVar("T")


class PostgresInbox:
    """The inbox in a database, which other processes may use too.

    ``place`` is its name in messages. ``parameters`` is called for each connection, so that a new password needs no
    restart.
    """

    def __init__(
        self,
        place: str,
        parameters: Callable[[], Mapping[str, Any]],
        *,
        limits: StoreLimits,
        now_ms: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self.place = place
        self._writer = Writer(parameters, limits=limits, now_ms=now_ms, metrics=metrics)
        self._repetitions = Repetitions(now_ms)
        self._deadlines = Deadlines()
        self._catching_up: Operation[int] | None = None

    async def start(self) -> None:
        """Connect; a database that cannot be reached is tried again and again.

        Raises `HermesError` if its tables are not those of this Hermes, or the role may not use them.
        """
        await self._writer.start()

    async def stop(self) -> None:
        """Commit what was accepted and close the connection; may be repeated."""
        await self._writer.stop()
        self._deadlines.stop()

    @property
    def problem(self) -> str | None:
        """What is wrong with the inbox now, in words; None if it works."""
        return self._writer.problem

    @property
    def epoch(self) -> str:
        """The name of the present series of numbers; empty until the database was reached."""
        return self._writer.follower.epoch

    def on_new_epoch(self, call: Callable[[], None]) -> None:
        """Call this when the database is another one than before."""
        self._writer.follower.new_epoch = call

    @property
    def waiting(self) -> int:
        """The number of operations that wait."""
        return self._writer.waiting

    @property
    def backup_folder(self) -> Path | None:
        """None: the tools of PostgreSQL copy a database."""
        return None

    def stuck_for_s(self, now: float) -> float:
        """Return 0: a restart does not help against a database that hangs."""
        return 0.0

    async def back_up(self, path: Path) -> None:
        """Raise NotImplementedError: `backup_folder` is None."""
        raise NotImplementedError("pg_dump copies a database")

    # -- senders ------------------------------------------------------------------------------------------------

    async def append(self, submission: Submission, publish: Callable[[Stored], None]) -> Stored | Duplicate | Conflict:
        """Store a row, durably, or find that its id is known.

        As `SqliteInbox.append`.
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

        operation = self._writer.append(submission, publish_stored)

        def late() -> bool:
            operation.is_late = True
            self._writer.report_late()
            return True

        self._deadlines.add(operation.future, COMMIT_MAX_S, late)
        return await operation.future

    def delivered(self, submission: Submission, sockets: int | None) -> None:
        """Note how many sockets took it; requests with the same id continue.

        None: it was refused because it could not be stored, so its id is not remembered.
        """
        if self._repetitions.delivered(submission, sockets) and sockets:
            self._writer.note_sockets(submission, sockets)
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
        statement = statements.withdraw(
            user_id=user_id,
            tenant_id=tenant_id,
            notification_id=notification_id,
            sender=sender,
            bound_tenant=bound_tenant,
            now_ms=self._writer.clock.now_ms(),
        )
        return await self._writer.change(statement, publish).future

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
        statement = statements.receipts(
            notification_id, user_id=user_id, tenant_id=tenant_id, sender=sender, bound_tenant=bound_tenant
        )
        return await self._writer.read(statement).future

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
        statement = statements.resume(reader, position, now_ms=self._writer.clock.now_ms(), capped=capped)
        resumed = await self._writer.read(statement).future
        if then is not None:
            await self._read_page(reader, resumed, resumed.from_seq, partial(then, resumed), PAGE_ENTRIES)
        return resumed

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
        await self._read_page(reader, resumed, after_seq, then, min(limit, PAGE_ENTRIES))

    async def _read_page(
        self, reader: Reader, resumed: Resumed, after_seq: int, then: Callable[[Page], None], limit: int
    ) -> None:
        def check_epoch(page: Page) -> None:
            if resumed.epoch != self.epoch:
                raise InboxUnavailable("corrupt")
            then(page)

        now_ms = self._writer.clock.now_ms()
        statement = statements.replay(reader, resumed, after_seq=after_seq, now_ms=now_ms, limit=limit)
        await self._writer.read(statement, check_epoch).future

    async def ack(
        self, reader: Reader, notification_id: str, publish: Callable[[list[Acknowledgement]], None]
    ) -> list[Acknowledgement]:
        """Acknowledge the user's row and the tenant's broadcast with this id.

        Empty if nothing changed.
        """
        statement = statements.ack(reader, notification_id, now_ms=self._writer.clock.now_ms())
        return await self._writer.change(statement, publish).future

    async def ack_upto(
        self, reader: Reader, upto: int, publish: Callable[[tuple[int, Acknowledgement | None]], None]
    ) -> tuple[int, Acknowledgement | None]:
        """Acknowledge all rows up to this number; return how many there were."""
        statement = statements.ack_upto(reader, upto, now_ms=self._writer.clock.now_ms())
        return await self._writer.change(statement, publish).future

    # -- other processes ----------------------------------------------------------------------------------------

    def follow(self, publish: Callable[[RemoteEntry], None], wants: Callable[[Channel], bool]) -> None:
        """Call ``publish`` with each entry that another process commits."""
        self._writer.follower.publish = publish
        self._writer.follower.wants = wants

    async def catch_up(self) -> int:
        """Read what other processes have committed; return the highest number.

        Calls that come before the transaction begins share it.
        """
        operation = self._catching_up
        if operation is None or operation.has_begun or operation.future.done():
            operation = self._catching_up = self._writer.read(None)
        return await asyncio.shield(operation.future)

    # -- the operator -------------------------------------------------------------------------------------------

    async def purge(self, user_id: UserId) -> int:
        """Remove everything about a user; return the number of rows.

        In several transactions, between which others are stored.
        """
        removed, has_more = 0, True
        while has_more:
            rows, has_more = await self._writer.change(statements.purge(user_id)).future
            removed += rows
        self._repetitions.purge(user_id)
        return removed

    async def stats(self) -> InboxStats:
        """Return the size of the inbox."""
        return await self._writer.read(statements.stats()).future
