"""The delay after which clients reconnect, so that not all do it at once."""

import random

RETRY_MIN_MS = 1_000  # the first back-off of the client library
UNMEASURED_PER_S = 1_000.0  # a quarter of what one core of a server accepts
SLOWEST_PER_S, FASTEST_PER_S = 100.0, 5_000.0
SHARE = 2 / 3  # of the event loop's time that returning sockets may take; the rest is for those that are connected
MEASURED_LEAST = 100  # handshakes before the measurement is used
SMOOTHING = 256  # handshakes after which a change of the machine's speed is two thirds known


class ReturnRate:
    """The rate at which closed sockets are asked to return.

    It follows the time that handshakes take on this machine.
    """

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._measured = 0
        self._admitted = False

    def admitted(self) -> None:
        """Record that the handshake under way has opened a socket.

        One that is refused is cheaper, and is not measured.
        """
        self._admitted = True

    def measure(self, handshake_s: float) -> None:
        """Record how long the handshake that has just ended held the event loop."""
        if not self._admitted:
            return
        self._admitted = False
        self._measured += 1
        self._mean_s += (handshake_s - self._mean_s) / min(self._measured, SMOOTHING)

    @property
    def per_s(self) -> float:
        """Sockets a second."""
        if self._measured < MEASURED_LEAST:
            return UNMEASURED_PER_S
        return max(SLOWEST_PER_S, min(FASTEST_PER_S, SHARE / self._mean_s))

    def retry_ms(self, live_sockets: float) -> int:
        """Return a random delay in milliseconds.

        Over all live sockets, the reconnections are spread evenly at this rate.
        """
        return retry_ms(live_sockets, self.per_s)


def retry_ms(live_sockets: float = 1, per_s: float = UNMEASURED_PER_S) -> int:
    """Return a random delay in milliseconds that spreads sockets evenly."""
    spread_ms = live_sockets * 1_000 / per_s
    return round(RETRY_MIN_MS + random.uniform(0, max(RETRY_MIN_MS, spread_ms)))
