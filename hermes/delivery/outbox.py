"""Bounded send queue of one slow socket.

There are two classes of frames. Notifications, broadcasts and answers to actions all wait, in order. Telemetry also
waits in full at first, so that a client that is busy for a moment loses nothing; above the same limits it is conflated:
only the latest value of each series waits, and its ``skipped`` is the number of values that it replaces. Values that
wait in full are sent first, then the conflated ones; telemetry that is queued meanwhile is conflated separately.

A snapshot that is being sent precedes live telemetry, which is newer; `LastValuesLimits` bounds it. Until it and the
telemetry queued meanwhile are sent, the limits of conflated telemetry are higher by the size of the snapshot: otherwise
a slow client of a large fleet would be closed at each attempt.

Alternatives refused: conflation in place, because values would be sent in another order than they were published; and
one queue in which each new value is appended, because on a slow line a series that changes often would never be sent.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from hermes.delivery.frames import Frame
from hermes.delivery.last_values import LastValue
from hermes.delivery.messages import Series

REPLAYED_BYTES = 1_024  # added to the limit for each value of a snapshot: several times a usual frame


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait for one socket: bytes of plain frames, messages, series.

    The first two limit notifications, and separately the telemetry that waits in full. The others limit conflated
    telemetry, and separately the telemetry that was conflated earlier and is being sent.
    """

    max_bytes: int = 1_048_576
    max_messages: int = 1_000
    conflated_max_bytes: int = 4 * 1_048_576
    conflated_max_series: int = 10_000


class Outbox:
    """The queue; it has references to shared frames, not copies."""

    __slots__ = (
        "_conflated",
        "_conflated_bytes",
        "_limits",
        "_notification_bytes",
        "_notifications",
        "_replay",
        "_replay_behind",
        "_replayed",
        "_telemetry",
        "_telemetry_bytes",
        "skipped",
    )

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._notifications: deque[Frame] | None = None  # created when first needed, as the others: 760 bytes if empty
        self._notification_bytes = 0
        self._replay: deque[LastValue] | None = None  # references to shared values
        self._replay_behind: deque[LastValue] | None = None  # one that follows the telemetry
        self._replayed = 0  # the length of the snapshot when it was queued
        self._telemetry: deque[tuple[Frame, int]] | None = None  # in order: a frame, and how many it replaces
        self._telemetry_bytes = 0
        self._conflated: dict[Series, tuple[Frame, int]] | None = None  # what was queued after that
        self._conflated_bytes = 0
        self.skipped = 0  # values that were replaced so far

    def __len__(self) -> int:
        """Return the number of waiting frames."""
        queues = (self._notifications, self._replay, self._telemetry, self._replay_behind, self._conflated)
        return sum(len(queue or ()) for queue in queues)

    @property
    def size_bytes(self) -> int:
        """The size of the waiting frames in plain form, a snapshot's not counted."""
        return self._notification_bytes + self._telemetry_bytes + self._conflated_bytes

    def put(self, frames: Sequence[Frame]) -> bool:
        """Queue these frames.

        Returns False if they exceed a limit: the socket must be closed. A single frame that is larger than a limit of
        bytes may wait if it is the only one of its class.
        """
        return all(self._put_value(frame) if frame.series is not None else self._append(frame) for frame in frames)

    @property
    def replaying(self) -> bool:
        """Whether a snapshot is not sent completely."""
        return bool(self._replay or self._replay_behind)

    def replay(self, values: Sequence[LastValue]) -> bool:
        """Queue a snapshot behind what waits now.

        Telemetry that is published later follows it. It takes the place of a snapshot that is not sent completely, so
        it must have all that this one has. Returns False if a limit is exceeded: the socket must be closed.
        """
        self._replay = None
        if self._replay_behind is not None and not self._conflate_telemetry():
            return False
        self._replay_behind = deque(values)
        self._replayed = len(values)
        if self._conflated:  # it is older than the snapshot
            self._telemetry = deque((*(self._telemetry or ()), *self._conflated.values()))
            self._telemetry_bytes += self._conflated_bytes
            self._conflated, self._conflated_bytes = None, 0
        return True

    def _conflate_telemetry(self) -> bool:
        """Discard all but the latest value of each series.

        Otherwise repeated requests for snapshots would fill the memory.
        """
        waiting, later = self._telemetry or deque(), self._conflated or {}
        self._telemetry, self._conflated, self._telemetry_bytes, self._conflated_bytes = None, None, 0, 0
        return all(self._conflate(frame, skipped) for frame, skipped in (*waiting, *later.values()))

    def _append(self, frame: Frame) -> bool:
        if self._notifications is None:
            self._notifications = deque()
        self._notifications.append(frame)
        self._notification_bytes += len(frame)
        limits, messages = self._limits, len(self._notifications)
        return messages == 1 or (messages <= limits.max_messages and self._notification_bytes <= limits.max_bytes)

    def _put_value(self, frame: Frame) -> bool:
        if self._conflated or self._replay_behind:
            return self._conflate(frame)
        if self._telemetry is None:
            self._telemetry = deque()
        limits, size_bytes, messages = self._limits, self._telemetry_bytes + len(frame), len(self._telemetry)
        if messages and (messages >= limits.max_messages or size_bytes > limits.max_bytes):
            return self._conflate(frame)
        self._telemetry.append((frame, 0))
        self._telemetry_bytes = size_bytes
        return True

    def _conflate(self, frame: Frame, skipped: int = 0) -> bool:
        assert frame.series is not None
        if self._conflated is None:
            self._conflated = {}
        before = self._conflated.pop(frame.series, None)  # so that the newer value is appended
        if before is not None:
            skipped += before[1] + before[0].counts
            self.skipped += before[0].counts
            self._conflated_bytes -= len(before[0])
        self._conflated[frame.series] = (frame, skipped)
        self._conflated_bytes += len(frame)
        limits, series, more = self._limits, len(self._conflated), self._replayed
        return series == 1 or (
            series <= limits.conflated_max_series + more
            and self._conflated_bytes <= limits.conflated_max_bytes + more * REPLAYED_BYTES
        )

    def pop(self, max_bytes: int) -> list[Frame]:
        """Remove and return frames in order, notifications first.

        At least one frame, and about ``max_bytes``.
        """
        frames = self.pop_notifications(max_bytes)
        if self._notifications:
            return frames
        if not self._replay and not self._telemetry and self._replay_behind:
            self._replay, self._replay_behind = self._replay_behind, None
        size_bytes = sum(map(len, frames))
        while self._replay and (not frames or size_bytes < max_bytes):
            frame = self._replay.popleft().frame
            frames.append(frame)
            size_bytes += len(frame)
        if self._replay:
            return frames
        if not self._telemetry and self._conflated and not self._replay_behind:
            self._telemetry, self._conflated = deque(self._conflated.values()), None
            self._telemetry_bytes, self._conflated_bytes = self._conflated_bytes, 0
        if not self._telemetry and not self._replay_behind:
            self._replayed = 0
        while self._telemetry and (not frames or size_bytes + len(self._telemetry[0][0]) <= max_bytes):
            frame, skipped = self._telemetry.popleft()
            frames.append(frame.with_skipped(skipped) if skipped else frame)
            size_bytes += len(frame)
            self._telemetry_bytes -= len(frame)
        return frames

    def pop_notifications(self, max_bytes: int | None = None) -> list[Frame]:
        """Remove and return the oldest notifications.

        At least one, and about ``max_bytes``; None is all.
        """
        frames: list[Frame] = []
        size_bytes = 0
        waiting = self._notifications
        while waiting and (max_bytes is None or not frames or size_bytes + len(waiting[0]) <= max_bytes):
            frame = waiting.popleft()
            frames.append(frame)
            size_bytes += len(frame)
        self._notification_bytes -= size_bytes
        return frames

    def clear(self) -> None:
        """Remove all frames."""
        self._notifications = self._replay = self._replay_behind = self._telemetry = self._conflated = None
        self._notification_bytes = self._telemetry_bytes = self._conflated_bytes = 0
