"""From ``POST /notify`` to the user's open socket, at a rate that leaves the server mostly idle."""

import json
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import ClassVar

from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark, percent_of_core, percentile
from bench.load.http import Connection
from bench.load.poll import Poll
from bench.load.websocket import Receiver, open_socket
from bench.processes import BenchError

CONNECTIONS = 16  # so that a request that is answered late does not hold up the next
GRACE_S = 5.0  # after the last request, for the last frame
USER = "123"


@dataclass(frozen=True, slots=True)
class Notify:
    """``requests`` notifications one by one at ``rate_per_s`` to a user with one socket."""

    summary: ClassVar[str] = "POST /notify at 200/s to a user with one socket"
    rate_per_s: int = 200
    requests: int = 2_000

    def run(self) -> list[Figure]:
        """Latency in milliseconds from just before the request is written until its frame is read."""
        with hermes() as server, ExitStack() as stack:
            exchange = Exchange(server.api_key)
            sock = stack.enter_context(open_socket(server.port, server.user_socket(USER)))
            receiver = Receiver(sock, exchange.take_frame)
            connections = [Connection(server.port, exchange.take_answer) for _ in range(CONNECTIONS)]
            for connection in connections:
                stack.enter_context(closing(connection.sock))
            poll = stack.enter_context(Poll())
            poll.add(receiver)
            for connection in connections:
                poll.add(connection)
            began_s, cpu_s, own_cpu_s = time.monotonic(), server.child.cpu_s, time.process_time()
            self._drive(exchange, connections, poll)
            wall_s = time.monotonic() - began_s
            hermes_percent = percent_of_core(server.child.cpu_s - cpu_s, wall_s)
            client_percent = percent_of_core(time.process_time() - own_cpu_s, wall_s)
        return [
            Figure("Hermes", "latency p50", percentile(exchange.latencies_ms, 50), "ms", Mark(below=3)),
            Figure("Hermes", "latency p99", percentile(exchange.latencies_ms, 99), "ms"),
            Figure("Hermes", "not arrived, or not in order", exchange.missing(self.requests), "", Mark(exactly=0)),
            Figure("Hermes", "answered without sent: true", self.requests - exchange.accepted, "", Mark(exactly=0)),
            Figure("client", "requests", self.requests / exchange.sending_s, "1/s"),
            Figure("Hermes", "CPU", hermes_percent, "% of a core"),
            Figure("client", "CPU", client_percent, "% of a core"),
        ]

    def _drive(self, exchange: "Exchange", connections: list[Connection], poll: Poll) -> None:
        """Request n is due n / rate after the start, whatever became of the others."""
        began_s = time.monotonic()
        deadline_s = began_s + self.requests / self.rate_per_s + GRACE_S
        number = 0
        while not exchange.done(self.requests) and (now_s := time.monotonic()) < deadline_s:
            wait_s = began_s + number / self.rate_per_s - now_s
            if number < self.requests and wait_s <= 0:
                free = next((connection for connection in connections if not connection.busy), None)
                if free is not None:
                    exchange.send(free, number)
                    number += 1
                    continue
            poll.turn(max(0.001, wait_s) if number < self.requests else 0.05)


@dataclass(slots=True)
class Exchange:
    """What was sent, answered and received."""

    api_key: str
    accepted: int = 0
    answered: int = 0
    sent_ns: list[int] = field(default_factory=list)  # by number
    received: list[int] = field(default_factory=list)  # numbers, as they came
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def sending_s(self) -> float:
        """How long the sending took, one period included for the last."""
        periods = max(1, len(self.sent_ns) - 1)
        return (self.sent_ns[-1] - self.sent_ns[0]) / 1e9 * len(self.sent_ns) / periods

    def send(self, connection: Connection, number: int) -> None:
        """Write one request; its number is the notification's id."""
        notice = {"user_id": USER, "id": str(number), "title": "A door is open", "message": "Cold room 4, since 08:15"}
        body = json.dumps(notice).encode()
        self.sent_ns.append(time.monotonic_ns())
        connection.post("/notify", body, api_key=self.api_key)

    def take_frame(self, payload: bytes, now_ns: int) -> None:
        """A notification has come."""
        number = int(json.loads(payload)["id"])
        self.received.append(number)
        self.latencies_ms.append((now_ns - self.sent_ns[number]) / 1e6)

    def take_answer(self, status: int, body: bytes) -> None:
        """A request was answered."""
        if status != 200:
            raise BenchError(f"/notify answered {status}: {body!r}")
        self.answered += 1
        self.accepted += json.loads(body)["sent"] is True

    def done(self, requests: int) -> bool:
        """Nothing is awaited any more."""
        return self.answered == requests and len(self.received) >= requests

    def missing(self, requests: int) -> int:
        """How many places of the sequence 0, 1, 2, … hold something else, or nothing, or too much."""
        wrong = sum(number != place for place, number in enumerate(self.received[:requests]))
        return wrong + abs(requests - len(self.received))
