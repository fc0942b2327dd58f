"""The CPU that the frames of a WebSocket add to one message of a broker, received and sent, against plain TCP.

Both ends are in this process, and only the client's reads and writes are measured, so that other load matters little.
"""

import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bench.figures import Figure
from hermes.mqtt.net.buffered_socket import BufferedSocket
from hermes.mqtt.net.websocket import WebSocket, client_protocol
from hermes.settings.urls.mqtt import MqttUrl

TOPIC = b"tenants/acme/devices/climate-01/temp"
BODY = len(TOPIC).to_bytes(2, "big") + TOPIC + b"\0" + b"x" * 160
PUBLISH = bytes((0x30, len(BODY) & 0x7F | 0x80, len(BODY) >> 7)) + BODY
FRAME = Frame(Opcode.BINARY, PUBLISH).serialize(mask=False)
FRAME_HEADER_BYTES = 8  # of a client's frame of this size: 4, and the mask
BATCH = 100  # packets that both sockets' buffers hold

Open = Callable[[socket.socket], BufferedSocket]


@dataclass(frozen=True, slots=True)
class WebsocketFraming:
    """``messages`` in each direction and ``rounds``, one packet in each frame, as mosquitto sends them."""

    summary: ClassVar[str] = "the CPU that WebSocket frames add to a message of the broker"
    messages: int = 20_000
    rounds: int = 5

    def run(self) -> list[Figure]:
        """Return the median of the rounds for each way, in microseconds of CPU."""
        ways: dict[str, tuple[Open, bytes, int]] = {
            "mqtt://": (BufferedSocket, PUBLISH, 0),
            "ws://": (_open_websocket, FRAME, FRAME_HEADER_BYTES),
        }
        received: dict[str, list[float]] = {way: [] for way in ways}
        sent: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(self.rounds):
            for way, (opened, data, header_bytes) in ways.items():
                received[way].append(_receive_us(opened, data, self.messages))
                sent[way].append(_send_us(opened, header_bytes, self.messages))
        return [
            *(Figure(way, "CPU of a message received", statistics.median(received[way]), "µs") for way in ways),
            *(Figure(way, "CPU of a packet sent", statistics.median(sent[way]), "µs") for way in ways),
        ]


def _open_websocket(sock: socket.socket) -> BufferedSocket:
    client = client_protocol(MqttUrl("127.0.0.1", transport="websockets", path="/mqtt"))
    server = ServerProtocol(subprotocols=[Subprotocol("mqtt")])
    request = client.connect()
    server.send_response(server.accept(request))
    client.receive_data(b"".join(server.data_to_send()))
    return BufferedSocket(WebSocket(sock, client))


def _receive_us(opened: Open, data: bytes, messages: int) -> float:
    """Return the CPU of reading one message with the reads that paho makes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        sock = opened(ours)
        used_ns = 0
        for _ in range(messages // BATCH):
            theirs.sendall(data * BATCH)
            began_ns = time.thread_time_ns()
            for _ in range(BATCH):
                _read_packet(sock)
            used_ns += time.thread_time_ns() - began_ns
    return used_ns / (messages // BATCH * BATCH) / 1e3


def _read_packet(sock: BufferedSocket) -> None:
    for _ in range(len(PUBLISH) - len(BODY)):
        sock.recv(1)
    left = len(BODY)
    while left:
        left -= len(sock.recv(left))


def _send_us(opened: Open, header_bytes: int, messages: int) -> float:
    """Return the CPU of sending one packet."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        sock = opened(ours)
        used_ns = 0
        for _ in range(messages // BATCH):
            began_ns = time.thread_time_ns()
            for _ in range(BATCH):
                sock.send(PUBLISH)
            used_ns += time.thread_time_ns() - began_ns
            left = BATCH * (len(PUBLISH) + header_bytes)
            while left:
                left -= len(theirs.recv(left))
    return used_ns / (messages // BATCH * BATCH) / 1e3
