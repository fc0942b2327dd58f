"""Floor 2: one connected client: its principal, its outbox, and what happens when it is slow or silent.

The session is the only writer of its socket. It knows the socket as a `Transport`, so that tests can hand it a
fake; the real one stands in ``web/sockets/transport.py``.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from hermes.auth.principal import Principal
from hermes.delivery.frames import Batch, Frame
from hermes.delivery.last_values import LastValue
from hermes.delivery.outbox import Outbox, OutboxLimits
from hermes.delivery.reconnect_delay import retry_ms
from hermes.errors import SLOW_CONSUMER, STOPPING, TOKEN_EXPIRED, Close
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

DRAIN_BYTES = 32_768  # about a hundred and fifty device frames: half a millisecond, where each says what it skipped


class Transport(Protocol):
    """What a session needs of a socket."""

    @property
    def compressed(self) -> bool:
        """Whether the client negotiated permessage-deflate."""

    def write(self, data: bytes) -> bool:
        """Send finished frames. True where the kernel took them all, so that more may follow at once; False
        where some wait: then `Session.drained` is called when they have gone. Raises OSError on a dead socket.
        """

    def resume(self) -> None:
        """Have `Session.drained` called again, in the next turn of the loop."""

    def ping(self) -> None:
        """Send a protocol ping (RFC 6455 §5.5.2)."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; nothing may be written after."""

    def abort(self) -> None:
        """Drop the connection without a close frame, soon, not within this call."""


class Session:
    """One client that was let in."""

    __slots__ = (
        "_blocked",
        "_compressed",
        "_held",
        "_metrics",
        "_outbox",
        "_ping_at",
        "_pong_until",
        "_transport",
        "closed",
        "ended",
        "principal",
    )

    def __init__(self, *, principal: Principal, transport: Transport, limits: OutboxLimits, metrics: Metrics) -> None:
        self.principal = principal
        self.closed = False
        self.ended: tuple[int, str] | None = None  # code and reason, where it was we who closed
        self._transport = transport
        self._outbox = Outbox(limits)
        self._metrics = metrics
        self._blocked = False  # the transport holds bytes that the kernel has not taken
        self._held = False  # a drill lets it look like that
        self._compressed = transport.compressed
        self._ping_at: float | None = None
        self._pong_until: float | None = None

    @property
    def waiting(self) -> int:
        """How many frames wait in the outbox."""
        return len(self._outbox)

    @property
    def blocked(self) -> bool:
        """Whether it is slow just now: what it gets waits."""
        return self._blocked and not self.closed

    def send(self, batch: Batch | Frame) -> bool:
        """Give the socket these frames; True when the kernel or the bounded outbox took all of them."""
        if self._blocked or self.closed:
            return not self.closed and self._queue(batch)
        try:
            self._blocked = not self._transport.write(batch.deflated if self._compressed else batch.plain)
        except OSError:
            self.drop()
            return False
        return True

    def _queue(self, batch: Batch | Frame) -> bool:
        skipped = self._outbox.skipped
        kept = self._outbox.put(batch.frames if isinstance(batch, Batch) else (batch,))
        if self._outbox.skipped > skipped:
            self._metrics.skipped.inc(self._outbox.skipped - skipped)
        if not kept:
            self._metrics.slow_consumers.inc()
            self.close(SLOW_CONSUMER, retry_ms(1))  # alone: the others are not told to leave
        return kept

    def replay(self, values: Sequence[LastValue]) -> None:
        """Send a snapshot, piece by piece as the socket takes it; what is sent meanwhile comes after it."""
        if not values or self.closed:
            return
        if not self._outbox.replay(values):
            self._metrics.slow_consumers.inc()
            self.close(SLOW_CONSUMER, retry_ms(1))
        elif not self._blocked:
            self.drained()

    def drained(self) -> None:
        """The transport's last byte has gone: send on a part of what waits. The rest has its turn later, because many
        sockets may wake at once, and others shall not wait for all of theirs.
        """
        if self.closed or self._held:
            return
        self._blocked = False
        frames = self._outbox.take(DRAIN_BYTES)
        if frames and self.send(Batch(frames)) and not self._blocked and len(self._outbox):
            self._blocked = True  # or what is sent meanwhile would overtake
            self._transport.resume()

    def close(self, close: Close, retry_after_ms: int | None = None) -> None:
        """Begin to close with this row of the table. Notices that wait are still sent if the server is stopping."""
        if self.closed:
            return
        notices = self._outbox.take_notices() if close is STOPPING else []
        self._outbox.clear()
        if notices:
            self._blocked = False  # the stream takes them: it is bounded by the outbox
            self.send(Batch(notices))
        if not self.closed:
            self.closed = True
            self.ended = (close.code, close.reason(retry_after_ms))
            self._transport.close(*self.ended)

    def drop(self) -> None:
        """End without a close frame: the socket is dead, or silent for too long."""
        self.closed = True
        self._outbox.clear()
        self._transport.abort()

    def hold(self) -> None:
        """Write nothing until `release`, as if the kernel took nothing: what is sent waits by the outbox's rules."""
        self._held = self._blocked = True

    def release(self) -> None:
        """Go on; harmless where it is not held. What the transport still held has gone, or says so when it has."""
        self._held = False
        self.drained()

    def pong(self) -> None:
        """The client answered a ping."""
        self._pong_until = None

    def sweep(self, *, wall_s: float, monotonic_s: float, ping_interval_s: float, ping_timeout_s: float) -> None:
        """Once a second: close when the token has expired, ping when due, drop when the pong is overdue."""
        expires_at = self.principal.expires_at
        if self.closed:
            return
        if expires_at is not None and expires_at <= wall_s:
            self.close(TOKEN_EXPIRED)
        elif self._pong_until is not None and self._pong_until <= monotonic_s:
            logger.info("no pong within %g s from user %s", ping_timeout_s, self.principal.user_id)
            self._metrics.lost_pongs.inc()
            self.drop()
        elif self._ping_at is None:
            self._ping_at = monotonic_s + ping_interval_s
        elif self._ping_at <= monotonic_s:
            self._ping_at = monotonic_s + ping_interval_s
            self._pong_until = self._pong_until or monotonic_s + ping_timeout_s
            self._transport.ping()
