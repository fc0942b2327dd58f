"""New connections of one address are read at a limited rate."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from hermes.metrics import Metrics, by_label
from hermes.quotas import connection_rate
from hermes.quotas.connection_rate import ADDRESSES_MAX, ConnectionRate
from hermes.testing import FakeClock

ADDRESS = ("192.0.2.1", 40_000)


class Accepted:
    """A rate of 1,000 a second, and the addresses whose connections were passed on, in order."""

    def __init__(self, per_s: float = 1_000.0) -> None:
        self.clock = FakeClock(50.0)
        self.metrics = Metrics()
        self.rate = ConnectionRate(
            per_s=per_s, is_exempt=lambda address: address == "10.0.0.1", metrics=self.metrics, clock=self.clock
        )
        self.handled: list[object] = []
        self._accept: Callable[[socket.socket, object], None] = self.rate.limited(
            lambda connection, address: self.handled.append(address)
        )

    def connect(self, number: int, address: object = ADDRESS) -> list[socket.socket]:
        """Accept this many connections; return them."""
        connections = [socket.socket() for _ in range(number)]
        for connection in connections:
            self._accept(connection, address)
        return connections


def close(connections: list[socket.socket]) -> None:
    """Close all."""
    for connection in connections:
        connection.close()


def test_a_burst_is_passed_on_and_the_rest_waits_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds' worth at once, the others at the rate."""

    async def scenario() -> None:
        accepted = Accepted()
        connections = accepted.connect(2_000)
        assert len(accepted.handled) == 2_000
        connections += accepted.connect(3, ("192.0.2.1", 1)) + accepted.connect(1, ("192.0.2.1", 2))
        assert len(accepted.handled) == 2_000
        connections += accepted.connect(1, ("192.0.2.2", 3))
        assert accepted.handled[-1] == ("192.0.2.2", 3), "another address need not wait"
        while len(accepted.handled) < 2_005:
            await asyncio.sleep(0.001)
        assert accepted.handled[2_001:] == [*[("192.0.2.1", 1)] * 3, ("192.0.2.1", 2)]
        assert by_label(accepted.metrics.connects_limited) == {"delayed": 4}
        close(connections)

    asyncio.run(scenario())


def test_what_would_wait_too_long_is_closed() -> None:
    """After 5 s of waiting, or with 1,000 of that address waiting; the address goes on at its rate afterwards."""

    async def scenario() -> None:
        for per_s, passed, waiting in ((10.0, 20, 50), (1_000.0, 2_000, 1_000)):
            accepted = Accepted(per_s)
            connections = accepted.connect(passed + waiting + 7)
            assert len(accepted.handled) == passed
            assert sum(connection.fileno() == -1 for connection in connections) == 7
            assert by_label(accepted.metrics.connects_limited) == {"delayed": waiting, "closed": 7}
            accepted.rate.stop()
            assert sum(connection.fileno() == -1 for connection in connections) == waiting + 7
            accepted.rate.stop()
            accepted.clock.now_s += 60.0
            connections += accepted.connect(1)
            assert connections[-1].fileno() != -1
            close(connections)

    asyncio.run(scenario())


def test_trusted_proxies_and_unix_sockets_are_not_limited_nor_is_anybody_with_zero() -> None:
    """Many clients are behind them."""
    for accepted, address in ((Accepted(1.0), ("10.0.0.1", 1)), (Accepted(1.0), ""), (Accepted(0.0), ADDRESS)):
        close(accepted.connect(50, address))
        assert len(accepted.handled) == 50


def test_the_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten first, and may then have another burst."""
    monkeypatch.setattr(connection_rate, "ADDRESSES_MAX", 10)
    assert ADDRESSES_MAX > 1_000
    accepted = Accepted()
    for number in range(20):
        close(accepted.connect(1, (f"192.0.2.{number}", 1)))
    assert len(accepted.rate._free_s) == 10
