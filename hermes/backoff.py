"""How long to wait before the next try: twice as long each time, so that nobody hammers a broker that is down."""

import random
from collections.abc import Callable

CHEAP_MAX_S = 3.0  # so that after a long outage the link is back 1.5 s after the broker, at the median


class Backoff:
    """Bounds that double from ``first_s`` to ``max_s``, and waits drawn from below them ("full jitter").

    Without the jitter all clients of a broker that restarts would come back in the same instant.
    """

    def __init__(self, *, first_s: float = 0.5, max_s: float = 30.0, draw: Callable[[], float] = random.random) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._draw = draw
        self._bound_s = first_s

    def wait_s(self, *, cheap: bool = False) -> float:
        """A wait for this try, in seconds: anything from nothing to its bound; the next bound is twice as high.

        ``cheap`` is for what may stay frequent: tries that nobody has to work for, as where no program listens, and
        connections that worked for a moment.
        """
        bound_s = min(self._bound_s, CHEAP_MAX_S) if cheap else self._bound_s
        self._bound_s = min(self._max_s, bound_s * 2)
        return self._draw() * bound_s

    def reset(self) -> None:
        """It worked: begin anew."""
        self._bound_s = self._first_s
