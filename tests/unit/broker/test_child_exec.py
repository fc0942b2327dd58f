"""child_exec: a program as another user, killed by the kernel when its parent ends."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hermes.broker import child_exec
from hermes.broker.supervisor import CHILD_EXEC

ROOT = os.geteuid() == 0


def test_it_runs_nothing_if_the_parent_has_ended(tmp_path: Path) -> None:
    """The parent ended before the request for the signal."""
    command = [sys.executable, "-I", "-S", str(CHILD_EXEC), str(os.getpid() + 1), "", "/bin/echo", "ran"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "the parent has ended" in result.stderr


def test_it_runs_the_program_with_its_arguments() -> None:
    """In the same process."""
    command = [sys.executable, "-I", "-S", str(CHILD_EXEC), str(os.getpid()), "", "/bin/echo", "a b", "c"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "a b c\n"


@pytest.mark.skipif(not ROOT, reason="only root can change its user")
def test_a_program_that_the_user_may_not_run_is_named(tmp_path: Path) -> None:
    """In one line, with what to check."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    command = [sys.executable, "-I", "-S", str(CHILD_EXEC), str(os.getpid()), "nobody", str(program)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"the user nobody cannot run {program}: Permission denied; check the rights of")
    assert result.stderr.count("\n") == 1


def test_it_runs_nothing_if_the_kernel_refuses_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child would outlive Hermes."""
    asked: list[tuple[int, ...]] = []

    class Libc:
        """A C library with this answer."""

        answer = -1

        def prctl(self, *arguments: int) -> int:
            """Record the call."""
            asked.append(arguments)
            return self.answer

    ran: list[list[str]] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Libc())
    monkeypatch.setattr(os, "execv", lambda _, arguments: ran.append(arguments))
    with pytest.raises(OSError, match="PR_SET_PDEATHSIG"):
        child_exec.main([str(os.getppid()), "", "/bin/echo", "ran"])
    Libc.answer = 0
    with pytest.raises(SystemExit, match="the parent has ended"):
        child_exec.main([str(os.getppid() + 1), "", "/bin/echo", "ran"])
    assert ran == []
    child_exec.main([str(os.getppid()), "", "/bin/echo", "ran"])
    assert ran == [["/bin/echo", "ran"]]
    assert asked == [(1, signal.SIGKILL, 0, 0, 0)] * 3


@pytest.mark.skipif(not ROOT, reason="only root can change its user")
def test_it_drops_root_and_its_groups() -> None:
    """Before the program starts."""
    command = [sys.executable, "-I", "-S", str(CHILD_EXEC), str(os.getpid()), "nobody", "/usr/bin/id", "-un"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd="/")
    assert result.stdout == "nobody\n"
    command[-1] = "-Gn"
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd="/")
    assert "root" not in result.stdout.split()
