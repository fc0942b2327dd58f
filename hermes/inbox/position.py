"""A reader's position in an inbox: ``EPOCH:SEQ``, or ``0`` for its beginning."""

import re
from dataclasses import dataclass

SEQ_MAX = 2**53 - 1  # exact in every JSON reader
_POSITION = re.compile(r"([A-Za-z0-9_-]{1,32}):(0|[1-9][0-9]{0,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """The number of the last row that a reader has, in one epoch.

    The beginning has no epoch.
    """

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}" if self.epoch else "0"


BEGINNING = Position("", 0)


def parse_position(text: str) -> Position | None:
    """Return the position, or None if the text is not one."""
    if text == "0":
        return BEGINNING
    match = _POSITION.fullmatch(text)
    if match is None or int(match[2]) > SEQ_MAX:
        return None
    return Position(match[1], int(match[2]))
