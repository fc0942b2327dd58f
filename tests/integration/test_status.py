"""``GET /status``: the figures of the node, for whoever has the key."""

import asyncio
import json
import os
import time
from collections.abc import Callable
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
    "sockets": {"open", "limit", "blocked", "closed", "refused", "lost_pongs", "slow_consumers"},
    "delivery": {"published", "deliveries", "skipped", "flushes", "client_frames"},
    "notify": {"answers"},
    "snapshot": {"values", "bytes", "evicted"},
    "process": {"pid", "rss_bytes", "cpu_s", "loop_lag_s", "loop_looks"},
}  # fmt: skip


async def figures(hermes: Hermes) -> dict[str, Any]:
    """The answer, with the right key."""
    response = await hermes.request("/status", headers={"X-API-Key": KEY})
    assert response.code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    value = json.loads(response.body)
    assert isinstance(value, dict)
    return value


@pytest.mark.gen_test
async def test_it_has_all_that_is_documented(hermes: Hermes) -> None:
    """By name, on a Hermes that has done nothing yet."""
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
async def test_it_counts_what_happens(hermes: Hermes) -> None:
    """Sockets by route, closes by code, refusals by reason, notifications, frames from clients."""
    socket = await hermes.open("/ws/notifications", token("123"))
    await hermes.open("/ws", token("123", tenant_id="acme"))
    refused = await hermes.open("/ws/tenant/acme", token("123"))
    await refused.closed()
    await hermes.notify({"user_id": "123", "title": "t", "message": "m"})
    await hermes.notify({"user_id": 1.5})
    await socket.hear()
    await socket.say({"action": "ack"})
    await socket.silence()
    await socket.close()
    found = await _until(hermes, lambda found: bool(found["sockets"]["closed"]))
    assert found["sockets"]["open"] == {"/ws/notifications": 0, "/ws": 1}
    assert found["sockets"]["refused"] == {"forbidden": 1}
    assert found["sockets"]["closed"] == {"1000": 1}
    assert found["notify"]["answers"] == {"200": 1, "422": 1}
    assert found["delivery"]["published"]["notification"] == 1
    assert found["delivery"]["deliveries"] == 2
    assert found["delivery"]["client_frames"] == {"ack": 1, "ping": 1}


@pytest.mark.gen_test
async def test_it_says_how_the_broker_is(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Its kind, its messages, what was dropped and why."""
    with mosquitto(tmp_path) as broker:
        hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{broker.port}")
        await eventually(lambda: hermes.gateway.link.ready)
        broker.publish("tenants/acme/devices/d1/temp", "21")
        found = await _until(hermes, lambda found: found["snapshot"]["values"] == 1)  # counted once a second
        assert (found["mqtt"]["state"], found["mqtt"]["broker"]) == ("up", "external")
        assert found["mqtt"]["connects"] == 1
        assert set(found["mqtt"]["dropped"].values()) == {0}
        assert found["mqtt"]["received"] == 1
        assert found["delivery"]["published"]["device"] == 1


async def _until(hermes: Hermes, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first figures of which this is true."""
    for _ in range(500):
        found = await figures(hermes)
        if condition(found):
            break
        await asyncio.sleep(0.01)
    return found


@pytest.mark.gen_test
async def test_without_its_broker_it_is_not_ready_and_says_why(
    make_hermes: MakeHermes, complaints: list[object]
) -> None:
    """As /ready does."""
    hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{free_port()}")
    await eventually(lambda: hermes.gateway.link.is_down)
    found = await figures(hermes)
    assert found["ready"] is False
    assert found["mqtt"]["missing"]
    complaints.clear()


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": f"Bearer {token()}"}])
@pytest.mark.gen_test
async def test_without_the_key_it_tells_nothing(hermes: Hermes, headers: dict[str, str]) -> None:
    """401 in the form of /notify's faults; a user's token is no key."""
    response = await hermes.request("/status", headers=headers)
    assert response.code == 401
    answer = json.loads(response.body)
    assert answer["error"]["code"] == "unauthorized"
    assert set(answer) == {"status", "sent", "error"}


@pytest.mark.gen_test
async def test_a_key_as_bearer_will_do(hermes: Hermes) -> None:
    """As on /notify."""
    response = await hermes.request("/status", headers={"Authorization": f"Bearer {KEY}"})
    assert response.code == 200


@pytest.mark.gen_test
async def test_where_no_key_is_configured_only_this_machine_may_ask(make_hermes: MakeHermes) -> None:
    """And no proxy, no page of another origin."""
    hermes = await make_hermes(api_key_file=None, jwt_secret=SECRET)
    assert (await hermes.request("/status")).code == 200
    for headers in ({"X-Forwarded-For": "10.0.0.1"}, {"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert (await hermes.request("/status", headers=headers)).code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "PATCH"])
@pytest.mark.gen_test
async def test_other_methods_are_refused(hermes: Hermes, method: str) -> None:
    """With the one that is not."""
    response = await hermes.request("/status", method=method, headers={"X-API-Key": KEY})
    assert response.code == 405
    assert response.headers["Allow"] == "GET"
