"""Statements for several rows at once.

SQLite lets other threads run at each step of a statement, and on a busy event loop it takes up to milliseconds until
its thread goes on. So a transaction has a few statements for all of its rows. They exist for 1, 2, 4, … rows: few are
compiled.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

ROWS_MAX: Final = 128  # of one statement: below the 32,766 parameters of SQLite

_Values = tuple[Any, ...]


def places(columns: int, rows: int) -> str:
    """Return the places of the values of rows, as in ``(?, ?), (?, ?)``."""
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


def flat(rows: Sequence[_Values]) -> _Values:
    """Return the values of all rows, one after the other."""
    return tuple(chain.from_iterable(rows))


def padded(rows: Sequence[_Values], more: _Values) -> Sequence[_Values]:
    """Add ``more`` to at most `ROWS_MAX` rows until their number is a power of two.

    It must change nothing that the statement does with the others.
    """
    return [*rows, *[more] * ((1 << (len(rows) - 1).bit_length()) - len(rows))]
