"""Hermes as its users start it; ended by who started it."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

import pytest

START_TIMEOUT_S = 60.0  # reached only in a test that fails, as all of these
STOP_TIMEOUT_S = 60.0


def needs(*programs: str) -> str:
    """The path of the first of these that is here. Without any the test is skipped, but fails where CI=true."""
    where = os.environ["PATH"] + ":/usr/sbin:/sbin"
    paths = [path for program in programs if (path := shutil.which(program, path=where))]
    if not paths:
        complaint = f"{' or '.join(programs)} is missing"
        if os.environ.get("CI") == "true":
            pytest.fail(complaint)
        pytest.skip(complaint)
    return paths[0]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    condition: Callable[[], object], timeout_s: float = 60.0, why: str = "did not come true in time"
) -> None:
    """Wait, with a bound."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, why
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """A running ``hermes`` command; its output is collected as it comes."""

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
        """The first match in what it printed, on either stream."""
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
        """The address that it printed."""
        return self.wait_for(r"http://\S+:\d+")[0].rstrip("/")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait; the exit code."""
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
        lines.append(line)  # noqa: PERF402 - extend would show nothing before the end


@contextlib.contextmanager
def hermes(*arguments: str, **environment: str) -> Iterator[Program]:
    """``hermes`` with these words, ended at the end."""
    program = Program(list(arguments), environment)
    try:
        yield program
    finally:
        program.end()
