"""Many WebSocket clients that return after a close when its reason asks them to (``retry_ms``)."""

import heapq
import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.load.websocket import request
from bench.processes import BenchError

READ_BYTES = 4_096
CLOSE = 0x88
RETRY = re.compile(rb";retry_ms=([0-9]+)")
REFUSED_WAIT_S = 0.05  # while nothing listens
POLL_S = 0.01


@dataclass(slots=True)
class Client:
    """One client, and how far its handshake is."""

    number: int
    path: str
    address: str
    sock: socket.socket | None = None
    received: bytes = b""
    is_open: bool = False


@dataclass(slots=True)
class ReturningClients:
    """Clients of a server on 127.0.0.1, from several addresses.

    ``returned_s`` has when each was open again, by its number, ``closed_s`` when the first was closed, of
    ``time.monotonic``. ``refused`` counts what ended between the restart and its return, but for connections that
    nobody accepted.
    """

    port: int
    paths: Sequence[str]
    addresses: int
    returned_s: dict[int, float] = field(default_factory=dict)
    closed_s: float = 0.0
    refused: int = 0
    _poll: select.epoll = field(default_factory=select.epoll)
    _clients: dict[int, Client] = field(default_factory=dict)
    _due: list[tuple[float, int, Client]] = field(default_factory=list)

    def open(self) -> None:
        """Open all; return when each is open."""
        for number, path in enumerate(self.paths):
            address = f"127.0.0.{1 + number % self.addresses}"
            heapq.heappush(self._due, (0.0, number, Client(number, path, address)))
        self._turn_until(lambda: len(self.returned_s) == len(self.paths))
        self.returned_s.clear()
        self.closed_s = self.refused = 0

    def wait_until_back(self, timeout_s: float) -> None:
        """Let each return when it is asked to. Raises `BenchError` if one is not back in time."""
        deadline_s = time.monotonic() + timeout_s
        self._turn_until(lambda: len(self.returned_s) >= len(self.paths) or time.monotonic() > deadline_s)
        if len(self.returned_s) < len(self.paths):
            raise BenchError(f"{len(self.returned_s)} of {len(self.paths)} clients returned")

    def close(self) -> None:
        """Reset all."""
        for client in self._clients.values():
            if client.sock is not None:
                client.sock.close()
        self._poll.close()

    def _turn_until(self, done: Callable[[], bool]) -> None:
        while not done():
            now_s = time.monotonic()
            while self._due and self._due[0][0] <= now_s:
                self._connect(heapq.heappop(self._due)[2])
            for descriptor, _ in self._poll.poll(POLL_S):
                self._read(descriptor)

    def _connect(self, client: Client) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((client.address, 0))
        try:
            sock.connect(("127.0.0.1", self.port))
            sock.sendall(request(self.port, client.path, deflate=False))
        except ConnectionError:  # no process listens, or the one that stops has not accepted it
            sock.close()
            heapq.heappush(self._due, (time.monotonic() + REFUSED_WAIT_S, client.number, client))
            return
        sock.setblocking(False)
        client.sock, client.received, client.is_open = sock, b"", False
        self._clients[sock.fileno()] = client
        self._poll.register(sock, select.EPOLLIN)

    def _read(self, descriptor: int) -> None:
        client = self._clients[descriptor]
        assert client.sock is not None
        data = b""
        try:
            data = client.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        client.received += data
        if not client.is_open and b"\r\n\r\n" in client.received:
            head, _, client.received = client.received.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):
                raise BenchError(f"the server refused the WebSocket: {head!r}")
            client.is_open = True
            self.returned_s[client.number] = time.monotonic()
        if client.received[:1] == bytes((CLOSE,)) or not data:
            self._closed(descriptor, client)

    def _closed(self, descriptor: int, client: Client) -> None:
        now_s = time.monotonic()
        found = RETRY.search(client.received)
        if b"stopping" not in client.received:
            self.refused += 1
            self.returned_s.pop(client.number, None)
        self.closed_s = self.closed_s or now_s
        client.is_open = False
        self._poll.unregister(descriptor)
        del self._clients[descriptor]
        if client.sock is not None:
            client.sock.close()
        wait_s = int(found[1]) / 1_000 if found else 1.0
        heapq.heappush(self._due, (now_s + wait_s, client.number, client))
