"""Run ``hermes`` commands as child processes, and end them."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import IO, Any

import pytest

from bench import processes

START_TIMEOUT_S = 60.0  # this one and the others are reached only in a test that fails
STOP_TIMEOUT_S = 60.0

accepts = processes.accepts
free_port = processes.free_port


def needs(*programs: str) -> str:
    """Return the path of the first of these programs that is installed; otherwise skip the test, or fail if CI=true."""
    search_path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    paths = [path for program in programs if (path := shutil.which(program, path=search_path))]
    if not paths:
        reason = f"{' or '.join(programs)} is missing"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return paths[0]


def wait_until(
    condition: Callable[[], object], timeout_s: float = 60.0, why: str = "did not come true in time"
) -> None:
    """Wait until the condition is true, with a time-out."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, why
        time.sleep(0.02)


class Program:
    """A running ``hermes`` command, with the output so far."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        *,
        launcher: tuple[str, ...] = (sys.executable, "-m", "hermes"),
        **options: Any,
    ) -> None:
        self.process = subprocess.Popen(
            [*launcher, *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self.output: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=_collect, args=(self.process.stdout, self.output), daemon=True),
            threading.Thread(target=_collect, args=(self.process.stderr, self.errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def wait_for(self, pattern: str, timeout_s: float = START_TIMEOUT_S) -> re.Match[str]:
        """Wait for a match in the output, on either stream, and return it."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, "".join(self.output)) or re.search(pattern, "".join(self.errors))
            found.extend([match] if match else [])
            return match is not None or (self.process.poll() is not None and not self._reading())

        wait_until(look, timeout_s, why=f"no {pattern!r}")
        assert found, f"it ended without {pattern!r}:\n{''.join(self.output)}{''.join(self.errors)}"
        return found[0]

    def _reading(self) -> bool:
        return any(reader.is_alive() for reader in self._readers)

    @property
    def url(self) -> str:
        """The first address in the output."""
        return self.wait_for(r"http://\S+:\d+")[0].rstrip("/")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(STOP_TIMEOUT_S)
        self._close()
        return code

    def _close(self) -> None:
        for reader in self._readers:
            reader.join(STOP_TIMEOUT_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def _collect(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)  # noqa: PERF402 - extend would add nothing before the end


@contextlib.contextmanager
def hermes(*arguments: str, **environment: str) -> Iterator[Program]:
    """Run ``hermes`` with these arguments; end it at the end of the block."""
    program = Program(list(arguments), environment)
    try:
        yield program
    finally:
        program.end()


def metric(program: Program, line: str) -> float:
    """Return a value of /metrics, or 0 if it is not there yet."""
    with urllib.request.urlopen(f"{program.url}/metrics", timeout=START_TIMEOUT_S) as response:
        match = re.search(rf"^{re.escape(line)} (\S+)$", response.read().decode(), re.MULTILINE)
    return float(match[1]) if match else 0.0
