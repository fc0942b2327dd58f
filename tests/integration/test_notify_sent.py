"""``POST /notify``: that ``sent`` is exact, and that each notification arrives once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.gateways import Hermes, Socket, eventually, token
from tests.support.raw_request import GOOD, JSON, KEYED, answer, request
from tests.support.raw_socket import RawSocket, connect, open_raw

pytestmark = pytest.mark.usefixtures("complaints")


@pytest.mark.gen_test
async def test_sent_follows_the_users_open_sockets(hermes: Hermes) -> None:
    """True with one or several, until the last has closed; other users', and routes for devices, do not count."""

    async def sent() -> bool:
        return (await hermes.notify(GOOD))["sent"] is True

    await hermes.open("/ws/notifications", token("456"))
    for path in ("/ws/tenant/acme", "/ws/device/d1"):
        await hermes.open(path, token(tenant_id="acme"))
    refused = await hermes.open("/ws/notifications?tenant_id=other", token())
    assert not await sent()
    assert (await refused.closed())[0] == 1008
    sockets = [await hermes.open(path, token(user)) for path in ("/ws/notifications", "/ws") for user in (123, "123")]
    for socket in sockets:
        assert await sent()
        await socket.close()
    assert not await sent()


@pytest.mark.gen_test
async def test_sent_of_a_broadcast_counts_ws_sockets_of_the_tenant(hermes: Hermes) -> None:
    """No other route of the tenant hears broadcasts."""
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


async def say_goodbye(raw: RawSocket) -> None:
    """Begin the closing handshake, and do not wait for its end."""
    await raw.send(8, b"\x03\xe8")


@pytest.mark.gen_test
@pytest.mark.parametrize("leave", [RawSocket.reset, tcp_close, say_goodbye])
@pytest.mark.parametrize("headers", [{}, {"Sec-WebSocket-Extensions": "permessage-deflate"}], ids=["plain", "deflate"])
async def test_sent_is_false_right_after_the_last_has_gone(
    hermes: Hermes, leave: Callable[[RawSocket], Awaitable[None] | None], headers: dict[str, str]
) -> None:
    """The request that follows on a connection which was open all the time finds nobody, however the socket ended."""
    service = await connect(hermes)
    post = request(KEYED | JSON | {"Host": "127.0.0.1"})
    for _ in range(20):
        raw = await open_raw(hermes, "/ws/notifications", token(), headers=headers)
        await service.send_bytes(post)
        assert (await answer(service))[2]["sent"] is True
        await raw.text()
        if (going := leave(raw)) is not None:
            await going
        await asyncio.sleep(0)  # the transport closes at the next turn of the loop
        await service.send_bytes(post)
        assert (await answer(service))[2]["sent"] is False


@pytest.mark.gen_test
async def test_ten_thousand_notifications_arrive_once_and_in_order(hermes: Hermes) -> None:
    """On each of three sockets, whether they come in arrays or one by one."""
    sockets = [await hermes.open(path, token(), compression_options=options) for path, options in (
        ("/ws/notifications", None), ("/ws/notifications", {}), ("/ws", None)
    )]  # fmt: skip
    received: list[list[str]] = [[], [], []]
    singles, size, total = 1_000, 500, 10_000

    async def collect(socket: Socket, titles: list[str]) -> None:
        while len(titles) < total:
            titles.append((await socket.hear())["title"])

    def all_have(count: int) -> Callable[[], bool]:
        return lambda: min(map(len, received)) >= count

    async def post() -> None:
        for start in range(0, total - singles, size):
            answer = await hermes.notify([GOOD | {"title": str(n)} for n in range(start, start + size)])
            assert all(result["sent"] for result in answer["results"])
            await eventually(all_have(start))  # what may wait for a socket has a bound
        for n in range(total - singles, total):
            assert (await hermes.notify(GOOD | {"title": str(n)}))["sent"]

    await asyncio.gather(post(), *map(collect, sockets, received))
    assert received == [[str(n) for n in range(total)]] * 3
    for socket in sockets:
        await socket.silence()
