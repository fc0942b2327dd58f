"""Two nodes of which the clocks are apart: order, expiry, revocations and tokens."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.integration.test_faults import close, fetched, next_frame, open_socket, serving
from tests.support.clocks import JumpingClock
from tests.support.gateways import token
from tests.support.nats import NatsServer, nats_server
from tests.support.postgres import Databases, needs_postgres

pytestmark = [pytest.mark.broker, pytest.mark.postgres, pytest.mark.slow]

KEPT_S = 600  # longer than a test, and shorter than a difference of an hour


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """Run one NATS server."""
    with nats_server(tmp_path) as server:
        yield server


@pytest.mark.gen_test(timeout=300)
@pytest.mark.parametrize("offset_s", [60, -60, 3_600, -3_600])
async def test_nodes_of_which_the_clocks_are_apart(
    nats: NatsServer, postgres: Databases, key_file: Path, tmp_path: Path, offset_s: int
) -> None:
    """Rows keep their order, and end by the clock of PostgreSQL; the rest is as each clock says."""
    needs_postgres()
    clock, inbox = JumpingClock(tmp_path), postgres.empty()
    clock.jump_to(offset_s)
    with ExitStack() as stack:
        right, wrong = [
            stack.enter_context(
                serving(
                    *("--nats-url", nats.url, "--node-name", name, "--inbox", inbox),
                    *("--state-dir", str(tmp_path / name)),
                    key_file=key_file,
                    **environment,
                )
            ).url
            for name, environment in (("right", {}), ("wrong", clock.environment))
        ]
        await until_joined(right, wrong)
        sockets = [await resumed_at(url) for url in (right, wrong)]
        await check_order(right, wrong, sockets)
        await check_expiry(right, wrong)
        await close(*sockets)
        await check_tokens(right, wrong, offset_s)
        await check_revocations(right, wrong, offset_s)
        for url in (right, wrong):
            await fetched(f"{url}/ready")  # an error would be raised


async def until_joined(*urls: str) -> None:
    """Wait until each node knows the other one."""
    for url in urls:
        while True:
            cluster = json.loads(await fetched(f"{url}/status"))["cluster"]
            if cluster["state"] == "joined" and len(cluster["nodes"]) == len(urls) - 1:
                break
            await asyncio.sleep(0.05)


async def resumed_at(url: str) -> WebSocketClientConnection:
    """Open a socket that has resumed from the beginning."""
    address = url.replace("http", "ws", 1)
    socket = await websocket_connect(f"{address}/ws/notifications?since=0&token={token()}")
    frame = await next_frame(socket)
    assert frame is not None
    assert frame["action"] == "resumed"
    return socket


async def sent(url: str, id: str, **fields: object) -> dict[str, Any]:
    """Store a notification to the user 123."""
    body = {"user_id": "123", "title": "t", "message": "", "id": id, **fields}
    answer: dict[str, Any] = json.loads(await fetched(f"{url}/notify", body=body))
    assert answer["stored"]
    return answer


async def check_order(right: str, wrong: str, sockets: list[WebSocketClientConnection]) -> None:
    """Numbers rise in the order of the commits, whatever the node; the timestamps are those of the senders."""
    for number in range(20):
        await sent((right, wrong)[number % 2], f"n{number}")
    for socket in sockets:
        frames = [await next_frame(socket) for _ in range(20)]
        assert [(frame or {})["id"] for frame in frames] == [f"n{number}" for number in range(20)]
        numbers = [(frame or {})["seq"] for frame in frames]
        assert numbers == sorted(set(numbers))
    assert json.loads(await fetched(f"{right}/notify", body=note("n1")))["duplicate"] is True
    assert json.loads(await fetched(f"{wrong}/notify", body=note("n0")))["duplicate"] is True


def note(id: str) -> dict[str, object]:
    """Return the body of `sent`."""
    return {"user_id": "123", "title": "t", "message": "", "id": id}


async def check_expiry(right: str, wrong: str) -> None:
    """A row that has not ended is there on both nodes, also if the difference is longer than its time; others end."""
    for name, url in (("right", right), ("wrong", wrong)):
        await sent(url, f"long-{name}", ttl_s=KEPT_S)
        await sent(url, f"short-{name}", ttl_s=1)
    begun_s = time.monotonic()
    while {"short-right", "short-wrong"} & {*await kept(right), *await kept(wrong)}:
        assert time.monotonic() - begun_s < 60
        await asyncio.sleep(0.2)
    for url in (right, wrong):
        ids = await kept(url)
        assert {"n0", "n19", "long-right", "long-wrong"} <= set(ids)


async def kept(url: str) -> list[str]:
    """Return the ids that a client without a position gets from this node."""
    text = await asyncio.to_thread(_inbox, url)
    return [frame["id"] for frame in json.loads(text)["frames"] if "id" in frame]


def _inbox(url: str) -> str:
    request = urllib.request.Request(f"{url}/inbox?since=0&limit=100", headers={"Authorization": f"Bearer {token()}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        text: str = response.read().decode()
        return text


async def check_tokens(right: str, wrong: str, offset_s: int) -> None:
    """A token ends by the clock of the node where it is shown."""
    ending = token(exp=int(time.time()) + offset_s // 2)
    ended_at, open_at = (wrong, right) if offset_s > 0 else (right, wrong)
    assert await reason(ended_at, ending) == "token_expired"
    assert await reason(open_at, ending) is None


async def check_revocations(right: str, wrong: str, offset_s: int) -> None:
    """It holds on both nodes, for tokens that were signed until the second of the node that was asked."""
    for asked, user in ((right, "revoked-1"), (wrong, "revoked-2")):
        sockets = [await open_socket(url, "/ws/notifications", token(user, iat=1)) for url in (right, wrong)]
        answer = json.loads(await fetched(f"{asked}/disconnect", body={"user_id": user}))
        assert answer["closed"] == 2
        assert "uncertain" not in answer
        for socket in sockets:
            assert await next_frame(socket) is None
            assert (socket.close_code, socket.close_reason) == (1008, "revoked")
        until_s = answer["revoked_until"]
        assert abs(until_s - time.time() - (offset_s if asked == wrong else 0)) < KEPT_S / 20
        for url in (right, wrong):
            assert await reason(url, token(user, iat=until_s)) == "revoked"
            assert await reason(url, token(user, iat=until_s + 1)) is None


async def reason(url: str, given: str) -> str | None:
    """Return why a node refuses a token; None if it does not."""
    socket = await open_socket(url, "/ws/notifications", given)
    await socket.write_message('{"action":"ping"}')
    if await next_frame(socket) is None:
        return socket.close_reason
    await close(socket)
    return None
