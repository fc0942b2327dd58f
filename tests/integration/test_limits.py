"""Limits of sockets and of wrong credentials: what is refused, with which words, and who is not affected."""

import asyncio
import json
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import websocket_connect

from hermes.metrics import by_label
from tests.support.gateways import KEY, SECRET, Hermes, MakeHermes, eventually, token
from tests.support.programs import hermes as hermes_program
from tests.support.raw_socket import open_raw

pytestmark = pytest.mark.usefixtures("patient")

ACME = token(tenant_id="acme")


def from_address(address: str) -> dict[str, str]:
    """Return the headers of a client behind the trusted proxy."""
    return {"X-Forwarded-For": address}


async def refused(hermes: Hermes, path: str, given: str | None, **headers: str) -> str:
    """Return the word of the close of a socket that is not admitted."""
    code, reason = await (await hermes.open(path, given, headers=headers)).wait_closed()
    word, _, hint = (reason or "").partition(";")
    assert (code, hint.startswith("retry_ms=")) == (1013, True)
    return word


@pytest.mark.gen_test
async def test_sockets_are_limited_per_user_tenant_and_address(make_hermes: MakeHermes) -> None:
    """Those of others open meanwhile; the reason is counted."""
    limits = {"max_sockets_per_user": "1", "max_sockets_per_tenant": "2", "max_sockets_per_address": "3"}
    hermes = await make_hermes(max_sockets="5", **limits)
    users = [token(str(number), tenant_id=f"tenant-{number // 2}") for number in range(6)]
    site = from_address("192.0.2.1")
    for user in users[:3]:
        await hermes.open("/ws", user, headers=site)
    assert await refused(hermes, "/ws/notifications", users[0]) == "user_full"
    assert await refused(hermes, "/ws", token("9", tenant_id="tenant-0")) == "tenant_full"
    assert await refused(hermes, "/ws", users[3], **site) == "address_full"
    await hermes.open("/ws", users[3])
    await hermes.open("/ws", users[4])
    assert await refused(hermes, "/ws", users[5]) == "server_full"
    words = ("user_full", "tenant_full", "address_full", "server_full")
    assert by_label(hermes.gateway.metrics.sockets_refused) == dict.fromkeys(words, 1.0)


@pytest.mark.gen_test
async def test_refused_sockets_do_not_take_the_place_of_good_ones(make_hermes: MakeHermes) -> None:
    """They ignore the close; nevertheless the last place is free for a good user, at once."""
    hermes = await make_hermes(max_sockets="1")
    for _ in range(80):
        raw = await open_raw(hermes, "/ws")
        assert raw.status == 101
    await (await hermes.open("/ws", ACME)).expect_silence()
    assert hermes.gateway.admission.open == 1


@pytest.mark.gen_test
async def test_an_address_that_guesses_tokens_is_slowed_down(make_hermes: MakeHermes) -> None:
    """For ten seconds only known tokens pass; what needs no credential is answered as usual, also others."""
    hermes = await make_hermes(max_failed_auth_per_address="5")
    known = await hermes.open("/ws", ACME)
    attacker = from_address("192.0.2.66")
    for number in range(5):
        guess = token(str(number), secret="w" * 40)
        assert await (await hermes.open("/ws", guess, headers=attacker)).wait_closed() == (1008, "token_invalid")
    fresh = token("456", tenant_id="acme")
    assert await refused(hermes, "/ws", fresh, **attacker) == "slow_down"
    await (await hermes.open("/ws", ACME, headers=attacker)).expect_silence()
    assert await (await hermes.open("/ws", headers=attacker)).wait_closed() == (1008, "token_missing")
    assert (await hermes.request("/health", headers=attacker)).code == 200
    await (await hermes.open("/ws", fresh)).expect_silence()
    await known.expect_silence()
    assert by_label(hermes.gateway.metrics.failed_auth) == {"refused": 5.0, "unchecked": 1.0}


@pytest.mark.gen_test
async def test_an_expired_token_and_a_refresh_count_as_wrong_tokens(make_hermes: MakeHermes) -> None:
    """The expiry of an open socket does not."""
    hermes = await make_hermes(max_failed_auth_per_address="2")
    socket = await hermes.open("/ws", ACME)
    await socket.send({"action": "refresh", "token": "x"})
    assert await socket.wait_closed() == (1008, "token_invalid")
    expired = await hermes.open("/ws", token(exp=1))
    assert await expired.wait_closed() == (1008, "token_expired")
    assert await refused(hermes, "/ws", token("7")) == "slow_down"


@pytest.mark.gen_test
async def test_an_address_that_guesses_keys_gets_429(make_hermes: MakeHermes) -> None:
    """The right key passes, also then; a request without any key is not a guess."""
    hermes = await make_hermes(max_failed_auth_per_address="3")
    body = {"user_id": "1", "title": "t", "message": "m"}
    for _ in range(5):
        assert (await hermes.post(body)).code == 401
    for number in range(3):
        assert (await hermes.post(body, {"X-API-Key": f"guess {number}"})).code == 401
    slow = await hermes.post(body, {"X-API-Key": "guess 4"})
    assert (slow.code, slow.headers["Retry-After"]) == (429, "10")
    assert json.loads(slow.body)["error"]["code"] == "slow_down"
    assert (await hermes.post(body, {"X-API-Key": KEY})).code == 200
    assert (await hermes.post(body)).code == 401
    elsewhere = {"X-API-Key": "guess 5"} | from_address("192.0.2.66")
    assert (await hermes.post(body, elsewhere)).code == 401


@pytest.mark.gen_test
async def test_a_stranger_cannot_choose_its_address(make_hermes: MakeHermes) -> None:
    """``X-Forwarded-For`` counts only from a trusted proxy; the log has the address that counts."""
    hermes = await make_hermes(max_sockets_per_address="1", max_sockets_per_user="0", trusted_proxies="192.0.2.0/24")
    await hermes.open("/ws", ACME, headers=from_address("198.51.100.1"))
    assert await refused(hermes, "/ws", ACME, **from_address("198.51.100.2")) == "address_full"


@pytest.mark.gen_test
async def test_the_addresses_of_an_ipv6_site_count_together(make_hermes: MakeHermes) -> None:
    """A /64 network: a stranger has as many addresses as it likes."""
    hermes = await make_hermes(max_sockets_per_address="1", max_sockets_per_user="0")
    first = await hermes.open("/ws", ACME, headers=from_address("2001:db8::1"))
    assert await refused(hermes, "/ws", ACME, **from_address("2001:db8::2")) == "address_full"
    await (await hermes.open("/ws", ACME, headers=from_address("2001:db8:0:1::1"))).expect_silence()
    await first.close()
    await eventually(lambda: hermes.gateway.admission.open == 1)
    await (await hermes.open("/ws", ACME, headers=from_address("2001:db8::2"))).expect_silence()


@pytest.mark.gen_test
async def test_all_limits_can_be_turned_off(make_hermes: MakeHermes) -> None:
    """With 0."""
    names = ("max_sockets_per_user", "max_sockets_per_tenant", "max_sockets_per_address", "max_failed_auth_per_address")
    hermes = await make_hermes(
        max_sockets="40", max_connects_per_address_s="0", client_frames_per_s="0", **dict.fromkeys(names, "0")
    )
    for _ in range(30):
        await hermes.open("/ws", ACME)
    for _ in range(150):
        assert (await hermes.post({}, {"X-API-Key": "wrong"})).code == 401
    assert hermes.gateway.admission.open == 30


@pytest.mark.gen_test
@pytest.mark.parametrize(("given", "expected"), [({"max_connects_per_address_s": "5"}, 5), ({}, 5_000)])
async def test_the_rate_of_returning_sockets_raises_only_the_default_limit(
    make_hermes: MakeHermes, given: dict[str, object], expected: float
) -> None:
    """What an operator has set is the limit, however fast handshakes are."""
    hermes = await make_hermes(**given)
    for _ in range(1_000):
        hermes.gateway.return_rate.admitted()
        hermes.gateway.return_rate.measure(0.000_01)
    assert hermes.gateway.connection_rate._per_s() == expected


@pytest.mark.gen_test
async def test_a_wall_of_100_panels_with_one_account_is_served(key_file: Path) -> None:
    """With the default limits: from one address, one user, four sockets on each panel, all at once."""
    with hermes_program(
        "serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(key_file), HERMES_JWT_SECRET=SECRET
    ) as program:
        given = token("wall", tenant_id="acme")
        routes = ("/ws/notifications", "/ws/tenant/acme", "/ws/device/d1", "/ws")
        url = program.url.replace("http", "ws", 1)
        sockets = await asyncio.gather(
            *[websocket_connect(f"{url}{route}?token={given}") for route in routes for _ in range(100)]
        )
        body = json.dumps({"user_id": "wall", "title": "to every panel", "message": ""})
        headers = {"Content-Type": "application/json", "X-API-Key": KEY}
        await AsyncHTTPClient().fetch(f"{program.url}/notify", method="POST", body=body, headers=headers)
        for socket in (*sockets[:100], *sockets[300:]):
            assert "to every panel" in str(await socket.read_message())
        for socket in sockets:
            socket.close()
        for socket in sockets:
            while await socket.read_message() is not None:
                pass
