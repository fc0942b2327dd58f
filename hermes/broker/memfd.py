"""Files in memory (memfd_create(2)) for code that accepts only paths.

The broker inherits them and opens them by their descriptor, again at each reload. They disappear with the processes
that have them open, also when Hermes is killed; and the child can read them whatever the permissions of folders are.
Only the user of the child may read them: one contains a private key.
"""

import os
import pwd
from types import TracebackType


class MemoryFile:
    """One file in memory, to be closed.

    It belongs to ``user``, or to the user of this process.
    """

    def __init__(self, name: str, *, user: pwd.struct_passwd | None = None) -> None:
        self.descriptor = os.memfd_create(name)
        os.fchmod(self.descriptor, 0o400)
        if user is not None:
            os.fchown(self.descriptor, user.pw_uid, user.pw_gid)

    def __enter__(self) -> "MemoryFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> str:
        """The path for each process that has the descriptor."""
        return f"/proc/self/fd/{self.descriptor}"

    def write(self, content: bytes) -> None:
        """Replace the content; not while the child may be reading it."""
        os.ftruncate(self.descriptor, 0)
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        with os.fdopen(self.descriptor, "wb", closefd=False) as file:
            file.write(content)

    def close(self) -> None:
        """Close the descriptor; the memory is freed when the child has closed it too."""
        os.close(self.descriptor)
