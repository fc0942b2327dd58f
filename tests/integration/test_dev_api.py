"""``POST /dev/token`` and ``POST /dev/drill``: their effects with --dev, and 404 without it."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from tornado.httpclient import HTTPResponse

from hermes.delivery.messages import DeviceMessage
from hermes.ids import DeviceId, TenantId
from hermes.testing import ClientSocket
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("complaints")]

HOLD_S = 0.3
LONG_HOLD_S = 60  # longer than any test


@pytest.fixture
def dev(io_loop: Any, make_hermes: MakeHermes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hermes:
    """A Hermes in --dev without MQTT."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "key").write_text(f"{KEY}\n")

    async def start() -> Hermes:
        return await make_hermes(dev="true", api_key_file=tmp_path / "key")

    made: Hermes = io_loop.run_sync(start)
    return made


async def post(hermes: Hermes, path: str, body: object, **headers: str) -> HTTPResponse:
    """Post with the right key, unless ``headers`` contain another."""
    content = body if isinstance(body, str) else json.dumps(body)
    given = {"Content-Type": "application/json", "X-API-Key": KEY} | headers
    return await hermes.request(path, method="POST", body=content, headers=given)


async def answer_of(hermes: Hermes, path: str, **body: object) -> dict[str, Any]:
    """Return the answer of a request that succeeds."""
    response = await post(hermes, path, body)
    assert response.code == 200, response.body
    answer = json.loads(response.body)
    assert answer["status"] == "success"
    assert isinstance(answer, dict)
    return answer


async def opened(hermes: Hermes, user_id: str, path: str = "/ws/notifications", **claims: object) -> ClientSocket:
    """Open a socket of this user, with a token of ``/dev/token``."""
    answer = await answer_of(hermes, "/dev/token", user_id=user_id, **claims)
    return await hermes.open(path, answer["token"])


# -- access -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/dev/token", "/dev/drill"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.gen_test
async def test_in_production_they_do_not_exist(hermes: Hermes, path: str, method: str) -> None:
    """404, with or without the key, as any unknown path."""
    body = '{"user_id":"1"}' if method == "POST" else None
    for headers in ({}, {"X-API-Key": KEY, "Content-Type": "application/json"}):
        response = await hermes.request(path, method=method, body=body, headers=headers)
        other = await hermes.request("/dev/nothing", method=method, body=body, headers=headers)
        assert (response.code, response.body) == (404, other.body)


@pytest.mark.parametrize("path", ["/dev/token", "/dev/drill"])
@pytest.mark.gen_test
async def test_without_the_key_nothing_is_done(dev: Hermes, path: str) -> None:
    """Also for requests from this machine, so that neither a web page nor a client of a proxy can use them."""
    for headers in ({"X-API-Key": ""}, {"X-API-Key": "wrong"}):
        response = await post(dev, path, {"user_id": "1", "fault": "drop"}, **headers)
        assert response.code == 401


@pytest.mark.parametrize("path", ["/dev/token", "/dev/drill"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Host": "rebound.example"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
@pytest.mark.gen_test
async def test_with_the_key_a_request_must_be_from_this_machine(
    dev: Hermes, path: str, headers: dict[str, str]
) -> None:
    """Not from a page of another origin, under another name, or through a proxy."""
    response = await post(dev, path, {"user_id": "1", "fault": "drop"}, **headers)
    assert (response.code, json.loads(response.body)["error"]["code"]) == (403, "not_local")
    assert b"eyJ" not in response.body


@pytest.mark.parametrize("path", ["/dev/token", "/dev/drill"])
@pytest.mark.gen_test
async def test_an_invalid_request_is_rejected_with_the_reason(dev: Hermes, path: str) -> None:
    """In the form of the errors of /notify."""
    assert (await dev.request(path, headers={"X-API-Key": KEY})).code == 405
    assert (await post(dev, path, {}, **{"Content-Type": "text/plain"})).code == 415
    for body, code, name in (("{", 400, "invalid_json"), ("[]", 422, "invalid"), ("null", 422, "invalid")):
        response = await post(dev, path, body)
        assert (response.code, json.loads(response.body)["error"]["code"]) == (code, name)
    response = await post(dev, path, {"nonsense": 1})
    assert json.loads(response.body)["error"]["fields"]["nonsense"] == "unknown key"


# -- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_token_has_the_requested_claims(dev: Hermes) -> None:
    """It opens the sockets that they allow."""
    answer = await answer_of(
        dev, "/dev/token", user_id=7, username="zoë", tenant_id="acme", is_superuser=True, ttl_s=30
    )
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert {name: claims[name] for name in ("user_id", "username", "tenant_id", "is_superuser")} == {
        "user_id": "7",
        "username": "zoë",
        "tenant_id": "acme",
        "is_superuser": True,
    }
    assert answer["expires"] == claims["exp"] * 1_000
    assert claims["exp"] - claims["iat"] in (30, 31)  # a second may begin in between
    await (await dev.open("/ws/tenant/globex", answer["token"])).expect_silence()


@pytest.mark.gen_test
async def test_the_default_token_has_no_tenant_and_never_expires(dev: Hermes) -> None:
    """Its username is dev."""
    answer = await answer_of(dev, "/dev/token", user_id="9")
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert answer["expires"] is None
    assert set(claims) == {"user_id", "username", "iat"}
    assert claims["username"] == "dev"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user_id": ""},
        {"user_id": 1.5},
        {"user_id": True},
        {"user_id": "1", "ttl_s": 0},
        {"user_id": "1", "ttl_s": 1.5},
        {"user_id": "1", "ttl_s": 10**9},
        {"user_id": "1", "is_superuser": "yes"},
        {"user_id": "1", "username": ""},
    ],
)
@pytest.mark.gen_test
async def test_an_invalid_token_is_not_signed(dev: Hermes, body: dict[str, object]) -> None:
    """422 with the name of the field."""
    response = await post(dev, "/dev/token", body)
    assert response.code == 422
    (name,) = json.loads(response.body)["error"]["fields"]
    assert name == next((key for key in body if key != "user_id"), "user_id")


# -- drills -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [("drop", None, None), ("internal_error", 1011, "internal_error"), ("restart", 1001, "stopping;retry_ms=")],
)
@pytest.mark.gen_test
async def test_a_fault_closes_the_sockets_of_that_user_only(
    dev: Hermes, fault: str, code: int | None, reason: str | None
) -> None:
    """With its code and reason; a drop has none."""
    affected = [await opened(dev, "affected") for _ in range(2)]
    other = await opened(dev, "other")
    answer = await answer_of(dev, "/dev/drill", fault=fault, user_id="affected")
    assert answer == {"status": "success", "fault": fault, "sockets": 2}
    for socket in affected:
        seen_code, seen_reason = await socket.wait_closed()
        assert seen_code == code
        assert (seen_reason or "").startswith(reason or "")
    await other.expect_silence()


def waiting(hermes: Hermes, user_id: str) -> int:
    """Return how many frames wait for this user's socket."""
    (session,) = [session for session in hermes.gateway.hub.sessions if session.principal.user_id == user_id]
    return session.waiting


@pytest.mark.gen_test
async def test_held_sockets_get_nothing_for_a_while_and_then_everything(dev: Hermes) -> None:
    """All notifications in order, the pong before them; other users' sockets are not held."""
    held, other = await opened(dev, "held"), await opened(dev, "other")
    await answer_of(dev, "/dev/drill", fault="hold", user_id="held", seconds=LONG_HOLD_S)
    await held.send({"action": "ping"})
    await eventually(lambda: waiting(dev, "held") == 1)
    for number in range(3):
        assert (await dev.notify({"user_id": "held", "id": str(number), "title": "t", "message": ""}))["sent"] is True
    await other.expect_silence()
    assert waiting(dev, "held") == 4
    await answer_of(dev, "/dev/drill", fault="hold", user_id="held", seconds=HOLD_S)
    frames = [await held.receive() for _ in range(4)]
    assert [frame.get("id", frame.get("action")) for frame in frames] == ["pong", "0", "1", "2"]


def value(number: int) -> DeviceMessage:
    """Return a device's value."""
    return DeviceMessage(
        tenant_id=TenantId("acme"),
        device_id=DeviceId("d1"),
        series="t",
        topic="t",
        data=str(number).encode(),
        timestamp_ms=number,
    )


@pytest.mark.gen_test
async def test_a_held_socket_gets_the_latest_value_and_the_number_of_skipped_ones(dev: Hermes) -> None:
    """Telemetry beyond the outbox is conflated; received plus skipped is what was published, the last value last."""
    held = await opened(dev, "held", "/ws/tenant/acme", tenant_id="acme")
    await answer_of(dev, "/dev/drill", fault="hold", user_id="held", seconds=LONG_HOLD_S)
    published = 3_000
    for number in range(published):
        dev.gateway.hub.publish(value(number))
    await dev.gateway.hub.flushed()
    await answer_of(dev, "/dev/drill", fault="hold", user_id="held", seconds=HOLD_S)
    frames = [await held.receive()]
    while frames[-1]["data"] != published - 1:
        frames.append(await held.receive())
    skipped = sum(frame.get("skipped", 0) for frame in frames)
    assert skipped > 0
    assert len(frames) + skipped == published


@pytest.mark.gen_test
async def test_a_second_hold_replaces_the_first(dev: Hermes) -> None:
    """It counts from its own beginning."""
    held = await opened(dev, "held")
    await answer_of(dev, "/dev/drill", fault="hold", user_id="held", seconds=LONG_HOLD_S)
    began_s = time.monotonic()
    await answer_of(dev, "/dev/drill", fault="hold", user_id="held", seconds=HOLD_S)
    await held.send({"action": "ping"})
    assert (await held.receive())["action"] == "pong"
    assert time.monotonic() - began_s >= HOLD_S * 0.9


@pytest.mark.gen_test
async def test_a_held_socket_can_be_closed_and_a_held_server_can_be_stopped(dev: Hermes) -> None:
    """Its notifications are sent at the stop."""
    first, second = await opened(dev, "first"), await opened(dev, "second")
    for user_id in ("first", "second"):
        await answer_of(dev, "/dev/drill", fault="hold", user_id=user_id, seconds=30)
    await answer_of(dev, "/dev/drill", fault="internal_error", user_id="first")
    assert (await first.wait_closed())[0] == 1011
    await dev.notify({"user_id": "second", "id": "waiting", "title": "t", "message": ""})
    stopping = asyncio.ensure_future(dev.gateway.stop())
    assert (await second.receive())["id"] == "waiting"
    assert (await second.wait_closed())[0] == 1001
    await stopping
    assert dev.gateway.hub.sessions == set()


@pytest.mark.gen_test
async def test_a_user_without_sockets_is_not_an_error(dev: Hermes) -> None:
    """The answer has the number of sockets, 0."""
    assert (await answer_of(dev, "/dev/drill", fault="drop", user_id="unknown"))["sockets"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"fault": "earthquake", "user_id": "1"}, "fault"),
        ({"user_id": "1"}, "fault"),
        ({"fault": "drop"}, "user_id"),
        ({"fault": "hold", "user_id": "1"}, "seconds"),
        ({"fault": "hold", "user_id": "1", "seconds": 0}, "seconds"),
        ({"fault": "hold", "user_id": "1", "seconds": 61}, "seconds"),
    ],
)
@pytest.mark.gen_test
async def test_an_invalid_drill_names_the_field(dev: Hermes, body: dict[str, object], field: str) -> None:
    """422."""
    response = await post(dev, "/dev/drill", body)
    assert response.code == 422
    assert list(json.loads(response.body)["error"]["fields"]) == [field]


@pytest.mark.gen_test
async def test_without_an_embedded_broker_none_is_killed(dev: Hermes) -> None:
    """409 with the setting that starts one."""
    response = await post(dev, "/dev/drill", {"fault": "broker"})
    assert response.code == 409
    assert json.loads(response.body)["error"]["code"] == "no_broker"


@pytest.mark.gen_test
async def test_the_embedded_broker_is_killed_and_restarted(
    make_hermes: MakeHermes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaints: list[object]
) -> None:
    """Both are counted in /status."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "key").write_text(f"{KEY}\n")
    hermes = await make_hermes(dev="true", api_key_file=tmp_path / "key", mqtt_url="embedded")
    await eventually(lambda: hermes.gateway.link.ready)
    assert await answer_of(hermes, "/dev/drill", fault="broker") == {
        "status": "success",
        "fault": "broker",
        "sockets": 0,
    }
    await eventually(lambda: hermes.gateway.link.is_down)
    await eventually(lambda: hermes.gateway.link.ready)
    response = await hermes.request("/status", headers={"X-API-Key": KEY})
    figures = json.loads(response.body)
    assert figures["mqtt"]["broker_restarts"] >= 1, "again if another program took the port meanwhile"
    assert figures["mqtt"]["outages"] == 1
    assert figures["dev"] is True
    complaints.clear()
