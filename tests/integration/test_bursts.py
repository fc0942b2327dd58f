"""A burst of notifications reaches all sockets of a user in full, also if the client does not read meanwhile."""

import json

import pytest

from tests.support.gateways import Hermes, token
from tests.support.raw_socket import RawSocket, open_raw

COUNT = 10_000  # 1.7 MB for each socket: less than Linux buffers by default (net.ipv4.tcp_wmem, 4 MiB)
SOCKETS = 3


async def open_paused(hermes: Hermes) -> RawSocket:
    """Open a socket of user 123 that nothing reads from until `RawSocket.resume`."""
    socket = await open_raw(hermes, "/ws/notifications", token("123"))
    socket.pause()
    return socket


async def notify(hermes: Hermes, numbers: range) -> None:
    """Post an array of notifications to user 123, with these numbers as titles."""
    results = await hermes.notify([{"user_id": "123", "title": str(number), "message": "m" * 40} for number in numbers])
    assert all(result["sent"] for result in results["results"])


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [pytest.param(100, marks=pytest.mark.slow), 1_000])
async def test_ten_thousand_notifications_in_arrays_arrive_once_and_in_order(hermes: Hermes, size: int) -> None:
    """They are posted one array after the other, and read only when the last one is accepted."""
    sockets = [await open_paused(hermes) for _ in range(SOCKETS)]
    for first in range(0, COUNT, size):
        await notify(hermes, range(first, first + size))
    for socket in sockets:
        socket.resume()
        titles = [json.loads(await socket.text())["title"] for _ in range(COUNT)]
        assert titles == [str(number) for number in range(COUNT)]
