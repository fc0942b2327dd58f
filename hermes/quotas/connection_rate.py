"""Limit how many new connections of one client address are read in a second."""

import asyncio
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from hermes.metrics import Metrics
from hermes.quotas.addresses import client_key

BURST_S = 2.0  # the connections of this many seconds may come at once
WAIT_MAX_S = 5.0
ROUNDING_S = 1e-6
WAITING_MAX = 1_000  # of one address
ADDRESSES_MAX = 10_000  # about 2 MB; past it the oldest address is forgotten

HandleConnection = Callable[[socket.socket, Any], None]


class ConnectionRate:
    """Pass new connections on, at a limited rate for each client address.

    The rate is ``per_s``; 0 means no limit. Connections over it are accepted, and not read until it is their turn;
    those that would wait too long are closed. ``is_exempt`` returns True for the address of a trusted proxy, behind
    which there are many clients. It runs on the event loop; ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        *,
        per_s: float,
        is_exempt: Callable[[str], bool],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s = per_s
        self._is_exempt = is_exempt
        self._metrics = metrics
        self._clock = clock
        self._free_s: OrderedDict[str, float] = OrderedDict()  # when the whole burst of an address is free again
        self._waiting: Counter[str] = Counter()
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}

    def limited(self, handle: HandleConnection) -> HandleConnection:
        """Return a function to call with each new connection and its address."""

        def accept(connection: socket.socket, address: Any) -> None:
            host = str(address[0]) if isinstance(address, tuple) else ""  # a Unix socket has no address
            if not self._per_s or not host or self._is_exempt(host):
                handle(connection, address)
            else:
                self._schedule(client_key(host), connection, lambda: handle(connection, address))

        return accept

    def _schedule(self, key: str, connection: socket.socket, handle: Callable[[], None]) -> None:
        """Call ``handle`` when it is the connection's turn.

        The generic cell rate algorithm (ITU-T I.371) finds out when that is.
        """
        now_s = self._clock()
        free_s = max(now_s, self._free_s.pop(key, now_s)) + 1 / self._per_s
        wait_s = free_s - now_s - BURST_S
        if wait_s > WAIT_MAX_S + ROUNDING_S or self._waiting.get(key, 0) >= WAITING_MAX:
            self._free_s[key] = free_s - 1 / self._per_s  # it takes no turn
            self._metrics.connects_limited.labels("closed").inc()
            connection.close()
            return
        self._free_s[key] = free_s
        if len(self._free_s) > ADDRESSES_MAX:
            self._free_s.popitem(last=False)
        if wait_s <= ROUNDING_S:
            handle()
            return
        self._metrics.connects_limited.labels("delayed").inc()
        self._waiting[key] += 1
        self._timers[connection] = asyncio.get_running_loop().call_later(wait_s, self._release, key, connection, handle)

    def _release(self, key: str, connection: socket.socket, handle: Callable[[], None]) -> None:
        del self._timers[connection]
        self._waiting[key] -= 1
        if not self._waiting[key]:
            del self._waiting[key]
        handle()

    def stop(self) -> None:
        """Close the connections that wait. May be repeated."""
        for connection, timer in self._timers.items():
            timer.cancel()
            connection.close()
        self._timers.clear()
        self._waiting.clear()
