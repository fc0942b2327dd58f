"""The open file of an inbox: its transactions, and recovery after an error.

It is closed after most errors and opened again later. A damaged file is moved aside, and a new inbox begins; so it does
when the file was deleted or replaced.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from hermes.errors import HermesError
from hermes.inbox.inbox import FailureReason, InboxUnavailable, StoreLimits
from hermes.inbox.sqlite.file import (
    FileReplaced,
    copy_inbox,
    identity_of,
    is_damage,
    is_nearly_full,
    log_of,
    move_aside,
    open_inbox,
)
from hermes.inbox.sqlite.store import Store
from hermes.log import printable
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

REOPEN_INTERVAL_S: Final = 1.0
CHECKPOINT_COMMITS: Final = 64  # in the write-ahead log at least: a copy needs two syncs and writes each page once
FREE_DISK_MIN: Final = 0.05  # below this part of the disk, nothing is stored


class DatabaseFile:
    """The file of an inbox, and the `Store` of its tables while it is open.

    One thread at a time calls it; other threads may read its public attributes. ``on_new_epoch`` is called when it
    opens a file with another epoch than before.
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: StoreLimits,
        now_ms: Callable[[], int],
        metrics: Metrics,
        on_new_epoch: Callable[[], None],
    ) -> None:
        self._path = path
        self._log_path = log_of(path)
        self._limits = limits
        self._now_ms = now_ms
        self._metrics = metrics
        self._on_new_epoch = on_new_epoch
        self._connection: sqlite3.Connection | None = None
        self._store: Store | None = None
        self._identity: tuple[int, int] | None = None  # of the file
        self._log_identity: tuple[int, int] | None = None  # of its write-ahead log
        self._reopen_at = 0.0
        self._uncopied = 0  # commits since the write-ahead log was copied into the file
        self.epoch = ""
        self.nearly_full = False  # the disk: no row must be added
        self.problem: str | None = None  # what is wrong now, in words
        self.reason: FailureReason = "corrupt"  # of the problem

    # -- open and close -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the inbox, created or migrated if needed.

        Raises `HermesError` if the file cannot be used.
        """
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            raise HermesError(f"cannot open the inbox {self._path}: {printable(str(error))}") from None

    def _open(self) -> None:
        connection = open_inbox(self._path)
        try:
            self._store = Store(connection, limits=self._limits, now_ms=self._now_ms)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        before, self.epoch = self.epoch, self._store.epoch
        if before not in ("", self.epoch):
            self._on_new_epoch()
        self._identity, self._log_identity = identity_of(self._path), identity_of(self._log_path)

    def ensure_open(self) -> bool:
        """Open the file again if it was closed after an error.

        At most once in `REOPEN_INTERVAL_S`. Returns whether it is open.
        """
        if self._connection is not None:
            return True
        if time.monotonic() < self._reopen_at:
            return False
        self._reopen_at = time.monotonic() + REOPEN_INTERVAL_S
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - a new file on a broken disk may be damaged too
            self._report(_reason_of(error), f"cannot open {self._path}: {printable(str(error))}")
            return False
        return True

    def close(self) -> None:
        """Close the file; may be repeated."""
        connection, self._connection, self._store = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    # -- transactions: the file is open -------------------------------------------------------------------------

    def begin(self) -> Store:
        """Begin a transaction; return what runs in it. Raises `sqlite3.Error`."""
        assert self._connection is not None
        assert self._store is not None
        self._connection.execute("BEGIN IMMEDIATE")
        return self._store

    def roll_back(self) -> None:
        """Undo the transaction. Raises `sqlite3.Error`."""
        assert self._connection is not None
        assert self._store is not None
        self._connection.execute("ROLLBACK")
        self._store.rolled_back()

    def commit(self) -> None:
        """Commit, and check that this is in the files that a restart will find.

        Raises `FileReplaced` and `sqlite3.Error`.
        """
        assert self._connection is not None
        begun = time.monotonic()
        self._connection.execute("COMMIT")
        took_s = time.monotonic() - begun
        self._check_files()
        self._uncopied += 1
        self._metrics.inbox_commit_s.observe(took_s)
        self._works_again()

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[Callable[[], None]]:
        """Give a function that undoes what the transaction has done since.

        Raises `sqlite3.Error`, as that function does.
        """
        connection, store = self._connection, self._store
        assert connection is not None
        assert store is not None

        def undo() -> None:
            connection.execute("ROLLBACK TO operation")
            store.rolled_back()

        connection.execute("SAVEPOINT operation")
        try:
            yield undo
        finally:
            with contextlib.suppress(sqlite3.Error):  # a full disk has ended the transaction
                connection.execute("RELEASE operation")

    def recover(self, error: Exception) -> FailureReason:
        """Undo the transaction; replace a damaged file; close one that cannot be written.

        Returns the reason for those that wait.
        """
        reason = _reason_of(error)
        if isinstance(error, FileReplaced):
            self._report(reason, str(error))
            self.close()
            return reason
        assert self._connection is not None
        if not isinstance(error, sqlite3.Error):
            logger.error("inbox: a transaction failed", exc_info=error)
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        if self._store is not None:
            self._store.rolled_back()
        text = f"cannot write {self._path}: {printable(str(error))}"
        self._report(reason, text)
        if is_damage(error):
            self.close()
            with contextlib.suppress(OSError):
                logger.error("the damaged inbox is now %s, and a new inbox begins", move_aside(self._path))
        elif (getattr(error, "sqlite_errorcode", 0) & 0xFF) != sqlite3.SQLITE_FULL:
            self.close()
        return reason

    # -- between transactions: the file may be closed -----------------------------------------------------------

    @property
    def is_log_long(self) -> bool:
        """Whether `CHECKPOINT_COMMITS` are in the write-ahead log."""
        return self._uncopied >= CHECKPOINT_COMMITS

    def checkpoint(self, *, wanted: bool = False) -> None:
        """Copy the write-ahead log into the file if that is wanted.

        After a purge, also empty it. What was committed stays committed if that fails. SQLite also does it by itself,
        in a commit, when the log is long.
        """
        store = self._store
        if store is None:
            return
        try:
            if store.needs_checkpoint:
                store.checkpoint()
            elif wanted:
                store.copy_log()
            else:
                return
            self._uncopied = 0
        except sqlite3.Error as error:
            self.recover(error)

    def back_up(self, path: Path, *, between: Callable[[], None]) -> None:
        """Copy the file in parts into a new one; call ``between`` between two of them.

        Raises `InboxUnavailable`.
        """
        if not self.ensure_open():
            raise InboxUnavailable(self.reason)
        assert self._connection is not None
        try:
            copy_inbox(self._connection, path, between=between)
        except (sqlite3.Error, OSError) as error:
            logger.error("inbox: cannot write the backup: %s", printable(str(error)))
            raise InboxUnavailable(_reason_of(error)) from None

    def sweep(self) -> bool:
        """Remove a part of what has expired; return whether there may be more."""
        if not self.ensure_open():
            return False
        assert self._connection is not None
        try:
            store = self.begin()
            more = store.sweep()
            self._connection.execute("COMMIT")
            self._count(store)
        except Exception as error:  # noqa: BLE001 - a damaged page may have any values
            self.recover(error)
            return False
        if not self.nearly_full:
            self._works_again()
        return more

    def _count(self, store: Store) -> None:
        metrics, stats, removed = self._metrics, store.stats(), store.take_removed()
        metrics.inbox_rows.set(stats.rows)
        metrics.inbox_bytes.set(stats.bytes)
        age_ms = 0 if stats.oldest_ms is None else self._now_ms() - stats.oldest_ms
        metrics.inbox_oldest_s.set(max(0, age_ms) / 1_000)
        metrics.inbox_removed.labels("expired").inc(removed.expired)
        metrics.inbox_removed.labels("evicted").inc(removed.evicted)

    # -- health -------------------------------------------------------------------------------------------------

    def check_health(self) -> None:
        """Notice a file that was deleted or replaced, and a disk that is nearly full."""
        if self._connection is not None:
            try:
                self._check_files()
            except (FileReplaced, sqlite3.Error) as error:
                self.recover(error)
        try:
            nearly_full = is_nearly_full(self._path.parent, free_min=FREE_DISK_MIN)
        except OSError:
            return
        if nearly_full:
            self._report("disk_full", f"less than {FREE_DISK_MIN:.0%} of the disk is free: nothing is stored")
        elif self.nearly_full:
            self._works_again()
        self.nearly_full = nearly_full

    def _check_files(self) -> None:
        """Check that what was committed is in the files that a restart will find.

        Raises `FileReplaced`. If only the write-ahead log was deleted, its content is copied into the file.
        """
        if identity_of(self._path) != self._identity:
            raise FileReplaced(f"{self._path} was deleted or replaced: a new inbox begins")
        if self._log_identity is not None and identity_of(self._log_path) != self._log_identity:
            assert self._connection is not None
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            logger.error("inbox: %s was deleted: its content is saved", self._log_path)
            self.close()

    def _report(self, reason: FailureReason, text: str) -> None:
        if text != self.problem:
            logger.error("inbox: %s", text)
        self.reason, self.problem = reason, text

    def _works_again(self) -> None:
        if self.problem is not None and not self.nearly_full:
            logger.info("inbox: it works again")
            self.problem = None


def _reason_of(error: Exception) -> FailureReason:
    if isinstance(error, (sqlite3.Error, OSError)) and not is_damage(error):
        return "disk_full"
    return "corrupt"
