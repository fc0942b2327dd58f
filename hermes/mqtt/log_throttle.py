"""Which of many like failures are worth a line in the log."""

from collections.abc import Callable

LOG_INTERVAL_S = 600.0  # often enough to be among the last lines of a log, seldom enough not to fill it


class LogThrottle:
    """Says when a repeated failure is worth a line in the log: when it is new, then every ten minutes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: tuple[str, float] | None = None
        self._tries = 0

    def allow(self, reason: str) -> int | None:
        """The number of tries to be told of, or None where the line would be the same again."""
        self._tries += 1
        now_s = self._clock()
        if self._last is not None and self._last[0] == reason and now_s - self._last[1] < LOG_INTERVAL_S:
            return None
        self._last = (reason, now_s)
        tries, self._tries = self._tries, 0
        return tries

    def clear(self) -> None:
        """It works again."""
        self._last = None
        self._tries = 0
