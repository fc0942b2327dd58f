"""Actions of a client on an open socket, and the reply to invalid ones."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from hermes.delivery.channels import Channel
from hermes.delivery.messages import DeviceMessage
from hermes.delivery.session import Session
from hermes.ids import DeviceId, TenantId
from hermes.testing import ClientSocket, FakeClock
from tests.support.gateways import TIMEOUT_S, Hermes, token
from tests.support.raw_socket import CLOSE, FIN, PING, PONG, TEXT, open_raw

pytestmark = pytest.mark.usefixtures("complaints")

ROUTES = ["/ws/notifications", "/ws/tenant/acme", "/ws/device/d1", "/ws"]
ACME = token(tenant_id="acme")
KIB = 1024
TOO_BIG = (1009, "message_too_big")
DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate"}


async def error_code(socket: ClientSocket, message: object) -> str:
    """Send a message; return the code of the error frame that it gets."""
    await socket.send(message)
    error = await socket.receive()
    assert set(error) == {"action", "code", "message"}, error
    assert error["action"] == "error"
    assert isinstance(error["message"], str)
    assert error["message"]
    return str(error["code"])


# -- ping and ack -------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
async def test_every_route_replies_to_a_ping(hermes: Hermes, path: str) -> None:
    """The reply is a pong without other keys."""
    socket = await hermes.open(path, ACME)
    await socket.send({"action": "ping"})
    assert await socket.receive() == {"action": "pong"}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "others",
    [
        {"id": 1},
        {"sent": 1763836800123, "nested": {"a": [1, None, True, "ä🌡"]}},
        {"": "", "\u2028": "</script>", '"': "\\"},
        {"float": 1.5, "token": "x", "channel": "notifications"},
        {"pad": "x" * 60_000},
        {f"k{n}": n for n in range(2_000)},
    ],
    ids=lambda value: ascii(value)[:20],
)
async def test_the_other_keys_of_a_ping_are_echoed(hermes: Hermes, others: dict[str, Any]) -> None:
    """The pong has them unchanged, so that a client can measure its round trips."""
    socket = await hermes.open("/ws/notifications", ACME)
    await socket.send(others | {"action": "ping"})
    assert await socket.receive() == others | {"action": "pong"}


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("more", [{}, {"notification_id": "n-1"}, {"notification_id": None}, {"other": [1]}])
async def test_an_ack_gets_no_reply(hermes: Hermes, path: str, more: dict[str, Any]) -> None:
    """With or without an id."""
    socket = await hermes.open(path, ACME)
    await socket.send({"action": "ack"} | more)
    await socket.expect_silence()


# -- errors: the socket stays open --------------------------------------------------------------------------------

NOT_JSON = [
    "",
    " ",
    "ping",
    "{",
    '{"action":"ping"',
    '{"action":"ping",}',
    "{'action':'ping'}",
    '{"action":"ping"} {}',
    "NaN",
    '{"action":"ping","n":NaN}',
    '{"action":"ping","n":Infinity}',
    '{"action":"ping","s":"\\ud800"}',
    '{"action":"ping","s":"\\udc00\\ud800"}',
    '{"action":"ping","\\ud800":1}',
    '{"action":"pi\nng"}',
    "\ufeff{}",
    "\x00",
    "[" * 60_000,
    '{"a":' * 10_000,
    "[" * 30_000 + "]" * 30_000,
]


@pytest.mark.gen_test
async def test_what_is_not_json_is_bad_json(hermes: Hermes) -> None:
    """Truncated text, other formats, lone surrogates, deep nesting; the next ping gets its pong."""
    for text in NOT_JSON:
        socket = await hermes.open("/ws/notifications", ACME)
        assert await error_code(socket, text) == "bad_json", text[:40]
        await socket.expect_silence()


@pytest.mark.gen_test
async def test_json_that_is_not_an_object_gets_not_object(hermes: Hermes) -> None:
    """Arrays and scalars have no action."""
    socket = await hermes.open("/ws/notifications", ACME)
    for text in ("[]", '[{"action":"ping"}]', '"ping"', "1", "1e5", "true", "null", '"\\u0000"'):
        assert await error_code(socket, text) == "not_object", text
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_an_unknown_action_gets_unknown_action(hermes: Hermes) -> None:
    """Also a missing one, and names that differ in case or white space."""
    socket = await hermes.open("/ws", ACME)
    actions: list[object] = ["publish", "", "PING", " ping", "pong", "refreshed", None, 1, True, [], {}, ["ping"]]
    for action in actions:
        assert await error_code(socket, {"action": action}) == "unknown_action", action
    assert await error_code(socket, {}) == "unknown_action"
    assert await error_code(socket, {"Action": "ping"}) == "unknown_action"
    await socket.expect_silence()


def each(action: str, field: str, *wrong: object) -> list[dict[str, object]]:
    """Return messages: this action with each of these values in this field."""
    return [{"action": action, field: value} for value in wrong]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "message",
    [
        *each("ack", "notification_id", 1, True, [], {}),
        *each("refresh", "token", None, 1, [], {"token": "x"}),
        {"action": "refresh"},
        *each("subscribe", "device", None, True, 1.5, [], ["d1"], {}, ""),
        {"action": "subscribe"},
        *each("subscribe", "devices", "d1", 1, True, {}, [1], [""], [None], [["d1"]], ["d" * 1_025]),
        {"action": "subscribe", "devices": ["d1"], "device": "d1"},
        *each("unsubscribe", "devices", "d1", [1]),
        {"action": "unsubscribe"},
        {"action": "unsubscribe", "device": ["d1"]},
    ],
    ids=json.dumps,
)
async def test_a_value_of_the_wrong_type_is_invalid(hermes: Hermes, message: dict[str, Any]) -> None:
    """The socket stays open, also after a refresh that is not valid."""
    socket = await hermes.open("/ws", ACME)
    assert await error_code(socket, message) == "invalid"
    await socket.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/notifications", "/ws/tenant/acme", "/ws/device/d1"])
@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
async def test_subscribe_is_not_here_on_other_routes(hermes: Hermes, path: str, action: str) -> None:
    """Only ``/ws`` has a feed that can be restricted."""
    socket = await hermes.open(path, ACME)
    assert await error_code(socket, {"action": action, "device": "d1"}) == "not_here"
    await socket.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("depth", [200, 500, 1_000])
async def test_a_deep_ping_is_echoed_or_rejected(hermes: Hermes, depth: int) -> None:
    """At any depth the reply is a pong or an error, and the socket stays open."""
    socket = await hermes.open("/ws/notifications", ACME)
    text = '{"action":"ping","deep":' + "[" * depth + "]" * depth + "}"
    await socket.send(text)
    text_reply = await socket.receive_text()
    assert text_reply is not None
    reply = json.loads(text_reply)
    assert reply["action"] == "pong" or reply["code"] in ("bad_json", "invalid")
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_the_twentieth_error_in_ten_seconds_closes(hermes: Hermes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nineteen get an error frame, the twentieth only 1008; errors of more than ten seconds ago do not count."""
    clock = FakeClock(now_s=1_000.0)
    monkeypatch.setattr("hermes.web.sockets.handler.monotonic", clock)
    fast, slow = [await hermes.open("/ws/notifications", ACME) for _ in range(2)]
    for _ in range(19):
        assert await error_code(fast, "{") == "bad_json"
        assert await error_code(slow, "[]") == "not_object"
    clock.now_s += 9.5
    await fast.expect_silence()
    await fast.send({"action": "what"})
    assert await fast.wait_closed() == (1008, "too_many_errors")
    clock.now_s += 0.5
    for _ in range(19):
        assert await error_code(slow, "{") == "bad_json"
    await slow.send("{")
    assert await slow.wait_closed() == (1008, "too_many_errors")


# -- subscribe ----------------------------------------------------------------------------------------------------


def publish(hermes: Hermes, *device_ids: str) -> None:
    """Publish one value of each of these devices."""
    for device_id in device_ids:
        hermes.gateway.hub.publish(
            DeviceMessage(TenantId("acme"), DeviceId(device_id), series="", topic="t", data=b"1", timestamp_ms=1)
        )


async def subscribed(socket: ClientSocket, action: str, device: object) -> list[str]:
    """Send ``subscribe`` or ``unsubscribe``; return the named devices of the reply."""
    await socket.send({"action": action, "device": device})
    reply = await socket.receive()
    assert set(reply) == {"action", "devices"}, reply
    assert reply["action"] == "subscribed"
    devices = reply["devices"]
    assert isinstance(devices, list)
    return devices


async def received(hermes: Hermes, socket: ClientSocket) -> list[str]:
    """Publish values of the devices d1, d2, d3; return those that this socket receives."""
    publish(hermes, "d1", "d2", "d3")
    await socket.send({"action": "ping"})
    devices = []
    while (frame := await socket.receive()) != {"action": "pong"}:
        devices.append(frame["device_id"])
    return sorted(devices)


@pytest.mark.gen_test
async def test_subscribe_restricts_the_feed_to_the_named_devices(hermes: Hermes) -> None:
    """Without a named device it is all of them again; another socket of the user is not affected."""
    socket, other = [await hermes.open("/ws", ACME) for _ in range(2)]
    everything = ["d1", "d2", "d3"]
    assert await received(hermes, socket) == everything
    assert await subscribed(socket, "unsubscribe", "d1") == []
    assert await received(hermes, socket) == everything, "a device that was not named cannot be removed"
    assert await subscribed(socket, "subscribe", "d2") == ["d2"]
    assert await received(hermes, socket) == ["d2"]
    assert await subscribed(socket, "subscribe", "d2") == ["d2"], "naming a device twice changes nothing"
    assert sorted(await subscribed(socket, "subscribe", "d3")) == ["d2", "d3"]
    assert await received(hermes, socket) == ["d2", "d3"]
    assert await subscribed(socket, "unsubscribe", "d2") == ["d3"]
    assert await received(hermes, socket) == ["d3"]
    assert await subscribed(socket, "unsubscribe", "d3") == []
    assert await received(hermes, socket) == everything
    assert len([await other.receive() for _ in range(18)]) == 18


@pytest.mark.gen_test
async def test_subscribe_affects_only_the_device_feed(hermes: Hermes) -> None:
    """Notifications and broadcasts still arrive; values of another tenant's device of that name do not."""
    socket = await hermes.open("/ws", ACME)
    await subscribed(socket, "subscribe", "d2")
    hermes.gateway.hub.publish(
        DeviceMessage(TenantId("globex"), DeviceId("d2"), series="", topic="t", data=b"1", timestamp_ms=1)
    )
    await hermes.notify({"user_id": "123", "title": "n", "message": ""})
    await hermes.notify({"tenant_id": "acme", "title": "b", "message": ""})
    assert [(await socket.receive())["channel"] for _ in range(2)] == ["notifications", "tenant"]
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_without_a_tenant_there_is_nothing_to_subscribe_to(hermes: Hermes) -> None:
    """The device is named in the reply; no tenant's values of it arrive."""
    socket = await hermes.open("/ws", token())
    await subscribed(socket, "subscribe", "d1")
    publish(hermes, "d1")
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_at_most_a_thousand_devices_can_be_named(hermes: Hermes) -> None:
    """One more is rejected and changes nothing, until one is removed."""
    socket = await hermes.open("/ws", ACME)
    devices: list[str] = []
    for n in range(1_000):
        devices = await subscribed(socket, "subscribe", f"d{n}")
    assert len(devices) == 1_000
    assert await error_code(socket, {"action": "subscribe", "device": "one more"}) == "invalid"
    publish(hermes, "one more", "d999")
    assert (await socket.receive())["device_id"] == "d999"
    assert len(await subscribed(socket, "subscribe", "d999")) == 1_000
    assert len(await subscribed(socket, "unsubscribe", "d999")) == 999
    assert "one more" in await subscribed(socket, "subscribe", "one more")


@pytest.mark.gen_test
@pytest.mark.parametrize("letter", ["x", "ä", "\u0001"], ids=["plain", "two bytes", "escaped"])
async def test_the_total_size_of_the_names_is_limited(hermes: Hermes, letter: str) -> None:
    """64 KiB as the reply encodes them; one more is rejected and changes nothing, until one is removed."""
    socket = await hermes.open("/ws", ACME)
    names = [f"{n:02}".ljust(1_024, letter) for n in range(64)]
    room = 65_536 // (len(json.dumps(names[0], ensure_ascii=False).encode()) + 1)
    for n in range(room):
        assert await subscribed(socket, "subscribe", names[n]) == names[: n + 1]
    assert await error_code(socket, {"action": "subscribe", "device": names[room]}) == "invalid"
    assert await subscribed(socket, "subscribe", "d1") == [*names[:room], "d1"], "a short one still fits"
    assert await subscribed(socket, "unsubscribe", names[0]) == [*names[1:room], "d1"]
    assert await subscribed(socket, "subscribe", names[room]) == [*names[1:room], "d1", names[room]]


@pytest.mark.gen_test
async def test_a_subscribe_that_changes_nothing_does_not_call_the_hub(
    hermes: Hermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is called only if the set of devices changes."""
    socket = await hermes.open("/ws", ACME)
    await subscribed(socket, "subscribe", "d1")
    calls: list[object] = []
    change = hermes.gateway.hub.change

    def count(session: Session, *, add: Iterable[Channel], remove: Iterable[Channel]) -> list[Channel]:
        calls.append((add, remove))
        return change(session, add=add, remove=remove)

    monkeypatch.setattr(hermes.gateway.hub, "change", count)
    assert await subscribed(socket, "subscribe", "d1") == ["d1"]
    assert await subscribed(socket, "unsubscribe", "d2") == ["d1"]
    assert calls == []
    assert await subscribed(socket, "subscribe", "d2") == ["d1", "d2"]
    assert await subscribed(socket, "unsubscribe", "d2") == ["d1"]
    assert len(calls) == 2


@pytest.mark.gen_test
async def test_several_devices_can_be_named_at_once(hermes: Hermes) -> None:
    """With one answer; a name that stands twice counts once. If they are too many, none is named."""
    socket = await hermes.open("/ws", ACME)

    async def ask(action: str, *devices: str) -> list[str]:
        await socket.send({"action": action, "devices": devices})
        return list((await socket.receive())["devices"])

    assert await ask("subscribe") == []
    assert await ask("subscribe", "d1", "d2", "d1") == ["d1", "d2"]
    publish(hermes, "d1", "d3", "d2")
    assert [(await socket.receive())["device_id"] for _ in range(2)] == ["d1", "d2"]
    assert await ask("unsubscribe", "d1", "d9") == ["d2"]
    assert await error_code(socket, {"action": "subscribe", "devices": [f"e{n}" for n in range(1_000)]}) == "invalid"
    assert len(await ask("subscribe", *[f"e{n}" for n in range(999)])) == 1_000
    assert await ask("unsubscribe", "d2", *[f"e{n}" for n in range(999)]) == []
    publish(hermes, "d3")
    assert (await socket.receive())["device_id"] == "d3"


# -- frames that close --------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("frame", [b"", b'{"action":"ping"}', b"\xff" * 200_000])
async def test_a_binary_frame_closes_with_1003(hermes: Hermes, path: str, frame: bytes) -> None:
    """Whatever it contains, and without a frame before the close."""
    socket = await hermes.open(path, ACME)
    await socket.send(frame)
    assert await socket.wait_closed() == (1003, "binary_not_supported")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("size_bytes", "closes"),
    [(64 * KIB, False), (64 * KIB + 1, True), (200 * KIB, True), (900 * KIB, True), (1024 * KIB, True)],
)
@pytest.mark.parametrize("letter", ["x", "ä"])
@pytest.mark.parametrize("compression", [None, {}])
async def test_more_than_64_kib_closes_with_1009(
    hermes: Hermes, size_bytes: int, closes: bool, letter: str, compression: dict[str, Any] | None
) -> None:
    """Bytes count, not characters; of a compressed message, those that it inflates to."""
    socket = await hermes.open("/ws/notifications", ACME, compression_options=compression)
    start, end = '{"action":"ping","pad":"', '"}'
    room = size_bytes - len(start) - len(end)
    width = len(letter.encode())
    await socket.send(start + letter * (room // width) + "x" * (room % width) + end)
    if closes:
        assert await socket.wait_closed() == TOO_BIG
    else:
        assert (await socket.receive())["action"] == "pong"


@pytest.mark.gen_test
async def test_the_fragments_of_a_message_are_counted_together(hermes: Hermes) -> None:
    """A small fragmented message gets its reply; a large one closes the socket."""
    raw = await open_raw(hermes, "/ws/notifications", ACME)
    await raw.send(TEXT, b'{"action":', flags=0)
    await raw.send(PING, b"between")
    await raw.send(0, b'"ping"}')
    assert await raw.frame() == (FIN | PONG, b"between")
    assert await raw.text() == '{"action":"pong"}'
    await raw.send(TEXT, b"x" * 40_000, flags=0)
    await raw.send(0, b"x" * 40_000)
    assert await raw.close_frame() == TOO_BIG


@pytest.mark.gen_test
async def test_a_large_message_is_read_completely_before_the_connection_ends(hermes: Hermes) -> None:
    """Up to 1 MiB: a client that is still sending gets 1009 and an orderly end, not a reset."""
    raw = await open_raw(hermes, "/ws/notifications", ACME)
    await raw.send_bytes(bytes([FIN | TEXT, 0x80 | 127]) + (1024 * KIB).to_bytes(8, "big") + b"\0\0\0\0")
    for _ in range(16):
        await raw.send_bytes(b"x" * 64 * KIB)
        assert (await hermes.request("/health")).code == 200, "the server has read what was sent so far"
    assert await raw.close_frame() == TOO_BIG
    await raw.send(CLOSE, b"\x03\xf1")
    assert await asyncio.wait_for(raw.reader.read(), TIMEOUT_S) == b"", "a reset would raise"
