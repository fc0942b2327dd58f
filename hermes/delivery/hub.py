"""Route messages to sessions by channel.

The frames of one iteration of the loop are coalesced into one write per socket. Everything here runs on the event
loop's thread.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, KeysView, Sequence

from hermes.delivery.channels import Channel, whole
from hermes.delivery.frames import Batch, Frame, encode
from hermes.delivery.messages import NO_TENANT, Message
from hermes.delivery.session import Session
from hermes.ids import TenantId
from hermes.metrics import Metrics

KINDS = ("notification", "broadcast", "device", "device_status", "link_status", "acked", "withdrawn")
PENDING_MAX_BYTES = 1_048_576  # more than this is flushed at once, so that the memory of one iteration is bounded


class Receipt:
    """The number of sockets that accepted one message; complete after `Hub.flushed`.

    ``uncertain`` are the nodes that did not say whether they have a socket for it, if no other has; None if there is
    none. With one node it is always None.
    """

    __slots__ = ("sockets",)
    uncertain: tuple[str, ...] | None = None

    def __init__(self) -> None:
        self.sockets = 0


class _Pending:
    """The frames of one channel for the next flush.

    ``only_tenant`` limits them to the sessions of that tenant.
    """

    __slots__ = ("channel", "frames", "only_tenant", "receipts")

    def __init__(self, channel: Channel, only_tenant: TenantId | None) -> None:
        self.channel = channel
        self.only_tenant = only_tenant
        self.frames: list[Frame] = []
        self.receipts: list[Receipt] = []


class Hub:
    """The sessions of each channel.

    ``call_soon`` is the loop's: it runs the flush at the end of this iteration. Each of ``on_watch`` is called when a
    channel gets its first session (True) and when it loses its last one (False).
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.on_watch: list[Callable[[Channel, bool], None]] = []
        self._metrics = metrics
        self._work = metrics.work["flush"]
        self._call_soon = call_soon
        self._sessions: dict[Channel, dict[Session, None]] = {}  # sessions in the order in which they subscribed
        self._channels: dict[Session, set[Channel]] = {}
        self._pending: dict[tuple[object, ...], _Pending] = {}
        self._pending_bytes = 0
        self._waiters: list[asyncio.Future[None]] = []  # for the next flush
        self._published = {kind: metrics.published.labels(kind) for kind in KINDS}

    @property
    def sessions(self) -> KeysView[Session]:
        """Every session that has subscribed."""
        return self._channels.keys()

    @property
    def watched(self) -> Collection[Channel]:
        """The channels that have sessions."""
        return self._sessions.keys()

    def subscribe(self, session: Session, channels: Iterable[Channel]) -> list[Channel]:
        """Subscribe the session to exactly these channels, in place of its earlier ones.

        Messages that were published before are flushed first, so that the change happens between two messages. Returns
        the new channels: those that it was not subscribed to before, neither directly nor by a channel that includes
        them.
        """
        self.flush()
        before = self._channels.get(session, set())
        after = set(channels)
        for channel in after - before:
            self._add(session, channel)
        self._remove(session, before - after)
        self._channels[session] = after
        return [channel for channel in after - before if whole(channel) not in before]

    def change(self, session: Session, *, add: Iterable[Channel], remove: Iterable[Channel]) -> list[Channel]:
        """Add and remove channels of a session that has subscribed.

        Returns those that are new to it. As `subscribe`, at the cost of these channels only.
        """
        self.flush()
        current = self._channels[session]
        added = [channel for channel in add if channel not in current]
        new = [channel for channel in added if whole(channel) not in current]
        for channel in added:
            self._add(session, channel)
        removed = [channel for channel in remove if channel in current]
        self._remove(session, removed)
        current.difference_update(removed)
        current.update(added)
        return new

    def channels_of(self, session: Session) -> Collection[Channel]:
        """Return the channels of a session that has subscribed."""
        return self._channels[session]

    def _add(self, session: Session, channel: Channel) -> None:
        sessions = self._sessions.get(channel)
        if sessions is None:
            sessions = self._sessions[channel] = {}
            for watch in self.on_watch:
                watch(channel, True)
        sessions[session] = None

    def unsubscribe(self, session: Session) -> None:
        """Remove the session; may be repeated."""
        self._remove(session, self._channels.pop(session, set()))

    def _remove(self, session: Session, channels: Iterable[Channel]) -> None:
        for channel in channels:
            sessions = self._sessions[channel]
            sessions.pop(session, None)
            if not sessions:
                del self._sessions[channel]
                for watch in self.on_watch:
                    watch(channel, False)

    def publish(
        self, message: Message, *, only_tenant: TenantId | None = None, to: Sequence[Channel] | None = None
    ) -> Receipt:
        """Send a message to every session of its channels at the next flush.

        ``to`` are other channels in their place. With ``only_tenant``, to those of which the token has this tenant;
        `NO_TENANT` means those without one. The receipt has the number of sockets that accepted it once `flushed` has
        been awaited. A message without a session costs four look-ups and is never encoded.
        """
        self._published[message.kind].inc()
        receipt = Receipt()
        frame: Frame | None = None
        for channel in message.channels if to is None else to:
            if channel not in self._sessions:
                continue
            frame = frame or encode(message)
            key = channel if only_tenant is None else ("only", only_tenant, channel)
            pending = self._pending.get(key)
            if pending is None:
                pending = self._pending[key] = _Pending(channel, only_tenant)
            pending.frames.append(frame)
            pending.receipts.append(receipt)
        if frame is not None:
            self._schedule_flush(len(frame))
        return receipt

    def _schedule_flush(self, size_bytes: int) -> None:
        if not self._pending_bytes:
            (self._call_soon or asyncio.get_running_loop().call_soon)(self.flush)
        self._pending_bytes += size_bytes
        if self._pending_bytes > PENDING_MAX_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was published: one join per channel, one write per session."""
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        self._pending_bytes = 0
        waiters, self._waiters = self._waiters, []
        deliveries = 0
        try:
            with self._work:
                for waiting in pending.values():
                    deliveries += self._deliver(waiting)
                self._work.detail = f"{len(pending)} channels"
        finally:
            self._metrics.flushes.inc()
            self._metrics.deliveries.inc(deliveries)
            for waiter in waiters:
                if not waiter.done():  # its request may have been cancelled
                    waiter.set_result(None)

    def _deliver(self, waiting: _Pending) -> int:
        frames = waiting.frames
        batch = Batch(frames) if len(frames) > 1 else frames[0]
        # a copy: a session that overflows or fails is removed during the loop
        sessions = tuple(self._sessions.get(waiting.channel, ()))
        tenant_id = waiting.only_tenant
        if tenant_id is not None:
            sessions = tuple([each for each in sessions if (each.principal.tenant_id or NO_TENANT) == tenant_id])
        sockets = sum([session.send(batch) for session in sessions])
        for receipt in waiting.receipts:
            receipt.sockets += sockets
        return sockets * len(frames)

    async def flushed(self) -> None:
        """Wait until everything published so far is written to a socket or queued."""
        if not self._pending:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
