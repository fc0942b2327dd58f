"""The programs that are measured: tied to the life of this process, watched through ``/proc``, and ended."""

import contextlib
import itertools
import os
import re
import resource
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from hermes.broker import child_exec

CHECKOUT = Path(__file__).parent.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
LAST_CHARS = 2_000
PORTS = range(15_000, 32_768)  # below those that Linux gives to outgoing connections
WORKERS = 8  # of pytest-xdist, at most


class BenchError(Exception):
    """A measurement failed; the message gives the reason."""


class NotInstalledError(BenchError):
    """A contender's program or library is not installed; the message gives the command to install it."""


class Child:
    """One running program. It dies with this process, even if this one is killed."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it printed so far, on both streams."""
        return self._output.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    @property
    def cpu_s(self) -> float:
        """The CPU seconds it has used in all its threads, in steps of 10 ms; see proc(5), fields 14 and 15."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def cpu_ns(self) -> int:
        """The CPU nanoseconds of its living threads and of its child processes' threads, as the scheduler counts them.

        Finer than `cpu_s`; what threads used that have ended is not in it.
        """
        return cpu_ns_of(self.pid)

    @property
    def rss_bytes(self) -> int:
        """Its resident memory and its child processes'; what the kernel holds for its sockets is not in it."""
        statms = [Path(f"/proc/{pid}/statm").read_text() for pid in _family(self.pid)]
        return sum(int(statm.split()[1]) for statm in statms) * os.sysconf("SC_PAGE_SIZE")

    def write_line(self, line: str) -> None:
        """Write a line to its standard input, which it must have been started with."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def wait_for_end(self, timeout_s: float) -> int:
        """Its exit code. Raises `BenchError` if it takes longer."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise BenchError(
                f"no end after {timeout_s:.0f} s; end of the program's output:\n{self.output[-LAST_CHARS:]}"
            ) from None

    def wait_for(self, pattern: str, *, timeout_s: float = START_TIMEOUT_S) -> re.Match[str]:
        """The first match in its output. Raises `BenchError` if it ends without, or takes too long."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(re.finditer(pattern, self.output))
            return bool(found)

        self.wait_until(look, f"no {pattern!r}", timeout_s=timeout_s)
        return found[0]

    def wait_until(self, condition: Callable[[], object], what: str, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait while it starts. Raises `BenchError` if it ends meanwhile, or takes too long."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if self.ended or time.monotonic() > deadline_s:
                raise BenchError(f"{what}; end of the program's output:\n{self.output[-LAST_CHARS:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def running(
    command: Sequence[str], *, output: Path, user: str = "", listens: bool = False, folder: Path = CHECKOUT
) -> Iterator[Child]:
    """Start a program as this user (empty: the same) in a folder (this checkout); stop it at the end.

    With ``listens`` its standard input is a pipe, for `Child.write_line`. The user's own ``HERMES_…``
    variables are removed: only the command line configures the program.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
    tied = [sys.executable, "-I", "-S", child_exec.__file__, str(os.getpid()), user, *command]
    with output.open("wb") as log:
        process = subprocess.Popen(
            tied,
            stdin=subprocess.PIPE if listens else None,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        )
    child = Child(process, output)
    try:
        yield child
    finally:
        child.stop()


def _family(pid: int) -> list[int]:
    """This process and all that descend from it."""
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return [pid, *(member for child in children for member in _family(child))]


def cpu_ns_of(pid: int) -> int:
    """The CPU nanoseconds of the living threads of this process and of all that descend from it."""
    schedules = [path for each in _family(pid) for path in Path(f"/proc/{each}/task").glob("*/schedstat")]
    return sum(int(schedule.read_text().split()[0]) for schedule in schedules)


def pin(child: Child, cores: Iterable[int]) -> None:
    """Let this program run on these cores alone: all its threads, and its child processes'."""
    for pid in _family(child.pid):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def _own_ports() -> list[int]:
    """Return the ports of this process in random order.

    The processes of pytest-xdist have different ones: another test could listen before the program does.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    ports = list(PORTS[worker % WORKERS :: WORKERS])
    secrets.SystemRandom().shuffle(ports)  # `random` has the same seed in each test
    return ports


NEXT_PORT = itertools.cycle(_own_ports())  # one comes again only after all others


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now, and that no outgoing connection takes before a program listens."""
    while True:
        port = next(NEXT_PORT)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def accepts(port: int) -> bool:
    """Whether a program listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def allow_open_files(number: int) -> None:
    """Raise this process's soft limit of open files. Raises `BenchError` if the hard one is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise BenchError(f"{number} open files are needed, and only {hard} allowed; see ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
