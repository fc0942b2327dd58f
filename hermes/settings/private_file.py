"""Private files: who may use those that Hermes reads, and how it writes its own.

Its own have mode 0600 and are either complete or absent. A file is written as a draft, under another name, and then
gets its name, so a killed process leaves at most a draft. If root writes it, it belongs to the owner of its folder, so
that a Hermes that runs as this user can read it.
"""

import contextlib
import grp
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from hermes.errors import ConfigError

MODE = 0o600
READ_MAX_BYTES = 1_048_576  # of a file with a secret
# In these folders files are for this process alone, whatever their mode: systemd.exec(5), Docker's secrets
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
SECRETS_FOLDER = Path("/run/secrets")


def read_text(path: Path, *, insecure: bool) -> str:
    """Return the text of a secret file without a byte order mark.

    It may be a link. Raises OSError, and ValueError if others may read or write it (unless ``insecure``), or if it is
    not text.
    """
    with opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:  # else a pipe without a writer would block
        if (found := _problem(path, descriptor, secret=True)) is not None and not insecure:
            raise ValueError(found)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(READ_MAX_BYTES + 1)
    if len(content) > READ_MAX_BYTES:
        raise ValueError(f"{path} has more than {READ_MAX_BYTES} bytes: it is not a secret")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None


def problem(path: Path, *, secret: bool) -> str | None:
    """Return which other users may write a file, or read a ``secret`` one, if any.

    Of a link, the file that it leads to counts. Raises OSError.
    """
    with opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
        return _problem(path, descriptor, secret=secret)


def _problem(path: Path, descriptor: int, *, secret: bool) -> str | None:
    found = os.fstat(descriptor)
    if found.st_mode & stat.S_IWOTH:
        return f"{path} can be written by every user of this machine: chmod o-w {path}"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in (os.getegid(), *os.getgroups()):
        return f"{path} can be written by the group {_group_name(found.st_gid)}, not one of Hermes: chmod g-w {path}"
    if secret and found.st_mode & stat.S_IROTH and not _is_for_this_process(descriptor):
        return f"{path} can be read by every user of this machine: chmod o= {path}"
    return None


def _group_name(group_id: int) -> str:
    try:
        return grp.getgrgid(group_id).gr_name
    except KeyError:
        return str(group_id)


def _is_for_this_process(descriptor: int) -> bool:
    """Return whether the open file is in a folder of credentials or secrets."""
    real = Path(os.path.realpath(f"/proc/self/fd/{descriptor}"))
    folders = (os.environ.get(CREDENTIALS_VARIABLE), str(SECRETS_FOLDER))
    return any(real.is_relative_to(os.path.realpath(folder)) for folder in folders if folder)


def check_version(path: Path, found: int, *, known: int) -> None:
    """Raise `ConfigError` if a newer Hermes wrote this file."""
    if found > known:
        raise ConfigError(
            [f"{path} has version {found}, and this Hermes knows {known}: run the newer Hermes, or move the file away"]
        )


def write(path: Path, text: str) -> None:
    """Create or replace the file. Raises OSError; then the old file is unchanged."""
    with _draft(path, text) as draft:
        draft.rename(path)


def create(path: Path, text: str) -> None:
    """Create the file unless it exists. Raises OSError.

    Of several processes that do so at once, one creates it.
    """
    with _draft(path, text) as draft, contextlib.suppress(FileExistsError):
        os.link(draft, path)


def remove_drafts(path: Path) -> None:
    """Remove the drafts of this file that killed processes left.

    No other process may be writing the file.
    """
    draft = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+\.[0-9a-f]{{8}}", re.ASCII)
    for name in os.listdir(path.parent):
        if draft.fullmatch(name):
            path.with_name(name).unlink(missing_ok=True)


def give_to_owner_of(folder: Path, descriptor: int) -> None:
    """Give the open file to the owner of the folder, if this process is root."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Open the file or folder, and close it at the end. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, MODE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with opened(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW) as descriptor:
        try:
            give_to_owner_of(path.parent, descriptor)
            with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
                file.write(text)
            os.fsync(descriptor)
            yield draft
            with opened(path.parent, os.O_RDONLY | os.O_DIRECTORY) as folder:
                os.fsync(folder)  # the name is stored too
        finally:
            draft.unlink(missing_ok=True)
