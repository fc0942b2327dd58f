"""``POST /notify``: ``sent`` is exact, and each notification arrives once."""

import asyncio
import select
from collections.abc import Awaitable, Callable

import pytest

from hermes.testing import ClientSocket
from hermes.web.sockets.transport import WebSocketTransport
from tests.support.gateways import TIMEOUT_S, Hermes, eventually, token
from tests.support.raw_request import GOOD, JSON, KEYED, read_response, request
from tests.support.raw_socket import RawSocket, connect, open_raw

pytestmark = pytest.mark.usefixtures("complaints")


@pytest.mark.gen_test
async def test_sent_follows_the_users_open_sockets(hermes: Hermes) -> None:
    """True until the last one has closed; sockets of other users and of device routes do not count."""

    async def sent() -> bool:
        return (await hermes.notify(GOOD))["sent"] is True

    await hermes.open("/ws/notifications", token("456"))
    for path in ("/ws/tenant/acme", "/ws/device/d1"):
        await hermes.open(path, token(tenant_id="acme"))
    refused = await hermes.open("/ws/notifications?tenant_id=other", token())
    assert not await sent()
    assert (await refused.wait_closed())[0] == 1008
    sockets = [await hermes.open(path, token(user)) for path in ("/ws/notifications", "/ws") for user in (123, "123")]
    for socket in sockets:
        assert await sent()
        await socket.close()
    assert not await sent()


@pytest.mark.gen_test
async def test_sent_of_a_broadcast_counts_ws_sockets_of_the_tenant(hermes: Hermes) -> None:
    """No other route of the tenant receives broadcasts."""
    broadcast = {"tenant_id": "acme", "title": "t", "message": "m"}
    for path in ("/ws/notifications", "/ws/tenant/acme", "/ws/device/d1"):
        await hermes.open(path, token(tenant_id="acme"))
    await hermes.open("/ws", token(tenant_id="globex"))
    assert (await hermes.notify(broadcast))["sent"] is False
    socket = await hermes.open("/ws", token("456", tenant_id="acme"))
    assert (await hermes.notify(broadcast))["sent"] is True
    await socket.close()
    assert (await hermes.notify(broadcast))["sent"] is False


def tcp_close(raw: RawSocket) -> None:
    """Close the TCP connection, nothing more."""
    raw.writer.close()


async def start_close(raw: RawSocket) -> None:
    """Start the closing handshake, and do not wait for its end."""
    await raw.send(8, b"\x03\xe8")


def wait_for_input(hermes: Hermes) -> None:
    """Wait, without running the loop, until the kernel has passed on what the client of the last socket has sent."""
    for session in hermes.gateway.hub.sessions:
        transport = session._transport
        assert isinstance(transport, WebSocketTransport)
        assert transport._socket is not None
        assert select.select([transport._socket], [], [], TIMEOUT_S)[0]


@pytest.mark.gen_test
@pytest.mark.parametrize("leave", [RawSocket.reset, tcp_close, start_close])
@pytest.mark.parametrize("headers", [{}, {"Sec-WebSocket-Extensions": "permessage-deflate"}], ids=["plain", "deflate"])
async def test_sent_is_false_immediately_after_the_last_socket_has_closed(
    hermes: Hermes, leave: Callable[[RawSocket], Awaitable[None] | None], headers: dict[str, str]
) -> None:
    """For the next request on a connection that was open before, however the socket closed."""
    service = await connect(hermes)
    post = request(KEYED | JSON | {"Host": "127.0.0.1"})
    for _ in range(20):
        raw = await open_raw(hermes, "/ws/notifications", token(), headers=headers)
        await service.send_bytes(post)
        assert (await read_response(service))[2]["sent"] is True
        await raw.text()
        if (leaving := leave(raw)) is not None:
            await leaving
        await asyncio.sleep(0)  # the transport closes in the next iteration of the loop
        wait_for_input(hermes)
        await service.send_bytes(post)
        assert (await read_response(service))[2]["sent"] is False


@pytest.mark.gen_test
@pytest.mark.parametrize(("total", "singles"), [(1_100, 100), pytest.param(10_000, 1_000, marks=pytest.mark.slow)])
async def test_many_notifications_arrive_once_and_in_order(hermes: Hermes, total: int, singles: int) -> None:
    """On each of three sockets, posted in arrays and one by one."""
    sockets = [await hermes.open(path, token(), compression_options=options) for path, options in (
        ("/ws/notifications", None), ("/ws/notifications", {}), ("/ws", None)
    )]  # fmt: skip
    received: list[list[str]] = [[], [], []]
    size = 500

    async def collect(socket: ClientSocket, titles: list[str]) -> None:
        while len(titles) < total:
            titles.append((await socket.receive())["title"])

    def all_have(count: int) -> Callable[[], bool]:
        return lambda: min(map(len, received)) >= count

    async def post() -> None:
        for start in range(0, total - singles, size):
            response = await hermes.notify([GOOD | {"title": str(n)} for n in range(start, start + size)])
            assert all(result["sent"] for result in response["results"])
            await eventually(all_have(start))  # the outbox of a socket is bounded
        for n in range(total - singles, total):
            assert (await hermes.notify(GOOD | {"title": str(n)}))["sent"]

    await asyncio.gather(post(), *map(collect, sockets, received))
    assert received == [[str(n) for n in range(total)]] * 3
    for socket in sockets:
        await socket.expect_silence()
