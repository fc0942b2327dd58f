"""Compute delays between attempts.

The bound doubles each time, so that clients do not overload a broker that is down.
"""

import random
from collections.abc import Callable

SHORT_MAX_S = 3.0  # so that after a long outage the link is up 1.5 s after the broker, at the median


class Backoff:
    """Draw random delays below a bound that doubles each time.

    The bound grows from ``first_s`` to ``max_s`` ("full jitter"). Without the jitter, all clients of a broker that
    restarts would connect at the same moment. ``draw`` returns a number from 0 to 1.
    """

    def __init__(self, *, first_s: float = 0.5, max_s: float = 30.0, draw: Callable[[], float] = random.random) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._draw = draw
        self._bound_s = first_s

    def next_delay_s(self, *, short: bool = False) -> float:
        """Return a delay between 0 and the bound, in seconds, and double the bound.

        ``short`` keeps the bound at `SHORT_MAX_S`: for attempts that cost no server any work, as when no program
        listens, and after connections that worked for a moment.
        """
        bound_s = min(self._bound_s, SHORT_MAX_S) if short else self._bound_s
        self._bound_s = min(self._max_s, bound_s * 2)
        return self._draw() * bound_s

    def reset(self) -> None:
        """Start again at ``first_s``, after a success."""
        self._bound_s = self._first_s
