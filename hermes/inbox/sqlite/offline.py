"""What ``hermes inbox`` does with a file that no Hermes uses."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from hermes.delivery.messages import now_ms
from hermes.errors import HermesError
from hermes.ids import UserId
from hermes.inbox.inbox import InboxStats, StoreLimits
from hermes.inbox.sqlite.file import copy_inbox, open_inbox, prepare_folder
from hermes.inbox.sqlite.file_lock import FileLock
from hermes.inbox.sqlite.store import Store
from hermes.log import printable


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file. Raises `InUse` if a Hermes has it, and `HermesError`."""
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[sqlite3.Connection, Store]]:
    """Open the inbox, which must exist. Raises `InUse` and `HermesError`."""
    if not path.exists():
        raise HermesError(f"there is no inbox {path}")
    with locked(path), _errors(path), contextlib.closing(open_inbox(path)) as connection:
        yield connection, Store(connection, limits=StoreLimits(), now_ms=now_ms)


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise HermesError(f"{path}: {printable(str(error))}") from None


def stats(path: Path) -> InboxStats:
    """Return the size of the inbox."""
    with opened(path) as (_, store):
        return store.stats()


def purge(path: Path, user_id: UserId) -> int:
    """Remove everything about a user; return the number of notifications."""
    with opened(path) as (connection, store):
        connection.execute("BEGIN IMMEDIATE")
        rows = store.purge(user_id)
        connection.execute("COMMIT")
        store.checkpoint()
        return rows


def back_up(path: Path, copy: Path) -> None:
    """Copy the inbox into a new file."""
    with opened(path) as (connection, _):
        copy_inbox(connection, copy)


def restore(path: Path, copy: Path) -> None:
    """Put a copy in the place of the inbox, with a new epoch.

    Positions of before are not known to it. The inbox that was there is renamed to ``….replaced``. Raises `InUse` and
    `HermesError`.
    """
    prepare_folder(path)
    draft = path.with_name(f"{path.name}.restored")
    with locked(path), _errors(copy):
        draft.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as source:
            (verdict,) = source.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise HermesError(f"{copy} is damaged: {printable(str(verdict))}")
            copy_inbox(source, draft)
        with contextlib.closing(open_inbox(draft)) as connection:
            store = Store(connection, limits=StoreLimits(), now_ms=now_ms)
            connection.execute("BEGIN IMMEDIATE")
            store.renew_epoch()
            connection.execute("COMMIT")
            store.checkpoint()
        if path.exists():
            for name in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
                if name.exists():
                    os.replace(name, name.with_name(name.name.replace(path.name, f"{path.name}.replaced", 1)))
        os.replace(draft, path)
