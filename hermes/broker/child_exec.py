"""Start a program as another user that the kernel kills when its parent ends.

Run it as a process of its own, ``python -I -S child_exec.py PARENT_PID USER PROGRAM ARGUMENT…``; with an empty USER the
user stays the same. Hermes starts its broker through this script because the order matters: a change of the user clears
the parent-death signal (prctl(2)), so the user must change first, and Python code between fork and exec
(``preexec_fn``) is unsafe in a process with threads. The script imports nothing of Hermes.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>


def main(arguments: list[str]) -> None:
    """Replace this process by the program; never returns.

    Raises OSError if the user cannot be changed, SystemExit if the program cannot be run or the parent has ended.
    """
    parent_pid, user, program, *rest = arguments
    if user:
        drop_privileges(user)
    set_parent_death_signal(int(parent_pid))
    try:
        os.execv(program, [program, *rest])  # noqa: S606 - this is the purpose
    except OSError as error:
        who = f"the user {user}" if user else "this user"
        raise SystemExit(
            f"{who} cannot run {program}: {error.strerror}; check the rights of the file and its folders"
        ) from None


def drop_privileges(user: str) -> None:
    """Change from root to this user and its groups."""
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def set_parent_death_signal(parent_pid: int) -> None:
    """Request a SIGKILL for the end of the thread that started this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it ended before the request
        raise SystemExit("the parent has ended")


if __name__ == "__main__":
    main(sys.argv[1:])
