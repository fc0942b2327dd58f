"""A burst of notifications arrives whole at every socket of a user who reads."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.support.gateways import SECRET, token
from tests.support.programs import hermes

COUNT = 10_000
SOCKETS = 3
TIMEOUT_S = 30.0


async def titles(socket: WebSocketClientConnection) -> AsyncIterator[str]:
    """The titles of the notifications, as they come."""
    while (frame := await socket.read_message()) is not None:
        yield json.loads(frame)["title"]


async def collect(socket: WebSocketClientConnection) -> list[str]:
    """The first ten thousand titles, or all until the socket closes."""
    found: list[str] = []
    async for title in titles(socket):
        found.append(title)
        if len(found) == COUNT:
            break
    return found


async def post(url: str, first: int, size: int) -> None:
    """An array of notices, numbered from the first."""
    notices = [{"user_id": "123", "title": str(first + number), "message": "m" * 40} for number in range(size)]
    headers = {"Content-Type": "application/json"}
    request = HTTPRequest(f"{url}/notify", method="POST", body=json.dumps(notices), headers=headers)
    answer = json.loads((await AsyncHTTPClient().fetch(request)).body)
    assert all(result["sent"] for result in answer["results"])


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("size", [100, 1_000])
async def test_ten_thousand_notifications_in_arrays_arrive_once_and_in_order(size: int) -> None:
    """Posted one array after the other without a pause, from a program that also has to read."""
    with hermes("serve", "--port", "0", "--mqtt-url", "off", HERMES_JWT_SECRET=SECRET) as program:
        url = program.url.replace("http", "ws", 1)
        sockets = [await websocket_connect(f"{url}/ws/notifications?token={token()}") for _ in range(SOCKETS)]
        reading = asyncio.gather(*map(collect, sockets))
        started_s = time.monotonic()
        for first in range(0, COUNT, size):
            await post(program.url, first, size)
        received = await asyncio.wait_for(reading, TIMEOUT_S - (time.monotonic() - started_s))
        for found in received:
            assert found == [str(number) for number in range(COUNT)]
        for socket in sockets:
            socket.close()
