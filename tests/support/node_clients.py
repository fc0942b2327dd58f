"""The browser client in Node: tests/js/node-client.mjs."""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

from tests.support.npm import FOLDER
from tests.support.programs import needs

TIMEOUT_S = 60.0  # reached only in a test that fails


class NodeClient:
    """A running client, and its events so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.events: list[dict[str, Any]] = []

    def wait_for(self, event: str, detail: object = ...) -> Any:
        """Wait for an event and return its detail; earlier events are skipped."""
        watchdog = threading.Timer(TIMEOUT_S, self._process.kill)
        watchdog.start()
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                self.events.append(json.loads(line))
                received = self.events[-1]
                if received["event"] == event and detail in (..., received.get("detail")):
                    return received.get("detail")
        finally:
            watchdog.cancel()
        raise AssertionError(f"the client ended without {event} {detail}")

    def of(self, event: str) -> list[Any]:
        """The details of the events of this kind."""
        return [each["detail"] for each in self.events if each["event"] == event]

    def acknowledge(self, id: str) -> None:
        """Let the client acknowledge this notification."""
        self._write(id)

    def begin_refresh(self) -> None:
        """Let the time come at which the client requests its next token."""
        self._write("refresh")

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def node_client(url: str, *tokens: str, **environment: str) -> Iterator[NodeClient]:
    """Run the client, which gets these tokens one after the other; at the end it closes by itself."""
    process = subprocess.Popen(
        [needs("node"), "node-client.mjs", url, *tokens],
        cwd=FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    with process:
        try:
            yield NodeClient(process)
            process.communicate(timeout=TIMEOUT_S)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0
