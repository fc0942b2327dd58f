"""Statements for several rows at once.

SQLite lets other threads run at each step of a statement, and on a busy event loop it takes up to milliseconds until
its thread goes on. So a transaction has a few statements for all of its rows. They exist for 1, 2, 4, … rows: few are
compiled.
"""

from collections.abc import Iterator, Sequence
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


def parts(rows: Sequence[_Values]) -> Iterator[Sequence[_Values]]:
    """Divide rows into parts of 1, 2, 4, … `ROWS_MAX`, in order."""
    begin = 0
    while begin < len(rows):
        number = min(ROWS_MAX, 1 << ((len(rows) - begin).bit_length() - 1))
        yield rows[begin : begin + number]
        begin += number


def padded(rows: Sequence[_Values]) -> Sequence[_Values]:
    """Repeat the last of at most `ROWS_MAX` rows: their number becomes a power of two.

    For a statement that may get a row twice.
    """
    return [*rows, *[rows[-1]] * ((1 << (len(rows) - 1).bit_length()) - len(rows))]
