"""Tokens: the three places of a request, claims, rejections, expiry and refresh."""

import base64
import hmac
import json
import time
from typing import Any

import pytest

from hermes.delivery import housekeeping
from hermes.delivery.messages import DeviceMessage
from hermes.ids import DeviceId, TenantId
from hermes.testing import FakeClock
from tests.support.gateways import SECRET, Hermes, MakeHermes, swept, token
from tests.support.raw_socket import open_raw

pytestmark = pytest.mark.usefixtures("complaints")

ROUTES = ["/ws/notifications", "/ws/tenant/acme", "/ws/device/d1", "/ws"]
INVALID = (1008, "token_invalid")
MISSING = (1008, "token_missing")
EXPIRED = (1008, "token_expired")
FORBIDDEN = (1008, "forbidden")
GOOD = token(tenant_id="acme")
PAIR = f"hermes.v1, {GOOD}"


def part(value: bytes) -> str:
    """Encode as base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(payload: bytes, header: bytes = b'{"alg":"HS256","typ":"JWT"}', hash_name: str = "sha256") -> str:
    """Return a token with any payload and a valid signature of our key."""
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{part(hmac.digest(SECRET.encode(), text.encode(), hash_name))}"


def bearer(given: str) -> dict[str, str]:
    """Return the bearer header with this token."""
    return {"Authorization": f"Bearer {given}"}


def offer(protocols: str) -> dict[str, str]:
    """Return the header that offers these subprotocols."""
    return {"Sec-WebSocket-Protocol": protocols}


# -- the place of the token ---------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("query", "headers", "selected"),
    [
        (f"?token={GOOD}", {}, None),
        ("", bearer(GOOD), None),
        ("", {"Authorization": f"bearer {GOOD}"}, None),
        ("", offer(PAIR), "hermes.v1"),
        ("", offer(f"hermes.v1,{GOOD}"), "hermes.v1"),
        ("", offer(f"{GOOD}, hermes.v1"), "hermes.v1"),
        (f"?token={GOOD}", offer("hermes.v1"), "hermes.v1"),
        ("", bearer(GOOD) | offer("hermes.v1"), "hermes.v1"),
        (f"?token={GOOD}", offer("chat"), None),
        (f"?token={GOOD}", {"Authorization": "Basic YTpi"}, None),
    ],
)
async def test_a_token_is_accepted_in_each_of_its_places(
    hermes: Hermes, path: str, query: str, headers: dict[str, str], selected: str | None
) -> None:
    """Query, bearer header or subprotocol; ``hermes.v1`` is selected if it is offered, and no other subprotocol."""
    raw = await open_raw(hermes, path + query, headers=headers)
    assert raw.status == 101
    assert raw.headers.get("Sec-WebSocket-Protocol") == selected
    await raw.send(1, b'{"action":"ping"}')
    assert await raw.text() == '{"action":"pong"}'


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("", {}, MISSING),
        ("?token=", {}, MISSING),
        ("?Token=" + GOOD, {}, MISSING),
        ("", {"Authorization": f"Basic {GOOD}"}, MISSING),
        ("", {"Authorization": GOOD}, MISSING),
        ("", offer("hermes.v1"), MISSING),
        ("", offer(GOOD), MISSING),
        ("", offer(f"hermes.v2, {GOOD}"), MISSING),
        ("", {"Cookie": f"token={GOOD}"}, MISSING),
        (f"?token={GOOD}", bearer(GOOD), INVALID),
        (f"?token={GOOD}", offer(PAIR), INVALID),
        ("", bearer(GOOD) | offer(PAIR), INVALID),
        (f"?token={GOOD}&token={GOOD}", {}, INVALID),
        ("", offer(f"{PAIR}, {GOOD}"), INVALID),
        (f"?token={GOOD}", bearer("rubbish"), INVALID),
        ("?token=%ff", {}, INVALID),
        ("?token=%00", {}, INVALID),
        ("?token=" + "x" * 10_240, {}, INVALID),
        ("", bearer("x" * 10_240), INVALID),
        ("", offer("hermes.v1, " + "x" * 10_240), INVALID),
    ],
)
async def test_no_token_or_more_than_one_is_rejected(
    hermes: Hermes, query: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    """After an accepted handshake that selects ``hermes.v1`` if it is offered; the first frame is the close frame."""
    raw = await open_raw(hermes, "/ws/notifications" + query, headers=headers)
    assert raw.status == 101
    offered = "hermes.v1" in headers.get("Sec-WebSocket-Protocol", "")
    assert raw.headers.get("Sec-WebSocket-Protocol") == ("hermes.v1" if offered else None)
    assert await raw.first_close() == expected


# -- the content of the token -------------------------------------------------------------------------------------

DEEP = b"[" * 2_900 + b"]" * 2_900
NOT_TOKENS = {
    "rubbish": "rubbish",
    "two parts": "eyJ.eyJ",
    "dots": "..",
    "four parts": GOOD + ".x",
    "no signature": GOOD.rpartition(".")[0] + ".",
    "wrong key": token(secret="another secret that is longer than thirty-two bytes"),
    "alg none": part(b'{"alg":"none"}') + "." + part(b'{"user_id":"1","username":"a"}') + ".",
    "alg none, our signature": signed(b'{"user_id":"1","username":"a"}', b'{"alg":"none"}'),
    "HS512": signed(b'{"user_id":"1","username":"a"}', b'{"alg":"HS512"}', "sha512"),
    "HS384": signed(b'{"user_id":"1","username":"a"}', b'{"alg":"HS384"}', "sha384"),
    "lower-case algorithm": signed(b'{"user_id":"1","username":"a"}', b'{"alg":"hs256"}'),
    "no alg": signed(b'{"user_id":"1","username":"a"}', b"{}"),
    "header not JSON": signed(b'{"user_id":"1","username":"a"}', b"{"),
    "header deep": signed(b'{"user_id":"1","username":"a"}', DEEP[:2000]),
    "payload not JSON": signed(b"user_id"),
    "payload an array": signed(b"[]"),
    "payload null": signed(b"null"),
    "payload not UTF-8": signed(b'{"user_id":"1","username":"\xff"}'),
    "payload deep": signed(b'{"user_id":"1","username":"a","x":' + DEEP + b"}"),
    "payload of open brackets": signed(b"[" * 5_800),
    "payload objects deep": signed(b'{"a":' * 1_100 + b"1" + b"}" * 1_100),
    "number of 5,000 digits": signed(b'{"user_id":' + b"9" * 5_000 + b',"username":"a"}'),
}


@pytest.mark.gen_test
@pytest.mark.parametrize("given", NOT_TOKENS.values(), ids=NOT_TOKENS)
async def test_a_malformed_or_forged_token_is_invalid(hermes: Hermes, given: str) -> None:
    """The client gets ``token_invalid`` and no details."""
    assert await (await hermes.open("/ws/notifications", given)).wait_closed() == INVALID


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "claims",
    [
        {"user_id": None},
        {"username": None},
        {"user_id": ""},
        {"user_id": True},
        {"user_id": False},
        {"user_id": 1.0},
        {"user_id": 1.5},
        {"user_id": ["123"]},
        {"user_id": {"id": 1}},
        {"username": ""},
        {"username": 5},
        {"username": ["ana"]},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": []},
        {"nbf": "0"},
    ],
    ids=json.dumps,
)
async def test_claims_of_the_wrong_kind_are_invalid(hermes: Hermes, claims: dict[str, Any]) -> None:
    """``user_id`` and ``username`` are required; ids are strings or integers, times are numbers."""
    assert await (await hermes.open("/ws/notifications", token(**claims))).wait_closed() == INVALID


@pytest.mark.gen_test
@pytest.mark.parametrize("claim", ["user_id", "username", "exp", "nbf"])
async def test_a_claim_that_is_null_is_invalid(hermes: Hermes, claim: str) -> None:
    """Null is not an id, a name or a time."""
    claims = {"user_id": "1", "username": "a"} | {claim: None}
    assert await (await hermes.open("/ws/notifications", signed(json.dumps(claims).encode()))).wait_closed() == INVALID


@pytest.mark.gen_test
@pytest.mark.parametrize("tenant_id", [True, 1.0, "", [], {}])
@pytest.mark.parametrize("path", ["/ws/tenant/1", "/ws/tenant/True", "/ws/device/d1"])
async def test_a_tenant_that_is_not_an_id_opens_no_socket(hermes: Hermes, tenant_id: object, path: str) -> None:
    """It is not converted to a string."""
    code, reason = await (await hermes.open(path, token(tenant_id=tenant_id))).wait_closed()
    assert code == 1008
    assert reason in ("token_invalid", "forbidden")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "age_s", [0, 0.1, 1, 3_600, int(time.time()), 1e12], ids=["0", "0.1", "1", "hour", "1970", "1e12"]
)
async def test_an_expired_token_is_rejected_with_its_own_reason(hermes: Hermes, age_s: float) -> None:
    """There is no leeway; a ping that the client sends at once gets no pong."""
    raw = await open_raw(hermes, "/ws/notifications", token(exp=time.time() - age_s))
    await raw.send(1, b'{"action":"ping"}')
    assert await raw.first_close() == EXPIRED


@pytest.mark.gen_test
@pytest.mark.parametrize("early_s", [0.5, 60.5, 3_600])
async def test_a_token_is_invalid_before_its_time(make_hermes: MakeHermes, early_s: float) -> None:
    """There is no leeway for ``nbf`` either."""
    clock = FakeClock()
    hermes = await make_hermes(clock=clock)
    given = token(nbf=clock.now_s + early_s)
    assert await (await hermes.open("/ws/notifications", given)).wait_closed() == INVALID
    clock.now_s += early_s
    await (await hermes.open("/ws/notifications", given)).expect_silence()


@pytest.mark.gen_test
async def test_an_expired_token_of_another_key_is_invalid(hermes: Hermes) -> None:
    """Its claims are not evaluated."""
    given = token(exp=1, secret="another secret that is longer than thirty-two bytes")
    assert await (await hermes.open("/ws/notifications", given)).wait_closed() == INVALID


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "claims",
    [
        {"exp": time.time() + 3_600.5, "nbf": time.time() - 1},
        {"exp": 1e18},
        {"sub": 5, "iat": "never", "jti": 7},
        {"iat": int(time.time()) + 3_600},
        {"iss": "somebody", "aud": "else"},
        {"aud": ["a", "b"], "roles": ["x"]},
        {"user_id": "0"},
        {"user_id": 0},
        {"user_id": 2**70},
        {"user_id": "💥"},
        {"user_id": " "},
    ],
    ids=lambda claims: " ".join(claims),  # without their values: of some it is the time
)
async def test_valid_and_ignored_claims_open_a_socket(hermes: Hermes, claims: dict[str, Any]) -> None:
    """``sub`` and ``iat`` are ignored; so are issuer and audience if the settings do not name them."""
    await (await hermes.open("/ws/notifications", token(**claims))).expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"iss": "idp", "aud": "hermes"}, True),
        ({"iss": "idp", "aud": ["other", "hermes"]}, True),
        ({"iss": "idp"}, False),
        ({"aud": "hermes"}, False),
        ({"iss": "idp", "aud": "other"}, False),
        ({"iss": "idp", "aud": []}, False),
        ({"iss": "idp", "aud": 5}, False),
        ({"iss": "other", "aud": "hermes"}, False),
        ({"iss": ["idp"], "aud": "hermes"}, False),
        ({}, False),
    ],
    ids=json.dumps,
)
async def test_issuer_and_audience_are_checked_when_set(
    make_hermes: MakeHermes, claims: dict[str, Any], good: bool
) -> None:
    """Both must be present and equal to the settings."""
    hermes = await make_hermes(jwt_issuer="idp", jwt_audience="hermes")
    given = signed(json.dumps({"user_id": "123", "username": "ana"} | claims).encode())
    socket = await hermes.open("/ws/notifications", given)
    if good:
        await socket.expect_silence()
    else:
        assert await socket.wait_closed() == INVALID


@pytest.mark.gen_test
async def test_the_name_of_the_tenant_claim_is_a_setting(make_hermes: MakeHermes) -> None:
    """With another name, the claim ``tenant_id`` is ignored."""
    hermes = await make_hermes(claim_tenant="org")
    await (await hermes.open("/ws/tenant/acme", token(org="acme", tenant_id="globex"))).expect_silence()
    assert (
        await (await hermes.open("/ws/tenant/globex", token(org="acme", tenant_id="globex"))).wait_closed() == FORBIDDEN
    )
    assert await (await hermes.open("/ws/tenant/acme", token(tenant_id="acme"))).wait_closed() == FORBIDDEN


# -- expiry and refresh -------------------------------------------------------------------------------------------


@pytest.fixture
def frequent_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweep sixteen times a second: the tests wait for sweeps."""
    monkeypatch.setattr(housekeeping, "PERIOD_S", 0.0625)


@pytest.mark.gen_test
@pytest.mark.usefixtures("frequent_sweeps")
async def test_expiry_closes_every_route(make_hermes: MakeHermes) -> None:
    """With 1008 in the first sweep at or after ``exp``; a socket with a token that is still valid stays open."""
    clock = FakeClock()
    hermes = await make_hermes(clock=clock)
    exp = clock.now_s + 10
    sockets = [await hermes.open(path, token(tenant_id="acme", exp=exp)) for path in ROUTES]
    lasting = await hermes.open("/ws", token(tenant_id="acme", exp=exp + 0.5))
    clock.now_s = exp - 0.5
    await swept(hermes)
    for socket in sockets:
        await socket.expect_silence()
    clock.now_s = exp
    for socket in sockets:
        assert await socket.wait_closed() == EXPIRED
    await lasting.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("exp", [None, int(time.time()) + 3_600, time.time() + 3_600.25], ids=["never", "int", "float"])
async def test_the_reply_to_a_refresh_has_the_new_expiry(hermes: Hermes, path: str, exp: float | None) -> None:
    """In Unix milliseconds; null if the new token never expires."""
    socket = await hermes.open(path, token(tenant_id="acme", exp=int(time.time()) + 60))
    await socket.send({"action": "refresh", "token": token(tenant_id="acme", exp=exp)})
    reply = await socket.receive()
    assert reply["expires"] == (None if exp is None else pytest.approx(exp * 1000, abs=1))
    assert reply == {"action": "refreshed", "expires": reply["expires"]}
    await socket.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("exp", [1e15, 1e17, 1e18, 1e308])
async def test_a_refresh_may_expire_in_the_far_future(hermes: Hermes, exp: float) -> None:
    """The token is valid, and the reply has a number that JSON readers can represent, or null."""
    socket = await hermes.open("/ws/notifications", token())
    await socket.send({"action": "refresh", "token": token(exp=exp)})
    reply = await socket.receive()
    assert reply["action"] == "refreshed"
    assert reply["expires"] is None or reply["expires"] >= 1e15
    await socket.expect_silence()


@pytest.mark.gen_test
@pytest.mark.usefixtures("frequent_sweeps")
async def test_a_socket_expires_with_its_newest_token(make_hermes: MakeHermes) -> None:
    """A refresh may move the expiry to a later or to an earlier time."""
    clock = FakeClock()
    hermes = await make_hermes(clock=clock)
    exp = clock.now_s + 10
    lengthened = await hermes.open("/ws/notifications", token(exp=exp))
    shortened = await hermes.open("/ws/notifications", token())
    await lengthened.send({"action": "refresh", "token": token(exp=exp + 60)})
    await shortened.send({"action": "refresh", "token": token(exp=exp)})
    assert (await lengthened.receive())["action"] == (await shortened.receive())["action"] == "refreshed"
    await swept(hermes)
    await shortened.expect_silence()
    clock.now_s = exp
    assert await shortened.wait_closed() == EXPIRED
    await lengthened.expect_silence()
    assert (await hermes.notify({"user_id": "123", "title": "n", "message": ""}))["sent"]
    assert (await lengthened.receive())["title"] == "n"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        *[(path, "rubbish", "token_invalid") for path in ROUTES],
        ("/ws", token(tenant_id="acme", secret="another secret that is longer than thirty-two bytes"), "token_invalid"),
        ("/ws", token(tenant_id="acme", exp=1), "token_expired"),
        ("/ws", "x" * 10_240, "token_invalid"),
        *[(path, token("456", tenant_id="acme"), None) for path in ROUTES],
        ("/ws/tenant/acme", token(tenant_id="globex"), "forbidden"),
        ("/ws/tenant/acme", token(), "forbidden"),
        ("/ws/device/d1", token(), "forbidden"),
        ("/ws?tenant_id=acme", token(tenant_id="globex"), "forbidden"),
        ("/ws/notifications?tenant_id=acme", token(), "forbidden"),
    ],
)
async def test_a_refresh_that_fails_closes(hermes: Hermes, path: str, given: str, expected: str | None) -> None:
    """An invalid token, one of another user, or one that may not use this route: 1008 and no reply before it."""
    socket = await hermes.open(path, GOOD)
    await socket.send({"action": "refresh", "token": given})
    code, reason = await socket.wait_closed()
    assert code == 1008
    assert reason in ((expected,) if expected else ("token_invalid", "forbidden"))
    assert (await hermes.notify({"user_id": "123", "title": "n", "message": ""}))["sent"] is False


def publish(hermes: Hermes, *tenants: str) -> None:
    """Publish one value of device d1 of each tenant."""
    for tenant_id in tenants:
        hermes.gateway.hub.publish(
            DeviceMessage(TenantId(tenant_id), DeviceId("d1"), series="", topic="t", data=b"1", timestamp_ms=1)
        )


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws", "/ws/device/d1"])
async def test_a_refresh_to_another_tenant_changes_the_channels(hermes: Hermes, path: str) -> None:
    """The socket then receives data of the new tenant only."""
    socket = await hermes.open(path, token(tenant_id="acme"))
    await socket.send({"action": "refresh", "token": token(tenant_id="globex")})
    assert (await socket.receive())["action"] == "refreshed"
    publish(hermes, "acme", "globex")
    assert (await socket.receive())["tenant_id"] == "globex"
    assert (await hermes.notify({"tenant_id": "acme", "title": "b", "message": ""}))["sent"] is False
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_a_refresh_can_remove_the_superuser_permission(hermes: Hermes) -> None:
    """The permissions are those of the newest token."""
    socket = await hermes.open("/ws/device/d1", token(is_superuser=True))
    await socket.send({"action": "refresh", "token": token(tenant_id="acme")})
    assert (await socket.receive())["action"] == "refreshed"
    publish(hermes, "globex", "acme")
    assert (await socket.receive())["tenant_id"] == "acme"
    await socket.send({"action": "refresh", "token": token()})
    assert await socket.wait_closed() == FORBIDDEN
