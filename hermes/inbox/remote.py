"""Publish what other processes have stored in the same inbox.

The store finds their entries (`Inbox.follow`). A process that knows of one asks with `RemoteEntries.deliver`.
"""

from collections import OrderedDict
from typing import Final

from hermes.delivery.channels import USER_CHANGES, Channel
from hermes.delivery.hub import Hub, Receipt
from hermes.delivery.messages import EncodedMessage
from hermes.ids import UserId
from hermes.inbox.inbox import InboxStore, RemoteEntry
from hermes.inbox.read_state import ReadState
from hermes.inbox.wakeups import Wakeups

RECEIPTS_MAX: Final = 10_000  # rows: seconds of them, and a question comes within 250 ms


class RemoteEntries:
    """Entries of other processes, for sockets and requests of this one."""

    def __init__(self, *, inbox: InboxStore, hub: Hub, wakeups: Wakeups, read_state: ReadState) -> None:
        self._inbox = inbox
        self._hub = hub
        self._wakeups = wakeups
        self._read_state = read_state
        self._receipts: OrderedDict[int, Receipt] = OrderedDict()
        inbox.follow(self.publish, self.wants)

    def forget(self) -> None:
        """Forget what was published: another series gives the same numbers again."""
        self._receipts.clear()

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
        self.note(entry.seq, receipt)
        self._wakeups.wake(message.channels)

    def note(self, seq: int, receipt: Receipt) -> None:
        """Store the receipt of a row, as other processes may ask for it."""
        self._receipts[seq] = receipt
        if len(self._receipts) > RECEIPTS_MAX:
            self._receipts.popitem(last=False)

    def receipt_of(self, seq: int | None) -> Receipt:
        """Return how many sockets of this process took a row.

        An empty receipt if that is not known.
        """
        return (None if seq is None else self._receipts.get(seq)) or Receipt()

    async def deliver(self, seq: int, epoch: str = "") -> int | None:
        """Publish everything up to this row; return how many sockets took it.

        Those of this process; None if this database does not have it yet, after a failover, or has another row with its
        number: ``epoch`` is that of the process that stored it. For a wake-up by that process. Raises
        `InboxUnavailable`.
        """
        if await self._inbox.catch_up() < seq or epoch not in ("", self._inbox.epoch):
            return None
        await self._hub.flushed()
        return self.receipt_of(seq).sockets
