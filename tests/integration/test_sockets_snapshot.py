"""What a socket receives when it opens: last values, presence, and a link that is down."""

import asyncio
import json
from typing import Any

import pytest

from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus
from hermes.ids import DeviceId, TenantId
from hermes.testing import ClientSocket
from tests.support.gateways import Hermes, eventually, token
from tests.support.raw_socket import open_raw

ACME = token(tenant_id="acme")
ROOT = token(tenant_id="acme", is_superuser=True)
TELEMETRY = ("/ws/tenant/acme", "/ws/device/d1", "/ws")


def ingest(hermes: Hermes, data: bytes, *, device: str = "d1", series: str = "temp", tenant: str = "acme") -> None:
    """Store and publish a value of a device, as `hermes.ingest` does."""
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


def set_presence(hermes: Hermes, online: bool, *, device: str = "d1") -> None:
    """Store and publish that a device is online or offline."""
    status = DeviceStatus(TenantId("acme"), DeviceId(device), online, 7)
    if hermes.gateway.last_values.update_status(status):
        hermes.gateway.hub.publish(status)


def brief(frame: dict[str, Any]) -> tuple[object, ...]:
    """Return device, data, and whether the frame is of a snapshot."""
    return frame["device_id"], frame["data"], frame.get("snapshot", False)


async def received(socket: ClientSocket, number: int) -> list[tuple[object, ...]]:
    """Return this number of device frames; assert that no other follows."""
    frames = [brief(await socket.receive()) for _ in range(number)]
    await socket.expect_silence()
    return frames


@pytest.mark.gen_test
@pytest.mark.parametrize("path", TELEMETRY)
async def test_last_values_arrive_before_live_ones(hermes: Hermes, path: str) -> None:
    """They have ``snapshot`` and the time at which Hermes received them; live ones do not have ``snapshot``."""
    ingest(hermes, b"1")
    ingest(hermes, b"2")
    socket = await hermes.open(path, ACME)
    first = await socket.receive()
    assert (first["data"], first["snapshot"], first["timestamp"]) == (2, True, 1_763_836_800_123)
    await socket.expect_silence()
    ingest(hermes, b"3")
    live = await socket.receive()
    assert live["data"] == 3
    assert "snapshot" not in live


@pytest.mark.gen_test
async def test_a_snapshot_has_only_the_values_of_the_sockets_channels(hermes: Hermes) -> None:
    """Not those of another tenant or device; a superuser gets the device of every tenant."""
    ingest(hermes, b"1", device="d1")
    ingest(hermes, b"2", device="d2")
    ingest(hermes, b"3", device="d1", tenant="globex")
    assert await received(await hermes.open("/ws/tenant/acme", ACME), 2) == [("d1", 1, True), ("d2", 2, True)]
    assert await received(await hermes.open("/ws/device/d2", ACME), 1) == [("d2", 2, True)]
    assert await received(await hermes.open("/ws/device/d1", ROOT), 2) == [("d1", 1, True), ("d1", 3, True)]
    everything = [("d1", 1, True), ("d2", 2, True), ("d1", 3, True)]
    assert await received(await hermes.open("/ws/tenants", ROOT), 3) == everything
    assert await received(await hermes.open("/ws/tenants?snapshot=0", ROOT), 0) == []
    assert await received(await hermes.open("/ws/device/d1?tenant_id=globex", ROOT), 1) == [("d1", 3, True)]
    assert await received(await hermes.open("/ws/notifications", ACME), 0) == []
    assert await received(await hermes.open("/ws", token()), 0) == []


@pytest.mark.gen_test
@pytest.mark.parametrize("path", TELEMETRY)
async def test_a_snapshot_can_be_declined(hermes: Hermes, path: str) -> None:
    """Then only live frames arrive."""
    ingest(hermes, b"1")
    set_presence(hermes, True)
    socket = await hermes.open(f"{path}?snapshot=0", ACME)
    await socket.expect_silence()
    ingest(hermes, b"2")
    assert await received(socket, 1) == [("d1", 2, False)]


@pytest.mark.gen_test
async def test_no_value_is_lost_or_repeated_between_snapshot_and_live(hermes: Hermes) -> None:
    """While values arrive continuously, each socket gets one from the snapshot and then each later one once."""
    openings: list[asyncio.Future[ClientSocket]] = []
    for number in range(400):
        ingest(hermes, str(number).encode())
        if number % 20 == 10:
            openings.append(asyncio.ensure_future(hermes.open("/ws/tenant/acme", ACME)))
        await asyncio.sleep(0)
    sockets = await asyncio.gather(*openings)
    ingest(hermes, b"400")
    for socket in sockets:
        frames = [await socket.receive()]
        while frames[-1]["data"] != 400:
            frames.append(await socket.receive())
        data = [frame["data"] for frame in frames]
        assert data == list(range(data[0], 401))
        assert [frame.get("snapshot", False) for frame in frames] == [True] + [False] * (len(frames) - 1)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/tenant/acme", "/ws/tenants"])
async def test_a_slow_socket_gets_a_large_snapshot_before_live_values(hermes: Hermes, path: str) -> None:
    """The snapshot has more values than an outbox can hold; values that are published meanwhile arrive after it."""
    values, payload = 3_000, b'"%s"' % (b"x" * 500)
    for number in range(values):
        ingest(hermes, payload, device=f"d{number}")
    slow = await open_raw(hermes, path, ROOT, receive_buffer_bytes=4_096)
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 1)
    (session,) = hermes.gateway.hub.sessions
    assert session.waiting > 1_000
    for number in range(50):
        ingest(hermes, str(number).encode(), device="d0")
    frames = [json.loads(await slow.text()) for _ in range(values + 50)]
    assert [frame.get("snapshot", False) for frame in frames] == [True] * values + [False] * 50
    assert [frame["device_id"] for frame in frames[:values]] == [f"d{number}" for number in range(values)]
    assert [frame["data"] for frame in frames[values:]] == list(range(50))


@pytest.mark.gen_test
async def test_a_reply_does_not_wait_for_a_large_snapshot(hermes: Hermes) -> None:
    """The pong arrives before the rest of the snapshot."""
    for number in range(3_000):
        ingest(hermes, b'"%s"' % (b"x" * 2_000), device=f"d{number}")
    socket = await hermes.open("/ws/tenant/acme", ACME)
    await socket.send({"action": "ping"})
    before = 0
    while (await socket.receive()) != {"action": "pong"}:
        before += 1
    assert before < 3_000


@pytest.mark.gen_test
async def test_on_the_combined_feed_subscribe_replays_only_devices_that_are_new(hermes: Hermes) -> None:
    """The first named device was received before; further ones, and all again, replay what the socket missed."""
    ingest(hermes, b"1", device="d1")
    ingest(hermes, b"2", device="d2")
    socket = await hermes.open("/ws", ACME)
    assert await received(socket, 2) == [("d1", 1, True), ("d2", 2, True)]
    await socket.send({"action": "subscribe", "device": "d1"})
    assert (await socket.receive())["action"] == "subscribed"
    assert await received(socket, 0) == []
    ingest(hermes, b"3", device="d2")
    await socket.send({"action": "subscribe", "device": "d2"})
    assert (await socket.receive())["action"] == "subscribed"
    assert await received(socket, 1) == [("d2", 3, True)]
    await socket.send({"action": "unsubscribe", "device": "d1"})
    assert (await socket.receive())["action"] == "subscribed"
    ingest(hermes, b"4", device="d1")
    await socket.send({"action": "unsubscribe", "device": "d2"})
    assert (await socket.receive())["action"] == "subscribed"
    assert await received(socket, 2) == [("d1", 4, True), ("d2", 3, True)]


@pytest.mark.gen_test
async def test_a_refresh_to_another_tenant_replays_the_values_of_that_tenant(hermes: Hermes) -> None:
    """On /ws, where the token has the tenant; a token of the same tenant replays nothing."""
    ingest(hermes, b"1")
    ingest(hermes, b"2", tenant="globex")
    socket = await hermes.open("/ws", ACME)
    assert await received(socket, 1) == [("d1", 1, True)]
    await socket.send({"action": "refresh", "token": ACME})
    assert (await socket.receive())["action"] == "refreshed"
    assert await received(socket, 0) == []
    await socket.send({"action": "refresh", "token": token(tenant_id="globex")})
    assert (await socket.receive())["action"] == "refreshed"
    assert await received(socket, 1) == [("d1", 2, True)]


# -- statuses -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("path", TELEMETRY)
async def test_presence_arrives_after_the_values_and_when_it_changes(hermes: Hermes, path: str) -> None:
    """On the sockets that receive the device, and only once."""
    ingest(hermes, b"1")
    set_presence(hermes, True)
    socket = await hermes.open(path, ACME)
    assert (await socket.receive())["data"] == 1
    status = {"channel": "status", "tenant_id": "acme", "device_id": "d1", "online": True, "since": 7}
    assert await socket.receive() == status
    set_presence(hermes, True)
    await socket.expect_silence()
    set_presence(hermes, False)
    assert await socket.receive() == status | {"online": False}
    set_presence(hermes, True, device="another")
    await socket.send({"action": "ping"})
    assert (await socket.receive())["action" if path == "/ws/device/d1" else "device_id"] in ("pong", "another")


@pytest.mark.gen_test
@pytest.mark.parametrize("path", TELEMETRY)
async def test_a_link_that_is_down_is_reported_at_open(hermes: Hermes, path: str) -> None:
    """Also without a snapshot; while the link is up, no frame arrives."""
    await (await hermes.open(path, ACME)).expect_silence()
    hermes.gateway.link.down("made to fail")
    for url in (path, f"{path}?snapshot=0"):
        socket = await hermes.open(url, ACME)
        assert await socket.receive() == {"channel": "status", "mqtt": "down", "since": hermes.gateway.link.changed_ms}
        await socket.expect_silence()


@pytest.mark.gen_test
async def test_the_link_status_arrives_only_at_sockets_with_device_data(hermes: Hermes) -> None:
    """Neither at ``/ws/notifications``, nor at ``/ws`` without a tenant."""
    others = [await hermes.open("/ws/notifications", ACME), await hermes.open("/ws", token())]
    sockets = [await hermes.open(path, ACME) for path in TELEMETRY]
    hermes.gateway.hub.publish(LinkStatus(up=False, since_ms=5))
    hermes.gateway.hub.publish(LinkStatus(up=True, since_ms=6))
    for socket in sockets:
        assert await socket.receive() == {"channel": "status", "mqtt": "down", "since": 5}
        assert await socket.receive() == {"channel": "status", "mqtt": "up", "since": 6}
    for socket in others:
        await socket.expect_silence()
