"""What a socket is told when it opens: last values, presence, and a link that is down."""

import asyncio
import json
from typing import Any

import pytest

from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus
from hermes.ids import DeviceId, TenantId
from tests.support.gateways import Hermes, Socket, eventually, token
from tests.support.raw_socket import open_raw

ACME = token(tenant_id="acme")
ROOT = token(tenant_id="acme", is_superuser=True)
TELEMETRY = ("/ws/tenant/acme", "/ws/device/d1", "/ws")


def says(hermes: Hermes, data: bytes, *, device: str = "d1", series: str = "temp", tenant: str = "acme") -> None:
    """A device publishes a value: remembered and published, as the intake does it."""
    message = DeviceMessage(
        tenant_id=TenantId(tenant),
        device_id=DeviceId(device),
        series=series,
        topic=f"tenants/{tenant}/devices/{device}/{series}",
        data=data,
        timestamp_ms=1_763_836_800_123,
    )
    if hermes.gateway.last_values.update(message):
        hermes.gateway.hub.publish(message)


def is_there(hermes: Hermes, online: bool, *, device: str = "d1") -> None:
    """A device comes or goes."""
    status = DeviceStatus(TenantId("acme"), DeviceId(device), online, 7)
    if hermes.gateway.last_values.update_status(status):
        hermes.gateway.hub.publish(status)


def brief(frame: dict[str, Any]) -> tuple[object, ...]:
    """What a test looks at: device, data, and whether it was a snapshot's."""
    return frame["device_id"], frame["data"], frame.get("snapshot", False)


async def heard(socket: Socket, number: int) -> list[tuple[object, ...]]:
    """So many device frames, and then nothing."""
    frames = [brief(await socket.hear()) for _ in range(number)]
    await socket.silence()
    return frames


@pytest.mark.gen_test
@pytest.mark.parametrize("path", TELEMETRY)
async def test_last_values_come_first_and_live_ones_after(hermes: Hermes, path: str) -> None:
    """Marked, with the time at which they were received; live ones are not marked."""
    says(hermes, b"1")
    says(hermes, b"2")
    socket = await hermes.open(path, ACME)
    first = await socket.hear()
    assert (first["data"], first["snapshot"], first["timestamp"]) == (2, True, 1_763_836_800_123)
    await socket.silence()
    says(hermes, b"3")
    live = await socket.hear()
    assert live["data"] == 3
    assert "snapshot" not in live


@pytest.mark.gen_test
async def test_a_socket_is_told_only_what_it_may_hear(hermes: Hermes) -> None:
    """Not another tenant's values, not another device's; a superuser hears the device in every tenant."""
    says(hermes, b"1", device="d1")
    says(hermes, b"2", device="d2")
    says(hermes, b"3", device="d1", tenant="globex")
    assert await heard(await hermes.open("/ws/tenant/acme", ACME), 2) == [("d1", 1, True), ("d2", 2, True)]
    assert await heard(await hermes.open("/ws/device/d2", ACME), 1) == [("d2", 2, True)]
    assert await heard(await hermes.open("/ws/device/d1", ROOT), 2) == [("d1", 1, True), ("d1", 3, True)]
    assert await heard(await hermes.open("/ws/device/d1?tenant_id=globex", ROOT), 1) == [("d1", 3, True)]
    assert await heard(await hermes.open("/ws/notifications", ACME), 0) == []
    assert await heard(await hermes.open("/ws", token()), 0) == []


@pytest.mark.gen_test
@pytest.mark.parametrize("path", TELEMETRY)
async def test_a_snapshot_can_be_declined(hermes: Hermes, path: str) -> None:
    """Then only live frames come."""
    says(hermes, b"1")
    is_there(hermes, True)
    socket = await hermes.open(f"{path}?snapshot=0", ACME)
    await socket.silence()
    says(hermes, b"2")
    assert await heard(socket, 1) == [("d1", 2, False)]


@pytest.mark.gen_test
async def test_nothing_is_lost_or_doubled_between_snapshot_and_live(hermes: Hermes) -> None:
    """While values come without a pause: each socket gets one of the snapshot, then each later one, once."""
    openings: list[asyncio.Future[Socket]] = []
    for number in range(400):
        says(hermes, str(number).encode())
        if number % 20 == 10:
            openings.append(asyncio.ensure_future(hermes.open("/ws/tenant/acme", ACME)))
        await asyncio.sleep(0)
    sockets = await asyncio.gather(*openings)
    says(hermes, b"400")
    for socket in sockets:
        frames = [await socket.hear()]
        while frames[-1]["data"] != 400:
            frames.append(await socket.hear())
        data = [frame["data"] for frame in frames]
        assert data == list(range(data[0], 401))
        assert [frame.get("snapshot", False) for frame in frames] == [True] + [False] * (len(frames) - 1)


@pytest.mark.gen_test
async def test_a_slow_socket_gets_the_whole_of_a_large_snapshot_before_what_is_live(hermes: Hermes) -> None:
    """More values than an outbox holds; what is published meanwhile comes after them, and skips are told."""
    values, payload = 3_000, b'"%s"' % (b"x" * 500)
    for number in range(values):
        says(hermes, payload, device=f"d{number}")
    slow = await open_raw(hermes, "/ws/tenant/acme", ACME, receive_buffer_bytes=4_096)
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 1)
    (session,) = hermes.gateway.hub.sessions
    assert session.waiting > 1_000
    for number in range(50):
        says(hermes, str(number).encode(), device="d0")
    frames = [json.loads(await slow.text()) for _ in range(values + 50)]
    assert [frame.get("snapshot", False) for frame in frames] == [True] * values + [False] * 50
    assert [frame["device_id"] for frame in frames[:values]] == [f"d{number}" for number in range(values)]
    assert [frame["data"] for frame in frames[values:]] == list(range(50))


@pytest.mark.gen_test
async def test_an_answer_does_not_wait_for_a_large_snapshot(hermes: Hermes) -> None:
    """A slow client's ping is answered before the rest of it."""
    for number in range(3_000):
        says(hermes, b'"%s"' % (b"x" * 2_000), device=f"d{number}")
    socket = await hermes.open("/ws/tenant/acme", ACME)
    await socket.say({"action": "ping"})
    before = 0
    while (await socket.hear()) != {"action": "pong"}:
        before += 1
    assert before < 3_000


@pytest.mark.gen_test
async def test_on_the_legacy_route_a_named_device_is_told_again_only_where_it_is_new(hermes: Hermes) -> None:
    """The first name narrows what is known already; a further one, and all again, bring what was missed."""
    says(hermes, b"1", device="d1")
    says(hermes, b"2", device="d2")
    socket = await hermes.open("/ws", ACME)
    assert await heard(socket, 2) == [("d1", 1, True), ("d2", 2, True)]
    await socket.say({"action": "subscribe", "device": "d1"})
    assert (await socket.hear())["action"] == "subscribed"
    assert await heard(socket, 0) == []
    says(hermes, b"3", device="d2")
    await socket.say({"action": "subscribe", "device": "d2"})
    assert (await socket.hear())["action"] == "subscribed"
    assert await heard(socket, 1) == [("d2", 3, True)]
    await socket.say({"action": "unsubscribe", "device": "d1"})
    assert (await socket.hear())["action"] == "subscribed"
    says(hermes, b"4", device="d1")
    await socket.say({"action": "unsubscribe", "device": "d2"})
    assert (await socket.hear())["action"] == "subscribed"
    assert await heard(socket, 2) == [("d1", 4, True), ("d2", 3, True)]


@pytest.mark.gen_test
async def test_a_new_token_of_another_tenant_brings_that_tenants_values(hermes: Hermes) -> None:
    """On /ws, where the token names the tenant; the same tenant's brings nothing."""
    says(hermes, b"1")
    says(hermes, b"2", tenant="globex")
    socket = await hermes.open("/ws", ACME)
    assert await heard(socket, 1) == [("d1", 1, True)]
    await socket.say({"action": "refresh", "token": ACME})
    assert (await socket.hear())["action"] == "refreshed"
    assert await heard(socket, 0) == []
    await socket.say({"action": "refresh", "token": token(tenant_id="globex")})
    assert (await socket.hear())["action"] == "refreshed"
    assert await heard(socket, 1) == [("d1", 2, True)]


# -- statuses -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("path", TELEMETRY)
async def test_presence_is_told_after_the_values_and_when_it_changes(hermes: Hermes, path: str) -> None:
    """To those who hear the device, and not twice."""
    says(hermes, b"1")
    is_there(hermes, True)
    socket = await hermes.open(path, ACME)
    assert (await socket.hear())["data"] == 1
    status = {"channel": "status", "tenant_id": "acme", "device_id": "d1", "online": True, "since": 7}
    assert await socket.hear() == status
    is_there(hermes, True)
    await socket.silence()
    is_there(hermes, False)
    assert await socket.hear() == status | {"online": False}
    is_there(hermes, True, device="another")
    await socket.say({"action": "ping"})
    assert (await socket.hear())["action" if path == "/ws/device/d1" else "device_id"] in ("pong", "another")


@pytest.mark.gen_test
@pytest.mark.parametrize("path", TELEMETRY)
async def test_a_link_that_is_down_is_told_at_open_also_without_a_snapshot(hermes: Hermes, path: str) -> None:
    """While it is up, nothing is said."""
    await (await hermes.open(path, ACME)).silence()
    hermes.gateway.link.down("made to fail")
    for url in (path, f"{path}?snapshot=0"):
        socket = await hermes.open(url, ACME)
        assert await socket.hear() == {"channel": "status", "mqtt": "down", "since": hermes.gateway.link.changed_ms}
        await socket.silence()


@pytest.mark.gen_test
async def test_the_link_is_told_to_sockets_that_carry_device_data_alone(hermes: Hermes) -> None:
    """Neither to notifications, nor to /ws without a tenant."""
    others = [await hermes.open("/ws/notifications", ACME), await hermes.open("/ws", token())]
    sockets = [await hermes.open(path, ACME) for path in TELEMETRY]
    hermes.gateway.hub.publish(LinkStatus(up=False, since_ms=5))
    hermes.gateway.hub.publish(LinkStatus(up=True, since_ms=6))
    for socket in sockets:
        assert await socket.hear() == {"channel": "status", "mqtt": "down", "since": 5}
        assert await socket.hear() == {"channel": "status", "mqtt": "up", "since": 6}
    for socket in others:
        await socket.silence()
