"""The npm packages of tests/js, pinned by its lock file."""

import fcntl
import functools
import os
import subprocess

import pytest

from tests.support.paths import CHECKOUT
from tests.support.programs import needs

FOLDER = CHECKOUT / "tests" / "js"
LOCK = FOLDER / "package-lock.json"
INSTALLED = FOLDER / "node_modules" / ".package-lock.json"  # written by npm


@functools.cache
def npm() -> str:
    """Return the npm command, after it has installed the packages of the lock file."""
    path = needs("npm")
    with LOCK.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not INSTALLED.is_file() or INSTALLED.stat().st_mtime < LOCK.stat().st_mtime:
            done = subprocess.run([path, "ci", "--silent"], cwd=FOLDER, timeout=900, check=False)
            if done.returncode != 0 and os.environ.get("CI") != "true":
                pytest.skip("npm ci cannot fetch its packages here")
            assert done.returncode == 0
    return path


def run(*command: str, timeout_s: float = 120) -> str:
    """Run a command in tests/js and return its output; the failure shows all of it."""
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
