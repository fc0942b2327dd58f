"""Node with ``ws``, its usual WebSocket library; installed by npm from the lock file when it is first needed."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.contenders import Broadcaster, line_broadcaster
from bench.processes import NotInstalledError

FOLDER = Path(__file__).with_name("node")


@contextlib.contextmanager
def node_ws() -> Iterator[Broadcaster]:
    """Start it, stop it at the end. Raises `NotInstalledError` if Node, npm or the library cannot be had."""
    node = shutil.which("node")
    if node is None:
        raise NotInstalledError("Node is missing: apt-get install nodejs npm")
    if not (FOLDER / "node_modules" / "ws").is_dir():
        _install()
    with line_broadcaster("Node ws", [node, str(FOLDER / "broadcast.js")]) as broadcaster:
        yield broadcaster


def _install() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalledError("npm is missing: apt-get install npm")
    command = [npm, "ci", "--no-audit", "--no-fund", "--silent"]
    result = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NotInstalledError(f"npm cannot install ws: {result.stdout}{result.stderr}")
