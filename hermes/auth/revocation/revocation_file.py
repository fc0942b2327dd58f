"""The file that stores revocations.

It is a journal: a line with its version, then one JSON object for each revocation and for each one that is removed. So
a revocation costs one short write, also after 100,000 others.
"""

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hermes.auth.revocation.revocation_list import KINDS, Target
from hermes.errors import ConfigError
from hermes.ids import TenantId

VERSION = 1
HEADER = json.dumps({"hermes_revocations": VERSION}) + "\n"
LINES_MAX = 2  # times the revocations, and 1,000: a longer file is written anew
LINES_LEAST = 1_000


class RevocationFile:
    """The journal.

    Its methods wait for the disk: call them in a thread while the event loop runs.
    ``create`` makes a private file unless it exists, ``write`` replaces it as a whole; both raise OSError. Several
    processes may use one file.
    """

    def __init__(self, path: Path, *, create: Callable[[Path, str], None], write: Callable[[Path, str], None]) -> None:
        self.path = path
        self._create = create
        self._write = write
        self._lines = 0  # as far as this process knows

    def read(self) -> dict[Target, int]:
        """Return the revocations; none without a file.

        Raises `ConfigError` for a file that cannot be read or is of a newer Hermes: to go on without it would accept
        revoked tokens.
        """
        try:
            with open(self._open(os.O_RDONLY), "rb") as file:
                lines = file.read().split(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise ConfigError([f"cannot read the revocations in {self.path}: {error.strerror}"]) from None
        complete = lines[:-1]  # a line without an end was never confirmed
        self._lines = len(complete)
        return self._parsed(complete)

    def _parsed(self, lines: Sequence[bytes]) -> dict[Target, int]:
        entries: dict[Target, int] = {}
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)
                if number == 1:
                    self._check_version(value)
                    continue
                target, until_s = _entry(value)
            except (ValueError, TypeError, KeyError, RecursionError):
                raise ConfigError(
                    [
                        f"line {number} of the revocations in {self.path} cannot be read: restore the file from a "
                        "backup; without it, revoked tokens are accepted again"
                    ]
                ) from None
            entries.pop(target, None)
            if until_s is not None:
                entries[target] = until_s
        return entries

    def _check_version(self, value: Mapping[str, Any]) -> None:
        version = value["hermes_revocations"]
        if not isinstance(version, int):
            raise TypeError
        if version > VERSION:
            raise ConfigError(
                [f"{self.path} is of a newer Hermes (version {version}): use that one, or move the file away"]
            )

    def append(self, changes: Iterable[tuple[Target, int | None]]) -> None:
        """Add lines, and return when they are on the disk; None removes a revocation.

        Raises OSError; then the file is as before.
        """
        lines = [_line(target, until_s) for target, until_s in changes]
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked() as descriptor:
            size = _complete_size(descriptor)
            data = (("" if size else HEADER) + "".join(lines)).encode()
            try:
                os.ftruncate(descriptor, size)
                os.lseek(descriptor, size, os.SEEK_SET)
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        self._lines += len(lines)

    def compact(self, live: int) -> None:
        """Write the file anew if most of its lines have no effect.

        ``live`` is the number of revocations. Raises OSError, and `ConfigError` as `read`.
        """
        if self._lines <= LINES_MAX * live + LINES_LEAST:
            return
        with self._locked():  # the other processes wait, and then find the new file
            entries = self.read()
            self._write(self.path, HEADER + "".join(_line(*entry) for entry in entries.items()))
        self._lines = len(entries) + 1

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the file for writing, as the only one; create it if there is none."""
        while True:
            try:
                descriptor = self._open(os.O_RDWR)
            except FileNotFoundError:
                self._create(self.path, HEADER)
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_at(descriptor, self.path):  # not if another process has replaced it meanwhile
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _open(self, flags: int) -> int:
        """Return a descriptor of the file, if it is one. Raises OSError."""
        descriptor = os.open(self.path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a file")
        return descriptor


def _line(target: Target, until_s: int | None) -> str:
    bound = {} if target.bound_to is None else {"bound_to": target.bound_to}
    return json.dumps({target.kind: target.id} | bound | {"until": until_s}) + "\n"


def _entry(value: Mapping[str, Any]) -> tuple[Target, int | None]:
    """Return one line; raises ValueError, TypeError or KeyError."""
    (kind,) = (kind for kind in KINDS if kind in value)
    id, bound_to, until_s = value[kind], value.get("bound_to"), value["until"]
    if not isinstance(id, str) or not isinstance(bound_to, str | None) or not isinstance(until_s, int | None):
        raise TypeError
    return Target(kind, id, None if bound_to is None else TenantId(bound_to)), until_s


def _complete_size(descriptor: int) -> int:
    """Return the size up to the last complete line: what follows was not confirmed."""
    size = os.fstat(descriptor).st_size
    while size:
        begin = max(0, size - 4_096)
        end = os.pread(descriptor, size - begin, begin).rfind(b"\n")
        if end >= 0:
            return begin + end + 1
        size = begin
    return 0


def _is_at(descriptor: int, path: Path) -> bool:
    opened = os.fstat(descriptor)
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino)
