"""What the tests share: a real Hermes on a real port, clients for it, and the programs it needs."""

import asyncio
import contextlib
import gc
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_server
from typing import Any

import jwt
import pytest
from playwright.sync_api import Browser, BrowserContext
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hermes.server import Server
from hermes.settings.load import load
from hermes.settings.model import Settings
from tests.consoles import Console, chromium
from tests.programs import Program, needs
from tests.programs import hermes as hermes_program

SECRET = "a secret of the tests, longer than thirty-two bytes"
KEY = "a key of the tests"
TIMEOUT_S = 5.0

__all__ = ["needs"]  # where most tests look for it


def token(
    user_id: object = "123",
    username: object = "ana",
    *,
    secret: str = SECRET,
    algorithm: str = "HS256",
    **claims: object,
) -> str:
    """A token with these claims; a claim of None is left out."""
    given = {"user_id": user_id, "username": username} | claims
    return jwt.encode({name: value for name, value in given.items() if value is not None}, secret, algorithm)


@dataclass
class Socket:
    """A client's end of a WebSocket."""

    connection: WebSocketClientConnection

    async def say(self, message: object) -> None:
        """Send JSON, or a string or bytes as they are."""
        if isinstance(message, str | bytes):
            await self.connection.write_message(message, binary=isinstance(message, bytes))
        else:
            await self.connection.write_message(json.dumps(message))

    async def raw(self) -> str | None:
        """The next text frame; None when closed."""
        frame = await asyncio.wait_for(self.connection.read_message(), TIMEOUT_S)
        assert not isinstance(frame, bytes)
        return frame

    async def hear(self) -> dict[str, Any]:
        """The next frame."""
        frame = await self.raw()
        assert frame is not None, f"closed: {self.connection.close_code} {self.connection.close_reason}"
        value = json.loads(frame)
        assert isinstance(value, dict)
        return value

    async def silence(self) -> None:
        """Nothing has come before the answer to a ping."""
        await self.say({"action": "ping", "silence": True})
        assert await self.hear() == {"action": "pong", "silence": True}

    async def closed(self) -> tuple[int | None, str | None]:
        """The close code and reason; no frame may come before."""
        frame = await self.raw()
        assert frame is None, f"a frame came before the close: {frame}"
        return self.connection.close_code, self.connection.close_reason

    async def close(self) -> None:
        """Close, and wait until the server has answered."""
        self.connection.close(1000, "done")
        while await self.raw() is not None:
            pass


@dataclass
class Hermes:
    """A running server and what speaks to it."""

    server: Server
    sockets: list[Socket] = field(default_factory=list)
    at_end: list[Callable[[], None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return self.server.url

    async def open(
        self, path: str, token: str | None = None, *, headers: dict[str, str] | None = None, **options: Any
    ) -> Socket:
        """Open a socket; the token goes into the query."""
        if token is not None:
            path += f"{'&' if '?' in path else '?'}token={token}"
        request = HTTPRequest(self.url.replace("http", "ws", 1) + path, headers=headers or {})
        socket = Socket(await websocket_connect(request, **options))
        self.sockets.append(socket)
        return socket

    async def request(self, path: str, *, method: str = "GET", **options: Any) -> HTTPResponse:
        """Any request; no status raises."""
        request = HTTPRequest(self.url + path, method=method, allow_nonstandard_methods=True, **options)
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    async def notify(self, body: object, **headers: str) -> dict[str, Any]:
        """The parsed answer of ``POST /notify`` with the right key."""
        response = await self.post(body, {"X-API-Key": KEY} | headers)
        value = json.loads(response.body)
        assert isinstance(value, dict)
        return value

    async def post(self, body: object, headers: dict[str, str] | None = None) -> HTTPResponse:
        """``POST /notify`` with exactly these headers beside the content type."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        given = {"Content-Type": "application/json"} | (headers or {})
        return await self.request("/notify", method="POST", body=content, headers=given)


MakeHermes = Callable[..., Awaitable[Hermes]]


def pytest_configure(config: pytest.Config) -> None:
    """Take MQTT's port while the tests run: embedded brokers side by side would take it from each other.

    And let no event loop be made by merely asking for one, which nobody would close.
    """
    asyncio.set_event_loop(None)
    if not hasattr(config, "workerinput"):
        with contextlib.suppress(OSError):  # somebody else has it
            config.add_cleanup(create_server(("127.0.0.1", 1883)).close)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a command sets up for its log ends with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file with two API keys."""
    path = tmp_path / "api-keys"
    path.write_text(f"{KEY}\nan older key\n")
    return path


def make_settings(**given: object) -> Settings:
    """Settings of a server on a free port without MQTT, unless told otherwise."""
    return load(Settings, {"jwt_secret": SECRET, "port": "0", "mqtt_url": "off"} | given)


@pytest.fixture
def make_hermes(io_loop: IOLoop, key_file: Path) -> Iterator[MakeHermes]:
    """Starts servers with the given settings; all are stopped at the end."""
    running: list[Hermes] = []

    async def start(**given: object) -> Hermes:
        hermes = Hermes(Server(make_settings(**({"api_key_file": key_file, "drain_timeout_s": "1"} | given))))
        await hermes.server.start()
        running.append(hermes)
        return hermes

    yield start

    async def stop() -> None:
        for hermes in running:
            for socket in hermes.sockets:
                socket.connection.close()
            for end in hermes.at_end:
                end()
            await hermes.server.stop()

    io_loop.run_sync(stop)


@pytest.fixture
def hermes(io_loop: IOLoop, make_hermes: MakeHermes) -> Hermes:
    """A running server without MQTT."""
    running: Hermes = io_loop.run_sync(make_hermes)
    return running


async def eventually(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until this is true, with a bound."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not come true in time"
        await asyncio.sleep(0.01)


class _Complaints(logging.Handler):
    """Keeps what is logged as an error or with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.records.append(record)


@pytest.fixture
def complaints() -> Iterator[list[logging.LogRecord]]:
    """The errors and tracebacks logged so far; the test fails where any are left in the list at its end."""
    handler = _Complaints()
    logging.getLogger().addHandler(handler)
    yield handler.records
    gc.collect(1)  # a task whose exception nobody read says so when it is collected; the young ones are enough
    logging.getLogger().removeHandler(handler)
    assert [logging.Formatter().format(record) for record in handler.records] == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of a file; while it runs, no other event loop can."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Hermes in --dev, for all tests of a file."""
    words = ("serve", "--dev", "--port", "0")
    with hermes_program(*words, XDG_STATE_HOME=str(tmp_path_factory.mktemp("state"))) as program:
        program.wait_for("Ctrl-C stops it")
        yield program


@pytest.fixture
def production(tmp_path: Path, key_file: Path) -> Iterator[Program]:
    """A Hermes that is not in --dev."""
    words = ("serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(key_file))
    with hermes_program(*words, HERMES_JWT_SECRET=SECRET) as program:
        yield program


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of the test's own."""
    made = browser.new_context(locale="en-GB")
    yield made
    made.close()


@pytest.fixture
def console(context: BrowserContext, dev: Program) -> Iterator[Console]:
    """The console of the --dev server; at the end nothing may have gone wrong in it."""
    made = Console(context.new_page(), f"{dev.url}/")
    made.watch()
    yield made
    assert made.unexpected == []


@pytest.fixture
def production_console(context: BrowserContext, production: Program) -> Iterator[Console]:
    """The same of a server that is not in --dev."""
    made = Console(context.new_page(), f"{production.url}/")
    made.watch()
    yield made
    assert made.unexpected == []
