"""A NATS server for several nodes of Hermes."""

import contextlib
import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Child, NotInstalledError, accepts, free_port, running


@dataclass(frozen=True, slots=True)
class Nats:
    """A running nats-server."""

    child: Child
    port: int
    monitoring_port: int

    @property
    def url(self) -> str:
        """Its address for ``--nats-url``."""
        return f"nats://127.0.0.1:{self.port}"

    def bytes_of(self, name: str) -> int:
        """Return the bytes that the client of this name has sent and received."""
        url = f"http://127.0.0.1:{self.monitoring_port}/connz"
        with urllib.request.urlopen(url, timeout=5) as response:
            connections = json.load(response)["connections"]
        (found,) = [each for each in connections if each.get("name") == name]
        return int(found["in_bytes"]) + int(found["out_bytes"])


@contextlib.contextmanager
def nats() -> Iterator[Nats]:
    """Start one on a free port."""
    program = shutil.which("nats-server", path="/usr/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        raise NotInstalledError("nats-server is missing: apt-get install nats-server")
    port, monitoring_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="hermes-bench-nats-") as folder:
        command = [program, "-a", "127.0.0.1", "-p", str(port), "-m", str(monitoring_port)]
        with running(command, output=Path(folder, "output")) as child:
            child.wait_until(lambda: accepts(port) and accepts(monitoring_port), "nats-server does not listen")
            yield Nats(child, port, monitoring_port)
