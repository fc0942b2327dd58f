"""``GET /status``: the figures of the node, for clients with a key."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import mosquitto
from tests.support.gateways import KEY, SECRET, Hermes, MakeHermes, eventually, token
from tests.support.programs import free_port

pytestmark = pytest.mark.usefixtures("complaints")

GROUPS = {
    "mqtt": {
        "state", "since", "missing", "broker", "received", "batches", "queued", "dropped", "connects", "outages",
        "outage_s", "broker_restarts",
    },
    "sockets": {"open", "limit", "blocked", "closed", "closed_by_client", "refused", "lost_pongs", "slow_consumers"},
    "delivery": {"published", "deliveries", "skipped", "flushes", "client_frames"},
    "notify": {"answers"},
    "snapshot": {"values", "bytes", "evicted"},
    "process": {"pid", "rss_bytes", "cpu_s", "loop_lag_s", "loop_looks"},
}  # fmt: skip


async def figures(hermes: Hermes) -> dict[str, Any]:
    """Return the response to a request with a valid key."""
    response = await hermes.request("/status", headers={"X-API-Key": KEY})
    assert response.code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    value = json.loads(response.body)
    assert isinstance(value, dict)
    return value


@pytest.mark.gen_test
async def test_it_has_all_documented_figures(hermes: Hermes) -> None:
    """By name, of a gateway without traffic."""
    found = await figures(hermes)
    assert {"version", "now", "started", "dev", "ready", *GROUPS} <= set(found)
    for group, names in GROUPS.items():
        assert names <= set(found[group]), group
    assert found["started"] <= found["now"] <= time.time() * 1_000
    assert (found["ready"], found["dev"]) == (True, False)
    assert (found["mqtt"]["state"], found["mqtt"]["broker"]) == ("off", "off")
    assert found["sockets"]["limit"] > 100
    assert found["process"]["pid"] == os.getpid()
    assert found["process"]["rss_bytes"] > 10_000_000


@pytest.mark.gen_test
async def test_it_counts_sockets_notifications_and_frames(hermes: Hermes) -> None:
    """Sockets by route, closes by code, rejections by reason, notifications, frames from clients."""
    socket = await hermes.open("/ws/notifications", token("123"))
    await hermes.open("/ws", token("123", tenant_id="acme"))
    rejected = await hermes.open("/ws/tenant/acme", token("123"))
    await rejected.wait_closed()
    await hermes.notify({"user_id": "123", "title": "t", "message": "m"})
    await hermes.notify({"user_id": 1.5})
    await socket.receive()
    await socket.send({"action": "ack"})
    await socket.expect_silence()
    await socket.close()
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 1)
    found = await figures(hermes)
    assert found["sockets"]["open"] == {"/ws/notifications": 0, "/ws": 1}
    assert found["sockets"]["refused"] == {"forbidden": 1}
    assert found["sockets"]["closed"] == {"1000": 1}
    assert found["notify"]["answers"] == {"200": 1, "422": 1}
    assert found["delivery"]["published"]["notification"] == 1
    assert found["delivery"]["deliveries"] == 2
    assert found["delivery"]["client_frames"] == {"ack": 1, "ping": 1}


@pytest.mark.broker
@pytest.mark.gen_test
async def test_it_has_the_figures_of_the_broker(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Its kind, the number of messages, and of dropped ones by reason."""
    with mosquitto(tmp_path) as broker:
        hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{broker.port}")
        await eventually(lambda: hermes.gateway.link.ready)
        broker.publish("tenants/acme/devices/d1/temp", "21")
        await eventually(lambda: len(hermes.gateway.last_values) == 1)
        found = await figures(hermes)
        assert (found["mqtt"]["state"], found["mqtt"]["broker"]) == ("up", "external")
        assert found["mqtt"]["connects"] == 1
        assert set(found["mqtt"]["dropped"].values()) == {0}
        assert found["mqtt"]["received"] == 1
        assert found["delivery"]["published"]["device"] == 1


@pytest.mark.gen_test
async def test_without_its_broker_it_is_not_ready_and_names_what_is_missing(
    make_hermes: MakeHermes, complaints: list[object]
) -> None:
    """As ``/ready`` does."""
    hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{free_port()}")
    await eventually(lambda: hermes.gateway.link.is_down)
    found = await figures(hermes)
    assert found["ready"] is False
    assert found["mqtt"]["missing"]
    complaints.clear()


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": f"Bearer {token()}"}])
@pytest.mark.gen_test
async def test_without_a_key_the_response_is_401(hermes: Hermes, headers: dict[str, str]) -> None:
    """In the form of the errors of ``/notify``; the token of a user is not a key."""
    response = await hermes.request("/status", headers=headers)
    assert response.code == 401
    error = json.loads(response.body)
    assert error["error"]["code"] == "unauthorized"
    assert set(error) == {"status", "sent", "error"}


@pytest.mark.gen_test
async def test_the_key_may_be_a_bearer_token(hermes: Hermes) -> None:
    """As on ``/notify``."""
    response = await hermes.request("/status", headers={"Authorization": f"Bearer {KEY}"})
    assert response.code == 200


@pytest.mark.gen_test
async def test_without_configured_keys_only_clients_on_this_machine_are_accepted(make_hermes: MakeHermes) -> None:
    """Not through a proxy, not from a page of another origin."""
    hermes = await make_hermes(api_key_file=None, jwt_secret=SECRET)
    assert (await hermes.request("/status")).code == 200
    for headers in ({"X-Forwarded-For": "10.0.0.1"}, {"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert (await hermes.request("/status", headers=headers)).code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.gen_test
async def test_other_methods_are_not_allowed(hermes: Hermes, method: str) -> None:
    """405 with the allowed method."""
    response = await hermes.request("/status", method=method, headers={"X-API-Key": KEY})
    assert response.code == 405
    assert response.headers["Allow"] == "GET, HEAD"
