"""What ``hermes inbox`` does with a database.

Create its tables, show figures, remove a user.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from hermes.ids import UserId
from hermes.inbox.inbox import InboxStats
from hermes.inbox.postgres import statements
from hermes.inbox.postgres.schema import SCHEMA, STEPS, VERSION
from hermes.inbox.postgres.session import CONNECT_TIMEOUT_S, check_version, failure_of
from hermes.inbox.postgres.statements import Statement

T = TypeVar("T")

APPLICATION_NAME = "hermes inbox command"
# so that two commands do not create the same tables; ends with the transaction
_MIGRATION_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('hermes inbox migrate', 0))"

_GRANTS = """
GRANT USAGE ON SCHEMA hermes TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA hermes TO {role};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA hermes TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA hermes GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA hermes GRANT EXECUTE ON FUNCTIONS TO {role};
"""


@contextlib.contextmanager
def _connected(parameters: Mapping[str, Any]) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """Give a connection, which commits at the end. Raises `HermesError`."""
    given = {"connect_timeout": CONNECT_TIMEOUT_S, **parameters, "application_name": APPLICATION_NAME}
    try:
        with psycopg.connect(**given) as connection:
            yield connection
    except psycopg.Error as error:
        raise failure_of(error) from None


def migrate(parameters: Mapping[str, Any], *, grants: Sequence[str] = ()) -> tuple[int, int]:
    """Bring the tables to this version, and let these roles use them.

    In one transaction. Returns the version before and after. Raises `HermesError`.
    """
    with _connected(parameters) as connection:
        connection.execute(_MIGRATION_LOCK)
        if not _row(connection, "SELECT to_regnamespace(%s) IS NOT NULL", (SCHEMA,))[0]:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
        before = _version(connection)
        if before > VERSION:
            check_version(before)
        for step in range(before, VERSION):
            connection.execute(STEPS[step])
        connection.execute(
            "INSERT INTO hermes.meta VALUES ('version', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(VERSION),),
        )
        for role in grants:
            connection.execute(sql.SQL(_GRANTS).format(role=sql.Identifier(role)))
    return before, VERSION


def stats(parameters: Mapping[str, Any]) -> InboxStats:
    """Return the size of the inbox. Raises `HermesError`."""
    with _connected(parameters) as connection:
        check_version(_version(connection))
        return _run(connection, statements.stats())


def purge(parameters: Mapping[str, Any], user_id: UserId) -> int:
    """Remove everything about a user; return the number of notifications.

    In several transactions. Raises `HermesError`.
    """
    removed, has_more = 0, True
    with _connected(parameters) as connection:
        check_version(_version(connection))
        while has_more:
            rows, has_more = _run(connection, statements.purge(user_id))
            connection.commit()
            removed += rows
    return removed


def _version(connection: "psycopg.Connection[tuple[Any, ...]]") -> int:
    if not _row(connection, "SELECT to_regclass(%s) IS NOT NULL", (f"{SCHEMA}.meta",))[0]:
        return 0
    found = connection.execute("SELECT value::integer FROM hermes.meta WHERE name = 'version'").fetchone()
    return int(found[0]) if found is not None else 0


def _run(connection: "psycopg.Connection[tuple[Any, ...]]", statement: "Statement[T]") -> T:
    return statement.decode(connection.execute(statement.sql, statement.values or None, binary=True).fetchall())


def _row(connection: "psycopg.Connection[tuple[Any, ...]]", text: str, values: tuple[object, ...]) -> tuple[Any, ...]:
    [row] = connection.execute(text, values).fetchall()
    found: tuple[Any, ...] = row
    return found
