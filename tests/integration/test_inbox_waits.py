"""Requests that wait for the inbox: long polls and ``?wait=acked``; how many, and what ends them early."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.gateways import KEY, TIMEOUT_S, Hermes, MakeHermes, eventually, token
from tests.support.http_parsers import make_hermes as make_hermes
from tests.support.http_parsers import parsed_by_tornado

pytestmark = pytest.mark.usefixtures("patient")

ANA = token(tenant_id="acme")
POLL = f"GET /inbox?wait_s=60 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ANA}\r\n\r\n".encode()
NOTE = json.dumps({"user_id": "123", "title": "t", "message": "", "id": "a"})
WAIT = (
    f"POST /notify?wait=acked&timeout_s=60 HTTP/1.1\r\nHost: h\r\nX-API-Key: {KEY}\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(NOTE)}\r\n\r\n{NOTE}"
).encode()

MakeInbox = Callable[..., Awaitable[Hermes]]
WAITING = pytest.mark.parametrize("request_", [POLL, WAIT], ids=["long poll", "wait=acked"])


@pytest.fixture
def make_inbox(make_hermes: MakeHermes, tmp_path: Path) -> MakeInbox:
    """Start a gateway with an inbox."""

    async def start(**given: object) -> Hermes:
        return await make_hermes(inbox=str(tmp_path / "inbox.db"), state_dir=tmp_path / "state", **given)

    return start


def waiting(hermes: Hermes) -> int:
    """Return how many requests wait."""
    return len(hermes.gateway.waiting)


@contextlib.asynccontextmanager
async def sent(hermes: Hermes, data: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection and send a request that waits."""
    before = waiting(hermes)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(hermes.url.rpartition(":")[2]))
    try:
        writer.write(data)
        await eventually(lambda: waiting(hermes) == before + 1)
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, object]]:
    """Return status and body of the next response."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)).decode()
    [length] = [int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")]
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


@pytest.mark.gen_test
@WAITING
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_client_that_leaves_gives_its_place_back(make_inbox: MakeInbox, request_: bytes, reset: bool) -> None:
    """At once, not when its time is over."""
    hermes = await make_inbox()
    async with sent(hermes, request_) as (_, writer):
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
        await eventually(lambda: waiting(hermes) == 0)
    assert hermes.gateway.admission.open == 0
    assert hermes.gateway.inbox is not None
    assert hermes.gateway.inbox.wakeups.waiters == hermes.gateway.inbox.read_state.waiting == 0


@pytest.mark.gen_test
@WAITING
async def test_a_client_that_leaves_with_a_request_behind_gives_its_place_back(
    make_inbox: MakeInbox, request_: bytes
) -> None:
    """Although nothing more is read from it while the first one waits."""
    hermes = await make_inbox()
    if parsed_by_tornado(hermes):
        pytest.skip("Tornado does not notice it")
    async with sent(hermes, request_ + POLL) as (_, writer):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
        await eventually(lambda: waiting(hermes) == 0)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("request_", "member"), [(POLL, ("frames", [])), (WAIT, ("acked", False))], ids=["long poll", "wait=acked"]
)
async def test_a_client_that_only_reads_on_is_answered_at_once(
    make_inbox: MakeInbox, request_: bytes, member: tuple[str, object]
) -> None:
    """Most that send nothing more have left; one that has not gets what there is."""
    hermes = await make_inbox()
    if parsed_by_tornado(hermes):
        pytest.skip("Tornado closes such a connection")
    async with sent(hermes, request_) as (reader, writer):
        writer.write_eof()
        status, body = await answer(reader)
        assert (status, body[member[0]]) == (200, member[1])


@pytest.mark.gen_test
@WAITING
async def test_requests_that_wait_count_as_sockets(make_inbox: MakeInbox, request_: bytes) -> None:
    """With ``--max-sockets 1``, no socket opens beside one, and no other waits; they do when it has ended."""
    hermes = await make_inbox(max_sockets="1")
    async with sent(hermes, request_):
        refused = await hermes.open("/ws/notifications", ANA)
        code, reason = await refused.wait_closed()
        assert (code, str(reason).partition(";")[0]) == (1013, "server_full")
        response = await hermes.request("/inbox?wait_s=60&since=0:0", headers={"Authorization": f"Bearer {ANA}"})
        if request_ is POLL:  # otherwise there is a row, and nothing to wait for
            assert (response.code, json.loads(response.body)["error"]["code"]) == (503, "busy")
        response = await hermes.request(
            "/notify?wait=acked",
            method="POST",
            body=NOTE.replace('"a"', '"b"'),
            headers={"Content-Type": "application/json", "X-API-Key": KEY},
        )
        assert (response.code, json.loads(response.body)["error"]["code"]) == (503, "busy")
    await eventually(lambda: waiting(hermes) == 0)
    opened = await hermes.open("/ws/notifications", ANA)
    await opened.send({"action": "ping"})
    assert (await opened.receive())["action"] == "pong"


@pytest.mark.gen_test
@pytest.mark.parametrize("revoke", [False, True])
async def test_disconnecting_a_user_ends_its_long_polls(make_inbox: MakeInbox, revoke: bool) -> None:
    """As its sockets; they are counted in the answer. Those of others go on."""
    hermes = await make_inbox()
    other = POLL.replace(ANA.encode(), token("ben", "ben", tenant_id="acme").encode())
    async with sent(hermes, POLL) as (reader, _), sent(hermes, other):
        done = await hermes.gateway.disconnect(user_id="123", revoke=revoke)
        assert done.closed == 1
        status, body = await answer(reader)
        error = body["error"]
        assert isinstance(error, dict)
        assert (status, error["code"]) == ((401, "revoked") if revoke else (503, "disconnected"))
        assert waiting(hermes) == 1


@pytest.mark.gen_test
@WAITING
async def test_a_server_that_stops_answers_what_waits(make_inbox: MakeInbox, request_: bytes) -> None:
    """At once: it does not wait for the end of their time, and cuts none."""
    hermes = await make_inbox(drain_timeout_s="60")
    async with sent(hermes, request_) as (reader, _):
        stopping = asyncio.ensure_future(hermes.gateway.stop())
        if not parsed_by_tornado(hermes):  # which cuts all connections
            status, body = await answer(reader)
            assert (status, body.get("acked", False), body.get("frames", [])) == (200, False, [])
        await asyncio.wait_for(stopping, TIMEOUT_S / 2)


@pytest.mark.gen_test
async def test_the_form_of_a_wait_is_checked_before_the_tenant(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """422 comes before 403, as for every request."""
    keys = tmp_path / "keys"
    keys.write_text(f"acme {KEY} tenant=acme\n")
    hermes = await make_hermes(inbox=str(tmp_path / "inbox.db"), api_key_file=keys)
    body = json.dumps({"tenant_id": "globex", "title": "t", "message": ""})
    for query, status in (("?wait=acked", 422), ("", 403)):
        response = await hermes.request(
            f"/notify{query}",
            method="POST",
            body=body,
            headers={"Content-Type": "application/json", "X-API-Key": KEY},
        )
        assert response.code == status
