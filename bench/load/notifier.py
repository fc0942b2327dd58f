"""A backend service at its work: notifications at a steady rate to one user, and that user's socket."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Self

from bench.contenders.hermes import Hermes
from bench.load.http import Connection
from bench.load.poll import Poll
from bench.load.websocket import Receiver, open_socket
from bench.processes import BenchError

CONNECTIONS = 16  # so that a request that is answered late does not hold up the next
GRACE_S = 5.0  # after the last request, for the last frame
USER = "123"


@dataclass(slots=True)
class Notifier:
    """What was sent, answered and received so far. Request n is due n / rate after the start, whatever became of the
    others, and has n as its notification's id.
    """

    api_key: str
    poll: Poll
    connections: list[Connection] = field(default_factory=list)
    accepted: int = 0
    answered: int = 0
    sent_ns: list[int] = field(default_factory=list)  # by number
    received: list[int] = field(default_factory=list)  # numbers, as they came
    latencies_ms: list[float] = field(default_factory=list)  # as received; from just before the writing to the reading

    @classmethod
    @contextmanager
    def opened(cls, server: Hermes) -> Iterator[Self]:
        """Its connections and the user's socket, until the end."""
        with ExitStack() as stack:
            notifier = cls(server.api_key, stack.enter_context(Poll()))
            sock = stack.enter_context(open_socket(server.port, server.user_socket(USER)))
            notifier.poll.add(Receiver(sock, notifier._take_frame))
            for _ in range(CONNECTIONS):
                connection = Connection(server.port, notifier._take_answer)
                stack.enter_context(closing(connection.sock))
                notifier.connections.append(connection)
                notifier.poll.add(connection)
            yield notifier

    def drive(self, rate_per_s: float, more: Callable[[], bool]) -> None:
        """Send as long as there is more to send."""
        began_s = time.monotonic()
        number = 0
        while more():
            wait_s = began_s + number / rate_per_s - time.monotonic()
            free = next((connection for connection in self.connections if not connection.busy), None)
            if wait_s <= 0 and free is not None:
                self.connections.remove(free)
                self.connections.append(free)  # all are used in turn: the server closes one that stays silent
                self._send(free)
                number += 1
            else:
                self.poll.turn(max(0.001, wait_s))

    def finish(self) -> None:
        """Wait until nothing is awaited any more, but not for ever."""
        deadline_s = time.monotonic() + GRACE_S
        while (self.answered < self.sent or len(self.received) < self.sent) and time.monotonic() < deadline_s:
            self.poll.turn(0.05)

    @property
    def sent(self) -> int:
        """How many requests."""
        return len(self.sent_ns)

    @property
    def missing(self) -> int:
        """How many places of the sequence 0, 1, 2, … hold something else, or nothing, or too much."""
        wrong = sum(number != place for place, number in enumerate(self.received[: self.sent]))
        return wrong + abs(self.sent - len(self.received))

    def latencies_between(self, began_ns: float, ended_ns: float) -> list[float]:
        """Milliseconds, of those that were sent in this time."""
        received = zip(self.received, self.latencies_ms, strict=True)
        return [latency_ms for number, latency_ms in received if began_ns <= self.sent_ns[number] < ended_ns]

    @property
    def lost(self) -> int:
        """How many did not arrive, whatever their order."""
        return self.sent - len(set(self.received))

    @property
    def sending_s(self) -> float:
        """How long the sending took, one period included for the last."""
        return (self.sent_ns[-1] - self.sent_ns[0]) / 1e9 * self.sent / max(1, self.sent - 1)

    def _send(self, connection: Connection) -> None:
        notification = {
            "user_id": USER,
            "id": str(self.sent),
            "title": "A door is open",
            "message": "Cold room 4, since 08:15",
        }
        body = json.dumps(notification).encode()
        self.sent_ns.append(time.monotonic_ns())
        connection.post("/notify", body, api_key=self.api_key)

    def _take_frame(self, payload: bytes, now_ns: int) -> None:
        number = int(json.loads(payload)["id"])
        self.received.append(number)
        self.latencies_ms.append((now_ns - self.sent_ns[number]) / 1e6)

    def _take_answer(self, status: int, body: bytes) -> None:
        if status != 200:
            raise BenchError(f"/notify answered {status}: {body!r}")
        self.answered += 1
        self.accepted += json.loads(body)["sent"] is True
