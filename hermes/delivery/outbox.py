"""Floor 2: what waits for one socket that is not taking bytes just now. Bounded; its owner decides what then."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from hermes.delivery.frames import Frame


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much one socket may have waiting, in bytes of plain frames and in messages."""

    max_bytes: int = 1_048_576
    max_messages: int = 1_000


class Outbox:
    """A queue of shared frames: it holds references, so a slow socket's backlog is not a copy."""

    __slots__ = ("_frames", "_limits", "size_bytes")

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._frames: deque[Frame] | None = None  # made when first needed: an empty one is 760 bytes
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._frames) if self._frames else 0

    def put(self, frames: Sequence[Frame]) -> bool:
        """Append these frames in order; False, and nothing appended, where they would pass a bound.

        One frame that alone is larger than the byte bound may wait while nothing else does.
        """
        size_bytes = sum(map(len, frames))
        messages = len(self) + len(frames)
        if messages > self._limits.max_messages:
            return False
        if self.size_bytes + size_bytes > self._limits.max_bytes and messages > 1:
            return False
        if self._frames is None:
            self._frames = deque()
        self._frames.extend(frames)
        self.size_bytes += size_bytes
        return True

    def take(self, max_bytes: int) -> list[Frame]:
        """Remove and return the oldest frames, at least one, up to about this many bytes."""
        taken: list[Frame] = []
        size_bytes = 0
        while self._frames and (not taken or size_bytes + len(self._frames[0]) <= max_bytes):
            frame = self._frames.popleft()
            taken.append(frame)
            size_bytes += len(frame)
        self.size_bytes -= size_bytes
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._frames = None
        self.size_bytes = 0
