"""New connections of one address are read at a limited rate."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from hermes.metrics import Metrics, by_label
from hermes.quotas import connection_rate
from hermes.quotas.connection_rate import (
    ADDRESSES_MAX,
    DUE_PER_ITERATION,
    REFUSED_CONNECTIONS,
    ConnectionRate,
)
from hermes.testing import FakeClock

ADDRESS = ("192.0.2.1", 40_000)


class Accepted:
    """A rate of 1,000 a second, and the addresses of the connections that were passed on, in order."""

    def __init__(self, per_s: float = 1_000.0, held_max: int = 5_000) -> None:
        self.clock = FakeClock(50.0)
        self.metrics = Metrics()
        self.rate = ConnectionRate(
            per_s=lambda: per_s,
            is_exempt=lambda address: address == "10.0.0.1",
            metrics=self.metrics,
            held_max=lambda: held_max,
            clock=self.clock,
        )
        self.handled: list[object] = []
        self._accept: Callable[[socket.socket, object], bool] = self.rate.limited(
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


def test_a_burst_is_passed_on_and_the_rest_waits_in_order() -> None:
    """Two seconds' worth at once, the others at the rate."""

    async def scenario() -> None:
        accepted = Accepted()
        connections = accepted.connect(2_000)
        assert len(accepted.handled) == 2_000
        connections += accepted.connect(3, ("192.0.2.1", 1)) + accepted.connect(1, ("192.0.2.1", 2))
        assert len(accepted.handled) == 2_000
        connections += accepted.connect(1, ("192.0.2.2", 3))
        assert accepted.handled[-1] == ("192.0.2.2", 3), "another address need not wait"
        for number in range(1, 5):
            accepted.clock.now_s += 0.001
            while len(accepted.handled) < 2_001 + number:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.005)
            assert len(accepted.handled) == 2_001 + number
        assert accepted.handled[2_001:] == [*[("192.0.2.1", 1)] * 3, ("192.0.2.1", 2)]
        assert by_label(accepted.metrics.connects_limited) == {"delayed": 4, "closed": 0}
        close(connections)

    asyncio.run(scenario())


def closed(connections: list[socket.socket]) -> int:
    """How many of them are closed."""
    return sum(connection.fileno() == -1 for connection in connections)


def test_what_waits_too_long_is_closed() -> None:
    """After 5 s; the address goes on at its rate afterwards."""

    async def scenario() -> None:
        accepted = Accepted(10.0)
        connections = accepted.connect(20 + 30)
        assert len(accepted.handled) == 20
        accepted.rate.charge_refused("192.0.2.1")
        accepted.clock.now_s += 5.1
        while accepted.rate._waiting:
            await asyncio.sleep(0.001)
        assert closed(connections) == 30 - (len(accepted.handled) - 20) > 0
        assert by_label(accepted.metrics.connects_limited) == {"delayed": 30, "closed": closed(connections)}
        accepted.clock.now_s += 60.0
        handled = len(accepted.handled)
        connections += accepted.connect(1)
        assert len(accepted.handled) == handled + 1
        close(connections)

    asyncio.run(scenario())


def test_over_a_thousand_that_wait_are_held_and_closed() -> None:
    """They are never read, and closed as late as those that wait: their clients would come back at once."""

    async def scenario() -> None:
        accepted = Accepted(1_000.0)
        connections = accepted.connect(2_000 + 1_000 + 7)
        assert len(accepted.handled) == 2_000
        assert by_label(accepted.metrics.connects_limited) == {"delayed": 1_000, "closed": 0}
        accepted.clock.now_s += 4.9
        accepted.rate._close_some()
        assert closed(connections) == 0
        accepted.clock.now_s += 0.2
        accepted.rate._close_some()
        assert [connection.fileno() == -1 for connection in connections[3_000:]] == [True] * 7
        accepted.rate.stop()
        assert closed(connections) == 1_007
        accepted.rate.stop()
        close(connections)

    asyncio.run(scenario())


def test_the_number_of_held_connections_is_bounded() -> None:
    """The oldest is closed first; all are when their files are needed, and the next ones are held again."""

    async def scenario() -> None:
        accepted = Accepted(10.0, held_max=3)
        connections = accepted.connect(20 + 1_000 + 5)
        assert [connection.fileno() == -1 for connection in connections[-5:]] == [True, True, False, False, False]
        accepted.rate.close_held()
        assert closed(connections) == 5
        connections += accepted.connect(1)
        assert closed(connections) == 5
        accepted.rate.stop()
        assert closed(connections) == 1_006
        close(connections)

    asyncio.run(scenario())


def test_without_a_free_place_nothing_is_held_and_one_timer_is_set() -> None:
    """Each connection is closed at once."""

    async def scenario() -> None:
        accepted = Accepted(10.0, held_max=0)
        connections = accepted.connect(20 + 1_000 + 50)
        assert closed(connections) == 50
        timer = accepted.rate._closing
        connections += accepted.connect(50)
        assert closed(connections) == 100
        assert accepted.rate._closing is timer is not None
        accepted.rate.stop()
        assert timer.cancelled()
        close(connections)

    asyncio.run(scenario())


def test_a_refused_socket_counts_as_ten_connections() -> None:
    """So an address with bad tokens has a tenth of the rate, and no other address notices."""

    async def scenario() -> None:
        accepted = Accepted()
        connections: list[socket.socket] = []
        while True:
            before = len(accepted.handled)
            connections += accepted.connect(1)
            if len(accepted.handled) == before:
                break
            accepted.rate.charge_refused("192.0.2.1")
        assert len(accepted.handled) == 2_000 / REFUSED_CONNECTIONS
        connections += accepted.connect(1, ("192.0.2.2", 1))
        assert accepted.handled[-1] == ("192.0.2.2", 1)
        accepted.rate.stop()
        close(connections)

    asyncio.run(scenario())
    unlimited = Accepted(0.0)
    unlimited.rate.charge_refused("192.0.2.1")
    assert not unlimited.rate._free_s


def test_few_connections_that_are_due_are_read_in_one_iteration() -> None:
    """The loop does other work between them."""

    async def scenario() -> None:
        accepted = Accepted()
        connections: list[socket.socket] = []
        for number in range(10):
            connections += accepted.connect(2_005, (f"192.0.2.{number}", 1))
            close(connections[-2_005:-5])
        accepted.handled.clear()
        accepted.clock.now_s += 1.0
        before = 0
        while len(accepted.handled) < 50:
            await asyncio.sleep(0)
            assert len(accepted.handled) - before <= DUE_PER_ITERATION
            before = len(accepted.handled)
        assert not accepted.rate._waiting
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
