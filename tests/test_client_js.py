"""The client module and the console's scripts: their types by tsc, the client's behaviour by Node's test runner."""

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import needs

FOLDER = Path(__file__).parent / "js"
CLIENT = Path(__file__).parent.parent / "static" / "hermes-client.js"
GZIPPED_MAX_BYTES = 6 * 1024


def run(*command: str, timeout_s: float = 120) -> None:
    """A command in tests/js; its output is shown where it fails."""
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_client_behaves() -> None:
    """Sentence by sentence, in tests/js."""
    run(needs("node"), "--test")


def test_the_types_hold() -> None:
    """tsc --checkJs --strict, from a pinned TypeScript."""
    npm = needs("npm")
    if not (FOLDER / "node_modules" / "typescript").is_dir():
        done = subprocess.run([npm, "ci", "--silent"], cwd=FOLDER, timeout=300, check=False)
        if done.returncode != 0 and os.environ.get("CI") != "true":
            pytest.skip("npm ci cannot fetch TypeScript here")
        assert done.returncode == 0
    run(npm, "run", "--silent", "types")


def test_the_client_is_small() -> None:
    """As browsers fetch it."""
    assert len(gzip.compress(CLIENT.read_bytes(), 9)) <= GZIPPED_MAX_BYTES
