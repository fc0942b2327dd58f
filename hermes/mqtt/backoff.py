"""How long to wait before the next try: twice as long each time, so that nobody hammers a broker that is down."""

import random
from collections.abc import Callable


class Backoff:
    """Bounds that double from ``first_s`` to ``max_s``, and waits drawn from below them ("full jitter").

    Without the jitter all clients of a broker that restarts would come back in the same instant.
    """

    def __init__(self, *, first_s: float = 1.0, max_s: float = 30.0, draw: Callable[[], float] = random.random) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._draw = draw
        self._bound_s = first_s

    def bound_s(self) -> float:
        """The bound of this try, in seconds; the next one is twice as high."""
        bound_s = self._bound_s
        self._bound_s = min(self._max_s, bound_s * 2)
        return bound_s

    def wait_s(self) -> float:
        """A wait for this try, in seconds: anything from nothing to its bound."""
        return self._draw() * self.bound_s()

    def reset(self) -> None:
        """It worked: begin anew."""
        self._bound_s = self._first_s
