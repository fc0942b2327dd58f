"""Floor 2: who listens to what; publish; the flush that lets all frames of one turn leave in one write.

Everything here runs on the event loop's thread.
"""

import asyncio
from collections.abc import Callable, Iterable, KeysView

from hermes.delivery.channels import Channel, whole
from hermes.delivery.frames import Batch, Frame, encode
from hermes.delivery.messages import Message
from hermes.delivery.session import Session
from hermes.metrics import Metrics

KINDS = ("notification", "broadcast", "device", "device_status", "link_status")
PENDING_MAX_BYTES = 1_048_576  # more than this in one turn is flushed at once, so that a turn's memory is bounded


class Receipt:
    """How many sockets took one message; counted when its flush is done."""

    __slots__ = ("sockets",)

    def __init__(self) -> None:
        self.sockets = 0


class _Pending:
    """What one channel gets at the next flush."""

    __slots__ = ("frames", "receipts")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.receipts: list[Receipt] = []


class Hub:
    """Channel → sessions. ``call_soon`` is the loop's: it runs the flush at the end of this turn. ``on_watch`` is told
    of a channel that gets its first session (True), or loses its last (False).
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.on_watch: Callable[[Channel, bool], None] | None = None
        self._metrics = metrics
        self._call_soon = call_soon
        self._sessions: dict[Channel, dict[Session, None]] = {}  # in the order in which they came
        self._channels: dict[Session, frozenset[Channel]] = {}
        self._pending: dict[Channel, _Pending] = {}
        self._pending_bytes = 0
        self._waiters: list[asyncio.Future[None]] = []  # for the next flush
        self._published = {kind: metrics.published.labels(kind) for kind in KINDS}

    @property
    def sessions(self) -> KeysView[Session]:
        """Every session that listens to anything."""
        return self._channels.keys()

    def subscribe(self, session: Session, channels: Iterable[Channel]) -> list[Channel]:
        """Let the session hear exactly these channels from now on, in place of those it heard before.

        What was published earlier leaves first, so that the change falls between two messages. Answers the channels
        whose messages are new to it: those it did not hear before, neither by themselves nor as part of another.
        """
        self.flush()
        before = self._channels.get(session, frozenset())
        after = frozenset(channels)
        for channel in after - before:
            self._enter(session, channel)
        self._leave(session, before - after)
        self._channels[session] = after
        return [channel for channel in after - before if whole(channel) not in before]

    def _enter(self, session: Session, channel: Channel) -> None:
        sessions = self._sessions.get(channel)
        if sessions is None:
            sessions = self._sessions[channel] = {}
            if self.on_watch is not None:
                self.on_watch(channel, True)
        sessions[session] = None

    def unsubscribe(self, session: Session) -> None:
        """Forget the session; harmless if it is not known."""
        self._leave(session, self._channels.pop(session, frozenset()))

    def _leave(self, session: Session, channels: Iterable[Channel]) -> None:
        for channel in channels:
            sessions = self._sessions[channel]
            sessions.pop(session, None)
            if not sessions:
                del self._sessions[channel]
                if self.on_watch is not None:
                    self.on_watch(channel, False)

    def publish(self, message: Message) -> Receipt:
        """Put a message before every session of its channels; it leaves at this turn's flush.

        The receipt counts the sockets that took it once `flushed` has been awaited. A message that nobody
        hears costs three look-ups and is never encoded.
        """
        self._published[message.kind].inc()
        receipt = Receipt()
        frame: Frame | None = None
        for channel in message.channels:
            if channel not in self._sessions:
                continue
            frame = frame or encode(message)
            pending = self._pending.get(channel)
            if pending is None:
                pending = self._pending[channel] = _Pending()
            pending.frames.append(frame)
            pending.receipts.append(receipt)
        if frame is not None:
            self._await_flush(len(frame))
        return receipt

    def _await_flush(self, size_bytes: int) -> None:
        if not self._pending_bytes:
            (self._call_soon or asyncio.get_running_loop().call_soon)(self.flush)
        self._pending_bytes += size_bytes
        if self._pending_bytes > PENDING_MAX_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what this turn published: per channel one join, per session one write."""
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        self._pending_bytes = 0
        waiters, self._waiters = self._waiters, []
        deliveries = 0
        try:
            for channel, waiting in pending.items():
                deliveries += self._deliver(channel, waiting)
        finally:
            self._metrics.flushes.inc()
            self._metrics.deliveries.inc(deliveries)
            for waiter in waiters:
                if not waiter.done():  # its request may have been given up
                    waiter.set_result(None)

    def _deliver(self, channel: Channel, waiting: _Pending) -> int:
        frames = waiting.frames
        batch = Batch(frames) if len(frames) > 1 else frames[0]
        # a copy: a session that overflows or fails leaves while we write
        sockets = sum([session.send(batch) for session in tuple(self._sessions.get(channel, ()))])
        for receipt in waiting.receipts:
            receipt.sockets += sockets
        return sockets * len(frames)

    async def flushed(self) -> None:
        """Wait until everything published so far was written or queued; never waits for a slow socket."""
        if not self._pending:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
