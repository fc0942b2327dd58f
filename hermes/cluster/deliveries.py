"""Ask the other nodes to deliver a message, until it is certain whether one did.

A request goes to the subject of its user or tenant. NATS answers at once if no node that is connected to it has
subscribed; else each of the nodes that have answers with the number of sockets that accepted the message. The sender
does not know how many these are. So if no answer counts a socket, it sends a *fence* to every node: because NATS keeps
the order between two nodes, a node that has answered the fence has nothing more to say about what was sent before.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from hermes.cluster.attachment import Attachment
from hermes.cluster.members import Members
from hermes.delivery.hub import Receipt
from hermes.metrics import Metrics

ANSWER_TIMEOUT_S = 0.25  # after which the nodes that did not answer are uncertain
FENCE_AFTER_S = 0.1  # without an answer that counts a socket
TICK_S = 0.025
_NO_LINK = ("", 0)
PENDING_MAX = 20_000  # about 10 MB; at 2,000 requests a second, a node that hangs leaves 500


class RemoteReceipt(Receipt):
    """The receipt of a message that was also sent to other nodes.

    ``sockets`` counts those of this node, and of the nodes that had answered when the first socket was known.
    """

    __slots__ = ("_local", "_waiter", "began_s", "number", "settled", "uncertain", "unread")

    def __init__(self, local: Receipt, number: int, began_s: float) -> None:
        super().__init__()
        self._local = local
        self._waiter: asyncio.Future[None] | None = None
        self.number = number
        self.began_s = began_s
        self.settled = False
        self.unread: tuple[str, ...] = ()  # nodes that cannot read it now
        self.uncertain: tuple[str, ...] | None = None

    @property
    def is_sent(self) -> bool:
        """Whether a socket has accepted it, here or on a node that has answered."""
        return self.sockets > 0 or self._local.sockets > 0

    async def completed(self) -> None:
        """Wait until a socket has accepted it, or that is excluded, or the time is over."""
        if not self.is_sent and not self.settled:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self.sockets += self._local.sockets
        if self.sockets:
            self.uncertain = None

    def settle(self, uncertain: tuple[str, ...] | None) -> None:
        """End the wait."""
        self.settled = True
        self.uncertain = uncertain
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class AnsweredReceipt(Receipt):
    """The receipt of a message for which the other nodes were asked by name.

    ``silent`` are those that did not answer.
    """

    __slots__ = ("uncertain",)

    def __init__(self, sockets: int, silent: tuple[str, ...]) -> None:
        self.sockets = sockets
        self.uncertain: tuple[str, ...] | None = silent or None if not sockets else None


class Deliveries:
    """The requests that wait for answers, the oldest first.

    ``next_number`` gives rising numbers, one for each request and fence. ``send_fence`` sends one with its number; its
    answers come to `passed`.
    """

    def __init__(
        self,
        *,
        members: Members,
        metrics: Metrics,
        next_number: Callable[[], int],
        send_fence: Callable[[int], object],
        attachment: Attachment,
        clock: Callable[[], float],
    ) -> None:
        self._attachment = attachment
        self._members = members
        self._results = metrics.cluster_requests
        self._next_number = next_number
        self._send_fence = send_fence
        self._clock = clock
        self._pending: dict[int, RemoteReceipt] = {}
        self._last_fence = 0
        self._fence_s = 0.0
        self._fence_due = False
        self._passed: dict[str, int] = {}  # by node: the newest fence that it has answered
        # by node: its connection to NATS, and the number at its first sign
        self._links: dict[str, tuple[str, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def request(self, local: Receipt, send: Callable[[int], bool]) -> RemoteReceipt:
        """Send a request; ``send`` gets its number and returns whether it could be sent."""
        receipt = RemoteReceipt(local, self._next_number(), self._clock())
        if len(self._pending) >= PENDING_MAX or not send(receipt.number):
            self._settle(receipt, "unsent", tuple(self._members.names))
            return receipt
        self._pending[receipt.number] = receipt
        self._schedule()
        return receipt

    def answered(self, number: int, sockets: int) -> None:
        """Note the answer of one node."""
        receipt = self._pending.get(number)
        if receipt is None:
            return
        if sockets > 0:
            receipt.sockets += sockets
            self._settle(receipt, "sent", None)
        else:
            self._fence_soon(number)

    def unread(self, number: int, node: str) -> None:
        """Note that a node cannot read the message from the inbox now.

        It delivers it later, if it has a socket.
        """
        receipt = self._pending.get(number)
        if receipt is not None and node in self._members:
            receipt.unread = (*receipt.unread, node)
            self._fence_soon(number)

    def _fence_soon(self, number: int) -> None:
        if number > self._last_fence:
            if self._clock() - self._fence_s >= TICK_S:
                self._fence()
            else:
                self._fence_due = True

    def no_responders(self, number: int) -> None:
        """Note that no node that is connected to NATS has subscribed."""
        receipt = self._pending.get(number)
        if receipt is not None:
            self._attachment.use(partial(self._not_subscribed, receipt))

    def _not_subscribed(self, receipt: RemoteReceipt, detached: frozenset[str]) -> None:
        if receipt.settled:
            return
        returned = {name for name, (_, since) in self._links.items() if since > receipt.number}
        uncertain = tuple(name for name in self._members.names if name in detached or name in returned)
        self._settle(receipt, "uncertain" if uncertain else "no_responders", uncertain or None)

    def linked(self, node: str, link: str) -> None:
        """Note a node's connection to NATS, which it announces before it subscribes.

        What was sent before this first sign may have been sent while the node had no connection.
        """
        if node in self._members and self._links.get(node, _NO_LINK)[0] != link:
            self._links[node] = (link, self._next_number())
            self._links = {name: self._links[name] for name in self._members.names if name in self._links}

    def passed(self, node: str, number: int) -> None:
        """Note that a node has answered everything that was sent before this fence."""
        if node not in self._members:
            return
        names = self._members.names
        self._passed = {name: self._passed.get(name, 0) for name in names}
        self._passed[node] = max(number, self._passed[node])
        by_all = min(self._passed.values())
        for receipt in [each for each in self._pending.values() if each.number < by_all]:
            self._give_up(receipt)

    def lost(self) -> None:
        """End every wait: the connection to the other nodes is lost."""
        for receipt in list(self._pending.values()):
            self._settle(receipt, "uncertain", tuple(self._members.names))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _settle(self, receipt: RemoteReceipt, result: str, uncertain: tuple[str, ...] | None) -> None:
        self._pending.pop(receipt.number, None)
        self._results.labels(result).inc()
        receipt.settle(uncertain)

    def _fence(self) -> None:
        self._last_fence = self._next_number()
        self._fence_s = self._clock()
        self._fence_due = False
        self._send_fence(self._last_fence)

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        """End the waits that are over, and send a fence for those that may end early."""
        self._timer = None
        now_s = self._clock()
        needs_fence = self._fence_due
        for receipt in list(self._pending.values()):
            age_s = now_s - receipt.began_s
            if age_s < FENCE_AFTER_S:
                break
            if receipt.is_sent:
                self._settle(receipt, "sent", None)
            elif age_s >= ANSWER_TIMEOUT_S:
                self._give_up(receipt)
            else:
                needs_fence |= receipt.number > self._last_fence
        if needs_fence:
            self._fence()
        if self._pending:
            self._schedule()

    def _give_up(self, receipt: RemoteReceipt) -> None:
        silent = tuple(
            name
            for name in self._members.names
            if name in receipt.unread or not self._has_answered(name, receipt.number)
        )
        self._settle(receipt, "uncertain" if silent else "not_sent", silent or None)

    def _has_answered(self, name: str, number: int) -> bool:
        """Return whether a node was connected when this was sent, and has answered it."""
        return self._passed.get(name, 0) > number > self._links.get(name, _NO_LINK)[1]
