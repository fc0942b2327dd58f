"""Send statements to the database: several in one piece, for one round trip."""

import contextlib
from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg

from hermes.inbox.postgres.session import Session
from hermes.inbox.postgres.statements import LAST_SEQ, Rows, Statement
from hermes.inbox.postgres.storing import StoredBatch

T = TypeVar("T")


async def transact(
    session: Session, storing: "Statement[StoredBatch]", changes: Sequence["Statement[Any]"]
) -> tuple[StoredBatch, list[Rows], int]:
    """Run a transaction that stores and then changes, sent in one piece.

    Returns what was stored, the rows of each change, and the highest number at its end.
    """
    connection = session.connection
    async with connection.pipeline():
        await connection.execute("BEGIN")
        stored = await connection.execute(storing.sql, storing.values, binary=True)
        changed = [await connection.execute(each.sql, each.values, binary=True) for each in changes]
        last = await connection.execute(LAST_SEQ, binary=True)
        await connection.execute("COMMIT")
    [(last_seq,)] = await last.fetchall()
    return storing.decode(await stored.fetchall()), [await each.fetchall() for each in changed], last_seq


async def rehearse(session: Session, storing: Sequence["Statement[StoredBatch]"]) -> None:
    """Run transactions that store, and undo them: a new session compiles functions.

    The first notification would wait for that. What fails here is reported when it is needed.
    """
    connection = session.connection
    with contextlib.suppress(psycopg.Error, OSError):
        await connection.execute("BEGIN")
        for each in storing:
            await connection.execute(each.sql, each.values, binary=True)
    with contextlib.suppress(psycopg.Error, OSError):
        await connection.rollback()


async def try_to_store(session: Session, storing: "Statement[StoredBatch]") -> None:
    """Run a transaction that stores, and undo it. Raises psycopg.Error if it fails.

    Not in one piece: after a ROLLBACK in a pipeline, psycopg deallocates what the next statement has just prepared.
    """
    connection = session.connection
    await connection.execute("BEGIN")
    await connection.execute(storing.sql, storing.values, binary=True)
    await connection.rollback()


async def fetch_all(session: Session, asked: Sequence["Statement[Any]"]) -> list[Rows]:
    """Run several reads, sent in one piece; return the rows of each."""
    if len(asked) == 1:
        return [await (await session.connection.execute(asked[0].sql, asked[0].values, binary=True)).fetchall()]
    async with session.connection.pipeline():
        found = [await session.connection.execute(each.sql, each.values, binary=True) for each in asked]
    return [await each.fetchall() for each in found]


async def fetch(session: Session, statement: "Statement[T]") -> T:
    """Run one statement as a transaction of its own; return its result."""
    found = await session.connection.execute(statement.sql, statement.values, binary=True)
    return statement.decode(await found.fetchall())
