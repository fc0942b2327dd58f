"""From a device's MQTT message to a hundred sockets of its tenant."""

import json
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bench.contenders.broker import Broker, broker
from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark, percent_of_core, percentile
from bench.load.poll import Poll
from bench.load.publisher import Published
from bench.load.websocket import Receiver, open_socket
from bench.processes import BenchError, Child, running

TENANT = "acme"
DEVICES = 20
SAMPLE_EVERY = 17  # of a socket's frames; prime to the devices, and each socket begins with another
START_IN_S = 1.0  # the publisher must have started and connected by then
GRACE_S = 10.0  # after the last message, for those still on their way


@dataclass(frozen=True, slots=True)
class FanOut:
    """``messages`` at ``rate_per_s`` of 20 devices of one tenant, to ``sockets`` on ``/ws/tenant``."""

    summary: ClassVar[str] = "MQTT at 2,000 messages/s to 100 sockets"
    rate_per_s: int = 2_000
    messages: int = 20_000
    sockets: int = 100

    def run(self) -> list[Figure]:
        """Latency in milliseconds from just before the publisher's write until the socket's read."""
        with broker() as mosquitto, hermes(mqtt_url=mosquitto.url) as server, ExitStack() as stack:
            audience = Audience()
            poll = stack.enter_context(Poll())
            for _ in range(self.sockets):
                sock = stack.enter_context(open_socket(server.port, server.tenant_socket(TENANT)))
                poll.add(audience.seat(sock))
            meters = (server.child, mosquitto.child)
            before_s = [*(child.cpu_s for child in meters), time.process_time()]
            published = self._receive(audience, poll, mosquitto)
            after_s = [*(child.cpu_s for child in meters), time.process_time()]
            wall_s = (time.monotonic_ns() - published.began_ns) / 1e9
        used_s = [after - before for after, before in zip(after_s, before_s, strict=True)]
        return self._figures(audience, published, [percent_of_core(cpu_s, wall_s) for cpu_s in used_s])

    def _receive(self, audience: "Audience", poll: Poll, mosquitto: Broker) -> Published:
        """Read until all has come that was published, or the time is over."""
        with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
            with running(self._publisher(mosquitto), output=Path(folder, "output")) as publisher:
                deadline_s = time.monotonic() + START_IN_S + self.messages / self.rate_per_s + GRACE_S
                while time.monotonic() < deadline_s and not (publisher.ended and audience.has(self.messages)):
                    poll.turn(0.05)
            return _published(publisher)

    def _publisher(self, mosquitto: Broker) -> list[str]:
        start_ns = time.monotonic_ns() + int(START_IN_S * 1e9)
        words = (mosquitto.port, TENANT, DEVICES, self.rate_per_s, self.messages, start_ns)
        return [sys.executable, "-m", "bench.load.publisher", *map(str, words)]

    def _figures(self, audience: "Audience", published: Published, percents: list[float]) -> list[Figure]:
        sending_s = (published.ended_ns - published.began_ns) / 1e9
        hermes_percent, broker_percent, client_percent = percents
        return [
            Figure("Hermes", "latency p50", percentile(audience.latencies_ms, 50), "ms"),
            Figure("Hermes", "latency p99", percentile(audience.latencies_ms, 99), "ms", Mark(below=100)),
            Figure("Hermes", "frames lost", audience.lost(published.messages), "", Mark(exactly=0)),
            Figure("Hermes", "sockets out of order", audience.out_of_order(), "", Mark(exactly=0)),
            Figure("Hermes", "delivered", audience.frames / audience.receiving_s(published), "1/s"),
            Figure("publisher", "published", published.messages / sending_s, "1/s"),
            Figure("Hermes", "CPU", hermes_percent, "% of a core"),
            Figure("mosquitto", "CPU", broker_percent, "% of a core"),
            Figure("client", "CPU", client_percent, "% of a core"),
            Figure("publisher", "CPU", percent_of_core(published.cpu_s, sending_s), "% of a core"),
        ]


def _published(publisher: Child) -> Published:
    try:
        return Published(**json.loads(publisher.output))
    except (ValueError, TypeError):
        raise BenchError(f"the publisher failed: {publisher.output}") from None


@dataclass(slots=True)
class Audience:
    """All receiving sockets. The first reads every frame and follows each series; of the others every 17th frame is
    looked into, and their streams must have the first one's checksum, hence all its frames in its order.
    """

    receivers: list[Receiver] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)  # device id → number of its last message
    broken: bool = False  # the first socket's order
    last_ns: int = 0

    def seat(self, sock: socket.socket) -> Receiver:
        """One more."""
        number = len(self.receivers)
        if number:
            receiver = Receiver(sock, self._take_sample, every=SAMPLE_EVERY, first=1 + number % SAMPLE_EVERY)
        else:
            receiver = Receiver(sock, self._take_witness)
        self.receivers.append(receiver)
        return receiver

    def _take_sample(self, payload: bytes, now_ns: int) -> None:
        begin = payload.index(b'"t":') + 4
        self.last_ns = now_ns
        self.latencies_ms.append((now_ns - int(payload[begin : payload.index(b"}", begin)])) / 1e6)

    def _take_witness(self, payload: bytes, now_ns: int) -> None:
        frame = json.loads(payload)
        device_id, number = frame["device_id"], frame["data"]["n"]
        expected = self.last.get(device_id, int(device_id[1:]) - DEVICES) + DEVICES
        self.broken = self.broken or number != expected
        self.last[device_id] = number
        self.last_ns = now_ns

    @property
    def frames(self) -> int:
        """Received by all together."""
        return sum(receiver.frames for receiver in self.receivers)

    def has(self, messages: int) -> bool:
        """Whether everybody has as many."""
        return all(receiver.frames >= messages for receiver in self.receivers)

    def receiving_s(self, published: Published) -> float:
        """From the first message's due time to the last sampled frame."""
        return max(1, self.last_ns - published.began_ns) / 1e9

    def lost(self, messages: int) -> int:
        """Frames that are missing, or too many, over all sockets."""
        return sum(abs(messages - receiver.frames) for receiver in self.receivers)

    def out_of_order(self) -> int:
        """Sockets on which a series was not in order, or whose stream is not the first one's."""
        if self.broken:
            return len(self.receivers)
        return sum(receiver.checksum != self.receivers[0].checksum for receiver in self.receivers)
