"""WebSocket clients that return with their position after a broken connection, as ``hermes-client.js`` does."""

import heapq
import random
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from bench.load.poll import Poll
from bench.load.websocket import READ_BYTES, Receiver, request
from bench.processes import BenchError

BACKOFF_S, BACKOFF_MAX_S = 1.0, 30.0  # full jitter: a random part of it
OPENED_PER_S = 1_000  # at first


class ResumingClient:
    """One page of a user: its socket, its position, and what it has received."""

    def __init__(self, number: int, path: str, clients: "ResumingClients") -> None:
        self.number = number
        self.sock = socket.socket()
        self.received: Counter[str] = Counter()  # by id
        self.is_new = True
        self._path = path
        self._clients = clients
        self._position = "0"
        self._epoch = ""
        self._last = 0
        self._failures = 0
        self._head = b""
        self._receiver: Receiver | None = None

    def connect(self, port: int) -> None:
        """Send the handshake to a node; a node that has ended is a failure like others."""
        self.is_new, self._head, self._receiver = False, b"", None
        self.sock.close()
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        self.sock.bind((self._clients.address_of(self.number), 0))
        try:
            self.sock.connect(("127.0.0.1", port))
            self.sock.sendall(request(port, f"{self._path}&replay_end=1&since={self._position}", deflate=False))
        except OSError as error:
            self._lose(str(error))
            return
        self.sock.setblocking(False)
        self._clients.poll.add(self)

    def read(self) -> None:
        """Take what there is."""
        try:
            data = self.sock.recv(READ_BYTES)
            if not data:
                raise BenchError("the connection ended")
            self._feed(data)
        except BlockingIOError:
            return
        except (OSError, BenchError) as error:
            self._lose(str(error))

    def _feed(self, data: bytes) -> None:
        if self._receiver is None:
            head, separator, data = (self._head + data).partition(b"\r\n\r\n")
            if not separator:
                self._head = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise BenchError(f"the server refused the WebSocket: {head!r}")
            self._receiver = Receiver(self.sock, self._take)
        self._receiver.feed(data, time.monotonic_ns())

    def _take(self, payload: bytes, now_ns: int) -> None:
        frame = orjson.loads(payload)
        action = frame.get("action")
        if action == "resumed":
            if frame["gap"]:
                self._clients.faults.append(f"client {self.number}: a gap")
            self._epoch, self._last = frame["epoch"], frame["from"]
        elif action == "replay_end":
            self._failures = 0
            self._clients.returned_s[self.number] = now_ns / 1e9
        elif action is None and "id" in frame:
            self.received[frame["id"]] += 1
            self._note(frame)

    def _note(self, frame: dict[str, object]) -> None:
        seq = frame.get("seq")
        if not isinstance(seq, int):
            return
        if seq <= self._last:
            self._clients.faults.append(f"client {self.number}: number {seq} after {self._last}")
        self._last = seq
        self._position = f"{self._epoch}:{seq}"

    def _lose(self, why: str) -> None:
        """Return after a back-off."""
        self.sock.close()
        bound_s = min(BACKOFF_MAX_S, BACKOFF_S * 2**self._failures)
        self._failures += 1
        self._clients.lost(self, why, bound_s)


@dataclass(slots=True)
class ResumingClients:
    """A client for each of ``paths``, at ``ports`` of 127.0.0.1, from several addresses.

    At first they are spread evenly. Each returns to a random port of those that are there then. ``returned_s`` has when
    each had everything again, by its number, of ``time.monotonic``; ``faults`` what must never happen.
    """

    paths: Sequence[str]
    ports: list[int]
    poll: Poll
    chance: random.Random
    addresses: int = 10
    returned_s: dict[int, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)  # why connections ended
    members: list[ResumingClient] = field(default_factory=list)
    _due: list[tuple[float, int]] = field(default_factory=list)

    def open(self, timeout_s: float) -> None:
        """Open all. Raises `BenchError` if one is not open in time."""
        now_s = time.monotonic()
        self.members = [ResumingClient(number, path, self) for number, path in enumerate(self.paths)]
        self._due = [(now_s + number / OPENED_PER_S, number) for number in range(len(self.members))]
        while not self.are_back:
            self.connect_due()
            self.poll.turn(0.01)
            if time.monotonic() > now_s + timeout_s:
                raise BenchError(f"{len(self.returned_s)} of {len(self.members)} clients opened: {self.reasons}")

    @property
    def are_back(self) -> bool:
        """Whether each has everything up to its return."""
        return len(self.returned_s) == len(self.members)

    def connect_due(self) -> None:
        """Let those connect that have waited long enough."""
        now_s = time.monotonic()
        while self._due and self._due[0][0] <= now_s:
            client = self.members[heapq.heappop(self._due)[1]]
            spread = self.ports[client.number % len(self.ports)]
            client.connect(spread if client.is_new else self.chance.choice(self.ports))

    def lost(self, client: ResumingClient, why: str, bound_s: float) -> None:
        """Note that a connection ended; it returns within ``bound_s``."""
        self.returned_s.pop(client.number, None)
        self.reasons[why] += 1
        heapq.heappush(self._due, (time.monotonic() + self.chance.uniform(0, bound_s), client.number))

    def address_of(self, number: int) -> str:
        """Return the address from which a client connects."""
        return f"127.0.0.{1 + number % self.addresses}"

    def close(self) -> None:
        """Reset all."""
        for client in self.members:
            client.sock.close()
