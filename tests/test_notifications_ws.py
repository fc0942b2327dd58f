"""How a service and a browser app use Hermes for notifications, as a story that runs.

An app opens ``/ws/notifications?token=JWT`` and listens; a service sends ``POST /notify`` with its API key. Run it
from a checkout with ``pytest tests/test_notifications_ws.py``: each test starts a real Hermes on a free port, and
speaks to it only as your own program would, over WebSocket and HTTP. To talk to your own Hermes, keep the four
functions below and put its address, its secret and its key in place of those of the fixture.
"""

import json
import time
from typing import Any

import jwt
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hermes.testing import ClientSocket
from tests.support.gateways import KEY, SECRET, Hermes

# -- what an integrator writes ------------------------------------------------------------------------------------


def token_for(user_id: str | int, username: str) -> str:
    """Your login service signs this, with the secret that it shares with Hermes; good for an hour."""
    claims = {"user_id": user_id, "username": username, "exp": int(time.time()) + 3600}
    return jwt.encode(claims, SECRET, "HS256")


async def connect(hermes: Hermes, token: str) -> WebSocketClientConnection:
    """Your app opens the channel of the token's user."""
    address = hermes.url.replace("http://", "ws://")
    socket = await websocket_connect(f"{address}/ws/notifications?token={token}")
    hermes.sockets.append(ClientSocket(socket))  # so that the end of the test closes it
    return socket


async def receive(socket: WebSocketClientConnection) -> dict[str, Any]:
    """Your app waits for the next frame; every frame is a JSON object."""
    frame = await socket.read_message()
    assert isinstance(frame, str), f"closed with {socket.close_code} {socket.close_reason}"
    value = json.loads(frame)
    assert isinstance(value, dict)
    return value


async def notify(hermes: Hermes, notification: dict[str, Any]) -> dict[str, Any]:
    """Your backend tells Hermes to notify somebody."""
    headers = {"Content-Type": "application/json", "X-API-Key": KEY}
    request = HTTPRequest(f"{hermes.url}/notify", method="POST", headers=headers, body=json.dumps(notification))
    answer = json.loads((await AsyncHTTPClient().fetch(request)).body)
    assert isinstance(answer, dict)
    return answer


ALERT = {
    "user_id": "123",
    "title": "New alert",
    "message": "An anomaly was detected in sensor X",
    "type": "warning",
}


# -- the story ----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_notification_reaches_the_users_open_socket(hermes: Hermes) -> None:
    """What the service posts is what the app receives, with an id and the time at which Hermes took it."""
    ana = await connect(hermes, token_for("123", "ana"))
    before_ms = time.time_ns() // 1_000_000

    answer = await notify(hermes, ALERT)

    assert answer == {"status": "success", "sent": True, "id": answer["id"]}
    received = await receive(ana)
    assert before_ms <= received.pop("timestamp") <= time.time_ns() // 1_000_000
    assert received == {
        "channel": "notifications",
        "id": answer["id"],
        "title": "New alert",
        "message": "An anomaly was detected in sensor X",
        "type": "warning",
    }


@pytest.mark.gen_test
async def test_data_of_your_own_travels_along(hermes: Hermes) -> None:
    """``data`` may hold any JSON object, ``id`` any name that you know the notification by."""
    ana = await connect(hermes, token_for("123", "ana"))
    details = {"sensor": "X", "readings": [21.5, 21.7], "link": {"href": "/sensors/X"}}

    answer = await notify(hermes, ALERT | {"id": "alert-7", "data": details})

    assert answer["id"] == "alert-7"
    received = await receive(ana)
    assert (received["id"], received["data"]) == ("alert-7", details)


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["info", "warning", "error", "success"])
async def test_a_notification_has_one_of_four_types(hermes: Hermes, kind: str) -> None:
    """The app picks its icon by it; without one it is an ``info``."""
    ana = await connect(hermes, token_for("123", "ana"))
    await notify(hermes, ALERT | {"type": kind})
    assert (await receive(ana))["type"] == kind
    await notify(hermes, {"user_id": "123", "title": "No type", "message": ""})
    assert (await receive(ana))["type"] == "info"


@pytest.mark.gen_test
async def test_every_window_of_the_user_shows_it_and_nobody_elses(hermes: Hermes) -> None:
    """The user's id may be a number in one place and a string in the other."""
    laptop = await connect(hermes, token_for("123", "ana"))
    phone = await connect(hermes, token_for(123, "ana"))
    luis = await connect(hermes, token_for("456", "luis"))

    await notify(hermes, ALERT | {"user_id": 123})

    assert (await receive(laptop))["title"] == "New alert"
    assert (await receive(phone))["title"] == "New alert"
    await luis.write_message('{"action": "ping"}')
    assert await receive(luis) == {"action": "pong"}, "luis heard nothing before the answer to his ping"


@pytest.mark.gen_test
async def test_sent_says_whether_anyone_was_there(hermes: Hermes) -> None:
    """``sent`` is false for a user without an open socket: keep the notification yourself, Hermes does not."""
    assert (await notify(hermes, ALERT))["sent"] is False

    ana = await connect(hermes, token_for("123", "ana"))
    assert (await notify(hermes, ALERT))["sent"] is True
    assert (await receive(ana))["title"] == "New alert", "and the one before she came is gone"

    ana.close(1000, "window closed")
    assert await ana.read_message() is None
    assert (await notify(hermes, ALERT))["sent"] is False


@pytest.mark.gen_test
async def test_a_heartbeat_is_answered(hermes: Hermes) -> None:
    """Ping every 30 seconds keeps proxies from closing a quiet connection; the pong shows that Hermes lives."""
    ana = await connect(hermes, token_for("123", "ana"))
    await ana.write_message('{"action": "ping"}')
    assert await receive(ana) == {"action": "pong"}


@pytest.mark.gen_test
async def test_an_acknowledgement_needs_no_answer(hermes: Hermes) -> None:
    """With or without the notification's id."""
    ana = await connect(hermes, token_for("123", "ana"))
    await ana.write_message('{"action": "ack", "notification_id": "alert-7"}')
    await ana.write_message('{"action": "ack"}')
    await ana.write_message('{"action": "ping"}')
    assert await receive(ana) == {"action": "pong"}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "token_missing"),
        ("not.a.token", "token_invalid"),
        (jwt.encode({"user_id": "123", "username": "ana"}, "somebody else's secret, just as long", "HS256"),
         "token_invalid"),
        (jwt.encode({"user_id": "123", "username": "ana", "exp": 1763836800}, SECRET, "HS256"), "token_expired"),
    ],
    ids=["missing", "broken", "wrong key", "expired"],
)  # fmt: skip
async def test_a_bad_token_closes_with_1008(hermes: Hermes, token: str, reason: str) -> None:
    """The connection opens and closes at once: get a new token before you come back, a retry alone cannot help."""
    socket = await connect(hermes, token)
    assert await socket.read_message() is None
    assert (socket.close_code, socket.close_reason) == (1008, reason)
