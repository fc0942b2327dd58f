"""Floor 2: what waits for one socket that is not taking bytes just now. Bounded; its owner decides what then.

Two classes of message wait differently. Notices (notifications, broadcasts, answers) are kept, all of them, in order.
So is telemetry at first, for a client that is busy for a moment loses nothing; past the same bound it collapses: of
each series only the latest value waits, and tells in ``skipped`` how many it stands for. What waits in full leaves
first, then all that had collapsed; what comes meanwhile collapses anew.

A snapshot that is under way goes before live telemetry, because that is newer; its bound is the snapshot's own. Until
it and what came meanwhile have left, as many more series may collapse as it had: else a slow client of a large fleet
would be sent away each time, and never get in.

Refused: to collapse in place, so that a value keeps the turn of the one it replaces: values would leave in
another order than they came in. Refused too: one queue in which each new value goes to the end: on a slow line a
series that changes often would never leave.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from hermes.delivery.frames import Frame
from hermes.delivery.last_values import LastValue
from hermes.delivery.messages import Series

REPLAYED_BYTES = 1_024  # of room for each, several times a usual frame


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much one socket may have waiting, in bytes of plain frames, in messages, and in series.

    The first two are for notices, and again for telemetry that waits in full; the others for telemetry that collapsed,
    and again for what had collapsed before and is leaving, on a socket that takes a little now and then.
    """

    max_bytes: int = 1_048_576
    max_messages: int = 1_000
    collapsed_max_bytes: int = 4 * 1_048_576
    collapsed_max_series: int = 10_000


class Outbox:
    """Holds references to shared frames, so a slow socket's backlog is not a copy."""

    __slots__ = (
        "_collapsed",
        "_collapsed_bytes",
        "_limits",
        "_notice_bytes",
        "_notices",
        "_replay",
        "_replayed",
        "_telemetry",
        "_telemetry_bytes",
        "skipped",
    )

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._notices: deque[Frame] | None = None  # made when first needed, as the others: an empty one is 760 bytes
        self._notice_bytes = 0
        self._replay: deque[LastValue] | None = None  # references to shared values
        self._replayed = 0  # how many there were
        self._telemetry: deque[tuple[Frame, int]] | None = None  # in order; a frame and how many it stands for
        self._telemetry_bytes = 0
        self._collapsed: dict[Series, tuple[Frame, int]] | None = None  # what came after that
        self._collapsed_bytes = 0
        self.skipped = 0  # values left out so far

    def __len__(self) -> int:
        """How many frames wait."""
        return sum(len(waiting or ()) for waiting in (self._notices, self._replay, self._telemetry, self._collapsed))

    @property
    def size_bytes(self) -> int:
        """Their size in plain form, a snapshot's not counted."""
        return self._notice_bytes + self._telemetry_bytes + self._collapsed_bytes

    def put(self, frames: Sequence[Frame]) -> bool:
        """Let these frames wait. False where they pass a bound: the socket must be closed.

        One frame that alone is larger than a bound of bytes may wait while no other of its class does.
        """
        return all(self._keep(frame) if frame.series is None else self._keep_value(frame) for frame in frames)

    def replay(self, values: Sequence[LastValue]) -> bool:
        """Let a snapshot wait. It goes before the telemetry that comes later, and after that which waits already, for
        this is older; then it is kept in the same way, and False means that the socket must be closed.
        """
        if self._telemetry or self._collapsed:
            return self.put([value.frame for value in values])
        waiting = list(self._replay or ())
        if waiting:  # asked for again: of each series the newer one, or who asks and never reads would take all memory
            newer = {value.message.series_key for value in values}
            waiting = [value for value in waiting if value.message.series_key not in newer]
        self._replay = deque([*waiting, *values])
        self._replayed = len(self._replay)
        return True

    def _keep(self, frame: Frame) -> bool:
        if self._notices is None:
            self._notices = deque()
        self._notices.append(frame)
        self._notice_bytes += len(frame)
        limits, messages = self._limits, len(self._notices)
        return messages == 1 or (messages <= limits.max_messages and self._notice_bytes <= limits.max_bytes)

    def _keep_value(self, frame: Frame) -> bool:
        if self._collapsed:
            return self._collapse(frame)
        if self._telemetry is None:
            self._telemetry = deque()
        limits, size_bytes, messages = self._limits, self._telemetry_bytes + len(frame), len(self._telemetry)
        if messages and (messages >= limits.max_messages or size_bytes > limits.max_bytes):
            return self._collapse(frame)
        self._telemetry.append((frame, 0))
        self._telemetry_bytes = size_bytes
        return True

    def _collapse(self, frame: Frame) -> bool:
        assert frame.series is not None
        if self._collapsed is None:
            self._collapsed = {}
        before = self._collapsed.pop(frame.series, None)  # so that the newer value goes to the end
        skipped = 0
        if before is not None:
            skipped = before[1] + before[0].counts
            self.skipped += before[0].counts
            self._collapsed_bytes -= len(before[0])
        self._collapsed[frame.series] = (frame, skipped)
        self._collapsed_bytes += len(frame)
        limits, series, more = self._limits, len(self._collapsed), self._replayed
        return series == 1 or (
            series <= limits.collapsed_max_series + more
            and self._collapsed_bytes <= limits.collapsed_max_bytes + more * REPLAYED_BYTES
        )

    def take(self, max_bytes: int) -> list[Frame]:
        """Remove and return frames in order, notices first; at least one, up to about this many bytes."""
        taken = self.take_notices(max_bytes)
        if self._notices:
            return taken
        size_bytes = sum(map(len, taken))
        while self._replay and (not taken or size_bytes < max_bytes):
            frame = self._replay.popleft().frame
            taken.append(frame)
            size_bytes += len(frame)
        if self._replay:
            return taken
        if not self._telemetry and self._collapsed:
            self._telemetry, self._collapsed = deque(self._collapsed.values()), None
            self._telemetry_bytes, self._collapsed_bytes = self._collapsed_bytes, 0
        if not self._telemetry:
            self._replayed = 0
        while self._telemetry and (not taken or size_bytes + len(self._telemetry[0][0]) <= max_bytes):
            frame, skipped = self._telemetry.popleft()
            taken.append(frame.with_skipped(skipped) if skipped else frame)
            size_bytes += len(frame)
            self._telemetry_bytes -= len(frame)
        return taken

    def take_notices(self, max_bytes: int | None = None) -> list[Frame]:
        """Remove and return the oldest notices, at least one, up to about this many bytes, or all."""
        taken: list[Frame] = []
        size_bytes = 0
        while self._notices and (max_bytes is None or not taken or size_bytes + len(self._notices[0]) <= max_bytes):
            frame = self._notices.popleft()
            taken.append(frame)
            size_bytes += len(frame)
        self._notice_bytes -= size_bytes
        return taken

    def clear(self) -> None:
        """Forget everything that waits."""
        self._notices = self._replay = self._telemetry = self._collapsed = None
        self._notice_bytes = self._telemetry_bytes = self._collapsed_bytes = 0
