"""Limit the number of the open connections, and how long each may take.

They include those that have not finished their TLS handshake. A WebSocket counts only until it is accepted.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from tornado.web import Application

from hermes.errors import RequestError
from hermes.log import LogThrottle
from hermes.metrics import Metrics

HANDSHAKE_TIMEOUT_S = 10.0  # of TLS, from the start of the connection
HEAD_TIMEOUT_S = 10.0  # from the start of the connection, or the first byte of a request, to the end of its headers
HEAD_LATE_S = 1.0  # a client that is not late yet keeps its place if there is another to take
IDLE_TIMEOUT_S = 75.0  # between two requests; nginx keeps its idle connections to a server for 60 s
LINGER_S = 2.0  # what a client still sends is read for this long, so that its system does not discard the response
LINGER_MAX_BYTES = 1_048_576  # the largest body of /notify
SWEEP_INTERVAL_S = 1.0
LOG_INTERVAL_S = 10.0  # of the requests that are rejected with the same status

logger = logging.getLogger(__name__)


class Phase(Enum):
    """What a connection waits for."""

    HANDSHAKE = "handshake"  # the end of the TLS handshake
    HEAD = "head"  # the end of the headers
    IDLE = "idle"  # the next request
    BUSY = "busy"  # a handler, the rest of a body, or the client that reads the response
    LINGER = "linger"  # the end of what the client still sends, after the last response


_TIMEOUTS_S = {Phase.IDLE: IDLE_TIMEOUT_S, Phase.HANDSHAKE: HANDSHAKE_TIMEOUT_S, Phase.HEAD: HEAD_TIMEOUT_S}


class Connection(Protocol):
    """What `OpenConnections` needs of a connection."""

    phase: Phase

    def time_out(self) -> None:
        """End the connection, which has no request under way."""

    def check(self, now_s: float) -> str | None:
        """End the connection if what is under way stands still; return what that is."""

    def abort(self) -> None:
        """End the connection now."""


class OpenConnections:
    """The open connections of one application, by their phase.

    ``limit`` is their largest number; 0 means no limit. Over it, one with a late TLS handshake is closed, else the one
    that was idle for the longest, one that lingers, one with late headers, or the one with the oldest request.
    The limit may be changed. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        application: Application,
        limit: int,
        *,
        metrics: Metrics,
        on_handshake: Callable[[float], None] = lambda seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_handshake = on_handshake
        self.application = application
        self.clock = clock
        self.closing = False
        self.done = asyncio.get_running_loop().create_future()  # of every write that the kernel takes at once
        self.done.set_result(None)
        self.limit = limit
        self._count = metrics.http_connections
        self._closed = metrics.http_closed
        self._rejected = metrics.http_rejected
        self._in_phase: dict[Phase, OrderedDict[Connection, float]] = {phase: OrderedDict() for phase in Phase}
        self._timer: asyncio.TimerHandle | None = None
        self._log_throttle = LogThrottle(LOG_INTERVAL_S)

    def __len__(self) -> int:
        """Return the number of open connections."""
        return sum(map(len, self._in_phase.values()))

    @property
    def busy(self) -> int:
        """The number of connections with a request under way."""
        return len(self._in_phase[Phase.BUSY])

    def add(self, connection: Connection, phase: Phase = Phase.HEAD) -> None:
        """Count a new connection, which has sent nothing yet."""
        if self.limit and len(self) >= self.limit:
            self._make_room()
        connection.phase = phase
        self._in_phase[phase][connection] = self.clock()
        self._count.inc()

    def move(self, connection: Connection, phase: Phase) -> None:
        """Record that a connection enters another phase."""
        del self._in_phase[connection.phase][connection]
        connection.phase = phase
        self._in_phase[phase][connection] = self.clock()

    def remove(self, connection: Connection) -> None:
        """Count a connection no longer."""
        del self._in_phase[connection.phase][connection]
        self._count.dec()

    def _make_room(self) -> None:
        """Close one connection at once.

        Even an error response would need its place for a while.
        """
        late_s = self.clock() - HEAD_LATE_S
        late = [
            phase
            for phase in (Phase.HANDSHAKE, Phase.HEAD)
            if self._in_phase[phase] and next(iter(self._in_phase[phase].values())) <= late_s
        ]
        handshakes = [phase for phase in late if phase is Phase.HANDSHAKE]
        for phase in (*handshakes, Phase.IDLE, Phase.LINGER, *late, Phase.BUSY, Phase.HANDSHAKE, Phase.HEAD):
            for connection in self._in_phase[phase]:
                self._closed.labels("limit").inc()
                connection.abort()
                return

    # -- time ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to close what takes too long."""
        self._timer = asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep_again)

    def stop(self) -> None:
        """Close nothing more because of time; may be repeated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep_again(self) -> None:
        self.start()
        self.sweep()

    def sweep(self) -> None:
        """Close what has taken too long."""
        now_s = self.clock()
        for phase, timeout_s in _TIMEOUTS_S.items():
            waiting = self._in_phase[phase]
            while waiting and now_s - next(iter(waiting.values())) >= timeout_s:
                self._closed.labels(phase.value).inc()
                next(iter(waiting)).time_out()
        for connection in (*self._in_phase[Phase.BUSY], *self._in_phase[Phase.LINGER]):
            if (cause := connection.check(now_s)) is not None:
                self._closed.labels(cause).inc()

    def count_rejected(self, error: RequestError, peer: str) -> None:
        """Count and log a request that was answered without a handler."""
        self._rejected.labels(str(error.status)).inc()
        if times := self._log_throttle.allow(error.status):
            more = f" ({times} such requests since the last line)" if times > 1 else ""
            logger.info("%d from %s: %s%s", error.status, peer, error.message, more)

    # -- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Close what has no request under way; the others are closed after their response."""
        self.closing = True
        for phase in (Phase.IDLE, Phase.HANDSHAKE, Phase.HEAD, Phase.LINGER):
            for connection in tuple(self._in_phase[phase]):
                connection.abort()

    def abort(self) -> None:
        """Close every connection."""
        if self.busy:
            logger.warning("%d HTTP requests are cut", self.busy)
        for connections in self._in_phase.values():
            for connection in tuple(connections):
                connection.abort()
