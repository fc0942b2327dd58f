"""What a page of a whole fleet waits for: the last values of thousands of devices."""

import json
import select
import socket
import statistics
import time
from dataclasses import dataclass
from typing import ClassVar

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench.contenders import TENANT
from bench.contenders.broker import broker
from bench.contenders.hermes import Hermes, hermes
from bench.figures import Figure, Mark
from bench.load.websocket import READ_BYTES, Receiver, open_socket
from bench.processes import BenchError

PATIENCE_S = 60.0
KEEPALIVE_S = 60
PUBLISH = 0x30  # MQTT 3.1.1 §3.3: the packet's kind, in the upper half of its first byte


@dataclass(frozen=True, slots=True)
class LastValues:
    """``devices`` of one series each, all kept by the broker; then ``sockets`` ask one after the other."""

    summary: ClassVar[str] = "the last values of 5,000 devices to a socket that opens"
    devices: int = 5_000
    sockets: int = 5

    def run(self) -> list[Figure]:
        """Milliseconds from before the handshake until the last value is read: by the first socket, for which the
        frames are made; by those after it (median); likewise with compression; and by a plain MQTT subscriber, from
        before its SUBSCRIBE.
        """
        with broker() as mosquitto, hermes(mqtt_url=mosquitto.url) as server:
            self._publish(mosquitto.port)
            server.child.wait_until(lambda: _values(server) == self.devices, "Hermes does not store all values")
            path = server.tenant_socket(TENANT)
            plain_ms = [self._socket_ms(server.port, path) for _ in range(self.sockets)]
            deflated_ms = [self._socket_ms(server.port, path, deflate=True) for _ in range(self.sockets)]
            retained_ms = statistics.median([self._retained_ms(mosquitto.port) for _ in range(self.sockets)])
        later_ms = statistics.median(plain_ms[1:])
        return [
            Figure("Hermes", "all values, the first socket", plain_ms[0], "ms", Mark(at_most=200)),
            Figure("Hermes", "all values, a later socket", later_ms, "ms", Mark(at_most=200)),
            Figure("Hermes", "the same with compression, the first socket", deflated_ms[0], "ms", Mark(at_most=200)),
            Figure("Hermes", "the same with compression, a later one", statistics.median(deflated_ms[1:]), "ms"),
            Figure("mosquitto", "all retained messages, a plain subscriber", retained_ms, "ms"),
            Figure("Hermes : mosquitto", "time of all values, a later socket", later_ms / retained_ms),
        ]

    def _publish(self, port: int) -> None:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port, KEEPALIVE_S)
        client.loop_start()
        for number in range(self.devices):
            topic = f"tenants/{TENANT}/devices/device-{number:05}/temperature"
            sent = client.publish(topic, json.dumps({"value": number / 10, "unit": "°C"}), qos=1, retain=True)
        sent.wait_for_publish(PATIENCE_S)
        client.disconnect()
        client.loop_stop()

    def _socket_ms(self, port: int, path: str, *, deflate: bool = False) -> float:
        began_s = time.monotonic()
        with open_socket(port, path, deflate=deflate, speaks_first=True) as sock:
            receiver = Receiver(sock, lambda payload, now_ns: None)
            while receiver.frames < self.devices:
                if not select.select([sock], [], [], PATIENCE_S)[0]:
                    raise BenchError(f"only {receiver.frames} of {self.devices} values came")
                receiver.read()
            return (time.monotonic() - began_s) * 1_000

    def _retained_ms(self, port: int) -> float:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
            sock.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")  # MQTT 3.1.1 §3.1: a clean session, no name
            if sock.recv(4) != b"\x20\x02\x00\x00":
                raise BenchError("mosquitto refused the subscriber")
            topic = f"tenants/{TENANT}/#".encode()
            began_s = time.monotonic()
            sock.sendall(bytes((0x82, 5 + len(topic), 0, 1, 0, len(topic))) + topic + b"\0")
            packets, rest = 0, b""
            while packets < self.devices:
                rest += sock.recv(READ_BYTES)
                more, rest = _publications(rest)
                packets += more
            return (time.monotonic() - began_s) * 1_000


def _publications(data: bytes) -> tuple[int, bytes]:
    """How many whole PUBLISH packets, of less than 16 KiB each, there are, and what follows the last whole packet."""
    found = at = 0
    while len(data) - at >= 3:
        length, header = data[at + 1], 2
        if length & 0x80:
            length, header = (length & 0x7F) | data[at + 2] << 7, 3
        if at + header + length > len(data):
            break
        found += data[at] & 0xF0 == PUBLISH
        at += header + length
    return found, data[at:]


def _values(server: Hermes) -> float:
    """Number of last values that Hermes reports as stored."""
    return server.metric("hermes_snapshot_values")
