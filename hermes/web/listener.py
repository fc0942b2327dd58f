"""Accept new connections, and read a few of them per loop iteration.

When accepting fails, pause.

Tornado's own accept handler accepts up to 128 per iteration and never pauses. A reconnect storm then delays all open
sockets, and in a process without a free file descriptor the event loop reports the same waiting connection forever.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any

from hermes.log import LogThrottle
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

# A handshake takes several iterations of the loop, and each iteration works for all of them that are under way. With 4
# new ones in each, 3,000 handshakes at once take 1.3 s, as with 128; a notification meanwhile 130 ms (p95), not 700.
READ_PER_ITERATION = 4
# Connections that must wait or are closed at once cost little. They must not hold up those behind them in the kernel's
# backlog, which all clients share.
ACCEPTED_PER_ITERATION = 8
PAUSE_S = 1.0  # a file descriptor may be free by then; waiting connections stay in the kernel's backlog
LOG_INTERVAL_S = 60.0

_REASONS = {
    errno.EMFILE: "no file descriptor is free; raise LimitNOFILE in the unit (or ulimit -n), or lower --max-sockets",
    errno.ENFILE: "no file descriptor of this machine is free; raise the sysctl fs.file-max",
}

HandleConnection = Callable[[socket.socket, Any], bool]


class Listener:
    """Call ``handle`` with each new connection of the sockets and its address.

    ``handle`` returns whether the connection is read at once.
    ``on_pause`` is called when no connection can be accepted, to free file descriptors.
    It runs on the event loop that is running when it starts. It owns the listening sockets and closes them.
    """

    def __init__(
        self,
        *,
        listening: Iterable[socket.socket],
        handle: HandleConnection,
        metrics: Metrics,
        on_pause: Callable[[], None] | None = None,
    ) -> None:
        self._listening = tuple(listening)
        self._handle = handle
        self._metrics = metrics
        self._on_pause = on_pause
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resuming: dict[socket.socket, asyncio.TimerHandle] = {}
        self._log_throttle = LogThrottle(LOG_INTERVAL_S)

    def start(self) -> None:
        """Start to accept."""
        self._loop = asyncio.get_running_loop()
        for listening in self._listening:
            self._watch(listening)

    def stop(self) -> None:
        """Stop accepting and close the listening sockets. May be repeated."""
        for resuming in self._resuming.values():
            resuming.cancel()
        self._resuming.clear()
        for listening in self._listening:
            if self._loop is not None and listening.fileno() != -1:
                self._loop.remove_reader(listening)
            listening.close()

    def _watch(self, listening: socket.socket) -> None:
        assert self._loop is not None
        self._resuming.pop(listening, None)
        self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Accept waiting connections until `READ_PER_ITERATION` of them are read."""
        read = 0
        for _ in range(ACCEPTED_PER_ITERATION):
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # the client left before it was accepted
                continue
            except OSError as error:
                self._pause(listening, error)
                return
            read += self._handle(connection, address)
            if read >= READ_PER_ITERATION:
                return

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """Stop watching the socket for `PAUSE_S` seconds.

        The event loop would report it in every iteration.
        """
        assert self._loop is not None
        self._loop.remove_reader(listening)
        self._resuming[listening] = self._loop.call_later(PAUSE_S, self._watch, listening)
        self._metrics.accept_pauses.inc()
        if self._on_pause is not None:
            self._on_pause()
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        if self._log_throttle.allow(reason):
            logger.warning("cannot accept connections: %s; open sockets are still served", reason)
