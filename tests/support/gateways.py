"""A real gateway on the event loop of the test, and its clients."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from hermes.gateway import Gateway
from hermes.metrics import observed
from hermes.testing import TEST_SECRET, ClientSocket, connect, sign_test_token

SECRET = TEST_SECRET
KEY = "a-key-of-the-tests"
TIMEOUT_S = 60.0  # reached only in a test that fails


def token(user_id: object = "123", username: object = "ana", *, secret: str = SECRET, **claims: Any) -> str:
    """Return a token with these claims; a claim of None is omitted."""
    return sign_test_token(user_id=user_id, username=username, secret=secret, **claims)


@dataclass
class Hermes:
    """A running gateway and the clients that the test opened."""

    gateway: Gateway
    secret: str = SECRET  # signs the tokens
    api_key: str = KEY
    sockets: list[ClientSocket] = field(default_factory=list)
    at_end: list[Callable[[], None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Address of the gateway, ``http://127.0.0.1:PORT``."""
        return self.gateway.url

    async def open(
        self, path: str, token: str | None = None, *, headers: dict[str, str] | None = None, **options: Any
    ) -> ClientSocket:
        """Open a socket; the token is sent in the query."""
        socket = await connect(self.gateway, path, token=token, headers=headers, **options)
        self.sockets.append(socket)
        return socket

    async def request(self, path: str, *, method: str = "GET", **options: Any) -> HTTPResponse:
        """Send a request and return the response, of any status."""
        patient = {"connect_timeout": TIMEOUT_S, "request_timeout": TIMEOUT_S}
        request = HTTPRequest(self.url + path, method=method, allow_nonstandard_methods=True, **(patient | options))
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    async def notify(self, body: object, **headers: str) -> dict[str, Any]:
        """Send ``POST /notify`` with a valid key; return the parsed response."""
        response = await self.post(body, {"X-API-Key": KEY} | headers)
        value = json.loads(response.body)
        assert isinstance(value, dict)
        return value

    async def post(self, body: object, headers: dict[str, str] | None = None) -> HTTPResponse:
        """Send ``POST /notify`` with exactly these headers and a content type."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        given = {"Content-Type": "application/json"} | (headers or {})
        return await self.request("/notify", method="POST", body=content, headers=given)

    async def stop(self) -> None:
        """Close every client, then stop the gateway; wait until the clients have ended."""
        for socket in self.sockets:
            socket.connection.close()
        for end in self.at_end:
            end()
        await asyncio.gather(self.gateway.stop(), self._read_to_end())

    async def _read_to_end(self) -> None:
        """Read the frames that the test has not read: Tornado's client handles the close frame only after them."""
        queues = [socket.connection.read_queue for socket in self.sockets]
        deadline_s = time.monotonic() + TIMEOUT_S
        while open_websockets() and time.monotonic() < deadline_s:
            waiting = [queue for queue in queues if queue.qsize()]
            for queue in waiting:
                queue.get_nowait()
            await asyncio.sleep(0 if waiting else 0.002)


def open_websockets() -> int:
    """Return how many connections of this event loop still receive frames, at both ends."""
    return sum("_receive_frame_loop" in repr(task.get_coro()) for task in asyncio.all_tasks())


MakeHermes = Callable[..., Awaitable[Hermes]]


async def swept(hermes: Hermes, times: int = 2) -> None:
    """Wait for this number of sweeps, each of which closes the sockets of expired tokens."""
    lag = hermes.gateway.metrics.loop_lag_s  # observed at the start of each sweep
    before = observed(lag).times
    await eventually(lambda: observed(lag).times > before + times)


async def eventually(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until the condition is true, with a time-out."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not come true in time"
        await asyncio.sleep(0.01)
