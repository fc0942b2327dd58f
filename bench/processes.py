"""The programs that are measured: started on a leash, watched through ``/proc``, and ended."""

import contextlib
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hermes.mqtt import leash

CHECKOUT = Path(__file__).parent.parent
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0
LAST_CHARS = 2_000


class BenchError(Exception):
    """What was to be measured could not be; the words say why."""


class Child:
    """One running program. It dies with this process, even if this one is killed."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

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
    def rss_bytes(self) -> int:
        """Its resident memory; what the kernel holds for its sockets is not in it."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in its output. Raises `BenchError` if it ends without, or takes too long."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(re.finditer(pattern, self.output))
            return bool(found)

        self.wait_until(look, f"no {pattern!r}")
        return found[0]

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait while it starts. Raises `BenchError` if it ends meanwhile, or takes too long."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not condition():
            if self.ended or time.monotonic() > deadline_s:
                raise BenchError(f"{what}; the program's last words:\n{self.output[-LAST_CHARS:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not help."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def running(command: Sequence[str], *, output: Path, user: str = "") -> Iterator[Child]:
    """Start a program as this user (empty: the same) in the checkout; stop it at the end.

    The user's own ``HERMES_…`` variables are kept from it: what is measured is what the command line says.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
    leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), user, *command]
    with output.open("wb") as log:
        process = subprocess.Popen(leashed, stdout=log, stderr=subprocess.STDOUT, cwd=CHECKOUT, env=environment)
    child = Child(process, output)
    try:
        yield child
    finally:
        child.stop()


def allow_open_files(number: int) -> None:
    """Raise this process's soft limit of open files. Raises `BenchError` where the hard one is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise BenchError(f"{number} open files are needed, and only {hard} allowed; see ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
