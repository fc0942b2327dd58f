"""Names, scopes and tenants of API keys, at every URL that needs a key."""

import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hermes.auth.api_keys import parse_keys
from tests.support.gateways import Hermes, MakeHermes, eventually, token
from tests.support.http_parsers import make_hermes as make_hermes
from tests.support.programs import free_port
from tests.support.raw_request import read_response, request
from tests.support.raw_socket import connect, port_of

pytestmark = pytest.mark.usefixtures("complaints", "patient")

NOTIFIER, MONITOR, OPERATOR = "key-of-the-notifier", "key-of-prometheus", "key-of-the-operator"
ACME, BROAD = "key-of-the-tenant-acme", "key-that-may-do-much"
FILE = f"""\
# changed 2026-11
notifier {NOTIFIER} notify
prometheus {MONITOR} metrics
operator {OPERATOR} status
acme {ACME} notify tenant=acme
{BROAD}
"""
NOTE = {"title": "t", "message": "m"}
WithKeys = Callable[..., Awaitable[Hermes]]


@pytest.fixture
def with_keys(make_hermes: MakeHermes, tmp_path: Path) -> WithKeys:
    """Start a gateway with these keys."""
    path = tmp_path / "keys"
    path.write_text(FILE)
    return lambda **settings: make_hermes(api_key_file=path, **settings)


async def answer(hermes: Hermes, path: str, key: str | None, *, body: object = None, **headers: str) -> tuple[int, Any]:
    """Return status and JSON of a request: POST if it has a body."""
    given = ({} if key is None else {"X-API-Key": key}) | headers
    if body is not None:
        given = {"Content-Type": "application/json"} | given
    text = body if isinstance(body, str | None) else json.dumps(body)
    response = await hermes.request(path, method="GET" if body is None else "POST", body=text, headers=given)
    is_json = response.headers["Content-Type"].startswith("application/json")
    return response.code, json.loads(response.body) if is_json else response.body


async def code(hermes: Hermes, path: str, key: str | None, **how: Any) -> tuple[int, str]:
    """Return status and error code, which is empty without an error."""
    status, value = await answer(hermes, path, key, **how)
    return status, value["error"]["code"] if status >= 400 else ""


@pytest.mark.gen_test
async def test_a_key_that_goes_while_the_body_arrives_is_refused(with_keys: WithKeys) -> None:
    """Else a removed key could send for as long as it had opened requests before; the other keys go on."""
    hermes = await with_keys()
    api_keys, body = hermes.gateway.api_keys, json.dumps(NOTE | {"user_id": "123"}).encode()
    found = []
    for key in (NOTIFIER, ACME):
        raw = await connect(hermes)
        head = {"Host": f"127.0.0.1:{port_of(hermes)}", "Content-Type": "application/json", "X-API-Key": key}
        await raw.send_bytes(request(head, body)[:-1])
        found.append(raw)
    counted = hermes.gateway.metrics.registry.get_sample_value
    names = ("notifier", "acme")
    await eventually(lambda: all(counted("hermes_key_requests_total", {"key": name}) == 1 for name in names))
    api_keys.replace(parse_keys(FILE.replace(NOTIFIER, "another-key-of-the-notifier")))
    for raw in found:
        await raw.send_bytes(body[-1:])
    assert [(await read_response(raw))[0] for raw in found] == [401, 200]


# -- scopes -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_each_url_needs_its_scope(with_keys: WithKeys) -> None:
    """403 without it; a key that names no scope has all that is needed."""
    hermes = await with_keys()
    note = NOTE | {"user_id": "123"}
    allowed = {"/notify": {NOTIFIER, ACME, BROAD}, "/metrics": {MONITOR, BROAD}, "/status": {OPERATOR, BROAD}}
    for path, keys in allowed.items():
        for key in (NOTIFIER, MONITOR, OPERATOR, ACME, BROAD):
            expected = (200, "") if key in keys else (403, "forbidden")
            assert await code(hermes, path, key, body=note if path == "/notify" else None) == expected, (path, key)


@pytest.mark.gen_test
async def test_a_refusal_names_key_and_scope(with_keys: WithKeys, caplog: pytest.LogCaptureFixture) -> None:
    """In the answer and in the log, where the key itself never stands."""
    caplog.set_level(logging.INFO)
    hermes = await with_keys()
    _, value = await answer(hermes, "/notify", MONITOR, body=NOTE)
    assert value["error"]["message"] == "the key prometheus does not have the scope notify"
    await eventually(lambda: "403 POST /notify by prometheus from 127.0.0.1" in caplog.text)
    assert MONITOR not in caplog.text


@pytest.mark.gen_test
async def test_requests_are_counted_by_the_name_of_the_key(with_keys: WithKeys) -> None:
    """Also those that are refused because of their scope."""
    hermes = await with_keys()
    for key in (NOTIFIER, NOTIFIER, MONITOR, "wrong-key-of-a-stranger"):
        await answer(hermes, "/notify", key, body=NOTE | {"user_id": "123"})
    _, text = await answer(hermes, "/metrics", MONITOR)
    assert b'hermes_key_requests_total{key="notifier"} 2.0' in text
    assert b'hermes_key_requests_total{key="prometheus"} 2.0' in text
    assert b"stranger" not in text


@pytest.mark.gen_test
async def test_faults_are_checked_in_the_documented_order(with_keys: WithKeys) -> None:
    """429, 405, 401, 403 (scope), 415, 413, 400, 422, 403 (tenant); each request has all the faults that follow."""
    hermes = await with_keys(max_failed_auth_per_address="1")
    text = {"Content-Type": "text/plain"}
    foreign = NOTE | {"tenant_id": "globex"}
    post = "/notify"
    assert await code(hermes, post, "wrong-key-of-a-stranger") == (405, "method_not_allowed")
    assert await code(hermes, post, None, body="{", **text) == (401, "unauthorized")
    assert await code(hermes, post, MONITOR, body="{", **text) == (403, "forbidden")
    assert await code(hermes, post, ACME, body="{" * 70_000, **text) == (415, "unsupported_type")
    assert await code(hermes, post, ACME, body="{" * 70_000) == (413, "too_large")
    assert await code(hermes, post, ACME, body="{") == (400, "invalid_json")
    assert await code(hermes, post, ACME, body=foreign | {"title": ""}) == (422, "invalid")
    assert await code(hermes, post, ACME, body=foreign) == (403, "forbidden")
    assert await code(hermes, post, "wrong-key-of-a-stranger", body="{", **text) == (401, "unauthorized")
    assert await code(hermes, post, "wrong-key-of-a-stranger") == (429, "slow_down")
    assert await code(hermes, post, ACME, body=NOTE | {"tenant_id": "acme"}) == (200, ""), "a right key still passes"


# -- a key with a tenant ------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_what_a_bound_key_sends_reaches_its_tenant_only(with_keys: WithKeys) -> None:
    """The sockets of that user of which the token has this tenant; ``sent`` counts these alone."""
    hermes = await with_keys()
    claims: tuple[dict[str, Any], ...] = (
        {"tenant_id": "globex"},
        {},
        {"is_superuser": True},
        {"tenant_id": "globex", "is_superuser": True},
    )
    others = [await hermes.open(path, token(**each)) for each in claims for path in ("/ws/notifications", "/ws")]
    note = NOTE | {"user_id": "123"}
    assert (await answer(hermes, "/notify", ACME, body=note))[1]["sent"] is False
    own = [await hermes.open(path, token(tenant_id="acme")) for path in ("/ws/notifications", "/ws")]
    stranger = await hermes.open("/ws/notifications", token("456", tenant_id="acme"))
    assert (await answer(hermes, "/notify", ACME, body=note))[1]["sent"] is True
    for socket in own:
        assert (await socket.receive())["channel"] == "notifications"
    for socket in (*others, stranger):
        await socket.expect_silence()
    assert (await answer(hermes, "/notify", NOTIFIER, body=note))[1]["sent"] is True
    for socket in (*others, *own):
        assert (await socket.receive())["title"] == "t"


@pytest.mark.gen_test
async def test_a_bound_key_broadcasts_to_its_tenant_only(with_keys: WithKeys) -> None:
    """Another tenant is 403; in an array such an element fails alone."""
    hermes = await with_keys()
    acme = await hermes.open("/ws", token(tenant_id="acme"))
    globex = await hermes.open("/ws", token(tenant_id="globex"))
    elements = [NOTE | {"tenant_id": name} for name in ("acme", "globex", "ACME", "acme ")] + [
        NOTE | {"user_id": "123"}
    ]
    status, value = await answer(hermes, "/notify", ACME, body=elements)
    assert status == 200
    assert [each.get("sent") for each in value["results"]] == [True, False, False, False, True]
    codes = [each["error"]["code"] if "error" in each else "" for each in value["results"]]
    assert codes == ["", "forbidden", "forbidden", "forbidden", ""]
    assert [(await acme.receive())["channel"] for _ in range(2)] == ["tenant", "notifications"]
    await globex.expect_silence()


@pytest.mark.gen_test
async def test_a_refreshed_token_moves_a_socket_to_its_new_tenant(with_keys: WithKeys) -> None:
    """From then on a bound key reaches it, or does not."""
    hermes = await with_keys()
    socket = await hermes.open("/ws/notifications", token(tenant_id="globex"))
    note = NOTE | {"user_id": "123"}
    for tenant, sent in (("acme", True), ("globex", False)):
        await socket.send({"action": "refresh", "token": token(tenant_id=tenant)})
        assert (await socket.receive())["action"] == "refreshed"
        assert (await answer(hermes, "/notify", ACME, body=note))[1]["sent"] is sent
        if sent:
            await socket.receive()
    await socket.expect_silence()


# -- what is not for strangers ------------------------------------------------------------------------------------

ELSEWHERE: tuple[dict[str, str], ...] = (
    {"Host": "evil.example"},
    {"Origin": "https://evil.example"},
    {"X-Forwarded-For": "203.0.113.5"},
    {"Via": "1.1 proxy"},
    {"CF-Connecting-IP": "203.0.113.5"},
    {"Sec-Fetch-Site": "cross-site"},
)


@pytest.mark.parametrize("keys", ["with keys", "without keys"])
@pytest.mark.gen_test
async def test_metrics_are_for_this_machine_and_for_keys_with_the_scope(
    with_keys: WithKeys, make_hermes: MakeHermes, keys: str
) -> None:
    """Not for visitors of a proxy, nor for a web page, whatever name it has for this machine."""
    hermes = await (with_keys() if keys == "with keys" else make_hermes(api_key_file=None))
    assert (await answer(hermes, "/metrics", None))[0] == 200
    for headers in ELSEWHERE:
        assert await code(hermes, "/metrics", None, **headers) == (401, "unauthorized"), headers
        if keys == "with keys":
            assert await code(hermes, "/metrics", "wrong-key-of-a-stranger", **headers) == (401, "unauthorized")
            assert await code(hermes, "/metrics", ACME, **headers) == (403, "forbidden")
            assert (await answer(hermes, "/metrics", MONITOR, **headers))[0] == 200
    assert await code(hermes, "/metrics", None, body="{}") == (405, "method_not_allowed")


@pytest.mark.gen_test
async def test_metrics_can_be_public(with_keys: WithKeys) -> None:
    """With a setting of their own."""
    hermes = await with_keys(metrics_public=True)
    for headers in ELSEWHERE:
        assert (await answer(hermes, "/metrics", None, **headers))[0] == 200
    assert await code(hermes, "/status", None) == (401, "unauthorized")


@pytest.mark.gen_test
async def test_what_is_missing_is_for_those_who_watch_hermes(
    with_keys: WithKeys, complaints: list[logging.LogRecord]
) -> None:
    """It names hosts and users of the site; all others get the state alone, with the same status."""
    hermes = await with_keys(mqtt_url=f"mqtt://127.0.0.1:{free_port()}")
    public = {"ready", "mqtt", "since"}
    for headers in ELSEWHERE:
        for key, shown in ((None, False), (NOTIFIER, False), (ACME, False), (MONITOR, True), (OPERATOR, True)):
            status, value = await answer(hermes, "/ready", key, **headers)
            assert (status, set(value) - {"missing"}) == (503, public)
            assert ("missing" in value) is shown, (key, headers)
    assert (await answer(hermes, "/ready", None))[1]["missing"], "a client on this machine"
    complaints.clear()


@pytest.mark.gen_test
async def test_readiness_does_not_help_to_guess_keys(with_keys: WithKeys) -> None:
    """Wrong keys are counted there too, and later ones are not looked at; the status stays what it is."""
    hermes = await with_keys(max_failed_auth_per_address="3")
    for number in range(5):
        assert (await answer(hermes, "/ready", f"guess-number-{number}-of-many"))[0] == 200
    assert await code(hermes, "/notify", "wrong-key-of-a-stranger", body=NOTE) == (429, "slow_down")
    assert "missing" in (await answer(hermes, "/ready", OPERATOR))[1]


# -- GET /key -----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_key_can_ask_what_it_may_do(with_keys: WithKeys, make_hermes: MakeHermes) -> None:
    """Name, scopes and tenant; a wrong key is 401."""
    hermes = await with_keys()
    assert await answer(hermes, "/key", ACME) == (
        200,
        {"name": "acme", "scopes": ["notify"], "tenant_id": "acme"},
    )
    _, broad = await answer(hermes, "/key", BROAD)
    assert broad["tenant_id"] is None
    assert set(broad["scopes"]) == {"notify", "receipts", "status", "presence", "metrics", "disconnect", "inbox"}
    assert await code(hermes, "/key", None) == (401, "unauthorized")
    assert await code(hermes, "/key", "wrong-key-of-a-stranger") == (401, "unauthorized")
    keyless = await make_hermes(api_key_file=None)
    assert (await answer(keyless, "/key", None))[1]["name"] == "(local)"


# -- --dev --------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_restricted_key_signs_no_tokens_in_dev(
    with_keys: WithKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it could do all with the token of a superuser."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    hermes = await with_keys(dev="true", mqtt_url="off")
    for key in (NOTIFIER, MONITOR, OPERATOR, ACME):
        assert await code(hermes, "/dev/token", key, body={"user_id": "1"}) == (403, "forbidden")
    assert await code(hermes, "/dev/token", BROAD, body={"user_id": "1"}) == (200, "")
