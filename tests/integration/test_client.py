"""The Python client, against a real Hermes and against servers that are not one."""

import asyncio
import contextlib
import json
import logging
import textwrap
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from hermes import client as client_module
from hermes.auth.revocation.revocation_list import Target
from hermes.client import ConnectionRejected, HermesClient, Reconnect
from hermes.errors import (
    REVOKED,
    TABLE,
    TOKEN_EXPIRED,
    TOKEN_INVALID,
    TOO_MANY_ERRORS,
    Close,
    HermesError,
    RequestError,
)
from tests.support.gateways import KEY, TIMEOUT_S, Hermes, MakeHermes, eventually, token
from tests.support.paths import CHECKOUT
from tests.support.programs import free_port


class Closing(WebSocketHandler):
    """Closes every socket with one row of the close-code table."""

    def initialize(self, close: Close, opened: list[str]) -> None:
        """Store the row and the list of tokens that came."""
        self._row = close
        self._opened = opened

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Select the first."""
        self._opened.append(subprotocols[1])
        return subprotocols[0]

    def open(self) -> None:
        """Close."""
        self.close(self._row.code, self._row.reason(5 if self._row.may_reconnect else None))


class Answering(RequestHandler):
    """Answers with a status and a body, and never with a socket."""

    def initialize(self, status: int, opened: list[str], body: bytes = b"") -> None:
        """Store the answer and the list of requests that came."""
        self._code = status
        self._opened = opened
        self._content = body

    def get(self) -> None:
        """Answer."""
        self._opened.append(self.request.path)
        self.set_status(self._code)
        if self._content:
            self.write(self._content)

    post = get


@contextlib.asynccontextmanager
async def serving(handler: type[RequestHandler], **given: object) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve this handler at every path; the URL, and the list of what came."""
    opened: list[str] = []
    listener, port = bind_unused_port()
    server = HTTPServer(Application([(r"/.*", handler, given | {"opened": opened})], log_function=lambda _: None))
    server.add_socket(listener)
    try:
        yield f"http://127.0.0.1:{port}", opened
    finally:
        server.stop()
        await server.close_all_connections()


class Enough(Exception):
    """Ends a listener between two attempts."""


class Attempts:
    """Records the waits between attempts, and ends the listener after the third."""

    def __init__(self) -> None:
        self.waits: list[Reconnect] = []

    def __call__(self, reconnect: Reconnect) -> None:
        self.waits.append(reconnect)
        if len(self.waits) == 3:
            raise Enough


async def collect(frames: AsyncIterator[Any], into: list[Any]) -> None:
    """Append each frame to a list."""
    async for frame in frames:
        into.append(frame)  # noqa: PERF401 - extend would show nothing before the end


@contextlib.asynccontextmanager
async def listening(client: HermesClient, target: str, **options: Any) -> AsyncIterator[list[dict[str, Any]]]:
    """Listen in a task of its own; the frames so far. An error of the listener fails the test."""
    frames: list[dict[str, Any]] = []
    task = asyncio.create_task(collect(client.listen(target, **options), frames))
    try:
        yield frames
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "BACKOFF_FIRST_S", 0.005)


def value_of(hermes: Hermes, name: str, **labels: str) -> float:
    """Return the value of a metric of this gateway."""
    return hermes.gateway.metrics.registry.get_sample_value(name, labels) or 0.0


# -- notify -----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_notify_returns_whether_a_socket_took_it(hermes: Hermes) -> None:
    """To a user or a tenant, with the id and the data that were given."""
    client = HermesClient(hermes.url, api_key=KEY)
    socket = await hermes.open("/ws", token(tenant_id="acme"))
    result = await client.notify(user_id=123, title="Añadido", message="m", type="warning", id="n1", data={"a": [1]})
    assert (result.id, result.sent, result.answer["status"]) == ("n1", True, "success")
    frame = await socket.receive()
    assert (frame["id"], frame["title"], frame["type"], frame["data"]) == ("n1", "Añadido", "warning", {"a": [1]})
    assert (await client.notify(tenant_id="acme", title="t", message="m")).sent
    assert not (await client.notify(user_id="absent", title="t", message="m")).sent


@pytest.mark.gen_test
async def test_notify_without_the_right_key_is_refused(hermes: Hermes) -> None:
    """The error has the status and the code."""
    for client in (HermesClient(hermes.url), HermesClient(hermes.url + "/", api_key="another")):
        with pytest.raises(RequestError) as error:
            await client.notify(user_id="123", title="t", message="m")
        assert (error.value.status, error.value.code, error.value.fields) == (401, "unauthorized", {})


@pytest.mark.gen_test
async def test_notify_names_every_faulty_field(hermes: Hermes) -> None:
    """As the answer does."""
    with pytest.raises(RequestError) as error:
        await HermesClient(hermes.url, api_key=KEY).notify(user_id="", title="", message="m")
    assert (error.value.status, error.value.code) == (422, "invalid")
    assert set(error.value.fields) == {"user_id", "title"}


@pytest.mark.gen_test
async def test_notify_reports_that_nothing_answers() -> None:
    """With the URL that was tried."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(HermesError, match=f"no answer from {url}/notify"):
        await HermesClient(url).notify(user_id="1", title="t", message="m")


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [b"123", b"{}", b'{"status":"success"}', b'{"status":"error","error":"x"}', b"<html>"])
async def test_notify_reports_that_another_program_answers(body: bytes) -> None:
    """Whatever it answers."""
    async with serving(Answering, status=200, body=body) as (url, _):
        with pytest.raises(HermesError, match=r"is not Hermes|no answer from"):
            await HermesClient(url).notify(user_id="1", title="t", message="m")


@pytest.mark.parametrize("url", ["nonsense", "127.0.0.1:8080", "http://h:99999"])
def test_what_is_not_a_url_is_an_error_at_once(url: str) -> None:
    """Instead of attempts forever."""
    with pytest.raises(ValueError, match=r"must look like http://127\.0\.0\.1:8080"):
        HermesClient(url)


# -- listen -----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_listen_yields_the_frames_of_its_target(hermes: Hermes) -> None:
    """Parsed, or as the text that arrived."""
    client = HermesClient(hermes.url, token=token(tenant_id="acme"), api_key=KEY)
    texts: list[str] = []
    task = asyncio.create_task(collect(client.listen_text("all"), texts))
    async with listening(client, "notifications") as frames:
        await eventually(lambda: len(hermes.gateway.hub.sessions) == 2)
        await client.notify(user_id="123", title="t", message="m", data={"big": 10**30})
        await eventually(lambda: frames and texts)
    task.cancel()
    await asyncio.wait([task])
    assert (frames[0]["channel"], frames[0]["title"]) == ("notifications", "t")
    assert '"big": 1000000000000000000000000000000' in texts[0]
    assert json.loads(texts[0]) == frames[0]


@pytest.mark.gen_test
async def test_listen_continues_after_a_restart_of_hermes(make_hermes: MakeHermes) -> None:
    """It waits as long as the stopping server asked, then until there is a server again."""
    first = await make_hermes()
    client = HermesClient(first.url, token=token(), api_key=KEY)
    waits: list[Reconnect] = []
    async with listening(client, "notifications", on_reconnect=waits.append) as frames:
        await eventually(lambda: first.gateway.hub.sessions)
        await client.notify(user_id="123", title="first", message="m")
        await eventually(lambda: frames)
        await first.gateway.stop()
        await eventually(lambda: waits)
        hint_ms = int(waits[0].reason.removeprefix("closed with 1001 stopping;retry_ms="))
        assert waits[0].wait_s == hint_ms / 1000
        second = await make_hermes(port=first.url.rpartition(":")[2])
        await eventually(lambda: second.gateway.hub.sessions)
        await client.notify(user_id="123", title="second", message="m")
        await eventually(lambda: len(frames) == 2)
    assert [frame["title"] for frame in frames] == ["first", "second"]


@pytest.mark.gen_test
@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.code} {row.word}")
async def test_listen_returns_if_the_close_code_allows_it(row: Close) -> None:
    """Otherwise it raises, with code and reason."""
    attempts = Attempts()
    async with serving(Closing, close=row) as (url, opened):
        frames = HermesClient(url, token="a.b.c").listen("all", on_reconnect=attempts)
        if row.may_reconnect:
            with pytest.raises(Enough):
                await anext(frames)
            assert len(opened) == 3
            words = f"closed with {row.code} {row.word}".rstrip()
            assert {wait.reason.partition(";")[0].rstrip() for wait in attempts.waits} == {words}
        else:
            with pytest.raises(ConnectionRejected, match=f"refused: {row.word}") as error:
                await anext(frames)
            assert (error.value.code, error.value.reason) == (row.code, row.word)
            assert len(opened) == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [200, 204, 400, 403, 404])
async def test_listen_ends_if_there_is_no_socket(status: int) -> None:
    """A wrong path, or another program: another attempt would not help."""
    async with serving(Answering, status=status) as (url, opened):
        with pytest.raises(HermesError, match="is not Hermes"):
            await anext(HermesClient(url, token="a.b.c").listen("all"))
    assert len(opened) == 1


@pytest.mark.gen_test
@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_listen_tries_again_behind_a_proxy_that_waits_for_hermes(status: int) -> None:
    """Hermes may be restarting."""
    async with serving(Answering, status=status) as (url, opened):
        with pytest.raises(Enough):
            await anext(HermesClient(url, token="a.b.c").listen("all", on_reconnect=Attempts()))
    assert len(opened) == 3


@pytest.mark.gen_test
async def test_the_wait_doubles_up_to_thirty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random part of 1 s, 2 s, 4 s and so on; by default each is logged."""
    waits: list[Reconnect] = []

    async def no_time(delay_s: float) -> None:
        if len(waits) == 8:
            raise Enough

    monkeypatch.setattr("hermes.client.asyncio.sleep", no_time)
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Enough):
        await anext(HermesClient(url, token="a.b.c").listen("all", on_reconnect=waits.append))
    for wait, bound_s in zip(waits, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert 0 <= wait.wait_s <= bound_s
    assert "refused" in waits[0].reason


@pytest.mark.gen_test
@pytest.mark.usefixtures("_quick")
async def test_a_reconnect_is_logged_unless_the_caller_handles_it(caplog: pytest.LogCaptureFixture) -> None:
    """One line with reason and wait."""
    caplog.set_level(logging.INFO, "hermes.client")
    url = f"http://127.0.0.1:{free_port()}"
    task = asyncio.create_task(collect(HermesClient(url, token="a.b.c").listen("all"), []))
    await eventually(lambda: "next attempt in 0.0 s" in caplog.text)
    task.cancel()
    await asyncio.wait([task])
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})  # an attempt of Tornado ends by itself


@pytest.mark.gen_test
async def test_the_end_of_listening_closes_the_socket(hermes: Hermes) -> None:
    """Hermes sees 1000, not a lost connection: after a cancellation and after the end of the loop."""
    client = HermesClient(hermes.url, token=token(), api_key=KEY)
    async with listening(client, "notifications"):
        await eventually(lambda: hermes.gateway.hub.sessions)
    await eventually(lambda: not hermes.gateway.hub.sessions)
    assert value_of(hermes, "hermes_sockets_closed_total", code="1000") == 1

    async def first_frame() -> None:
        async with contextlib.aclosing(client.listen("notifications")) as frames:
            async for _ in frames:
                break

    task = asyncio.create_task(first_frame())
    await eventually(lambda: hermes.gateway.hub.sessions)
    await client.notify(user_id="123", title="t", message="m")
    await task
    await eventually(lambda: not hermes.gateway.hub.sessions)
    assert value_of(hermes, "hermes_sockets_closed_total", code="1000") == 2


class Slow(WebSocketHandler):
    """Opens the socket when an event is set."""

    def initialize(self, opened: list[str], may_open: asyncio.Event, closed: list[int | None]) -> None:
        """Store the event to wait for, and the list of close codes."""
        self._opened = opened
        self._may_open = may_open
        self._closed = closed

    async def prepare(self) -> None:
        """Wait."""
        self._opened.append(self.request.path)
        await self._may_open.wait()

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Select the first."""
        return subprotocols[0]

    def on_close(self) -> None:
        """Record the close code."""
        self._closed.append(self.close_code)


@pytest.mark.gen_test
async def test_a_socket_that_opens_after_the_cancellation_is_closed() -> None:
    """A program that stops to listen while it connects leaves no socket behind."""
    may_open, closed = asyncio.Event(), list[int | None]()
    async with serving(Slow, may_open=may_open, closed=closed) as (url, opened):
        async with listening(HermesClient(url, token="a.b.c"), "all"):
            await eventually(lambda: opened)
        may_open.set()
        await eventually(lambda: closed == [1000])


@pytest.mark.gen_test
async def test_a_token_with_stray_characters_is_an_error_that_does_not_repeat_it() -> None:
    """White space around it is removed."""
    with pytest.raises(ValueError, match="not a JWT") as error:
        await anext(HermesClient(token="a.hush\n.c").listen("all"))
    assert "hush" not in str(error.value)
    async with serving(Closing, close=TOKEN_EXPIRED) as (url, opened):
        with pytest.raises(ConnectionRejected):
            await anext(HermesClient(url, token=" a.b.c\n").listen("all"))
    assert opened == ["a.b.c"]


def test_listen_needs_a_token_and_a_known_target() -> None:
    """Both are errors of the caller."""
    with pytest.raises(ValueError, match="needs a token"):
        HermesClient().listen("all")
    with pytest.raises(ValueError, match="use notifications, tenant/ID, device/ID, tenants, combined or all"):
        HermesClient(token="a.b.c").listen("everything")


# -- renewal of the token ---------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_refused_token_is_replaced_once(hermes: Hermes) -> None:
    """By the function that the caller gave, which may be asynchronous."""
    tokens = [token(exp=time.time() - 1), token()]

    async def next_token() -> str:
        return tokens.pop(0)

    async with listening(HermesClient(hermes.url, token=next_token), "notifications"):
        await eventually(lambda: hermes.gateway.hub.sessions)
    assert tokens == []


@pytest.mark.gen_test
async def test_a_token_is_replaced_after_the_time_that_hermes_asks_for() -> None:
    """A reload closes many sockets at once."""
    waits: list[Reconnect] = []
    close = Close(TOKEN_INVALID.code, "token_invalid;retry_ms=5", may_reconnect=False)
    async with serving(Closing, close=close) as (url, opened):
        frames = HermesClient(url, token=lambda: "a.b.c").listen("all", on_reconnect=waits.append)
        with pytest.raises(ConnectionRejected):
            await anext(frames)
    assert len(opened) == 2
    assert [reconnect.wait_s for reconnect in waits] == [0.005]


@pytest.mark.gen_test
@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(("row", "times"), [(TOKEN_EXPIRED, 2), (TOO_MANY_ERRORS, 1)], ids=["token", "errors"])
async def test_a_second_refusal_in_a_row_ends_it(row: Close, times: int) -> None:
    """And the first, if the client itself was at fault."""
    tokens = iter(("a.b.1", "a.b.2", "a.b.3"))
    async with serving(Closing, close=row) as (url, opened):
        with pytest.raises(ConnectionRejected, match=row.word):
            await anext(HermesClient(url, token=lambda: next(tokens)).listen("all"))
    assert opened == ["a.b.1", "a.b.2", "a.b.3"][:times]


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the client's clock is ahead."""
    ahead = [0.0]
    now = time.time
    monkeypatch.setattr("hermes.client.time", type("Clock", (), {"time": staticmethod(lambda: now() + ahead[0])}))
    return ahead


@pytest.mark.gen_test
async def test_a_token_is_refreshed_on_the_open_socket(hermes: Hermes, jump: list[float]) -> None:
    """Before it expires; the answer is not one of the frames."""
    tokens = [token(exp=time.time() + 3_600), token(exp=time.time() + 7_200)]
    client = HermesClient(hermes.url, token=lambda: tokens.pop(0), api_key=KEY)
    async with listening(client, "notifications") as frames:
        await eventually(lambda: hermes.gateway.hub.sessions)
        jump[0] = 3_570
        await client.notify(user_id="123", title="first", message="m")
        await eventually(lambda: value_of(hermes, "hermes_client_frames_total", action="refresh"))
        (session,) = hermes.gateway.hub.sessions
        await eventually(lambda: (session.principal.expires_at or 0) > time.time() + 3_700)
        await client.notify(user_id="123", title="second", message="m")
        await eventually(lambda: len(frames) == 2)
    assert [frame["title"] for frame in frames] == ["first", "second"]
    assert tokens == []


@pytest.mark.gen_test
async def test_a_token_that_cannot_be_renewed_yet_leaves_the_socket_open(hermes: Hermes, jump: list[float]) -> None:
    """If the function raises OSError, or returns the same token."""
    first = token(exp=time.time() + 3_600)
    for later in (OSError("no network"), first):
        answers: list[str | OSError] = [first, later]

        def next_token(answers: list[str | OSError] = answers) -> str:
            answer = answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

        jump[0] = 0
        client = HermesClient(hermes.url, token=next_token, api_key=KEY)
        async with listening(client, "notifications") as frames:
            await eventually(lambda: hermes.gateway.hub.sessions)
            jump[0] = 3_570
            for title in ("first", "second"):
                await client.notify(user_id="123", title=title, message="m")
                await eventually(lambda title=title, frames=frames: frames and frames[-1]["title"] == title)  # type: ignore[misc]
        assert answers == []
        await eventually(lambda: not hermes.gateway.hub.sessions)
    assert value_of(hermes, "hermes_client_frames_total", action="refresh") == 0


# -- the example ------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_example_of_the_module_runs(hermes: Hermes, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as in the guide, with this gateway's URL, key and token."""
    example = textwrap.dedent((client_module.__doc__ or "").partition("::\n\n")[2])
    assert f"```python\n{example}```" in (CHECKOUT / "docs" / "guide" / "python.md").read_text()
    names: dict[str, Any] = {}
    exec(example.partition("asyncio.run(")[0], names)
    task = asyncio.create_task(names["main"](hermes.url, KEY, token()))
    await eventually(lambda: hermes.gateway.hub.sessions)
    await HermesClient(hermes.url, api_key=KEY).notify(user_id="123", title="Back", message="m", type="success")
    shown = ""

    def is_shown() -> bool:
        nonlocal shown
        shown += capsys.readouterr().out
        return "Back" in shown

    await eventually(is_shown)
    task.cancel()
    await asyncio.wait([task])
    assert shown == "received by an open socket: False\nsuccess Back\n"


@pytest.mark.gen_test
async def test_after_a_revocation_it_waits_before_it_asks_for_a_new_token(
    hermes: Hermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of the same second would be refused too; with a later one the frames go on."""
    monkeypatch.setattr(client_module, "REVOKED_WAIT_S", 0.01)
    issued = [int(time.time()), int(time.time()) + 600]
    waits: list[Reconnect] = []
    client = HermesClient(hermes.url, token=lambda: token(iat=issued.pop(0)))
    frames = client.listen("notifications", on_reconnect=waits.append)
    first = asyncio.ensure_future(anext(frames))
    await eventually(lambda: hermes.gateway.hub.sessions)
    hermes.gateway.revocations.add(Target("user_id", "123"))
    for session in tuple(hermes.gateway.hub.sessions):
        session.close(REVOKED)
    await eventually(lambda: not issued and hermes.gateway.hub.sessions)
    await hermes.notify({"user_id": "123", "title": "Back", "message": "m"})
    assert (await asyncio.wait_for(first, TIMEOUT_S))["title"] == "Back"
    assert [wait.reason for wait in waits] == ["closed with 1008 revoked"]
    await frames.aclose()
