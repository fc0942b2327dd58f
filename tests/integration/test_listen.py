"""``hermes listen``: when it comes back, and when it does not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from hermes.cli import listen
from hermes.errors import TABLE, Close, HermesError, may_return
from tests.support.gateways import Hermes, MakeHermes, eventually, token


class Closing(WebSocketHandler):
    """Closes every socket with one row of the table."""

    def initialize(self, close: Close, opened: list[str]) -> None:
        """Take the row, and the list of those who came."""
        self._row = close
        self._opened = opened

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """The first."""
        return subprotocols[0]

    def open(self) -> None:
        """Say it."""
        self._opened.append(self.request.path)
        self.close(self._row.code, self._row.reason(5 if self._row.may_return else None))


class Answering(RequestHandler):
    """Answers with a status and never with a socket."""

    def initialize(self, status: int, opened: list[str]) -> None:
        """Take the status, and the list of those who came."""
        self._code = status
        self._opened = opened

    def get(self) -> None:
        """Say it."""
        self._opened.append(self.request.path)
        self.set_status(self._code)


async def listening_to(
    handler: type[RequestHandler], listening: Callable[[str, list[str]], Awaitable[None]], **given: object
) -> None:
    """Serve this handler and run the listener against it."""
    opened: list[str] = []
    listener, port = bind_unused_port()
    server = HTTPServer(Application([(r"/ws", handler, given | {"opened": opened})]))
    server.add_socket(listener)
    try:
        await asyncio.wait_for(listening(f"ws://127.0.0.1:{port}/ws", opened), 4)
    finally:
        server.stop()
        await server.close_all_connections()


async def gives_up(url: str, opened: list[str]) -> None:
    """It came once and raises."""
    with pytest.raises(HermesError, match=r"refused: |is not Hermes"):
        await listen.listen(url, token())
    assert len(opened) == 1


class Enough(Exception):
    """Ends the listener between two tries."""


async def comes_back(url: str, opened: list[str]) -> None:
    """It tries again and again."""

    def say(text: str) -> None:
        print(text)
        if len(opened) == 3:
            raise Enough

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listen, "_say", say)
        with pytest.raises(Enough):
            await listen.listen(url, token())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "BACKOFF_MIN_S", 0.005)


@pytest.mark.gen_test
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.code} {row.word}")
async def test_it_comes_back_where_the_table_says_so(row: Close, capsys: pytest.CaptureFixture[str]) -> None:
    """And nowhere else; where it does, it says the code and the reason."""
    await listening_to(Closing, comes_back if row.may_return else gives_up, close=row)
    if row.may_return:
        assert capsys.readouterr().out.count(f"closed with {row.code} {row.word}".rstrip()) == 3


def test_a_code_that_is_not_in_the_table_is_no_reason_to_stay_away() -> None:
    """A proxy's, or a broken connection's."""
    assert [may_return(code) for code in (1000, 1001, 1006, 1011, 1012, 1013, 4000)] == [True] * 7
    assert [may_return(code) for code in (1003, 1008, 1009)] == [False] * 3


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [200, 204, 400, 403, 404])
async def test_what_has_no_socket_is_given_up_at_once(status: int) -> None:
    """A wrong path, or another program: trying again would not help."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("tornado.access"), "disabled", True)
        await listening_to(Answering, gives_up, status=status)


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_proxy_that_waits_for_hermes_is_asked_again(status: int) -> None:
    """Hermes may only be restarting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("tornado.access"), "disabled", True)
        await listening_to(Answering, comes_back, status=status)


@pytest.mark.gen_test
async def test_who_ends_it_says_goodbye(make_hermes: MakeHermes) -> None:
    """The server sees 1000, not a broken connection."""
    hermes: Hermes = await make_hermes()
    url = f"{hermes.url.replace('http', 'ws', 1)}/ws/notifications"
    task = asyncio.create_task(listen.listen(url, token()))
    await eventually(lambda: hermes.gateway.hub.sessions)
    task.cancel()
    await asyncio.wait([task])
    await eventually(lambda: not hermes.gateway.hub.sessions)
    closed = hermes.gateway.metrics.registry.get_sample_value("hermes_sockets_closed_total", {"code": "1000"})
    assert closed == 1
