"""How much work one client may cause: a token bucket.

A unit is the work of one plain frame. A frame that makes the server do more costs more; see `UNITS`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

BURST_S = 10.0  # the bucket holds what this many seconds give
PAUSE_MIN_S = 0.1  # a pause costs as much as a frame, so there are not more than ten a second
SLOW_DOWN_AFTER_S = 30.0  # of a client that never lets the bucket recover


@dataclass(frozen=True, slots=True)
class Units:
    """The work that one unit, a plain frame, stands for: how many of each."""

    bytes: int = 4_096  # inflated, or sent as an answer
    devices: int = 20  # named in a frame
    values: int = 50  # of a snapshot


UNITS = Units()
REFRESH_UNITS = 10  # a signature check
ACK_UNITS = 2  # a change in the inbox, which other sockets get
RESUME_UNITS = 50  # a replay


class WorkBudget:
    """A token bucket of ``rate_per_s`` units a second.

    ``clock`` gives monotonic seconds.
    """

    __slots__ = ("_clock", "_over_since_s", "_rate_per_s", "_units", "_updated_s")

    def __init__(self, rate_per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_per_s = rate_per_s
        self._clock = clock
        self._units = rate_per_s * BURST_S
        self._updated_s = clock()
        self._over_since_s: float | None = None

    def spend(self, units: float) -> None:
        """Take units out of the bucket; it may go below zero."""
        now_s = self._clock()
        refilled = self._units + (now_s - self._updated_s) * self._rate_per_s
        self._units = min(refilled, self._rate_per_s * BURST_S) - units
        self._updated_s = now_s
        if self._units < 0 and self._over_since_s is None:
            self._over_since_s = now_s
        elif refilled > self._rate_per_s:  # the client sent nothing for a second
            self._over_since_s = None

    @property
    def wait_s(self) -> float:
        """Return for how many seconds the client must not be read; 0 if it may send."""
        return max(PAUSE_MIN_S, -self._units / self._rate_per_s) if self._units < 0 else 0.0

    @property
    def exhausted(self) -> bool:
        """Return whether the client was over the limit for too long.

        That is `SLOW_DOWN_AFTER_S` without a second in which it sent nothing.
        """
        return self._over_since_s is not None and self._clock() - self._over_since_s >= SLOW_DOWN_AFTER_S
