"""Bound the waits of a connection attempt by a deadline and by the client's stop."""

import selectors
import threading
from collections.abc import Callable
from typing import Any

from hermes.mqtt.failures import Cancelled
from hermes.mqtt.net.waker import Waker

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Deadline:
    """The time left for one step of a connection attempt.

    ``clock`` gives monotonic seconds.
    """

    def __init__(self, *, waker: Waker, stopping: threading.Event, clock: Callable[[], float]) -> None:
        self._waker = waker
        self._stopping = stopping
        self._clock = clock
        self._deadline_s = clock()

    def start(self, timeout_s: float) -> None:
        """Set the deadline to this many seconds from now."""
        self._deadline_s = self._clock() + timeout_s

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline."""
        return self._deadline_s - self._clock()

    def wait_for(self, sock: Any, events: int, reserve_s: float = 0.0) -> None:
        """Wait until the socket can be read or written.

        Gives up ``reserve_s`` before the deadline: that time is for later steps. Raises TimeoutError, or `Cancelled`.
        """
        with selectors.PollSelector() as selector:  # select() fails above descriptor 1,023; epoll needs one itself
            selector.register(sock, events)
            selector.register(self._waker.receiver, selectors.EVENT_READ)
            while True:
                if self._stopping.is_set():
                    raise Cancelled("stopped")
                timeout_s = self.remaining_s - reserve_s
                if timeout_s <= 0:
                    raise TimeoutError("timed out")
                ready = [key.fileobj for key, _ in selector.select(timeout_s)]
                if self._waker.receiver in ready:
                    self._waker.clear()
                if sock in ready:
                    return
