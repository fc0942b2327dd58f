"""One connected client: its principal, its outbox, and its state.

The session is the only writer of its socket. It uses the socket through `Transport`, so that tests can pass a fake; the
real one is in ``web/sockets/transport.py``.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from hermes.auth.principal import Principal
from hermes.delivery.frames import Batch, Frame
from hermes.delivery.last_values import LastValue
from hermes.delivery.outbox import Outbox, OutboxLimits
from hermes.delivery.reconnect_delay import retry_ms
from hermes.errors import SLOW_CONSUMER, STOPPING, TOKEN_EXPIRED, Close
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

PING_BYTES = 4
DRAIN_BYTES = 32_768  # about 150 device frames: half a millisecond if each has a ``skipped`` number


class Transport(Protocol):
    """A socket as a session uses it: the extension point for other transports.

    All calls are made on the event loop's thread. ``data`` is one or more finished WebSocket frames (RFC 6455 §5.2),
    deflated if ``compressed``.
    """

    @property
    def compressed(self) -> bool:
        """Whether the client negotiated permessage-deflate (RFC 7692)."""

    def write(self, data: bytes) -> bool:
        """Send frames. Returns True if the kernel accepted all of them.

        If it returns False, some bytes wait, and the transport calls `Session.drained` when they are sent. Raises
        OSError if the socket is dead.
        """

    def resume(self) -> None:
        """Call `Session.drained` in the next iteration of the loop."""

    def ping(self, data: bytes) -> None:
        """Send a protocol ping with this data (RFC 6455 §5.5.2)."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; nothing is written after this."""

    def abort(self) -> None:
        """Drop the connection without a close frame, after this call has returned."""


class Session:
    """One client with a valid token.

    ``token`` is that of its principal, or a function that returns it. ``closed`` is True as soon as closing begins.
    ``route`` is the route of its socket, and ``opened_ms`` when it was opened, in Unix milliseconds.
    ``ended`` is the code and reason of the server's close frame, if it sent one. ``reading_paused`` is True while the
    client is over its budget and is not read.
    """

    __slots__ = (
        "_blocked",
        "_compressed",
        "_held",
        "_metrics",
        "_outbox",
        "_ping_at",
        "_ping_data",
        "_pong_until",
        "_transport",
        "closed",
        "ended",
        "opened_ms",
        "principal",
        "reading_paused",
        "route",
        "token",
    )

    def __init__(
        self,
        *,
        principal: Principal,
        transport: Transport,
        limits: OutboxLimits,
        metrics: Metrics,
        token: str | Callable[[], str] | None = None,
        route: str = "",
        opened_ms: int = 0,
    ) -> None:
        self.principal = principal
        self.route = route
        self.opened_ms = opened_ms
        self.token = token
        self.closed = False
        self.ended: tuple[int, str] | None = None
        self._transport = transport
        self._outbox = Outbox(limits)
        self._metrics = metrics
        self._blocked = False  # the transport has bytes that the kernel has not accepted
        self._held = False  # by `hold`
        self._compressed = transport.compressed
        self._ping_at: float | None = None
        self._pong_until: float | None = None
        self._ping_data = b""
        self.reading_paused = False

    @property
    def waiting(self) -> int:
        """The number of frames that wait in the outbox."""
        return len(self._outbox)

    @property
    def blocked(self) -> bool:
        """Whether it is slow now: new frames wait in the outbox."""
        return self._blocked and not self.closed

    def send(self, batch: Batch | Frame) -> bool:
        """Send or queue these frames.

        Returns True if the kernel or the outbox accepted all of them.
        """
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
        queued = self._outbox.put(batch.frames if isinstance(batch, Batch) else (batch,))
        if self._outbox.skipped > skipped:
            self._metrics.skipped.inc(self._outbox.skipped - skipped)
        if not queued:
            self._metrics.slow_consumers.inc()
            self.close(SLOW_CONSUMER, retry_ms())  # only this socket is closed
        return queued

    @property
    def replaying(self) -> bool:
        """Whether a snapshot is not sent completely: another one must have all its values."""
        return self._outbox.replaying

    def replay(self, values: Sequence[LastValue]) -> None:
        """Send a snapshot in parts, as fast as the socket reads it.

        Live values that are sent meanwhile follow the snapshot.
        """
        if not values or self.closed:
            return
        with self._metrics.work["outbox"]:
            replays = self._outbox.replay(values)
        if not replays:
            self._metrics.slow_consumers.inc()
            self.close(SLOW_CONSUMER, retry_ms())
        elif not self._blocked:
            self.drained()

    def drained(self) -> None:
        """Send the next part of the outbox.

        The transport calls this when it has sent all its bytes. Only a part is sent, because many sockets may become
        writable at once: none should wait for all frames of the others.
        """
        if self.closed or self._held:
            return
        self._blocked = False
        with self._metrics.work["outbox"]:
            frames = self._outbox.pop(DRAIN_BYTES)
        if frames and self.send(Batch(frames)) and not self._blocked and len(self._outbox):
            self._blocked = True  # otherwise frames that are sent meanwhile would overtake the outbox
            self._transport.resume()

    def close(self, close: Close, retry_after_ms: int | None = None, *, detail: str = "") -> None:
        """Close with this row of the table, and its hints.

        If the server is stopping, the notifications that wait are sent first.
        """
        if self.closed:
            return
        notifications = self._outbox.pop_notifications() if close is STOPPING else []
        self._outbox.clear()
        if notifications:
            self._blocked = False  # the stream buffers them: the outbox bounds their size
            self.send(Batch(notifications))
        if not self.closed:
            self.closed = True
            self.ended = (close.code, close.reason(retry_after_ms, detail=detail))
            self._transport.close(*self.ended)

    def drop(self) -> None:
        """End without a close frame: the socket is dead or was silent for too long."""
        self.closed = True
        self._outbox.clear()
        self._transport.abort()

    def hold(self) -> None:
        """Write nothing until `release`, as if the kernel accepted nothing."""
        self._held = self._blocked = True

    def release(self) -> None:
        """End `hold`, if it was called."""
        self._held = False  # if the transport still has bytes, it calls `drained` again when they are sent
        self.drained()

    def pong(self, data: bytes) -> None:
        """Record a pong; it counts if it repeats the data of the last ping (§5.5.3)."""
        if data == self._ping_data:
            self._pong_until = None

    def sweep(self, *, wall_s: float, monotonic_s: float, ping_interval_s: float, ping_timeout_s: float) -> None:
        """Close an expired session, ping, and drop one with an overdue pong.

        Called once a second. ``wall_s`` is Unix seconds, ``monotonic_s`` the monotonic clock.
        """
        expires_at = self.principal.expires_at
        if self.closed:
            return
        if expires_at is not None and expires_at <= wall_s:
            self.close(TOKEN_EXPIRED)
        elif self._pong_until is not None and self.reading_paused:
            self._pong_until = monotonic_s + ping_timeout_s  # its pong may have come, but was not read
        elif self._pong_until is not None and self._pong_until <= monotonic_s:
            logger.info("no pong within %g s from user %s", ping_timeout_s, self.principal.user_id)
            self._metrics.lost_pongs.inc()
            self.drop()
        elif self._ping_at is None:
            self._ping_at = monotonic_s + ping_interval_s
        elif self._ping_at <= monotonic_s:
            self._ping_at = monotonic_s + ping_interval_s
            if self._pong_until is None:
                self._pong_until = monotonic_s + ping_timeout_s
                self._ping_data = os.urandom(PING_BYTES)  # a client that does not read cannot guess it
            self._transport.ping(self._ping_data)
