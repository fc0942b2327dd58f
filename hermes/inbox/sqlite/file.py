"""Open the SQLite file of an inbox; move a damaged one aside and begin a new one."""

import contextlib
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from hermes.errors import HermesError, InboxUnusable
from hermes.inbox.sqlite.schema import FIRST_VERSION, VERSION, migrate
from hermes.log import printable
from hermes.settings.private_file import MODE

logger = logging.getLogger(__name__)

FOLDER_MODE = 0o700
QUICK_CHECK_MAX_S = 5.0  # a larger file is checked by its pages as they are read
PROGRESS_STEPS = 10_000  # of SQLite's virtual machine between two looks at the clock
WAL_MAX_BYTES = 64 * 1_048_576  # kept on the disk after a checkpoint
WAL_MAX_PAGES = 8_192  # 32 MiB, after which a commit copies it into the file, if the thread was never idle before
CACHE_KIB = 8_192
STATEMENTS_MAX = 256  # that stay compiled: more than there are
BACKUP_PAGES = 256  # 1 MiB: milliseconds, in which nothing is stored
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gfs2", "ocfs2"}
    | {f"fuse.{name}" for name in ("sshfs", "glusterfs", "ceph-fuse", "rclone", "s3fs", "davfs", "curlftpfs")}
)
SIDE_FILES = ("-wal", "-shm")
NOT_UTF8 = "Could not decode to UTF-8"  # of the module sqlite3, for a text column


class FileDamaged(Exception):
    """The file is not a usable inbox."""


class FileReplaced(Exception):
    """The path has no file any more, or another one.

    What is written into the open one is lost.
    """


class RowDamaged(sqlite3.DatabaseError):
    """A row has bytes that no sender can have sent."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def prepare_folder(path: Path) -> None:
    """Create the folder of the inbox with mode 0700 if it does not exist.

    Raises `HermesError` if it cannot, and `InboxUnusable` if it is on a network file system: SQLite's locks are not
    reliable there.
    """
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise HermesError(f"cannot create the folder {path.parent}: {error.strerror}") from None
    kind = file_system_of(path.parent)
    if kind in NETWORK_FILE_SYSTEMS:
        raise InboxUnusable(f"{path.parent} is on a network file system ({kind}): the inbox needs a local disk")


def file_system_of(folder: Path) -> str:
    """Return the type of the folder's file system; empty if it is unknown.

    See proc_pid_mountinfo(5).
    """
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    resolved = folder.resolve()
    found, kind = Path(), ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = Path(fields.split()[4].encode().decode("unicode_escape"))
        if resolved.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, rest.split()[0]
    return kind


def open_inbox(path: Path) -> sqlite3.Connection:
    """Return a connection to the inbox, created or migrated if needed.

    A damaged file is moved aside, and a new inbox begins. Raises `InboxUnusable` if the file is from a newer Hermes or
    from one before the first release with an inbox, or `sqlite3.Error` or OSError if no file can be used.
    """
    try:
        return _open(path)
    except FileDamaged as damage:
        aside = move_aside(path)
        logger.error("the inbox %s is damaged (%s): it is now %s, and a new inbox begins", path, damage, aside)
        return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    # created here, because SQLite would create it readable for all
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE))
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=0, cached_statements=STATEMENTS_MAX
    )
    try:
        version = _configure(connection)
        if version > VERSION:
            raise InboxUnusable(
                f"the inbox {path} is from a newer Hermes (version {version}, this one knows {VERSION}): "
                "install that Hermes, or name another file"
            )
        if 0 < version < FIRST_VERSION:
            raise InboxUnusable(
                f"the inbox {path} is from a development version of Hermes (version {version}): "
                "move it away, or name another file"
            )
        if version < VERSION:
            if version:
                _back_up(connection, path.with_name(f"{path.name}.before-{VERSION}"))
            migrate(connection, version)
        _check_counts(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        if is_damage(error):
            raise FileDamaged(printable(str(error))) from None
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> int:
    """Set what is not kept in the file, check it, and return its version."""
    for pragma in (
        "locking_mode = EXCLUSIVE",  # no shared memory, and no other writer
        "journal_mode = WAL",
        "synchronous = FULL",  # a commit is on the disk when it returns
        "secure_delete = ON",
        "temp_store = MEMORY",
        "foreign_keys = ON",
        "recursive_triggers = ON",
        f"journal_size_limit = {WAL_MAX_BYTES}",
        f"wal_autocheckpoint = {WAL_MAX_PAGES}",
        f"cache_size = -{CACHE_KIB}",
        "trusted_schema = OFF",
        "cell_size_check = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    _quick_check(connection)
    return int(version)


def _quick_check(connection: sqlite3.Connection) -> None:
    """Check the pages for at most `QUICK_CHECK_MAX_S` seconds."""
    until = time.monotonic() + QUICK_CHECK_MAX_S
    connection.set_progress_handler(lambda: int(time.monotonic() > until), PROGRESS_STEPS)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        connection.set_progress_handler(None, 0)
    if verdict != "ok":
        raise FileDamaged(printable(str(verdict)))


def _back_up(connection: sqlite3.Connection, path: Path) -> None:
    """Copy the inbox before its tables are changed."""
    path.unlink(missing_ok=True)
    copy_inbox(connection, path)


def copy_inbox(connection: sqlite3.Connection, path: Path, *, between: Callable[[], None] = lambda: None) -> None:
    """Copy the inbox into a new private file.

    ``between`` is called between two parts of it; what it changes is in the copy too. Raises FileExistsError and
    `sqlite3.Error`.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, MODE))
    with contextlib.closing(sqlite3.connect(path)) as copy:
        connection.backup(copy, pages=BACKUP_PAGES, progress=lambda _status, _left, _all: between(), sleep=0)


def _check_counts(connection: sqlite3.Connection) -> None:
    """Raise `RowDamaged` if the counts are no numbers, or behind a row."""
    counts = connection.execute("SELECT last_seq, entries, bytes FROM totals").fetchall()
    [(highest,)] = connection.execute("SELECT max(seq) FROM log").fetchall()
    if len(counts) != 1 or not all(isinstance(count, int) for count in counts[0]) or counts[0][0] < (highest or 0):
        raise RowDamaged("the counts are gone, or behind a row")


def move_aside(path: Path) -> Path:
    """Rename the file and its side files; return the new name."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in SIDE_FILES:
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.rename(aside.with_name(aside.name + suffix))
    path.rename(aside)
    return aside


def is_damage(error: Exception) -> bool:
    """Return whether the file is damaged, not only out of reach."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT):
        return True
    return isinstance(error, sqlite3.Error) and NOT_UTF8 in str(error)


def is_of_the_file(error: Exception) -> bool:
    """Return whether an error is of the file, not of the values of one operation."""
    return isinstance(error, (sqlite3.OperationalError, sqlite3.InternalError)) or is_damage(error)


def log_of(path: Path) -> Path:
    """Return the write-ahead log of a file."""
    return path.with_name(f"{path.name}{SIDE_FILES[0]}")


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return the device and the inode number of a file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_nearly_full(folder: Path, *, free_min: float) -> bool:
    """Return whether less than this part of the disk is free."""
    usage = shutil.disk_usage(folder)
    return usage.total > 0 and usage.free < free_min * usage.total
