"""Calls of a PostgreSQL inbox that wait, and their results."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from hermes.inbox.inbox import Submission
from hermes.inbox.postgres.statements import Rows, Statement
from hermes.inbox.postgres.storing import AppendRow, append_row

T = TypeVar("T")

ATTEMPT_BYTES: Final = 12


class Operation(Generic[T]):
    """One call that waits; ``future`` gets its result after the commit.

    ``then`` is called with it just before.
    """

    __slots__ = ("future", "has_begun", "is_late", "statement", "then")

    def __init__(self, statement: "Statement[T] | None", then: Callable[[T], None] | None) -> None:
        self.statement = statement
        self.then = then
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.has_begun = False
        self.is_late = False  # it was answered as not stored


class Append(Operation[Any]):
    """A row to store. ``attempt`` is its name, so that it can be taken back."""

    __slots__ = ("attempt", "row", "submission")

    def __init__(self, submission: Submission, then: Callable[[Any], None], *, ahead_ms: int) -> None:
        super().__init__(None, then)
        self.submission = submission
        self.attempt = os.urandom(ATTEMPT_BYTES)
        self.row: AppendRow = append_row(submission, self.attempt, ahead_ms=ahead_ms)


Outcome = tuple[Operation[Any], Any, Exception | None]


def decoded(operation: Operation[Any], rows: Rows) -> Outcome:
    """Return the outcome of an operation, of the rows of its statement."""
    assert operation.statement is not None
    return operation, operation.statement.decode(rows), None
