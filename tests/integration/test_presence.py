"""``GET /presence`` on one node: which sockets a user has."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateways import KEY, Hermes, MakeHermes, eventually, token

pytestmark = pytest.mark.usefixtures("complaints")

TENANT_KEY, OTHER_KEY = "a-key-of-the-tenant-acme", "a-key-that-may-notify"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Return a file with keys of several scopes."""
    path = tmp_path / "keys"
    path.write_text(f"{KEY}\nacme {TENANT_KEY} presence tenant=acme\nother {OTHER_KEY} notify\n")
    return path


async def presence(hermes: Hermes, query: str, key: str | None = KEY, method: str = "GET") -> tuple[int, Any]:
    """Return status and answer."""
    headers = {} if key is None else {"X-API-Key": key}
    response = await hermes.request(f"/presence{query}", method=method, headers=headers)
    return response.code, json.loads(response.body)


@pytest.mark.gen_test
async def test_the_sockets_of_a_user_are_counted_by_route(make_hermes: MakeHermes, keys: Path) -> None:
    """All routes count; after the last one is closed, it says when that was. Blanks belong to an id."""
    hermes = await make_hermes(api_key_file=keys)
    nothing = {"user_id": "123", "sockets": 0, "routes": {}, "since": None, "last_seen": None}
    assert await presence(hermes, "?user_id=123") == (200, nothing)
    first = await hermes.open("/ws/notifications", token(tenant_id="acme"))
    second = await hermes.open("/ws/tenant/acme", token(tenant_id="acme"))
    other = await hermes.open("/ws", token(tenant_id="globex"))
    await hermes.open("/ws", token(" 123"))
    found = (await presence(hermes, "?user_id=123"))[1]
    assert (found["sockets"], found["routes"]) == (3, {"/ws/notifications": 1, "/ws/tenant": 1, "/ws": 1})
    assert found["since"] <= found["last_seen"]
    assert (await presence(hermes, "?user_id=%20123"))[1]["sockets"] == 1
    assert (await presence(hermes, "?user_id=123", TENANT_KEY))[1]["sockets"] == 2
    for socket in (first, second, other):
        await socket.close()
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 1)
    left = (await presence(hermes, "?user_id=123"))[1]
    assert (left["sockets"], left["since"], left["last_seen"] >= found["since"]) == (0, None, True)


@pytest.mark.gen_test
async def test_wrong_requests_are_explained(make_hermes: MakeHermes, keys: Path) -> None:
    """In the form of ``/notify``."""
    hermes = await make_hermes(api_key_file=keys)
    for query, key, method, status, code in (
        ("?user_id=1", None, "GET", 401, "unauthorized"),
        ("?user_id=1", OTHER_KEY, "GET", 403, "forbidden"),
        ("?user_id=1", KEY, "POST", 405, "method_not_allowed"),
        ("", KEY, "GET", 422, "invalid"),
        (f"?user_id={'x' * 257}", KEY, "GET", 422, "invalid"),
        ("?user_id=%FF", KEY, "GET", 422, "invalid"),
    ):
        found, body = await presence(hermes, query, key, method)
        assert (found, body["error"]["code"]) == (status, code)
