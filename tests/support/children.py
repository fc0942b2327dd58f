"""The child processes of a program that a test runs."""

import contextlib
from pathlib import Path


def children_named(pid: int, name: str) -> list[int]:
    """Return the children of this process whose command contains this name."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if name in _command(child)]


def _command(pid: str) -> str:
    with contextlib.suppress(OSError):  # it may have just ended
        return Path(f"/proc/{pid}/comm").read_text()
    return ""
