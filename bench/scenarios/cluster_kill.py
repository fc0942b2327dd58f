"""A node is killed while notifications come through all of them: nothing stored is lost, nothing comes twice."""

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar

from bench.contenders.hermes import Hermes
from bench.contenders.nats import Nats
from bench.contenders.postgres import INBOX, PostgresServer, inbox_server
from bench.figures import Figure, Mark, percentile
from bench.load.http import Connection
from bench.load.poll import Poll
from bench.load.resuming import ResumingClients
from bench.processes import BenchError, allow_open_files
from bench.scenarios.cluster import nodes
from bench.scenarios.idle_memory import FILES_RESERVED

NODES = ("a", "b", "killed")
SEED = 1
OPENING_S, ARRIVING_S = 60.0, 30.0  # at most
TWICE_S = 3.0  # in which something could still come twice: a node looks at the inbox each second


@dataclass(slots=True)
class Request:
    """One notification, with its id: when it was due, and when it was answered first."""

    id: str
    user: int
    due_s: float
    answered_s: float = 0.0
    is_stored: bool = False
    repetitions: int = 0


class NodeConnection(Connection):
    """A connection to a node that may end with a request under way."""

    def __init__(self, node: Hermes, backend: "Backend") -> None:
        super().__init__(node.port, self._answered)
        self.request: Request | None = None
        self.has_ended = False
        self._key = node.api_key
        self._backend = backend

    def send(self, request: Request) -> None:
        """Post it."""
        self.request = request
        body = {"user_id": f"user-{request.user}", "id": request.id, "title": "A door is open", "message": "Cold room"}
        with self._ending():
            self.post("/notify", json.dumps(body).encode(), api_key=self._key)

    def read(self) -> None:
        """Take what there is of the answer, or the end."""
        with self._ending():
            super().read()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except (BenchError, OSError):
            self.has_ended = True
            self.sock.close()
            request, self.request = self.request, None
            if request is not None:
                self._backend.repeat(request)

    def _answered(self, status: int, body: bytes) -> None:
        request, self.request = self.request, None
        assert request is not None
        self._backend.answered(request, status, body)
        self._backend.idle.append(self)


@dataclass(slots=True)
class Backend:
    """A service that notifies random users through all nodes, at a steady rate.

    What a node has not answered when it ends is posted again, with the same id, to another one.
    """

    rate_per_s: float
    users: int
    poll: Poll
    chance: random.Random
    requests: list[Request] = field(default_factory=list)
    idle: deque[NodeConnection] = field(default_factory=deque)
    connections: list[NodeConnection] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)  # by status
    late_s: float = 0.0  # how far it fell behind its rate at most
    _repeated: deque[Request] = field(default_factory=deque)

    def connect(self, node: Hermes, connections: int) -> None:
        """Open connections to a node."""
        for _ in range(connections):
            connection = NodeConnection(node, self)
            self.poll.add(connection)
            self.connections.append(connection)
            self.idle.append(connection)

    def close(self) -> None:
        """Close all connections."""
        for connection in self.connections:
            connection.sock.close()

    def drive(self, for_s: float, turn: Callable[[], object]) -> None:
        """Send for a time; ``turn`` is called very often."""
        began_s, first = time.monotonic(), len(self.requests)
        until_s = began_s + for_s
        while (now_s := time.monotonic()) < until_s:
            turn()
            due_s = began_s + (len(self.requests) - first) / self.rate_per_s
            if self._repeated and (connection := self._free()):
                connection.send(self._repeated.popleft())
            elif due_s <= now_s and (connection := self._free()):
                self.late_s = max(self.late_s, now_s - due_s)
                self.requests.append(Request(f"n{len(self.requests)}", self.chance.randrange(self.users), due_s))
                connection.send(self.requests[-1])
            else:
                self.poll.turn(0.001 if due_s <= now_s else min(0.02, due_s - now_s))

    def finish(self, turn: Callable[[], object], timeout_s: float) -> None:
        """Wait for all answers. Raises `BenchError` if one does not come."""
        until_s = time.monotonic() + timeout_s
        while any(not request.answered_s for request in self.requests):
            turn()
            if self._repeated and (connection := self._free()):
                connection.send(self._repeated.popleft())
            self.poll.turn(0.01)
            if time.monotonic() > until_s:
                raise BenchError("not all requests were answered")

    def repeat(self, request: Request) -> None:
        """Post a request again that a node did not answer."""
        request.repetitions += 1
        self._repeated.append(request)

    def answered(self, request: Request, status: int, body: bytes) -> None:
        """Note an answer."""
        request.answered_s = time.monotonic()
        if status == 200:
            request.is_stored = json.loads(body)["stored"]
        else:
            self.refused[status] += 1

    def answers_ms(self, from_s: float, until_s: float) -> list[float]:
        """Return how long those took that were due in this time."""
        return [1_000 * (each.answered_s - each.due_s) for each in self.requests if from_s <= each.due_s < until_s]

    def _free(self) -> NodeConnection | None:
        while self.idle:
            connection = self.idle.popleft()
            if not connection.has_ended:
                return connection
        return None


@dataclass(frozen=True, slots=True)
class ClusterKill:
    """``clients`` of as many users on three nodes; after ``before_s`` of ``rate_per_s`` notifications one is killed.

    The clients return to the other nodes with their positions, after the back-off of ``hermes-client.js``.
    """

    summary: ClassVar[str] = "three nodes with 3,000 clients at 500 notifications/s, one of them killed"
    clients: int = 3_000
    rate_per_s: int = 500
    connections: int = 16  # to each node
    before_s: float = 5.0
    after_s: float = 10.0

    def run(self) -> list[Figure]:
        """Seconds until all clients have everything again, and what was lost or came twice."""
        allow_open_files(self.clients + FILES_RESERVED)
        with ExitStack() as stack:
            poll = stack.enter_context(Poll())
            database = stack.enter_context(inbox_server())
            (*living, killed), broker = nodes(stack, NODES, "--inbox", database.url(INBOX))
            chance = random.Random(SEED)
            paths = [killed.user_socket(f"user-{number}") for number in range(self.clients)]
            clients = ResumingClients(paths, [node.port for node in (*living, killed)], poll, chance)
            stack.callback(clients.close)
            clients.open(OPENING_S)
            backend = Backend(self.rate_per_s, self.clients, poll, chance)
            stack.callback(backend.close)
            for node in (*living, killed):
                backend.connect(node, self.connections)
            parts = _Parts([*living, killed], broker, database)
            used, began_s = parts.cpu_s(), time.monotonic()
            backend.drive(self.before_s, clients.connect_due)
            spent = {name: (now - used[name]) / (time.monotonic() - began_s) for name, now in parts.cpu_s().items()}
            clients.ports.remove(killed.port)
            os.kill(killed.child.pid, signal.SIGKILL)
            killed_s = time.monotonic()
            backend.drive(self.after_s, clients.connect_due)
            ended_s = time.monotonic()
            backend.finish(clients.connect_due, ARRIVING_S)
            self._receive(backend, clients, poll)
            rows = Counter(
                id for (id,) in database.execute("SELECT convert_from(id, 'UTF8') FROM hermes.log", name=INBOX)
            )
        stored = [request for request in backend.requests if request.is_stored]
        received = [client.received for client in clients.members]
        back_s = [at_s - killed_s for at_s in clients.returned_s.values() if at_s > killed_s]
        lost = sum(received[request.user][request.id] == 0 for request in stored)
        doubled = sum(sum(times > 1 for times in each.values()) for each in received)
        misled = sum(int(id[1:]) >= len(backend.requests) or backend.requests[int(id[1:])].user != number
                     for number, each in enumerate(received) for id in each)  # fmt: skip
        return [
            Figure("three nodes", "notifications", len(backend.requests) / (ended_s - began_s), "1/s",
                   Mark(at_least=round(0.98 * self.rate_per_s))),
            Figure("three nodes", "clients back after, the last", max(back_s), "s", Mark(at_most=10)),
            Figure("three nodes", "clients back after, half of them", percentile(back_s, 50), "s"),
            Figure("three nodes", "clients that had to return", len(back_s)),
            Figure("three nodes", "stored, but lost", lost, "", Mark(exactly=0)),
            Figure("three nodes", "came twice", doubled, "", Mark(exactly=0)),
            Figure("three nodes", "came to another user", misled, "", Mark(exactly=0)),
            Figure("three nodes", "gaps, and numbers that fell", len(clients.faults), "", Mark(exactly=0)),
            Figure("PostgreSQL", "stored, but without exactly one row", sum(rows[each.id] != 1 for each in stored), "",
                   Mark(exactly=0)),
            Figure("the killed node", "requests not answered", sum(each.repetitions for each in backend.requests)),
            Figure("three nodes", "answered as not stored", len(backend.requests) - len(stored)),
            Figure("three nodes", "answer before the kill p50", percentile(backend.answers_ms(0, killed_s), 50), "ms"),
            Figure("three nodes", "answer before the kill p99", percentile(backend.answers_ms(0, killed_s), 99), "ms"),
            Figure("three nodes", "answer after it p99", percentile(backend.answers_ms(killed_s, ended_s), 99), "ms"),
            Figure("client", "behind its rate at most", 1_000 * backend.late_s, "ms"),
            *[Figure(name, "CPU before the kill", 100 * share, "% of a core") for name, share in spent.items()],
        ]  # fmt: skip

    def _receive(self, backend: Backend, clients: ResumingClients, poll: Poll) -> None:
        """Wait until all clients are back and have what was stored, or for long; then for what may come twice."""
        until_s = time.monotonic() + ARRIVING_S
        stored = [request for request in backend.requests if request.is_stored]
        while time.monotonic() < until_s and not (
            clients.are_back and all(request.id in clients.members[request.user].received for request in stored)
        ):
            clients.connect_due()
            poll.turn(0.05)
        until_s = time.monotonic() + TWICE_S
        while time.monotonic() < until_s:
            clients.connect_due()
            poll.turn(0.05)
        if not clients.are_back:
            raise BenchError(f"{len(clients.returned_s)} of {len(clients.members)} clients are back: {clients.reasons}")


@dataclass(frozen=True, slots=True)
class _Parts:
    """What uses CPU."""

    nodes: list[Hermes]
    broker: Nats
    database: PostgresServer

    def cpu_s(self) -> dict[str, float]:
        """The CPU seconds of each part so far; of the nodes their mean."""
        return {
            "a node": sum(node.child.cpu_ns for node in self.nodes) / 1e9 / len(self.nodes),
            "NATS": self.broker.child.cpu_ns / 1e9,
            "PostgreSQL": self.database.cpu_ns / 1e9,
            "client": time.process_time(),
        }
