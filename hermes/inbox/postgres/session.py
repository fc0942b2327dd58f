"""Connect to the database of an inbox; check and set what is needed."""

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, conninfo

from hermes.errors import HermesError
from hermes.inbox.inbox import COMMIT_MAX_S, FailureReason
from hermes.inbox.postgres import statements
from hermes.inbox.postgres.clock import ClockReading
from hermes.inbox.postgres.schema import SCHEMA, TABLES, VERSION
from hermes.log import printable
from hermes.net.resolver import Resolver
from hermes.settings.tls import show_libpq_ca_certificates

DEFAULT_PORT: Final = 5432
CONNECT_TIMEOUT_S: Final = 2  # for each address; libpq has no shorter one
STATEMENT_MAX_S: Final = COMMIT_MAX_S  # also for a server that has lost its client
IDLE_IN_TRANSACTION_MS: Final = 10_000  # the server ends a transaction of a Hermes that has vanished
APPLICATION_PREFIX: Final = "hermes inbox "
ENDED_POLLS, ENDED_POLL_S = 20, 0.05  # until the last session of this process has ended

# Set for each session. A hidden `synchronous_commit = off` would make "stored" a lie; the other values are durable.
_SETTINGS: Final = f"""
SELECT set_config('statement_timeout', %s, false),
  set_config('idle_in_transaction_session_timeout', '{IDLE_IN_TRANSACTION_MS}', false),
  set_config('default_transaction_isolation', 'read committed', false),
  set_config('jit', 'off', false),
  set_config('synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END,
    false)
"""
_SAFE_TO_ANSWER: Final = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean"

# Another one means: another server, a failover, a restored or a new database. Rows may be missing.
_INCARNATION: Final = f"""
SELECT (SELECT system_identifier FROM pg_control_system())::text
  || ':' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
  || ':' || '{SCHEMA}.log'::regclass::oid::text
"""

_PRIVILEGES: Final = f"""
SELECT t.name || ' (' || p.name || ')' FROM unnest(%s::text[]) AS t (name),
  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (name)
WHERE NOT has_table_privilege('{SCHEMA}.' || t.name, p.name) LIMIT 1
"""

# Messages of the server that a person must act on. A connection that is refused has no SQLSTATE, only a text.
_PERMANENT: Final = re.compile(
    r"password authentication failed|no password supplied|no pg_hba\.conf entry|authentication failed"
    r"|role .* does not exist|database .* does not exist|is not permitted to log in|permission denied"
    r"|certificate verify failed|root certificate file|certificate file .* does not exist|private key file"
    r"|definition of service|service file|server does not support SSL|invalid .* value|does not match host name"
    r"|alert (unknown ca|bad certificate|certificate required|unsupported certificate|certificate revoked"
    r"|certificate expired|certificate unknown|handshake failure|protocol version)|unsupported protocol"
)
# A TLS handshake that was cut off. With sslmode=prefer, libpq then tries without TLS, which may not be permitted.
_CUT_OFF: Final = re.compile(r"SSL SYSCALL error|SSL error: unexpected eof|alert internal error")


class NotUsable(HermesError):
    """The database must not be used as it is; the text says what to do."""

    exit_code = 2


class Unreachable(HermesError):
    """No usable database answers at present."""

    def __init__(self, text: str, reason: FailureReason = "timeout") -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Origin:
    """The series of a database: its epoch, and two numbers.

    ``last_seq`` is the highest one, ``began_at`` the highest one when the epoch began.
    """

    epoch: str
    last_seq: int
    began_at: int


class Session:
    """One open connection, with the tables of this version.

    `cut` ends it at once, also while it waits for an answer that does not come.
    """

    def __init__(self, connection: "AsyncConnection[tuple[Any, ...]]", name: str, origin: Origin) -> None:
        self.connection = connection
        self.name = name
        self.origin = origin
        self.clock = ClockReading(0, 0, 0)

    def cut(self) -> None:
        """Shut the socket down, so that whoever waits for it gets an error."""
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.connection.fileno())) as copy,
        ):
            copy.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Close the connection; may be repeated."""
        with contextlib.suppress(psycopg.Error, OSError):
            await self.connection.close()


async def open_session(
    parameters: Mapping[str, Any],
    *,
    resolver: Resolver,
    name: str,
    last_name: str | None,
    new_epoch: Callable[[], str],
    seen: Mapping[str, int],
    now_ms: Callable[[], int],
) -> Session:
    """Connect, and check and set what a session needs.

    ``parameters`` are those of libpq. ``name`` is the unique application name of this session, ``last_name`` that of
    the one before: it has ended when this returns, so that nothing of it is committed later. ``seen`` has the highest
    number that this process knows of each epoch; ``now_ms`` is its clock. Raises `NotUsable` if a person must act, and
    `Unreachable`.
    """
    connection = await _connect(await _resolved(parameters, resolver), name)
    session = Session(connection, name, Origin("", 0, 0))
    watch = asyncio.get_running_loop().call_later(3 * COMMIT_MAX_S, session.cut)
    try:
        await connection.execute(_SETTINGS, (str(int(STATEMENT_MAX_S * 1_000)),))
        asked_ms = now_ms()
        (clock_ms,) = await _row(connection, f"SELECT {statements.DATABASE_CLOCK}")
        session.clock = ClockReading(clock_ms, asked_ms, now_ms())
        await _check_writable(connection)
        if last_name is not None:
            await _end_session(connection, last_name)
        await _check_schema(connection)
        session.origin = await _read_origin(connection, new_epoch, seen)
    except psycopg.Error as error:
        await session.close()
        raise failure_of(error) from None
    except BaseException:
        await session.close()
        raise
    finally:
        watch.cancel()
    return session


async def check_database(parameters: Mapping[str, Any]) -> None:
    """Check that a Hermes could use this database; change nothing.

    Raises `NotUsable` and `Unreachable`.
    """
    connection = await _connect(await _resolved(parameters, Resolver()), f"{APPLICATION_PREFIX}check")
    try:
        await _check_writable(connection)
        await _check_schema(connection)
    except psycopg.Error as error:
        raise failure_of(error) from None
    finally:
        with contextlib.suppress(psycopg.Error, OSError):
            await connection.close()


async def _resolved(parameters: Mapping[str, Any], resolver: Resolver) -> Mapping[str, Any]:
    """Return the parameters with the addresses of the hosts. Raises `Unreachable`.

    psycopg would resolve them without a time limit. An address of libpq's service file or environment is not seen here.
    """
    hosts, ports = (str(parameters.get(key) or "").split(",") for key in ("host", "port"))
    if parameters.get("hostaddr") or not any(map(_is_name, hosts)):
        return parameters
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        return parameters  # libpq says so
    problem = ""
    found: list[tuple[str, str, str]] = []
    for host, port in zip(hosts, ports, strict=True):
        try:
            addresses = [""] if not _is_name(host) else await resolver.addresses(host, int(port or DEFAULT_PORT))
        except (OSError, ValueError) as error:
            problem = str(error)
        else:
            found += [(host, address, port) for address in addresses]
    if not found:
        raise Unreachable(f"cannot reach the database: {printable(problem)}")
    host, hostaddr, port = (",".join(each) for each in zip(*found, strict=True))
    return {**parameters, "host": host, "hostaddr": hostaddr, "port": port}


def _is_name(host: str) -> bool:
    """Return whether this is a host, and not the folder of a Unix socket."""
    return bool(host) and not host.startswith(("/", "@"))


async def _connect(parameters: Mapping[str, Any], name: str) -> "AsyncConnection[tuple[Any, ...]]":
    try:
        connection: AsyncConnection[tuple[Any, ...]] = await AsyncConnection.connect(
            **{"connect_timeout": CONNECT_TIMEOUT_S, **parameters, "application_name": name},
            autocommit=True,
            prepare_threshold=0,
        )
    except psycopg.Error as error:
        raise failure_of(error) from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"cannot reach the database: {printable(str(error))}") from None
    return connection


def failure_of(error: psycopg.Error) -> NotUsable | Unreachable:
    """Return the error for a failed connection or a failed check."""
    text = _one_line(error)
    state = error.sqlstate or ""
    is_permanent = isinstance(error, psycopg.ProgrammingError) or state.startswith(("28", "3D"))
    if is_permanent or (_PERMANENT.search(text) and not _CUT_OFF.search(text)):
        return NotUsable(f"the inbox cannot use the database: {text}")
    return Unreachable(f"cannot use the database: {text}", reason_of(error))


def reason_of(error: Exception) -> FailureReason:
    """Return the reason for the sender of what was not stored."""
    state = getattr(error, "sqlstate", None) or ""
    if state in ("53100", "25006", "58030"):  # disk_full, read_only_sql_transaction, io_error
        return "disk_full"
    if state.startswith("XX"):  # data_corrupted, index_corrupted, internal_error
        return "corrupt"
    return "timeout"


def describe(error: Exception) -> str:
    """Return the text of an error in one line."""
    return _one_line(error)


def _one_line(error: Exception) -> str:
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None  # without the call stack
    lines = [line.strip() for line in (primary or str(error)).splitlines() if line.strip()]
    return printable("; ".join(lines)) or type(error).__name__


async def _check_writable(connection: "AsyncConnection[tuple[Any, ...]]") -> None:
    standby, read_only = await _row(connection, _SAFE_TO_ANSWER)
    if standby:
        raise Unreachable(
            "the database is a standby, which only reads; add target_session_attrs=read-write to the URL", "disk_full"
        )
    if read_only:
        raise Unreachable("the database is read-only (default_transaction_read_only)", "disk_full")


async def _end_session(connection: "AsyncConnection[tuple[Any, ...]]", name: str) -> None:
    """End the last session of this process, which may still wait for a lock or a disk."""
    for _ in range(ENDED_POLLS):
        found = await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = %s AND usename = current_user",
            (name,),
        )
        if not await found.fetchall():
            return
        await asyncio.sleep(ENDED_POLL_S)
    raise Unreachable("the last session of this process has not ended yet")


async def _check_schema(connection: "AsyncConnection[tuple[Any, ...]]") -> None:
    (exists,) = await _row(connection, "SELECT to_regnamespace(%s) IS NOT NULL", (SCHEMA,))
    if not exists:
        raise NotUsable("the database has no tables of Hermes: run `hermes inbox migrate` as their owner")
    (usable,) = await _row(connection, "SELECT has_schema_privilege(%s, 'USAGE')", (SCHEMA,))
    (role,) = await _row(connection, "SELECT current_user::text")
    if not usable:
        raise NotUsable(f"the role {role} has no rights on the tables: run `hermes inbox migrate --grant {role}`")
    (exists,) = await _row(connection, "SELECT to_regclass(%s) IS NOT NULL", (f"{SCHEMA}.meta",))
    version = 0
    if exists:
        (readable,) = await _row(connection, f"SELECT has_table_privilege('{SCHEMA}.meta', 'SELECT')")
        if readable:
            (version,) = await _row(connection, "SELECT value::integer FROM hermes.meta WHERE name = 'version'")
        else:
            raise NotUsable(f"the role {role} has no rights on the tables: run `hermes inbox migrate --grant {role}`")
    check_version(version)
    found = await (await connection.execute(_PRIVILEGES, (list(TABLES),))).fetchall()
    if found:
        raise NotUsable(f"the role {role} has no right on {found[0][0]}: run `hermes inbox migrate --grant {role}`")


def check_version(version: int) -> None:
    """Raise `NotUsable` if the tables are not those of this Hermes."""
    if version > VERSION:
        raise NotUsable(
            f"the tables are from a newer Hermes (version {version}, this one knows {VERSION}): install that Hermes"
        )
    if version < VERSION:
        raise NotUsable(
            f"the tables are not those of this Hermes (version {version} in place of {VERSION}): "
            "run `hermes inbox migrate` as their owner"
        )


async def _read_origin(
    connection: "AsyncConnection[tuple[Any, ...]]", new_epoch: Callable[[], str], seen: Mapping[str, int]
) -> Origin:
    """Return the present series; begin one if the database is another one.

    Also if it has lost rows: a copy of the files of a server, for example a snapshot of its disk, has the same
    incarnation. The lock ends with a commit, which waits for a synchronous standby: without it, there is no session
    that could store anything.
    """
    (incarnation,) = await _row(connection, _INCARNATION)
    await connection.execute("BEGIN")
    (last_seq,) = await _row(connection, "SELECT last_seq FROM hermes.state FOR UPDATE")
    found = await connection.execute("SELECT name, value FROM hermes.meta")
    meta: dict[str, str] = dict(await found.fetchall())
    is_another = meta.get("incarnation") != incarnation or "epoch" not in meta
    if is_another or last_seq < seen.get(meta["epoch"], 0):
        meta |= {"incarnation": incarnation, "epoch": new_epoch(), "epoch_began_at": str(last_seq)}
        for key in ("incarnation", "epoch", "epoch_began_at"):
            await connection.execute(
                "INSERT INTO hermes.meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (key, meta[key]),
            )
    await connection.execute("COMMIT")
    return Origin(meta["epoch"], last_seq, int(meta["epoch_began_at"]))


async def _row(
    connection: "AsyncConnection[tuple[Any, ...]]", sql: str, values: tuple[object, ...] = ()
) -> tuple[Any, ...]:
    [row] = await (await connection.execute(sql, values or None)).fetchall()
    found: tuple[Any, ...] = row
    return found


def parameters_of(url: str, password: Callable[[], str | None]) -> dict[str, Any]:
    """Return the parameters of libpq for a URL and what ``password`` reads.

    Raises `NotUsable`.
    """
    try:
        found: dict[str, Any] = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        why = describe(error).partition('"')[0].rstrip(" :")  # it quotes the URL, or a password in it
        raise NotUsable(
            f"the URL of the inbox cannot be read: {why}; write a special character of a password as %XX, or use "
            "--inbox-password-file"
        ) from None
    try:
        text = password()
    except (OSError, ValueError) as error:
        raise NotUsable(f"--inbox-password-file: {error}") from None
    show_libpq_ca_certificates(found.get("sslrootcert"))
    return found if text is None else found | {"password": text}
