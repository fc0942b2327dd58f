"""Publish what other processes have stored in the same inbox.

The store finds their entries (`Inbox.follow`). A process that knows of one asks with `RemoteEntries.deliver`.
"""

from collections import OrderedDict
from typing import Final

from hermes.delivery.channels import USER_CHANGES, Channel
from hermes.delivery.hub import Hub, Receipt
from hermes.delivery.messages import EncodedMessage
from hermes.ids import UserId
from hermes.inbox.inbox import Inbox, RemoteEntry
from hermes.inbox.read_state import ReadState
from hermes.inbox.wakeups import Wakeups

RECEIPTS_MAX: Final = 10_000  # rows of others: seconds of them, and a question comes within 250 ms


class RemoteEntries:
    """Entries of other processes, for sockets and requests of this one."""

    def __init__(self, *, inbox: Inbox, hub: Hub, wakeups: Wakeups, read_state: ReadState) -> None:
        self._inbox = inbox
        self._hub = hub
        self._wakeups = wakeups
        self._read_state = read_state
        self._receipts: OrderedDict[int, Receipt] = OrderedDict()
        inbox.follow(self.publish, self.wants)

    def wants(self, channel: Channel) -> bool:
        """Return whether an entry of this channel has a receiver here."""
        if channel in self._hub.watched or self._wakeups.waits_for(channel):
            return True
        return channel[0] == USER_CHANGES and self._read_state.waits_for(UserId(channel[1]))

    def publish(self, entry: RemoteEntry) -> None:
        """Publish one entry."""
        message = entry.message
        receipt = self._hub.publish(message, only_tenant=entry.only_tenant)
        if not isinstance(message, EncodedMessage):
            self._read_state.wake(message)
            return
        self._receipts[entry.seq] = receipt
        if len(self._receipts) > RECEIPTS_MAX:
            self._receipts.popitem(last=False)
        self._wakeups.wake(message.channels)

    async def deliver(self, seq: int) -> int | None:
        """Publish everything up to this row; return how many sockets took it.

        Those of this process; None if this database does not have it yet, after a failover. For a wake-up by the
        process that stored it. Raises `InboxUnavailable`.
        """
        if await self._inbox.catch_up() < seq:
            return None
        await self._hub.flushed()
        receipt = self._receipts.get(seq)
        return 0 if receipt is None else receipt.sockets
