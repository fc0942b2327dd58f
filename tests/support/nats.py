"""Real NATS servers for tests."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.support.programs import accepts, free_port, needs, wait_until


@dataclass
class NatsServer:
    """A nats-server for one test."""

    directory: Path
    lines: Sequence[str] = ()
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    cluster_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """Its log."""
        return self.directory / f"nats-{self.port}.log"

    @property
    def _config(self) -> Path:
        return self.directory / f"nats-{self.port}.conf"

    def _write_config(self) -> None:
        lines = [f"host: {self.host}", f"port: {self.port}", f'log_file: "{self.log}"', *self.lines]
        self._config.write_text("\n".join([*lines, ""]))

    def reload(self, *lines: str) -> None:
        """Let it read other lines of its configuration."""
        self.lines = lines
        self._write_config()
        self.send_signal(signal.SIGHUP)

    def start(self) -> None:
        """Start it and wait until it accepts."""
        self._write_config()
        command = [needs("nats-server"), "-c", str(self._config)]
        errors = self._config.with_suffix(".err")
        with errors.open("wb") as file:
            self.process = process = subprocess.Popen(command, stderr=file)
        wait_until(lambda: accepts(self.port) or process.poll() is not None, why="nats-server does not listen")
        if process.poll() is not None:
            self.process = None
            raise AssertionError(f"nats-server has ended: {errors.read_text()}")

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it; harmless if it has ended."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def send_signal(self, number: int) -> None:
        """Send it a signal: SIGSTOP, SIGCONT, or SIGUSR2 for its lame duck mode."""
        assert self.process is not None
        self.process.send_signal(number)


def unchecked(head: object, body: bytes = b"") -> bytes:
    """Return the bytes of a message between nodes, also of one that no node sends."""
    return orjson.dumps(head) + b"\n" + body


@contextlib.contextmanager
def nats_server(directory: Path, *lines: str) -> Iterator[NatsServer]:
    """Run a nats-server with these lines in its configuration."""
    server = NatsServer(directory, lines)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def nats_servers(directory: Path, number: int) -> Iterator[list[NatsServer]]:
    """Run several nats-servers that form one system."""
    servers = [NatsServer(directory) for _ in range(number)]
    routes = ", ".join(f"nats://127.0.0.1:{server.cluster_port}" for server in servers)
    for server in servers:
        server.lines = [
            f"server_name: nats-{server.port}",
            f'cluster {{ name: test, listen: "127.0.0.1:{server.cluster_port}", routes: [{routes}] }}',
        ]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()
