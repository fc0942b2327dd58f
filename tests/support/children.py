"""The child processes of a program that a test runs."""

import contextlib
from pathlib import Path

from tests.support.programs import wait_until


def children_named(pid: int, name: str) -> list[int]:
    """Return the children of this process that have this name in their command."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if name in _command(child)]


def child_named(pid: int, name: str) -> int:
    """Wait for the only such child: until it executes its program, it has the name of its parent."""
    wait_until(lambda: len(children_named(pid, name)) == 1)
    (child,) = children_named(pid, name)
    return child


def _command(pid: str) -> str:
    with contextlib.suppress(OSError):  # it may have just ended
        return Path(f"/proc/{pid}/comm").read_text()
    return ""
