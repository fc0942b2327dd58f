"""Limit how many new connections of one client address are read in a second."""

import asyncio
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from hermes.metrics import Metrics
from hermes.quotas.addresses import client_key

BURST_S = 2.0  # the connections of this many seconds may come at once
WAIT_MAX_S = 5.0
ROUNDING_S = 1e-6
WAITING_MAX = 1_000  # of one address
CLOSED_AT_ONCE = 20
CLOSE_INTERVAL_S = 0.02  # 1,000 a second: their clients come back as slowly
ADDRESSES_MAX = 10_000  # about 2 MB; past it the oldest address is forgotten
DUE_PER_ITERATION = 1  # of those over the rate
REFUSED_CONNECTIONS = 10  # what a refused socket counts as: 1,000 a second would take a whole slow core

HandleConnection = Callable[[socket.socket, Any], None]


class _Waiting(NamedTuple):
    """A connection that is not read yet, and until when it may wait."""

    connection: socket.socket
    read: Callable[[], None]
    deadline_s: float


class ConnectionRate:
    """Pass new connections on, at a limited rate for each client address.

    ``per_s`` returns the rate; 0 means no limit. Connections over it are accepted, and not read until it is their turn.
    After `WAIT_MAX_S` they are closed. Those of an address over ``waiting_max`` are never read, but held as long: many
    clients reconnect immediately after a close, which costs more. ``held_max`` returns how many there
    may be now, of all addresses. ``is_exempt`` returns True for the address of a trusted proxy, behind which there are
    many clients. It runs on the event loop; ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        *,
        per_s: Callable[[], float],
        is_exempt: Callable[[str], bool],
        metrics: Metrics,
        held_max: Callable[[], int],
        waiting_max: int = WAITING_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s = per_s
        self._is_exempt = is_exempt
        self._delayed = metrics.connects_limited.labels("delayed")
        self._closed = metrics.connects_limited.labels("closed")
        self._held_max = held_max
        self._waiting_max = waiting_max
        self._clock = clock
        self._free_s: OrderedDict[str, float] = OrderedDict()  # when the whole burst of an address is free again
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}  # of the addresses with waiting connections
        self._due: deque[str] = deque()  # addresses with a connection to read, in the order of their turns
        self._held: deque[_Waiting] = deque()
        self._closing: asyncio.TimerHandle | None = None

    def limited(self, handle: HandleConnection) -> Callable[[socket.socket, Any], bool]:
        """Return a function to call with each new connection and its address.

        The function returns True if the connection is read at once.
        """

        def accept(connection: socket.socket, address: Any) -> bool:
            host = str(address[0]) if isinstance(address, tuple) else ""  # a Unix socket has no address
            if not self._per_s() or not host or self._is_exempt(host):
                handle(connection, address)
                return True
            return self._add(client_key(host), connection, lambda: handle(connection, address))

        return accept

    def charge_refused(self, address: str) -> None:
        """Count a refused socket as `REFUSED_CONNECTIONS` connections of its address."""
        if self._per_s():
            self._charge(client_key(address), REFUSED_CONNECTIONS - 1)

    # -- the rate: the generic cell rate algorithm (ITU-T I.371) ----------------------------------------------------

    def _turn_s(self, key: str) -> float:
        """Return from when on the next connection of an address may be read."""
        return self._free_s.get(key, 0.0) + 1 / self._per_s() - BURST_S - ROUNDING_S

    def _charge(self, key: str, connections: int) -> None:
        self._free_s[key] = max(self._clock(), self._free_s.get(key, 0.0)) + connections / self._per_s()
        self._free_s.move_to_end(key)
        if len(self._free_s) > ADDRESSES_MAX:
            self._free_s.popitem(last=False)

    # -- connections that wait --------------------------------------------------------------------------------------

    def _add(self, key: str, connection: socket.socket, read: Callable[[], None]) -> bool:
        """Read a connection now or when it is its turn; return whether that is now."""
        now_s = self._clock()
        queue = self._waiting.get(key)
        if queue is None and self._turn_s(key) <= now_s:
            self._charge(key, 1)
            read()
            return True
        waiting = _Waiting(connection, read, now_s + WAIT_MAX_S)
        if queue is None:
            self._waiting[key] = deque((waiting,))
            self._schedule(key)
        elif len(queue) < self._waiting_max:
            queue.append(waiting)
        else:
            self._hold(waiting)
            return False
        self._delayed.inc()
        return False

    def _schedule(self, key: str) -> None:
        """Set the timer for the turn of the next connection, or for its deadline."""
        at_s = min(self._turn_s(key), self._waiting[key][0].deadline_s)
        delay_s = max(0.0, at_s - self._clock())
        self._timers[key] = asyncio.get_running_loop().call_later(delay_s, self._add_due, key)

    def _add_due(self, key: str) -> None:
        del self._timers[key]
        self._due.append(key)
        if len(self._due) == 1:
            asyncio.get_running_loop().call_soon(self._read_due)

    def _read_due(self) -> None:
        """Read connections that are due, of all addresses in turns.

        At most `DUE_PER_ITERATION` now, the others in the next iterations.
        """
        try:
            for _ in range(min(DUE_PER_ITERATION, len(self._due))):
                self._read_next(self._due.popleft())
        finally:
            if self._due:
                asyncio.get_running_loop().call_soon(self._read_due)

    def _read_next(self, key: str) -> None:
        queue, now_s = self._waiting[key], self._clock()
        self._close_expired(queue)
        waiting = None
        if queue and self._turn_s(key) <= now_s:
            waiting = queue.popleft()
            self._charge(key, 1)
        if queue:
            self._schedule(key)
        else:
            del self._waiting[key]
        if waiting is not None:
            waiting.read()

    # -- connections that are closed --------------------------------------------------------------------------------

    def _close_expired(self, waiting: deque[_Waiting]) -> None:
        """Close those that waited for too long, a few at a time."""
        for _ in range(CLOSED_AT_ONCE):
            if waiting and waiting[0].deadline_s <= self._clock():
                self._close(waiting.popleft())

    def _close(self, waiting: _Waiting) -> None:
        self._closed.inc()
        waiting.connection.close()

    def _hold(self, waiting: _Waiting) -> None:
        if self._closing is None:
            self._close_later()
        self._held.append(waiting)
        if len(self._held) > self._held_max():
            self._close(self._held.popleft())

    def _close_later(self, delay_s: float = WAIT_MAX_S) -> None:
        self._closing = asyncio.get_running_loop().call_later(delay_s, self._close_some)

    def _close_some(self) -> None:
        self._closing = None
        self._close_expired(self._held)
        if self._held:
            self._close_later(max(CLOSE_INTERVAL_S, self._held[0].deadline_s - self._clock()))

    def close_held(self) -> None:
        """Close the connections that will not be read: their file descriptors are needed."""
        while self._held:
            self._close(self._held.popleft())
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def stop(self) -> None:
        """Close the connections that wait. May be repeated."""
        self.close_held()
        for timer in self._timers.values():
            timer.cancel()
        for queue in self._waiting.values():
            while queue:
                queue.popleft().connection.close()
        self._timers.clear()
        self._due.clear()
        self._waiting.clear()
