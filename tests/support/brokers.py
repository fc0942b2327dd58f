"""MQTT brokers for tests: a real mosquitto, and a scripted one that sends what a mosquitto never sends."""

import contextlib
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hermes.delivery.messages import DeviceMessage
from tests.support.programs import accepts, free_port, needs, wait_until

TIMEOUT_S = 60.0  # reached only in a test that fails

CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT = 1, 3, 8, 10, 14


@dataclass
class Broker:
    """A mosquitto for one test."""

    directory: Path
    port: int
    lines: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it accepts."""
        config = self.directory / f"mosquitto-{self.port}.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "set_tcp_nodelay true", *self.lines]
        if not any(line.startswith("allow_anonymous") for line in lines):
            lines.append("allow_anonymous true")
        config.write_text("\n".join([*lines, "user root", "log_dest none", ""]))
        self.process = subprocess.Popen([needs("mosquitto"), "-c", str(config)], stderr=subprocess.DEVNULL)
        wait_until(lambda: accepts(self.port), why="mosquitto does not listen")

    def stop(self) -> None:
        """Kill it with SIGKILL; harmless if it has ended."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Stop it with SIGSTOP; its sockets stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue it with SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def reload(self) -> None:
        """Make it read its password and access files again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def publish(self, topic: str, payload: bytes | str, *options: str) -> None:
        """Send one message with another program."""
        raw = payload if isinstance(payload, bytes) else payload.encode()
        command = [needs("mosquitto_pub"), "-p", str(self.port), "-t", topic, "-s" if raw else "-n", *options]
        subprocess.run(command, input=raw, check=True, timeout=TIMEOUT_S)

    def publish_lines(self, topic: str, lines: Sequence[str], *options: str) -> None:
        """Send many messages on one topic."""
        command = [needs("mosquitto_pub"), "-p", str(self.port), "-t", topic, "-l", *options]
        subprocess.run(command, input="\n".join(lines).encode(), check=True, timeout=TIMEOUT_S)


@contextlib.contextmanager
def mosquitto(directory: Path, *lines: str) -> Iterator[Broker]:
    """Run a mosquitto with these lines in its configuration."""
    broker = Broker(directory, free_port(), lines)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@dataclass
class Peer:
    """The broker's end of one connection, for a script to read from and write to."""

    socket: socket.socket

    def read(self) -> tuple[int, bytes]:
        """Return the next packet's type and body; type 0 at the end of the stream."""
        first = self._exactly(1)
        if not first:
            return 0, b""
        length = shift = 0
        while True:
            (byte,) = self._exactly(1)
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first[0] >> 4, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (part := self.socket.recv(size - len(data))):
            data += part
        return data

    def send(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Send one packet with a body of up to 127 bytes."""
        assert len(body) < 128
        self.socket.sendall(bytes([kind << 4 | flags, len(body)]) + body)

    def accept(self, properties: bytes = b"") -> int:
        """Read CONNECT and accept it. Return the client's version."""
        version = self.read_connect()
        self.send(2, b"\0\0" + (bytes([len(properties)]) + properties if version == 5 else b""))
        return version

    def read_connect(self) -> int:
        """Read CONNECT. Return the client's version."""
        return self._expect(CONNECT)[6]

    def _expect(self, kind: int) -> bytes:
        """Return the next packet's body; it is of this kind. Raises ConnectionAbortedError if the client ends."""
        found, body = self.read()
        if found in (0, DISCONNECT):
            raise ConnectionAbortedError("the client ends")
        assert found == kind
        return body

    def read_subscribe(self, version: int, qos: int = 0) -> tuple[bytes, list[str], bytes]:
        """Read SUBSCRIBE. Return packet id, filters and properties."""
        body = self._expect(SUBSCRIBE)
        packet_id, rest, properties = body[:2], body[2:], b""
        if version == 5:
            properties, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        filters = []
        while rest:
            size = int.from_bytes(rest[:2], "big")
            filters.append(rest[2 : 2 + size].decode())
            assert rest[2 + size] == qos, "the QoS without options"
            rest = rest[3 + size :]
        return packet_id, filters, properties

    def grant(self, version: int, code: int = 0) -> list[str]:
        """Read SUBSCRIBE and answer each filter with this code. Return the filters."""
        packet_id, filters, _ = self.read_subscribe(version)
        self.send(9, packet_id + (b"\0" if version == 5 else b"") + bytes([code]) * len(filters))
        return filters

    def deliver(self, version: int, topic: bytes, payload: bytes) -> None:
        """Send one PUBLISH of QoS 0."""
        self.send(PUBLISH, len(topic).to_bytes(2, "big") + topic + (b"\0" if version == 5 else b"") + payload)

    def until_closed(self) -> None:
        """Read until the client closes the connection."""
        with contextlib.suppress(ConnectionError):
            while self.read()[0]:
                pass


Script = Callable[[Peer], None]


@dataclass
class ScriptedBroker:
    """Runs the n-th script for the n-th connection, and the last script for all later ones."""

    scripts: Sequence[Script]
    connections: int = 0
    faults: list[Exception] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self.listener.getsockname()[1]
        return port

    def run(self) -> None:
        """Serve one connection after another until the listener is closed."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            again = self.connections >= len(self.scripts)
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            with connection:
                connection.settimeout(TIMEOUT_S)
                try:
                    script(Peer(connection))
                except Exception as error:  # noqa: BLE001 - the test looks at them
                    if not (again and isinstance(error, ConnectionError)):  # the test may end at any moment of a retry
                        self.faults.append(error)


@contextlib.contextmanager
def scripted(*scripts: Script) -> Iterator[ScriptedBroker]:
    """Run a broker with these scripts."""
    broker = ScriptedBroker(scripts)
    thread = threading.Thread(target=broker.run, name="scripted-broker")
    thread.start()
    try:
        yield broker
    finally:
        broker.listener.shutdown(socket.SHUT_RDWR)
        broker.listener.close()
        thread.join(TIMEOUT_S)
    assert broker.faults == []


@dataclass
class Received:
    """Collects the messages that a bridge publishes."""

    messages: list[DeviceMessage] = field(default_factory=list)

    def __call__(self, message: DeviceMessage) -> None:
        self.messages.append(message)

    @property
    def data(self) -> list[bytes]:
        """The messages' data, in order."""
        return [message.data for message in self.messages]
