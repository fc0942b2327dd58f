"""The path from a sender to the sockets of all nodes.

With one node it is the hub itself, and costs nothing more: `LocalBus`.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from hermes.delivery.channels import Channel
from hermes.delivery.hub import Hub, Receipt
from hermes.delivery.messages import Broadcast, Message, Notification
from hermes.ids import TenantId


class Publish(Protocol):
    """The signature of `Hub.publish`."""

    def __call__(
        self, message: Message, *, only_tenant: TenantId | None = None, to: Sequence[Channel] | None = None
    ) -> Receipt:
        """Send a message to every session of its channels."""


class Bus(Protocol):
    """How notifications, broadcasts and what happens to them reach the sockets.

    ``publish`` is called as `Hub.publish`, and ``flushed`` awaited before the receipts are read. The receipts are then
    complete: their ``sockets`` are those of all nodes that answered, and their ``uncertain`` are the names of the nodes
    that did not, if no socket accepted the message.
    """

    @property
    def publish(self) -> Publish:
        """Send a message to every session of its channels, on all nodes."""

    @property
    def flushed(self) -> Callable[[Collection[Receipt]], Awaitable[None]]:
        """Wait until these receipts are complete."""

    async def ask_again(
        self, message: Notification | Broadcast, seq: int | None, local: Receipt, *, only_tenant: TenantId | None
    ) -> Receipt:
        """Return the complete receipt of what another node has sent, or sends now.

        Nothing is sent to sockets. ``seq`` is the number of its row, None without one. ``local`` counts the sockets of
        this node.
        """


class LocalBus:
    """The bus of one node.

    ``publish`` is the method of the hub, so that a notification takes the same path as without a bus.
    """

    def __init__(self, hub: Hub) -> None:
        self.publish: Publish = hub.publish
        self._flushed = hub.flushed

    def flushed(self, receipts: Collection[Receipt]) -> Awaitable[None]:
        """Wait until everything published so far is written to a socket or queued."""
        return self._flushed()

    async def ask_again(
        self, message: Notification | Broadcast, seq: int | None, local: Receipt, *, only_tenant: TenantId | None
    ) -> Receipt:
        """Return the receipt of this node: there is no other."""
        await self._flushed()
        return local
