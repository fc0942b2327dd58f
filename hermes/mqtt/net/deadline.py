"""The devices' door: waits of a connection attempt, each with an end: the answer, the deadline, or the link's stop."""

import selectors
import threading
from collections.abc import Callable
from typing import Any

from hermes.mqtt.failures import Cancelled
from hermes.mqtt.net.waker import Waker

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Deadline:
    """What the thread may wait for while it opens a connection. ``clock`` gives monotonic seconds."""

    def __init__(self, *, waker: Waker, stopping: threading.Event, clock: Callable[[], float]) -> None:
        self._waker = waker
        self._stopping = stopping
        self._clock = clock
        self._deadline_s = clock()

    def start(self, timeout_s: float) -> None:
        """So much time from now on."""
        self._deadline_s = self._clock() + timeout_s

    @property
    def remaining_s(self) -> float:
        """What is left of it."""
        return self._deadline_s - self._clock()

    def wait_for(self, sock: Any, events: int, until_s: float | None = None) -> None:
        """Until the socket can be read or written. Raises TimeoutError, or `Cancelled`.

        ``until_s`` is how much of the time may be left at the end, for what comes after.
        """
        with selectors.PollSelector() as selector:  # select() knows no descriptor past 1,023; epoll takes one itself
            selector.register(sock, events)
            selector.register(self._waker.receiver, selectors.EVENT_READ)
            while True:
                if self._stopping.is_set():
                    raise Cancelled("stopped")
                left_s = self.remaining_s - (until_s or 0)
                if left_s <= 0:
                    raise TimeoutError("timed out")
                ready = [key.fileobj for key, _ in selector.select(left_s)]
                if self._waker.receiver in ready:
                    self._waker.rest()
                if sock in ready:
                    return
