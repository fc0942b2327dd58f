"""A lock that says which process holds a file."""

import fcntl
import os
from pathlib import Path

from hermes.errors import HermesError, InboxUnusable
from hermes.settings.private_file import MODE


class InUse(InboxUnusable):
    """A running Hermes has the file."""


class FileLock:
    """An exclusive lock on ``path``, which has the holder's process id.

    The kernel frees it when the holder ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises `InUse` that names the process that has it, and `HermesError` if the file cannot be written.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        except OSError as error:
            raise HermesError(
                f"cannot open {self.path}: {error.strerror}; an inbox needs a folder that can be written"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise InUse(
                f"the inbox {self.path.with_suffix('')} is in use by process {holder}: stop it, or name another file"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Free the lock; may be repeated.

        The file stays: another process may have opened it.
        """
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
