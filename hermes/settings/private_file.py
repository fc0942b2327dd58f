"""Private files: mode 0600, and either complete or absent.

A file is written as a draft, under another name, and then gets its name, so a killed process leaves at most a draft. If
root writes it, it belongs to the owner of its folder, so that a Hermes that runs as this user can read it.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

MODE = 0o600


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
