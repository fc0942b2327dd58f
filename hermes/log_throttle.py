"""Limit how often a log line about one repeated event is written."""

import time
from collections.abc import Callable, Hashable

KEYS_MAX = 10_000  # about 1 MB; past it the oldest key is evicted, and its next line is written again


class LogThrottle:
    """Allow the first line of each key, then one line per interval.

    ``interval_s`` None allows the first line only. ``clock`` gives monotonic seconds. Two threads that call `allow` at
    once may both write a line, and do no other harm.
    """

    def __init__(self, interval_s: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._logged_s: dict[Hashable, float] = {}
        self._suppressed: dict[Hashable, int] = {}

    def allow(self, key: Hashable) -> int:
        """Return how many events of this key the line stands for, or 0 if no line is due."""
        now_s, logged_s = self._clock(), self._logged_s.get(key)
        if logged_s is not None and (self._interval_s is None or now_s - logged_s < self._interval_s):
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return 0
        if logged_s is None and len(self._logged_s) >= KEYS_MAX:
            self._evict_oldest()
        self._logged_s[key] = now_s
        return self._suppressed.pop(key, 0) + 1

    def clear(self) -> None:
        """Forget all keys: the next line of each is allowed."""
        self._logged_s.clear()
        self._suppressed.clear()

    def _evict_oldest(self) -> None:
        oldest = next(iter(self._logged_s), None)
        self._logged_s.pop(oldest, None)
        self._suppressed.pop(oldest, None)
