"""The five routes: who may open each, and which messages each receives."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus
from hermes.ids import DeviceId, TenantId
from hermes.testing import ClientSocket
from tests.support.gateways import Hermes, token

pytestmark = pytest.mark.usefixtures("complaints")

ROUTES = ["/ws/notifications", "/ws/tenant/acme", "/ws/device/d1", "/ws"]  # for users; /ws/tenants is for superusers
NO_TENANT = token()
ACME = token(tenant_id="acme")
GLOBEX = token("456", "luis", tenant_id="globex")
ROOT = token("1", "root", is_superuser=True)
ROOT_OF_ACME = token("1", "root", is_superuser=True, tenant_id="acme")
FORBIDDEN = (1008, "forbidden")


def publish(hermes: Hermes, tenant_id: str, device_id: str, data: object = 21.5, **options: Any) -> None:
    """Publish a value of a device, as the MQTT side does."""
    given: dict[str, Any] = {
        "series": "temp",
        "topic": f"tenants/{tenant_id}/devices/{device_id}/temp",
        "timestamp_ms": 1_763_836_800_123,
    }
    hermes.gateway.hub.publish(
        DeviceMessage(TenantId(tenant_id), DeviceId(device_id), data=json.dumps(data).encode(), **given | options)
    )


async def received(socket: ClientSocket) -> list[tuple[str, str]]:
    """Return tenant and device of every device frame that arrives before the reply to a ping."""
    await socket.send({"action": "ping"})
    frames = []
    while (frame := await socket.receive()) != {"action": "pong"}:
        frames.append((frame["tenant_id"], frame["device_id"]))
    return frames


# -- who may open -------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "given"),
    [
        *[("/ws/notifications", given) for given in (NO_TENANT, ACME, ROOT)],
        *[("/ws/tenant/acme", given) for given in (ACME, ROOT, ROOT_OF_ACME)],
        ("/ws/tenant/globex", ROOT_OF_ACME),
        ("/ws/tenant/7", token(tenant_id=7)),
        ("/ws/tenant/-7", token(tenant_id=-7)),
        *[("/ws/device/d1", given) for given in (ACME, GLOBEX, ROOT)],
        *[("/ws", given) for given in (NO_TENANT, ACME, ROOT, ROOT_OF_ACME)],
        *[("/ws/tenants", given) for given in (ROOT, ROOT_OF_ACME)],
        ("/ws/tenants?tenant_id=globex", ROOT_OF_ACME),
        *[(f"{path}?tenant_id=acme", ACME) for path in ROUTES],
        *[(f"{path}?tenant_id=acme", ROOT) for path in ROUTES],
        *[(f"{path}?tenant_id=other", ROOT_OF_ACME) for path in ROUTES],
    ],
)
async def test_a_permitted_socket_stays_open(hermes: Hermes, path: str, given: str) -> None:
    """For each route and kind of token that the protocol permits."""
    await (await hermes.open(path, given)).expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/ws/tenant/acme", GLOBEX),
        ("/ws/tenant/acme", NO_TENANT),
        ("/ws/tenant/ACME", ACME),
        ("/ws/tenant/acme%20", ACME),
        ("/ws/device/d1", NO_TENANT),
        *[("/ws/tenants", given) for given in (NO_TENANT, ACME)],
        ("/ws/tenants?tenant_id=acme", ACME),
        *[(f"{path}?tenant_id=globex", ACME) for path in ROUTES],
        *[(f"{path}?tenant_id=globex", NO_TENANT) for path in ROUTES],
        *[(f"{path}?tenant_id=", ACME) for path in ROUTES],
        *[(f"{path}?tenant_id=%20acme", ACME) for path in ROUTES],
        *[(f"{path}?tenant_id=%ff", ACME) for path in ROUTES],
    ],
)
async def test_a_socket_that_is_not_permitted_gets_forbidden(hermes: Hermes, path: str, given: str) -> None:
    """1008 after an accepted handshake, and no text frame before it."""
    assert await (await hermes.open(path, given)).wait_closed() == FORBIDDEN


@pytest.mark.gen_test
@pytest.mark.parametrize("claim", ["true", "True", 1, 1.0, "1", [True], {"is": True}, False, None])
@pytest.mark.parametrize("path", ["/ws/tenant/acme", "/ws/device/d1", "/ws?tenant_id=acme", "/ws/tenants"])
async def test_only_json_true_makes_a_superuser(hermes: Hermes, path: str, claim: object) -> None:
    """Any other value is treated as a token without a tenant."""
    assert await (await hermes.open(path, token(is_superuser=claim))).wait_closed() == FORBIDDEN


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path", ["/ws/tenant/", "/ws/device/", "/ws/", "/ws/tenant/a/b", "/ws/tenants/", "/ws/other", "/dev/token"]
)
async def test_an_unknown_path_is_not_found(hermes: Hermes, path: str) -> None:
    """An empty id or one level too many: HTTP 404."""
    assert (await hermes.request(path)).code == 404


# -- which messages each receives ---------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_each_route_receives_its_own_kinds_of_messages(hermes: Hermes) -> None:
    """Of one device value, one notification and one broadcast."""
    sockets = {path: await hermes.open(path, ACME) for path in ROUTES}
    publish(hermes, "acme", "d1")
    assert (await hermes.notify({"user_id": "123", "title": "n", "message": ""}))["sent"]
    assert (await hermes.notify({"tenant_id": "acme", "title": "b", "message": ""}))["sent"]
    expected = {
        "/ws/notifications": ["notifications"],
        "/ws/tenant/acme": ["device"],
        "/ws/device/d1": ["device"],
        "/ws": ["device", "notifications", "tenant"],
    }
    for path, channels in expected.items():
        assert sorted([(await sockets[path].receive())["channel"] for _ in channels]) == channels
        await sockets[path].expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/tenant/acme", "/ws/device/d1", "/ws"])
async def test_a_device_frame_has_the_documented_fields(hermes: Hermes, path: str) -> None:
    """And the optional ones only if they apply."""
    socket = await hermes.open(path, ACME)
    publish(hermes, "acme", "d1", {"t": [1, None, "ä"]})
    plain = {
        "channel": "device",
        "tenant_id": "acme",
        "device_id": "d1",
        "series": "temp",
        "topic": "tenants/acme/devices/d1/temp",
        "data": {"t": [1, None, "ä"]},
        "timestamp": 1_763_836_800_123,
    }
    assert await socket.receive() == plain
    publish(hermes, "acme", "d1", "on", encoding="text", retained=True, timestamp_ms=None)
    assert await socket.receive() == plain | {"data": "on", "encoding": "text", "retained": True, "timestamp": None}
    publish(hermes, "acme", "d1", None, series="")
    assert await socket.receive() == plain | {"data": None, "series": ""}
    publish(hermes, "acme", "d1", 1, device_name='Hall "1"')
    assert await socket.receive() == plain | {"data": 1, "device_name": 'Hall "1"'}


@pytest.mark.gen_test
async def test_a_notification_on_ws_has_the_same_fields_as_on_its_own_route(hermes: Hermes) -> None:
    """It is the same frame."""
    own, combined = [await hermes.open(path, NO_TENANT) for path in ("/ws/notifications", "/ws")]
    await hermes.notify({"user_id": 123, "title": "t", "message": "m", "data": {"k": 1}})
    frame = await own.receive()
    assert set(frame) == {"channel", "id", "title", "message", "type", "timestamp", "data"}
    assert await combined.receive() == frame


@pytest.mark.gen_test
async def test_a_socket_of_an_unknown_device_opens_and_receives_nothing(hermes: Hermes) -> None:
    """Devices of two tenants with the same id are two devices."""
    acme, globex = [await hermes.open("/ws/device/d1", given) for given in (ACME, GLOBEX)]
    unknown = await hermes.open("/ws/device/nobody", ACME)
    publish(hermes, "acme", "d1")
    publish(hermes, "acme", "d2")
    assert await received(acme) == [("acme", "d1")]
    assert await received(globex) == []
    assert await received(unknown) == []
    publish(hermes, "globex", "d1")
    assert await received(globex) == [("globex", "d1")]
    assert await received(acme) == []


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        ("/ws/device/d1", ROOT, [("acme", "d1"), ("globex", "d1")]),
        ("/ws/device/d1", ROOT_OF_ACME, [("acme", "d1"), ("globex", "d1")]),
        ("/ws/device/d1?tenant_id=globex", ROOT_OF_ACME, [("globex", "d1")]),
        ("/ws/tenant/globex", ROOT_OF_ACME, [("globex", "d1"), ("globex", "d2")]),
        ("/ws", ROOT_OF_ACME, [("acme", "d1"), ("acme", "d2")]),
        ("/ws?tenant_id=globex", ROOT_OF_ACME, [("acme", "d1"), ("acme", "d2")]),
        ("/ws", ROOT, []),
        ("/ws/notifications?tenant_id=globex", ROOT_OF_ACME, []),
        ("/ws/tenants", ROOT, [("acme", "d1"), ("acme", "d2"), ("globex", "d1"), ("globex", "d2")]),
    ],
)
async def test_what_a_superuser_receives(
    hermes: Hermes, path: str, given: str, expected: list[tuple[str, str]]
) -> None:  # fmt: skip
    """A device in every tenant or in the requested one, any tenant, all tenants, and on ``/ws`` their own."""
    socket = await hermes.open(path, given)
    for tenant_id in ("acme", "globex"):
        for device_id in ("d1", "d2"):
            publish(hermes, tenant_id, device_id)
    assert sorted(await received(socket)) == expected


@pytest.mark.gen_test
async def test_the_feed_of_all_tenants_has_device_and_status_frames_only(hermes: Hermes) -> None:
    """Neither the superuser's notifications nor broadcasts, also not of the superuser's own tenant."""
    socket = await hermes.open("/ws/tenants", ROOT_OF_ACME)
    await hermes.notify({"user_id": "1", "title": "n", "message": ""})
    await hermes.notify({"tenant_id": "acme", "title": "b", "message": ""})
    hermes.gateway.hub.publish(DeviceStatus(TenantId("globex"), DeviceId("d1"), True, 7))
    hermes.gateway.hub.publish(LinkStatus(up=False, since_ms=8))
    assert await socket.receive() == {
        "channel": "status", "tenant_id": "globex", "device_id": "d1", "online": True, "since": 7,
    }  # fmt: skip
    assert await socket.receive() == {"channel": "status", "mqtt": "down", "since": 8}
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_the_feed_of_all_tenants_ends_with_the_right_to_it(hermes: Hermes) -> None:
    """A refresh with a token of a superuser leaves it open, one with another token closes it."""
    socket = await hermes.open("/ws/tenants", ROOT)
    await socket.send({"action": "refresh", "token": ROOT_OF_ACME})
    assert (await socket.receive())["action"] == "refreshed"
    await socket.send({"action": "subscribe", "device": "d1"})
    assert (await socket.receive())["code"] == "not_here"
    await socket.send({"action": "refresh", "token": token("1", "root", tenant_id="acme")})
    assert await socket.wait_closed() == FORBIDDEN


@pytest.mark.gen_test
async def test_without_a_tenant_ws_receives_only_notifications(hermes: Hermes) -> None:
    """Neither device data nor broadcasts, also not of a tenant named ``None`` or ``null``."""
    socket = await hermes.open("/ws", NO_TENANT)
    for tenant_id in ("acme", "None", "null", " "):
        publish(hermes, tenant_id, "d1")
        await hermes.notify({"tenant_id": tenant_id, "title": "b", "message": ""})
    await socket.expect_silence()
    await hermes.notify({"user_id": "123", "title": "n", "message": ""})
    assert (await socket.receive())["channel"] == "notifications"


@pytest.mark.gen_test
async def test_a_broadcast_reaches_the_tenants_ws_sockets_only(hermes: Hermes) -> None:
    """The frame has the tenant's id; an integer id and its string are the same tenant."""
    seven, seven_text = [await hermes.open("/ws", token(tenant_id=given)) for given in (7, "7")]
    other = await hermes.open("/ws", ACME)
    response = await hermes.notify({"tenant_id": 7, "title": "b", "message": "m", "data": {"a": 1}})
    for socket in (seven, seven_text):
        frame = await socket.receive()
        assert isinstance(frame.pop("timestamp"), int)
        assert frame == {
            "channel": "tenant",
            "tenant_id": "7",
            "id": response["id"],
            "title": "b",
            "message": "m",
            "type": "info",
            "data": {"a": 1},
        }
    await other.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("claimed", [123, "123"])
@pytest.mark.parametrize("notified", [123, "123"])
async def test_integer_and_string_user_ids_are_the_same(hermes: Hermes, claimed: object, notified: object) -> None:
    """Ids are compared as strings."""
    socket = await hermes.open("/ws/notifications", token(claimed))
    assert (await hermes.notify({"user_id": notified, "title": "n", "message": ""}))["sent"] is True
    assert (await socket.receive())["title"] == "n"


# -- ids in paths -------------------------------------------------------------------------------------------------

STRANGE_IDS = [
    "a/b",
    "a%2Fb",
    "%2F",
    "%",
    "%252F",
    "a+b",
    "a b",
    "#",
    "+",
    "..",
    ".",
    "a?b=c&d",
    "🌡️",
    "ä",
    "é",
    "x" * 1024,
    "🔥" * 256,
    '"}',
    "a\\b",
    "<script>",
    "d;1",
    "\u2028",
]


@pytest.mark.gen_test
@pytest.mark.parametrize("name", STRANGE_IDS, ids=lambda name: ascii(name[:12]))
async def test_path_ids_are_percent_decoded_once(hermes: Hermes, name: str) -> None:
    """Any id can be sent in a path, percent-encoded, as a device id and as a tenant id."""
    encoded = quote(name, safe="").replace(".", "%2E")
    given = token(tenant_id=name)
    tenant = await hermes.open(f"/ws/tenant/{encoded}", given)
    device = await hermes.open(f"/ws/device/{encoded}?tenant_id={encoded}", given)
    publish(hermes, name, name)
    for socket in (tenant, device):
        frame = await socket.receive()
        assert (frame["tenant_id"], frame["device_id"]) == (name, name)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("written", "name"), [("a+b", "a+b"), ("..", ".."), ("%2e%2e", ".."), ("a%252fb", "a%2fb"), ("a:@!$,b", "a:@!$,b")]
)
async def test_characters_that_need_no_encoding_stay_unchanged(hermes: Hermes, written: str, name: str) -> None:
    """A plus sign is a plus sign, dots are not resolved, and nothing is decoded twice."""
    socket = await hermes.open(f"/ws/device/{written}", ACME)
    for device_id in (name, "a b", "a/b", "."):
        publish(hermes, "acme", device_id)
    assert await received(socket) == [("acme", name)]


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/device/%ff", "/ws/tenant/%ff", "/ws/device/%c3%28"])
async def test_a_path_that_is_not_utf8_is_a_bad_request(hermes: Hermes, path: str) -> None:
    """The response is HTTP 400."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    response = await hermes.request(f"{path}?token={ACME}", headers=headers | {"Sec-WebSocket-Key": "A" * 22 + "=="})
    assert response.code == 400


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/device/hall%2Flamp", "/ws/device/hall/lamp", "/ws/device?device_id=hall%2Flamp"])
async def test_a_device_id_may_have_slashes(hermes: Hermes, path: str) -> None:
    """Proxies decode them in a path; in the query they stay what they are."""
    socket = await hermes.open(path, ACME)
    for device_id in ("hall", "hall/lamp", "lamp", "hall%2Flamp"):
        publish(hermes, "acme", device_id)
    assert await received(socket) == [("acme", "hall/lamp")]


@pytest.mark.gen_test
@pytest.mark.parametrize("name", STRANGE_IDS, ids=lambda name: ascii(name[:12]))
async def test_the_query_takes_any_device_id(hermes: Hermes, name: str) -> None:
    """Percent-encoded, as in a path."""
    socket = await hermes.open(f"/ws/device?device_id={quote(name, safe='')}", ACME)
    publish(hermes, "acme", name)
    assert await received(socket) == [("acme", name)]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ws/device", 404),
        ("/ws/device/", 404),
        ("/ws/device?device_id=", 404),
        ("/ws/device/d1?device_id=d2", 400),
        ("/ws/device?device_id=d1&device_id=d2", 400),
        ("/ws/device?device_id=%ff", 400),
    ],
)
async def test_a_device_is_named_once(hermes: Hermes, path: str, status: int) -> None:
    """Neither never nor twice."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers["Sec-WebSocket-Key"] = "A" * 22 + "=="
    assert (await hermes.request(path, headers=headers)).code == status
