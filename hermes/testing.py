"""Test helpers for programs that use Hermes: a real gateway, clients, two fakes.

`run_gateway` and `connect` are for asynchronous tests::

    async with run_gateway() as gateway:
        socket = await connect(gateway, "/ws/notifications", token=sign_test_token(user_id="123"))
        await gateway.notify(user_id="123", title="New alert", message="Sensor X is hot")
        assert (await socket.receive())["title"] == "New alert"

`hermes_gateway` is a pytest fixture for tests of any kind: it runs a gateway in a thread of its own. Import it in your
``conftest.py``: ``from hermes.testing import hermes_gateway``.
"""

import asyncio
import contextlib
import json
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hermes.gateway import Gateway
from hermes.settings.load import load_settings
from hermes.settings.model import Settings

TEST_SECRET = "the secret of a gateway that runs in a test"
TIMEOUT_S = 60.0  # reached only when a test fails: no verdict depends on the machine's speed


def gateway_settings(**given: object) -> Settings:
    """Return settings for a test: a free port, no MQTT, `TEST_SECRET`.

    ``given`` overrides them. Give a ``state_dir`` to a gateway that revokes: it would store that in the folder of the
    user.
    """
    return load_settings({"jwt_secret": TEST_SECRET, "port": "0", "mqtt_url": "off"} | given)


def sign_test_token(
    *,
    user_id: object = "123",
    username: object = "ana",
    secret: str = TEST_SECRET,
    algorithm: str = "HS256",
    **claims: object,
) -> str:
    """Return a token with these claims, signed with `TEST_SECRET`.

    A claim of None is omitted.
    """
    given = {"user_id": user_id, "username": username} | claims
    return jwt.encode({name: value for name, value in given.items() if value is not None}, secret, algorithm)


@contextlib.asynccontextmanager
async def run_gateway(*, clock: Callable[[], float] = time.time, **given: object) -> AsyncIterator[Gateway]:
    """Run a gateway on the current event loop.

    ``clock`` gives the Unix seconds by which tokens expire, for example a `FakeClock`. ``given`` are settings, as for
    `gateway_settings`.
    """
    with tempfile.TemporaryDirectory(prefix="hermes-") as state_dir:
        defaults = {"drain_timeout_s": "1", "state_dir": state_dir}
        async with Gateway(gateway_settings(**(defaults | given)), clock=clock) as gateway:
            yield gateway


@dataclass
class ClientSocket:
    """The client's end of a WebSocket."""

    connection: WebSocketClientConnection

    async def send(self, message: object) -> None:
        """Send JSON, or a string or bytes as they are."""
        if isinstance(message, str | bytes):
            await self.connection.write_message(message, binary=isinstance(message, bytes))
        else:
            await self.connection.write_message(json.dumps(message))

    async def receive_text(self) -> str | None:
        """Return the next text frame; None if the socket is closed."""
        frame = await asyncio.wait_for(self.connection.read_message(), TIMEOUT_S)
        assert not isinstance(frame, bytes)
        return frame

    async def receive(self) -> dict[str, Any]:
        """Return the next frame, parsed."""
        frame = await self.receive_text()
        assert frame is not None, f"closed: {self.connection.close_code} {self.connection.close_reason}"
        value = json.loads(frame)
        assert isinstance(value, dict)
        return value

    async def expect_silence(self) -> None:
        """Assert that no frame arrives before the reply to a ping."""
        await self.send({"action": "ping", "silence": True})
        assert await self.receive() == {"action": "pong", "silence": True}

    async def wait_closed(self) -> tuple[int | None, str | None]:
        """Return the close code and reason; assert that no frame comes before."""
        frame = await self.receive_text()
        assert frame is None, f"a frame came before the close: {frame}"
        return self.connection.close_code, self.connection.close_reason

    async def close(self) -> None:
        """Close, and wait until the server has closed too."""
        self.connection.close(1000, "done")
        while await self.receive_text() is not None:
            pass


async def connect(
    gateway: Gateway, path: str, *, token: str | None = None, headers: dict[str, str] | None = None, **options: Any
) -> ClientSocket:
    """Open a socket at a path such as ``/ws/tenant/acme``.

    The token is sent in the query. ``options`` are those of `tornado.websocket.websocket_connect`.
    """
    if token is not None:
        path += f"{'&' if '?' in path else '?'}token={token}"
    request = HTTPRequest(gateway.url.replace("http", "ws", 1) + path, headers=headers or {})
    return ClientSocket(await websocket_connect(request, **options))


@dataclass
class RunningGateway:
    """A gateway that runs in another thread, for tests without an event loop."""

    url: str

    @property
    def socket_url(self) -> str:
        """The address of its sockets, ``ws://127.0.0.1:PORT``."""
        return self.url.replace("http", "ws", 1)

    def token(self, **claims: object) -> str:
        """Return a token that it accepts, with these claims (see `sign_test_token`)."""
        return sign_test_token(**claims)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def hermes_gateway() -> Iterator[RunningGateway]:
    """Run a real gateway without MQTT for all tests.

    ``/notify`` needs no key from this machine.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="hermes-gateway")
    thread.start()
    state = tempfile.TemporaryDirectory(prefix="hermes-")
    gateway = Gateway(gateway_settings(state_dir=state.name))
    try:
        asyncio.run_coroutine_threadsafe(gateway.start(), loop).result(TIMEOUT_S)
        yield RunningGateway(gateway.url)
    finally:
        asyncio.run_coroutine_threadsafe(gateway.stop(), loop).result(TIMEOUT_S)
        state.cleanup()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT_S)
        loop.close()


@dataclass
class FakeTransport:
    """A `Transport` that accepts all bytes, unless it is set to block or to fail."""

    compressed: bool = False
    blocked: bool = False
    broken: bool = False
    written: list[bytes] = field(default_factory=list)
    resumes: int = 0
    pings: int = 0
    ping_data: bytes = b""
    closed: tuple[int, str] | None = None
    aborted: bool = False

    def write(self, data: bytes) -> bool:
        """Record the bytes; return False if ``blocked`` is set.

        Raises ConnectionResetError if ``broken`` is set.
        """
        assert self.closed is None, "nothing may follow a close frame"
        if self.broken:
            raise ConnectionResetError
        self.written.append(data)
        return not self.blocked

    def resume(self) -> None:
        """Count the call."""
        self.resumes += 1

    def ping(self, data: bytes) -> None:
        """Count the call, and record the data of the last one."""
        self.pings += 1
        self.ping_data = data

    def close(self, code: int, reason: str) -> None:
        """Record code and reason."""
        assert self.closed is None, "closed twice"
        self.closed = (code, reason)

    def abort(self) -> None:
        """Record the call."""
        self.aborted = True


@dataclass
class FakeClock:
    """A clock in Unix seconds that advances only when a test changes ``now_s``."""

    now_s: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now_s
