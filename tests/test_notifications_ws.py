"""Example of an integration test: a backend service notifies the users of a browser app through Hermes.

An app opens ``/ws/notifications?token=JWT`` and receives frames; a service sends ``POST /notify`` with its API key.
``pytest tests/test_notifications_ws.py`` runs the tests in a checkout. The fixture ``hermes`` starts Hermes on a free
port and gives its address (``url``), its token secret (``secret``) and its API key (``api_key``). Everything else is
the code of an integrator: plain WebSocket, HTTP and JWT. To test against another Hermes, replace these three values.
"""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.support.gateways import Hermes

# -- the code of an integrator ------------------------------------------------------------------------------------


def token_for(user_id: str | int, username: str, *, secret: str, lifetime_s: int = 3600) -> str:
    """Sign a token, as a login service does with the secret that it shares with Hermes."""
    claims = {"user_id": user_id, "username": username, "exp": int(time.time()) + lifetime_s}
    return jwt.encode(claims, secret, "HS256")


@contextlib.asynccontextmanager
async def connect(hermes: Hermes, token: str) -> AsyncIterator[WebSocketClientConnection]:
    """Open the notification socket of the token's user; close it at the end of the block."""
    address = hermes.url.replace("http://", "ws://")
    socket = await websocket_connect(f"{address}/ws/notifications?token={token}")
    try:
        yield socket
    finally:
        socket.close()


async def receive(socket: WebSocketClientConnection) -> dict[str, Any]:
    """Wait for the next frame; every frame is a JSON object."""
    frame = await socket.read_message()
    assert isinstance(frame, str), f"closed with {socket.close_code} {socket.close_reason}"
    value = json.loads(frame)
    assert isinstance(value, dict)
    return value


async def notify(hermes: Hermes, notification: dict[str, Any]) -> dict[str, Any]:
    """Send a notification to a user, as a backend service does; return the response."""
    headers = {"Content-Type": "application/json", "X-API-Key": hermes.api_key}
    request = HTTPRequest(f"{hermes.url}/notify", method="POST", headers=headers, body=json.dumps(notification))
    response = json.loads((await AsyncHTTPClient().fetch(request)).body)
    assert isinstance(response, dict)
    return response


ALERT = {
    "user_id": "123",
    "title": "New alert",
    "message": "An anomaly was detected in sensor X",
    "type": "warning",
}


# -- the tests ----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_notification_reaches_the_users_open_socket(hermes: Hermes) -> None:
    """The app receives what the service sent, with an id and the time at which Hermes received the request."""
    async with connect(hermes, token_for("123", "ana", secret=hermes.secret)) as ana:
        before_ms = time.time_ns() // 1_000_000

        response = await notify(hermes, ALERT)

        assert response == {"status": "success", "sent": True, "id": response["id"]}
        received = await receive(ana)
        assert before_ms <= received.pop("timestamp") <= time.time_ns() // 1_000_000
        assert received == {
            "channel": "notifications",
            "id": response["id"],
            "title": "New alert",
            "message": "An anomaly was detected in sensor X",
            "type": "warning",
        }


@pytest.mark.gen_test
async def test_a_notification_may_have_an_id_and_data(hermes: Hermes) -> None:
    """``id`` may be any name that the service gives the notification, ``data`` any JSON object."""
    async with connect(hermes, token_for("123", "ana", secret=hermes.secret)) as ana:
        details = {"sensor": "X", "readings": [21.5, 21.7], "link": {"href": "/sensors/X"}}

        response = await notify(hermes, ALERT | {"id": "alert-7", "data": details})

        assert response["id"] == "alert-7"
        received = await receive(ana)
        assert (received["id"], received["data"]) == ("alert-7", details)


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["info", "warning", "error", "success"])
async def test_a_notification_has_one_of_four_types(hermes: Hermes, kind: str) -> None:
    """A notification without a type is an ``info``."""
    async with connect(hermes, token_for("123", "ana", secret=hermes.secret)) as ana:
        await notify(hermes, ALERT | {"type": kind})
        assert (await receive(ana))["type"] == kind
        await notify(hermes, {"user_id": "123", "title": "No type", "message": ""})
        assert (await receive(ana))["type"] == "info"


@pytest.mark.gen_test
async def test_every_socket_of_the_user_receives_it_and_those_of_other_users_do_not(hermes: Hermes) -> None:
    """The id of the user may be a number in the token and a string in the request, or the reverse."""
    async with (
        connect(hermes, token_for("123", "ana", secret=hermes.secret)) as laptop,
        connect(hermes, token_for(123, "ana", secret=hermes.secret)) as phone,
        connect(hermes, token_for("456", "luis", secret=hermes.secret)) as luis,
    ):
        await notify(hermes, ALERT | {"user_id": 123})

        assert (await receive(laptop))["title"] == "New alert"
        assert (await receive(phone))["title"] == "New alert"
        await luis.write_message('{"action": "ping"}')
        assert await receive(luis) == {"action": "pong"}, "another user received a frame before the pong"


@pytest.mark.gen_test
async def test_sent_is_true_if_the_user_has_an_open_socket(hermes: Hermes) -> None:
    """If ``sent`` is false, the service must store the notification itself: Hermes does not."""
    assert (await notify(hermes, ALERT | {"title": "Too early"}))["sent"] is False

    async with connect(hermes, token_for("123", "ana", secret=hermes.secret)) as ana:
        assert (await notify(hermes, ALERT))["sent"] is True
        assert (await receive(ana))["title"] == "New alert", "the earlier notification was stored"

        ana.close(1000, "window closed")
        assert await ana.read_message() is None
        assert (await notify(hermes, ALERT))["sent"] is False


@pytest.mark.gen_test
async def test_a_ping_is_answered_with_a_pong(hermes: Hermes) -> None:
    """A ping every 30 seconds prevents proxies from closing an idle connection; the pong shows that Hermes runs."""
    async with connect(hermes, token_for("123", "ana", secret=hermes.secret)) as ana:
        await ana.write_message('{"action": "ping"}')
        assert await receive(ana) == {"action": "pong"}


@pytest.mark.gen_test
async def test_an_acknowledgement_is_not_answered(hermes: Hermes) -> None:
    """The id of the notification is optional."""
    async with connect(hermes, token_for("123", "ana", secret=hermes.secret)) as ana:
        await ana.write_message('{"action": "ack", "notification_id": "alert-7"}')
        await ana.write_message('{"action": "ack"}')
        await ana.write_message('{"action": "ping"}')
        assert await receive(ana) == {"action": "pong"}


async def expect_refused(hermes: Hermes, token: str, reason: str) -> None:
    """Expect that Hermes opens the connection and closes it at once with 1008 and this reason."""
    async with connect(hermes, token) as socket:
        assert await socket.read_message() is None
        assert (socket.close_code, socket.close_reason) == (1008, reason)


@pytest.mark.gen_test
@pytest.mark.parametrize(("token", "reason"), [("", "token_missing"), ("not.a.token", "token_invalid")])
async def test_a_missing_or_malformed_token_closes_with_1008(hermes: Hermes, token: str, reason: str) -> None:
    """After 1008 the app needs a new token; a retry with the same token fails again."""
    await expect_refused(hermes, token, reason)


@pytest.mark.gen_test
async def test_a_token_signed_with_another_secret_closes_with_1008(hermes: Hermes) -> None:
    """The reason is ``token_invalid``."""
    other = token_for("123", "ana", secret="a different secret of the same length")
    await expect_refused(hermes, other, "token_invalid")


@pytest.mark.gen_test
async def test_an_expired_token_closes_with_1008(hermes: Hermes) -> None:
    """The reason is ``token_expired``."""
    expired = token_for("123", "ana", secret=hermes.secret, lifetime_s=-3600)
    await expect_refused(hermes, expired, "token_expired")
