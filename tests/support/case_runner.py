"""Run a program of `tests.support.paths.CASES`; its first argument is the path of the program.

The programs give Hermes and the broker a fixed time to start. Here they wait until the ports accept connections.
"""

import contextlib
import importlib
import re
import runpy
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 60.0  # reached only if a program fails


def ports_of(words: tuple[str, ...]) -> list[int]:
    """Return the ports that a command listens on: of ``hermes serve``, or of a mosquitto with its file."""
    if "--port" in words:
        return [int(words[words.index("--port") + 1])]
    if "-c" in words:
        return [int(port) for port in re.findall(r"^listener (\d+)", Path(words[-1]).read_text(), re.MULTILINE)]
    return []


def accepts(port: int) -> bool:
    """Return whether a program listens on this port of loopback."""
    for address in ("127.0.0.1", "::1"):
        with contextlib.suppress(OSError), socket.create_connection((address, port), 5):
            return True
    return False


def main(program: Path) -> None:
    """Run the program as its author would."""
    sys.path.insert(0, str(program.parent))
    sys.dont_write_bytecode = True
    case: Any = importlib.import_module("_case")
    start = case.running

    @contextlib.contextmanager
    def running(*words: str, env: dict[str, str] | None = None, wait: float = 0.0) -> Iterator[Any]:
        with start(*words, env=env, wait=0) as process:
            deadline_s = time.monotonic() + START_TIMEOUT_S
            while not all(accepts(port) for port in ports_of(words)) and process.poll() is None:
                assert time.monotonic() < deadline_s, f"{words} does not listen"
                time.sleep(0.05)
            yield process

    case.running = running
    runpy.run_path(str(program), run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
