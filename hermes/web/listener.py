"""Floor 3: the door's threshold: takes new connections, a few in each turn of the loop, and rests when it cannot.

Tornado's own accept handler takes 128 in a turn and knows no rest. Then a reconnect storm delays everybody who is
inside already, and a process without a free file descriptor is told of the same waiting connection without end.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any

from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

# 3,000 handshakes at once take 1.3 s with 4 as with 128, but a notification meanwhile 130 ms (p95) instead of 700.
ACCEPTED_PER_TURN = 4
PAUSE_S = 1.0  # as long as a file descriptor may take to come free; waiting connections stay in the kernel's backlog
COMPLAINT_INTERVAL_S = 60.0

_REASONS = {
    errno.EMFILE: "no file descriptor is free; raise LimitNOFILE in the unit (or ulimit -n), or lower --max-sockets",
    errno.ENFILE: "this machine has no file descriptor free; raise the sysctl fs.file-max",
}

Take = Callable[[socket.socket, Any], None]


class Listener:
    """Hands each new connection of the listening sockets, and its address, to ``take``.

    Works on the event loop on which it was started. The listening sockets are its own from then on.
    """

    def __init__(self, *, listening: Iterable[socket.socket], take: Take, metrics: Metrics) -> None:
        self._listening = tuple(listening)
        self._take = take
        self._metrics = metrics
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resuming: dict[socket.socket, asyncio.TimerHandle] = {}
        self._complained_s: float | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._loop = asyncio.get_running_loop()
        for listening in self._listening:
            self._watch(listening)

    def stop(self) -> None:
        """Accept no more and close the listening sockets. May be repeated."""
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
        """Take what waits, but not more than this turn's share."""
        for _ in range(ACCEPTED_PER_TURN):
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # it left while it waited
                continue
            except OSError as error:
                self._pause(listening, error)
                return
            self._take(connection, address)

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """Look away for a while: what cannot be accepted now would be reported in every turn."""
        assert self._loop is not None
        self._loop.remove_reader(listening)
        self._resuming[listening] = self._loop.call_later(PAUSE_S, self._watch, listening)
        self._metrics.accept_pauses.inc()
        now_s = self._loop.time()
        if self._complained_s is None or now_s - self._complained_s >= COMPLAINT_INTERVAL_S:
            self._complained_s = now_s
            reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
            logger.warning("cannot accept connections just now: %s; open sockets are served meanwhile", reason)
