"""Store acknowledgements and withdrawals, then report them.

Sockets that resumed get them, and senders that wait.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from hermes.cluster.bus import Bus
from hermes.delivery.messages import Acknowledgement, Withdrawal
from hermes.errors import RequestError
from hermes.ids import TenantId, UserId
from hermes.inbox.inbox import Inbox, InboxUnavailable, Reader, ReceiptRecord
from hermes.inbox.wakeups import Wakeups
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

WAITERS_MAX = 1_000  # requests with ?wait=acked


class AckWaiter:
    """A sender that waits for the first acknowledgement of one notification.

    ``bound_tenant`` is the tenant of its key.
    """

    __slots__ = ("bound_tenant", "future", "notification_id", "seq", "user_id")

    def __init__(self, user_id: UserId, notification_id: str, bound_tenant: TenantId | None) -> None:
        self.bound_tenant = bound_tenant
        self.user_id = user_id
        self.notification_id = notification_id
        self.seq: int | None = None  # known when it is stored
        self.future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def give_up(self) -> None:
        """Wait no longer."""
        if not self.future.done():
            self.future.set_result(None)

    def matches(self, ack: Acknowledgement) -> bool:
        """Return whether this acknowledgement is of its notification."""
        if ack.upto is not None:
            is_read = self.bound_tenant in (None, ack.bound_tenant)
            return is_read and self.seq is not None and self.seq <= ack.upto
        return (ack.notification_id, ack.bound_tenant) == (self.notification_id, self.bound_tenant)


class ReadState:
    """What readers and senders change after a notification was stored."""

    def __init__(self, *, inbox: Inbox, bus: Bus, wakeups: Wakeups, metrics: Metrics) -> None:
        self._acks = metrics.inbox_acks
        self._wakeups = wakeups
        self._inbox = inbox
        self._bus = bus
        self._waiters: dict[UserId, list[AckWaiter]] = {}
        self._waiting = 0
        self._tasks: set[asyncio.Task[int]] = set()  # of acknowledgements that no request waits for

    @property
    def waiting(self) -> int:
        """The number of requests that wait for an acknowledgement."""
        return self._waiting

    async def ack(self, reader: Reader, notification_id: str) -> int:
        """Acknowledge the rows with this id; return their number.

        Raises `InboxUnavailable`.
        """
        made = await self._inbox.ack(reader, notification_id, self._publish_acks)
        self._acks.labels("stored" if made else "no_effect").inc()
        return len(made)

    async def ack_upto(self, reader: Reader, upto: int) -> int:
        """Acknowledge all rows up to this number; return how many.

        Raises `InboxUnavailable`.
        """
        number, _ = await self._inbox.ack_upto(
            reader, upto, lambda made: self._publish_acks([made[1]] if made[1] is not None else [])
        )
        self._acks.labels("stored" if number else "no_effect").inc()
        return number

    def ack_soon(self, reader: Reader, *, notification_id: str | None = None, upto: int | None = None) -> None:
        """Acknowledge for a socket, which gets no answer.

        The queue of the inbox bounds how many wait.
        """
        if notification_id is not None:
            change = self.ack(reader, notification_id)
        else:
            assert upto is not None
            change = self.ack_upto(reader, upto)
        task = asyncio.get_running_loop().create_task(change, name=f"ack of {reader.user_id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[int]") -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._acks.labels("failed").inc()
        if not isinstance(error, InboxUnavailable):
            logger.error("an acknowledgement failed", exc_info=error)

    def waits_for(self, user_id: UserId) -> bool:
        """Return whether a request waits for an acknowledgement of this user."""
        return user_id in self._waiters

    def _publish_acks(self, made: list[Acknowledgement]) -> None:
        for ack in made:
            self._bus.publish(ack, only_tenant=ack.only_tenant)
            self.wake(ack)

    def wake(self, change: Acknowledgement | Withdrawal) -> None:
        """Wake the requests of this process that wait for this change."""
        self._wakeups.wake(change.channels)
        if isinstance(change, Acknowledgement):
            for waiter in self._waiters.get(change.user_id, []):
                if waiter.matches(change) and not waiter.future.done():
                    waiter.future.set_result(change.acked_ms)

    async def withdraw(self, receipt: ReceiptRecord) -> bool:
        """Withdraw the row that a receipt is about; return whether it was there.

        Raises `InboxUnavailable`.
        """
        found = await self._inbox.withdraw(
            user_id=receipt.user_id,
            tenant_id=receipt.tenant_id,
            notification_id=receipt.id,
            sender=receipt.sender,
            bound_tenant=receipt.bound_tenant,
            publish=self._publish_withdrawal,
        )
        return found is not None

    def _publish_withdrawal(self, withdrawal: Withdrawal | None) -> None:
        if withdrawal is not None:
            self._bus.publish(withdrawal, only_tenant=withdrawal.bound_tenant)
            self.wake(withdrawal)

    @contextmanager
    def waiter(self, user_id: UserId, notification_id: str, bound_tenant: TenantId | None) -> Iterator[AckWaiter]:
        """Wait for an acknowledgement from before the notification is stored.

        Raises `RequestError` 503 ``busy`` if too many wait.
        """
        if self._waiting >= WAITERS_MAX:
            raise RequestError(503, "busy", f"{WAITERS_MAX} requests wait for acknowledgements; try again later")
        waiter = AckWaiter(user_id, notification_id, bound_tenant)
        self._waiters.setdefault(user_id, []).append(waiter)
        self._waiting += 1
        try:
            yield waiter
        finally:
            self._waiting -= 1
            waiting = self._waiters[user_id]
            waiting.remove(waiter)
            if not waiting:
                del self._waiters[user_id]

    async def stop(self) -> None:
        """Wait for the acknowledgements that are under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
