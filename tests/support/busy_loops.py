"""Run a command with two busy loops beside it: ``python -m tests.support.busy_loops COMMAND ARGUMENT…``.

For ``make test-loaded``: a suite that passes with them has no verdict that depends on the machine's speed.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

COUNT = 2
LOOP = ("sh", "-c", "while :; do :; done")


@contextlib.contextmanager
def busy_loops(count: int = COUNT) -> Iterator[None]:
    """Keep this many processors busy; each loop is ended by its own process id."""
    loops = [subprocess.Popen(LOOP) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def main() -> int:
    """Run the command; return its exit code."""
    with busy_loops():
        return subprocess.run(sys.argv[1:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
