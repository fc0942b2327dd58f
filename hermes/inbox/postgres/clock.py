"""The database's clock, compared with that of this process."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

ANSWER_MAX_MS: Final = 500
DIFFERENCE_MAX_MS: Final = 5_000  # more is reported


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The database's clock, and this process's before and after that was asked.

    In Unix milliseconds.
    """

    database_ms: int
    asked_ms: int
    answered_ms: int

    @property
    def ahead_ms(self) -> int | None:
        """How far the database's clock is ahead; None if the answer took too long."""
        if not 0 <= self.answered_ms - self.asked_ms <= ANSWER_MAX_MS:
            return None
        return self.database_ms - (self.asked_ms + self.answered_ms) // 2


class DatabaseClock:
    """The time of the database, without asking it.

    ``now_ms`` is this process's clock.
    """

    def __init__(self, now_ms: Callable[[], int], metrics: Metrics) -> None:
        self._now_ms = now_ms
        self._metrics = metrics
        self._differs = False
        self.ahead_ms = 0  # of this process's clock

    def now_ms(self) -> int:
        """Return the time of the database: Unix milliseconds."""
        return self._now_ms() + self.ahead_ms

    def follow(self, reading: ClockReading) -> None:
        """Follow the database's clock; report one that differs."""
        if (ahead_ms := reading.ahead_ms) is None:
            return
        self.ahead_ms = ahead_ms
        self._metrics.inbox_clock_ahead_s.set(ahead_ms / 1_000)
        differs = abs(ahead_ms) > DIFFERENCE_MAX_MS
        if differs and not self._differs:
            logger.error(
                "inbox: the clock of this machine is %.1f s %s the database's: tokens and revocations need clocks that"
                " are right; use NTP",
                abs(ahead_ms) / 1_000,
                "behind" if ahead_ms > 0 else "ahead of",
            )
        self._differs = differs
