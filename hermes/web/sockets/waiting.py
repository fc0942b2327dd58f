"""Requests that wait: long polls, and senders that wait for an acknowledgement.

Each counts as a socket. It ends early when its client leaves, when its user is disconnected, and when Hermes stops.
"""

import contextlib
from collections.abc import Callable, Iterator
from enum import Enum

from hermes.auth.principal import Principal
from hermes.errors import RequestError, SocketRejected
from hermes.web.sockets.admission import Admission


class End(Enum):
    """Why a request must not wait any longer."""

    LEFT = "left"  # its client sends nothing more, and has most likely closed
    DISCONNECTED = "disconnected"
    STOPPING = "stopping"


class WaitingRequest:
    """One request that waits; ``end`` is why it must not, None while it may.

    ``principal`` is that of a reader; None for a sender. ``wake`` lets its handler look again.
    """

    __slots__ = ("end", "principal", "wake")

    def __init__(self, principal: Principal | None, wake: Callable[[], None]) -> None:
        self.principal = principal
        self.wake = wake
        self.end: End | None = None

    def stop(self, end: End) -> None:
        """End the wait; the first reason counts."""
        self.end = self.end or end
        self.wake()


class WaitingRequests:
    """All requests that wait; ``admission`` counts them."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._waiting: dict[WaitingRequest, None] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    @contextlib.contextmanager
    def enter(self, principal: Principal | None, address: str, wake: Callable[[], None]) -> Iterator[WaitingRequest]:
        """Count a request while it waits.

        Raises `RequestError` 503 ``busy`` over a limit of the sockets. A sender, which has a key and no principal,
        counts among all sockets only.
        """
        waiting = WaitingRequest(principal, wake)
        with self._place(principal, address):
            self._waiting[waiting] = None
            try:
                yield waiting
            finally:
                del self._waiting[waiting]

    @contextlib.contextmanager
    def _place(self, principal: Principal | None, address: str) -> Iterator[None]:
        admission = self._admission
        try:
            if principal is None:
                place = admission.admit_sender()
            else:
                admission.check(address)
                place = admission.admit(principal, address)
        except SocketRejected as rejection:
            raise RequestError(503, "busy", f"it cannot wait now: {rejection}; try again later") from None
        try:
            yield
        finally:
            admission.leave(place)

    def disconnect(self, are_meant: Callable[[Principal], bool]) -> int:
        """End the long polls of some principals; return how many."""
        found = [each for each in self._waiting if each.principal is not None and are_meant(each.principal)]
        for each in found:
            each.stop(End.DISCONNECTED)
        return len(found)

    def recheck(self) -> None:
        """Let the long polls check their tokens again."""
        for each in self._waiting:
            if each.principal is not None:
                each.wake()

    def stop(self) -> None:
        """End all: they are answered before Hermes stops."""
        for each in tuple(self._waiting):
            each.stop(End.STOPPING)
