"""A test that leaves a child process, a thread, a socket or a task behind fails.

`no_leaks` is a fixture for a ``conftest.py``: ``from tests.support.leaks import no_leaks``. It compares what this
process has before and after each test. Fixtures of a wider scope are set up before and torn down after, so what belongs
to them is in both.
"""

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tornado.platform.asyncio import BaseAsyncIOLoop

END_TIMEOUT_S = 60.0  # for what is about to end; reached only in a test that fails


@dataclass(frozen=True, slots=True)
class Resources:
    """What this process has now."""

    children: frozenset[int]
    threads: frozenset[threading.Thread]
    sockets: frozenset[str]  # as the kernel names them: ``socket:[INODE]``

    @classmethod
    def now(cls) -> "Resources":
        """Look into ``/proc``."""
        return cls(frozenset(_children()), frozenset(threading.enumerate()), frozenset(_sockets()))

    def since(self, before: "Resources") -> list[str]:
        """Describe what is here and was not here before."""
        names = _sockets()
        return [
            *(f"child process {pid}: {_command(pid)}" for pid in sorted(self.children - before.children)),
            *(f"thread {thread.name}" for thread in self.threads - before.threads),
            *(_describe(names[name]) for name in self.sockets - before.sockets if name in names),
        ]


def _children() -> list[int]:
    """Return the process ids of this process's children, also of those that have ended and were not waited for."""
    found: list[int] = []
    for thread in os.listdir("/proc/self/task"):
        with (
            contextlib.suppress(FileNotFoundError, ProcessLookupError),  # a thread may end while this looks
            open(f"/proc/self/task/{thread}/children") as children,
        ):
            found += map(int, children.read().split())
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip() or "ended, not waited for"
    return "ended"


def _sockets() -> dict[str, int]:
    """Return the file descriptor of each open socket, by the kernel's name for the socket."""
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the folder's own descriptor is closed by now
            name = os.readlink(f"/proc/self/fd/{entry}")
            if name.startswith("socket:"):
                found[name] = int(entry)
    return found


def _describe(descriptor: int) -> str:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as copy:
        peer: object = "nothing"
        with contextlib.suppress(OSError):
            peer = copy.getpeername()
        return f"socket {copy.family.name} from {copy.getsockname()} to {peer}"
    return f"socket of descriptor {descriptor}"


def pending_tasks(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Describe the tasks of this loop that have not ended; the loop may be closed."""
    return [f"task {task!r}" for task in asyncio.all_tasks(loop)]


def leaks_since(before: Resources, timeout_s: float = END_TIMEOUT_S) -> list[str]:
    """Describe what is left, as soon as nothing is, at the latest after the timeout."""
    deadline_s = time.monotonic() + timeout_s
    while (left := Resources.now().since(before)) and time.monotonic() < deadline_s:
        gc.collect()  # what only a cycle of references holds is not a leak
        time.sleep(0.01)
    return left


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves something behind."""
    before = Resources.now()
    yield
    left = leaks_since(before)
    running = getattr(request.node, "funcargs", {}).get("io_loop")
    if isinstance(running, BaseAsyncIOLoop):
        left += pending_tasks(running.asyncio_loop)
    if left:
        pytest.fail("\n".join(["left behind:", *left]), pytrace=False)
