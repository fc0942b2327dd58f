"""The bounded queue of MQTT messages that wait for the event loop.

When it is full it drops its oldest messages, with fair shares (see `hermes.quotas.fair_queue`): a dashboard needs the
newest values, and a flood of one tenant must not cost the messages of another.

Who sent a message is found by its topic, which costs more than the queue itself. So that is done only while the queue
is more than half full, beginning with the oldest messages, a part with each batch. When the queue is full the senders
of all or nearly all are known.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from hermes.ingest.ingest import InboundMessage
from hermes.quotas.fair_queue import FairQueue, Holder, Item

ATTRIBUTED_PER_BATCH = 1_500  # three times what a batch holds; about 2 ms


class LinkChange(NamedTuple):
    """A change of the link's state, to be applied on the loop.

    ``connected`` is the gauge's new value. ``lost`` is True if messages may have been missed before it. When the broker
    has sent all retained messages, ``retained_dropped`` is the queue's counter before the connection.
    """

    apply: Callable[[], None]
    connected: bool
    lost: bool = False
    retained_dropped: int | None = None

    def after(self, earlier: "LinkChange | None") -> "LinkChange":
        """Return this change in the place of both."""
        return self._replace(lost=True) if earlier is not None and earlier.lost else self


class _Attributed(Item):
    """A message of a known sender, and the last change of the link before it."""

    __slots__ = ("change", "message")

    def __init__(self, message: InboundMessage, change: LinkChange | None) -> None:
        self.message = message
        self.change = change


class InboundQueue:
    """Messages and changes of the link, in the order of their arrival.

    Not thread-safe. ``sender_of`` returns the tenant and the device of a topic. Changes of the link do not count, and
    the last one is never dropped. ``dropped`` counts the dropped messages by holder, ``retained_dropped`` the retained
    ones among them.
    """

    def __init__(
        self, *, sender_of: Callable[[str], tuple[Hashable, Hashable]], max_messages: int, max_bytes: int
    ) -> None:
        self.dropped: Counter[Holder] = Counter()
        self.retained_dropped = 0
        self._sender_of = sender_of
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        # the oldest messages, and those after them, of which the sender is not known
        self._attributed: FairQueue[_Attributed] = FairQueue(max_count=max_messages, max_size=max_bytes)
        self._newer: deque[InboundMessage | LinkChange] = deque()
        self._newer_messages = 0
        self._newer_bytes = 0

    def __len__(self) -> int:
        """Return the number of messages and of changes at the end.

        Changes that a message follows do not count.
        """
        return len(self._attributed) + len(self._newer)

    # -- add ------------------------------------------------------------------------------------------------------

    def extend(self, batch: Sequence[InboundMessage]) -> None:
        """Add messages, and drop others until the queue fits its bounds."""
        self._newer.extend(batch)
        self._newer_messages += len(batch)
        self._newer_bytes += sum(message.size for message in batch)
        if self._exceeds(self._max_messages / 2, self._max_bytes / 2):
            self._attribute(ATTRIBUTED_PER_BATCH)
            if self._exceeds(self._max_messages, self._max_bytes):
                self._attribute(self._newer_messages)
                self._drop_excess()

    def append_change(self, change: LinkChange) -> None:
        """Add a change.

        It replaces a change directly before it, so that the queue stays bounded.
        """
        if self._newer and isinstance(last := self._newer[-1], LinkChange):
            self._newer.pop()
            change = change.after(last)
        self._newer.append(change)

    def _exceeds(self, messages: float, size: float) -> bool:
        return (
            len(self._attributed) + self._newer_messages > messages or self._attributed.size + self._newer_bytes > size
        )

    def _attribute(self, count: int) -> None:
        """Find the senders of this number of messages."""
        for _ in range(min(count, self._newer_messages)):
            change, message = self._next_newer()
            tenant, device = self._sender_of(message.topic)
            item = _Attributed(message, change)
            self._attributed.append(item, tenant=tenant, device=device, size=message.size)

    def _next_newer(self) -> tuple[LinkChange | None, InboundMessage]:
        """Remove and return the first message that is not attributed.

        The change of the link before it is returned with it.
        """
        first = self._newer.popleft()
        change = None
        while isinstance(first, LinkChange):
            change, first = first.after(change), self._newer.popleft()
        self._newer_messages -= 1
        self._newer_bytes -= first.size
        return change, first

    def _drop_excess(self) -> None:
        while self._attributed.exceeded():
            item, holder = self._attributed.next_to_drop()
            if item.change is not None:
                self._move_change(item.change, self._attributed.after(item))
            self._attributed.remove(item)
            self.dropped[holder] += 1
            self.retained_dropped += item.message.retained

    def _move_change(self, change: LinkChange, after: _Attributed | None) -> None:
        """Move the change of a dropped message to the one after it.

        If that has a later change, the earlier one is dropped.
        """
        if after is not None:
            after.change = change if after.change is None else after.change.after(change)
        elif not self._newer:
            self._newer.append(change)
        elif isinstance(later := self._newer[0], LinkChange):  # all messages are attributed
            self._newer[0] = later.after(change)

    # -- take -----------------------------------------------------------------------------------------------------

    def take(self, max_messages: int, max_bytes: int) -> list[InboundMessage | LinkChange]:
        """Remove and return the oldest messages and changes.

        They are about as many as these limits allow.
        """
        items: list[InboundMessage | LinkChange] = []
        size = self._take_attributed(items, max_messages, max_bytes)
        while self._newer and len(items) < max_messages and size < max_bytes:
            item = self._newer.popleft()
            if isinstance(item, InboundMessage):
                self._newer_messages -= 1
                self._newer_bytes -= item.size
                size += item.size
            items.append(item)
        return items

    def _take_attributed(self, items: list[InboundMessage | LinkChange], max_messages: int, max_bytes: int) -> int:
        """Append the oldest attributed messages; return their bytes."""
        size = 0
        while len(items) < max_messages and size < max_bytes and (item := self._attributed.oldest()) is not None:
            self._attributed.remove(item)
            if item.change is not None:
                items.append(item.change)
            items.append(item.message)
            size += item.message.size
        return size
