"""Start a program as another user, tied to the life of its parent: drop privileges, set the death signal, exec.

Started as its own process, ``python -I -S child_exec.py PARENT_PID USER PROGRAM ARGUMENT…``; an empty USER keeps the user.
It stands between Hermes and the embedded broker because nothing else works: the parent-death signal is lost when
the child changes its user (so the user comes first, prctl(2)), and running Python between fork and exec
(``preexec_fn``) is unsafe where there are threads. It imports nothing of Hermes.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>


def main(arguments: list[str]) -> None:
    """Become the program; does not return. Raises OSError where it cannot, SystemExit if the parent is gone."""
    parent_pid, user, program, *rest = arguments
    if user:
        drop_privileges(user)
    set_parent_death_signal(int(parent_pid))
    os.execv(program, [program, *rest])  # noqa: S606 - that is its purpose


def drop_privileges(user: str) -> None:
    """Give up root for this user and its groups."""
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def set_parent_death_signal(parent_pid: int) -> None:
    """Ask the kernel for a SIGKILL when the thread that started this process ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it died before the signal was asked for
        raise SystemExit("the parent is gone")


if __name__ == "__main__":
    main(sys.argv[1:])
