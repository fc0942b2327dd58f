"""A NATS server for several nodes of Hermes."""

import contextlib
import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        connections = self._monitored("connz")["connections"]
        (found,) = [each for each in connections if each.get("name") == name]
        return int(found["in_bytes"]) + int(found["out_bytes"])

    @property
    def routes(self) -> int:
        """The number of connections to other servers."""
        return int(self._monitored("routez")["num_routes"])

    @property
    def subscriptions(self) -> int:
        """The number of subscriptions that it knows, also those of other servers."""
        return int(self._monitored("subsz")["num_subscriptions"])

    def _monitored(self, page: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitoring_port}/{page}", timeout=5) as response:
            found: dict[str, Any] = json.load(response)
            return found


@contextlib.contextmanager
def nats(*options: str) -> Iterator[Nats]:
    """Start one on a free port, with these further options."""
    program = shutil.which("nats-server", path="/usr/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        raise NotInstalledError("nats-server is missing: apt-get install nats-server")
    port, monitoring_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="hermes-bench-nats-") as folder:
        command = [program, "-a", "127.0.0.1", "-p", str(port), "-m", str(monitoring_port), *options]
        with running(command, output=Path(folder, "output")) as child:
            child.wait_until(lambda: accepts(port) and accepts(monitoring_port), "nats-server does not listen")
            yield Nats(child, port, monitoring_port)


@contextlib.contextmanager
def two_nats() -> Iterator[tuple[Nats, Nats]]:
    """Start two that form one system."""
    routes = [f"nats://127.0.0.1:{free_port()}" for _ in range(2)]
    options = [
        ("--cluster", own, "--cluster_name", "bench", "--routes", other)
        for own, other in zip(routes, reversed(routes), strict=True)
    ]
    with nats(*options[0]) as one, nats(*options[1]) as other:
        for server in (one, other):
            server.child.wait_until(lambda server=server: server.routes, "the servers do not find each other")  # type: ignore[misc]
        yield one, other
