"""Files in memory that the broker inherits: it opens them by their number, anew at each reload.

A killed Hermes leaves none behind, and whatever the permissions of folders are, the child can read them. They belong
to the child's user and nobody else may read them: one is a private key.
"""

import os
import pwd


class MemoryFile:
    """One such file. To be closed."""

    def __init__(self, name: str, *, user: pwd.struct_passwd | None) -> None:
        self.descriptor = os.memfd_create(name)
        os.fchmod(self.descriptor, 0o400)
        if user is not None:
            os.fchown(self.descriptor, user.pw_uid, user.pw_gid)

    @property
    def path(self) -> str:
        """Its path for the process that inherited the descriptor."""
        return f"/proc/self/fd/{self.descriptor}"

    def write(self, content: bytes) -> None:
        """Replace the content; not while the child may be reading."""
        os.ftruncate(self.descriptor, 0)
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        with os.fdopen(self.descriptor, "wb", closefd=False) as file:
            file.write(content)

    def close(self) -> None:
        """Give the memory back, once the child has done so too."""
        os.close(self.descriptor)
