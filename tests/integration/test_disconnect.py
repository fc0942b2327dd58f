"""``POST /disconnect`` and ``DELETE /disconnect`` on a real gateway with real sockets, and after a restart."""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hermes.auth.revocation import revocation_list
from hermes.cli.main import main
from hermes.client import HermesClient
from hermes.errors import ConfigError, RequestError
from hermes.testing import FakeClock
from tests.support.gateways import SECRET, Hermes, MakeHermes, eventually, token
from tests.support.programs import Program
from tests.support.programs import hermes as hermes_program

pytestmark = pytest.mark.usefixtures("complaints")

OPERATOR, NOTIFIER, ACME = "key-of-the-operator", "key-of-the-notifier", "key-of-the-tenant-acme"
FILE = f"operator {OPERATOR}\nnotifier {NOTIFIER} notify\nacme {ACME} disconnect tenant=acme\n"
REVOKED = (1008, "revoked")
SIGNED_S = int(time.time())  # before every revocation of this file, however long a test takes
Start = Callable[..., Awaitable[Hermes]]


@pytest.fixture
def start(make_hermes: MakeHermes, tmp_path: Path) -> Start:
    """Start a gateway with these keys and a state folder of the test."""
    keys = tmp_path / "keys"
    keys.write_text(FILE)
    return lambda **given: make_hermes(**({"api_key_file": keys, "state_dir": tmp_path / "state"} | given))


async def call(
    hermes: Hermes, body: object = None, *, key: str | None = OPERATOR, query: str = "", **headers: str
) -> tuple[int, dict[str, Any]]:
    """Return status and answer: of POST with this body, of DELETE without one."""
    given = ({} if key is None else {"X-API-Key": key}) | headers
    if body is not None:
        given = {"Content-Type": "application/json"} | given
    response = await hermes.request(
        f"/disconnect{query}",
        method="DELETE" if body is None else "POST",
        body=body if isinstance(body, str | None) else json.dumps(body),
        headers=given,
    )
    value = json.loads(response.body)
    return response.code, value if response.code == 200 else value["error"]


def signed(user: str = "123", **claims: Any) -> str:
    """Return a token that was signed before the test."""
    return token(user, iat=claims.pop("iat", SIGNED_S), **claims)


# -- sockets and tokens -------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_revoked_user_is_out_and_comes_back_with_a_later_token(start: Start) -> None:
    """On every route, at opening and by ``refresh``; others are not disturbed."""
    clock = FakeClock()
    hermes = await start(clock=clock)
    old = token(tenant_id="acme", iat=clock.now_s - 5)
    sockets = [await hermes.open(path, old) for path in ("/ws/notifications", "/ws", "/ws/tenant/acme", "/ws/device/d")]
    other = await hermes.open("/ws/notifications", token("456", iat=clock.now_s))
    status, answer = await call(hermes, {"user_id": 123, "reason": "left"})
    until = answer["revoked_until"]
    assert (status, answer) == (200, {"status": "success", "closed": 4, "revoked_until": int(clock.now_s)})
    for socket in sockets:
        assert await socket.wait_closed() == REVOKED
    for refused in (old, token(tenant_id="acme"), token(tenant_id="acme", iat=until)):
        assert await (await hermes.open("/ws", refused)).wait_closed() == REVOKED
    later = await hermes.open("/ws/notifications", token(tenant_id="acme", iat=until + 1))
    await later.expect_silence()
    await later.send({"action": "refresh", "token": old})
    assert await later.wait_closed() == REVOKED
    await other.expect_silence()


@pytest.mark.gen_test
async def test_a_remembered_token_is_refused_too(start: Start) -> None:
    """The memory of checked tokens never outlives a revocation, nor does it remember that one."""
    hermes = await start()
    given = signed(jti="t1")
    await (await hermes.open("/ws/notifications", given)).close()
    assert hermes.gateway.token_verifier.is_known(given)
    assert (await call(hermes, {"token_id": "t1"}))[1]["closed"] == 0
    assert await (await hermes.open("/ws/notifications", given)).wait_closed() == REVOKED
    assert (await call(hermes, query="?token_id=t1"))[1] == {"status": "success", "removed": 1}
    await (await hermes.open("/ws/notifications", given)).expect_silence()


@pytest.mark.gen_test
async def test_without_revocation_the_clients_come_back(start: Start) -> None:
    """They are told when, and their tokens stay valid; nothing is stored."""
    hermes = await start()
    given = signed(tenant_id="acme")
    socket = await hermes.open("/ws", given)
    assert await call(hermes, {"tenant_id": "acme", "revoke": False}) == (
        200,
        {"status": "success", "closed": 1, "revoked_until": None},
    )
    code, reason = await socket.wait_closed()
    assert code == 1001
    assert reason is not None
    assert reason.startswith("disconnected;retry_ms=")
    await (await hermes.open("/ws", given)).expect_silence()
    assert not hermes.gateway.settings.stored_in.exists()


@pytest.mark.gen_test
async def test_revocations_survive_a_restart(start: Start) -> None:
    """They are on the disk before the answer; the state folder is for its owner only."""
    first = await start()
    for body in ({"user_id": "1"}, {"token_id": "t2"}, {"tenant_id": "globex"}, {"user_id": "4"}):
        assert (await call(first, body))[0] == 200
    assert (await call(first, query="?user_id=4"))[1]["removed"] == 1
    hermes = await start()
    for given in (signed("1"), signed("2", jti="t2"), signed("3", tenant_id="globex")):
        assert await (await hermes.open("/ws/notifications", given)).wait_closed() == REVOKED
    await (await hermes.open("/ws/notifications", signed("4"))).expect_silence()
    assert hermes.gateway.settings.stored_in.stat().st_mode & 0o777 == 0o700


@pytest.mark.gen_test
async def test_a_key_with_a_tenant_reaches_its_tenant_only(start: Start) -> None:
    """The same user in another tenant, and the revocations of others, are out of its reach."""
    hermes = await start()
    own = await hermes.open("/ws/notifications", signed(tenant_id="acme"))
    others = [await hermes.open("/ws/notifications", signed(**claims)) for claims in ({"tenant_id": "globex"}, {})]
    assert (await call(hermes, {"user_id": "123"}, key=ACME))[1]["closed"] == 1
    assert await own.wait_closed() == REVOKED
    for socket in others:
        await socket.expect_silence()
    assert await (await hermes.open("/ws", signed(tenant_id="acme"))).wait_closed() == REVOKED
    await (await hermes.open("/ws", signed(tenant_id="globex"))).expect_silence()
    assert (await call(hermes, {"tenant_id": "globex"}, key=ACME))[1]["code"] == "forbidden"
    assert (await call(hermes, query="?tenant_id=globex", key=ACME))[1]["code"] == "forbidden"
    await call(hermes, {"user_id": "123"})
    assert (await call(hermes, query="?user_id=123", key=ACME))[1]["removed"] == 1
    assert await (await hermes.open("/ws", signed(tenant_id="acme"))).wait_closed() == REVOKED, "that of the operator"
    await call(hermes, {"tenant_id": "acme"}, key=ACME)
    assert (await call(hermes, query="?user_id=123"))[1]["removed"] == 1
    assert (await call(hermes, query="?tenant_id=acme"))[1]["removed"] == 1, "an operator removes those of tenants too"
    await (await hermes.open("/ws", signed(tenant_id="acme"))).expect_silence()


# -- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_faults_are_those_of_every_endpoint(start: Start) -> None:
    """In their order, each with what is wrong."""
    hermes = await start()
    body = {"user_id": "1"}
    assert (await hermes.request("/disconnect", headers={"X-API-Key": OPERATOR})).code == 405
    assert (await hermes.request("/disconnect", headers={"X-API-Key": OPERATOR})).headers["Allow"] == "POST, DELETE"
    assert (await call(hermes, body, key=None))[0] == 401
    assert (await call(hermes, body, key=NOTIFIER, **{"Content-Type": "text/plain"}))[1]["message"] == (
        "the key notifier does not have the scope disconnect"
    )
    assert (await call(hermes, body, **{"Content-Type": "text/plain"}))[0] == 415
    assert (await call(hermes, "{"))[0] == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"user_id": "1", "token_id": "2"}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": True}, "user_id"),
        ({"user_id": 1.5}, "user_id"),
        ({"tenant_id": "x" * 257}, "tenant_id"),
        ({"user_id": "1", "revoke": "no"}, "revoke"),
        ({"user_id": "1", "reason": "x" * 257}, "reason"),
        ({"user_id": "1", "until": 5}, "until"),
    ],
    ids=str,
)
@pytest.mark.gen_test
async def test_a_wrong_body_is_refused_by_its_field(start: Start, body: object, field: str) -> None:
    """No user is disconnected."""
    hermes = await start()
    socket = await hermes.open("/ws/notifications", signed("1"))
    status, error = await call(hermes, body)
    assert (status, error["code"], list(error["fields"])) == (422, "invalid", [field])
    await socket.expect_silence()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "user_id"),
        ("?user_id=1&tenant_id=2", "user_id"),
        ("?user_id=1&user_id=2", "user_id"),
        ("?user_id=", "user_id"),
        ("?user_id=%ff", "user_id"),
        (f"?token_id={'x' * 257}", "token_id"),
        ("?user=1", "user"),
    ],
)
@pytest.mark.gen_test
async def test_a_wrong_query_is_refused_by_its_parameter(start: Start, query: str, field: str) -> None:
    """Nothing is removed."""
    hermes = await start()
    await call(hermes, {"user_id": "1"})
    status, error = await call(hermes, query=query)
    assert (status, error["code"], list(error["fields"])) == (422, "invalid", [field])
    assert len(hermes.gateway.revocations) == 1


@pytest.mark.gen_test
async def test_when_the_list_is_full_nothing_is_done(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 says how to go on; sockets can still be closed."""
    monkeypatch.setattr(revocation_list, "REVOCATIONS_MAX", 2)
    hermes = await start()
    for user in ("1", "2"):
        assert (await call(hermes, {"user_id": user}))[0] == 200
    socket = await hermes.open("/ws/notifications", signed("3"))
    status, error = await call(hermes, {"user_id": "3"})
    assert (status, error["code"]) == (503, "revocations_full")
    await socket.expect_silence()
    assert (await call(hermes, {"user_id": "2"}))[0] == 200
    assert (await call(hermes, {"user_id": "3", "revoke": False}))[1]["closed"] == 1
    assert (await call(hermes, query="?user_id=1"))[0] == 200
    assert (await call(hermes, {"user_id": "3"}))[0] == 200


@pytest.mark.gen_test
async def test_a_state_folder_that_cannot_be_written_is_reported(
    start: Start, tmp_path: Path, complaints: list[object]
) -> None:
    """The revocation is in effect until Hermes stops."""
    (tmp_path / "occupied").write_text("")
    hermes = await start(state_dir=tmp_path / "occupied")
    socket = await hermes.open("/ws/notifications", signed())
    status, error = await call(hermes, {"user_id": "123"})
    assert (status, error["code"]) == (503, "not_stored")
    assert await socket.wait_closed() == REVOKED
    assert await (await hermes.open("/ws/notifications", signed())).wait_closed() == REVOKED
    complaints.clear()


# -- start --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["rubbish\n", pytest.param('{"hermes_revocations": 99}\n', marks=pytest.mark.slow)])
def test_hermes_does_not_start_without_its_revocations(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what to do; otherwise revoked tokens would be valid again. ``hermes check`` reports it too."""
    (tmp_path / "revocations").write_text(content)
    arguments = ("--port", "0", "--mqtt-url", "off", "--state-dir", str(tmp_path))
    with hermes_program("serve", *arguments, HERMES_JWT_SECRET=SECRET) as program:
        assert program.process.wait(60) == 2
        text = program.wait_for(r"hermes: .*revocations.*")[0]
    assert "newer Hermes" in text or "restore the file from a backup" in text
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HERMES_JWT_SECRET", SECRET)
        assert main(["check", "--settings", *arguments[2:]]) == 2
    assert "revocations" in capsys.readouterr().out


@pytest.mark.gen_test
async def test_a_reload_reads_the_revocations_again(start: Start) -> None:
    """A file that cannot be read changes nothing."""
    hermes = await start()
    await call(hermes, {"user_id": "1"})
    file = hermes.gateway.settings.stored_in / "revocations"
    before = file.read_text()
    socket = await hermes.open("/ws/notifications", signed("2"))
    file.write_text("rubbish\n")
    with pytest.raises(ConfigError, match="restore the file"):
        await hermes.gateway.reload(hermes.gateway.settings)
    assert await (await hermes.open("/ws/notifications", signed("1"))).wait_closed() == REVOKED
    file.write_text(before.replace('"1"', '"2"'))
    await hermes.gateway.reload(hermes.gateway.settings)
    assert await socket.wait_closed() == REVOKED
    await (await hermes.open("/ws/notifications", signed("1"))).expect_silence()


# -- clients ------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_python_client_disconnects_and_undoes_it(start: Start) -> None:
    """And reports what Hermes refuses."""
    hermes = await start()
    socket = await hermes.open("/ws/notifications", signed(tenant_id="acme"))
    client = HermesClient(hermes.url, api_key=OPERATOR)
    result = await client.disconnect(tenant_id="acme", reason="test")
    assert (result.closed, result.revoked_until) == (1, result.answer["revoked_until"])
    assert await socket.wait_closed() == REVOKED
    assert await client.undo_disconnect(tenant_id="acme") == 1
    assert (await client.disconnect(user_id=5, revoke=False)).revoked_until is None
    with pytest.raises(RequestError, match="does not have the scope"):
        await HermesClient(hermes.url, api_key=NOTIFIER).disconnect(user_id="1")
    with pytest.raises(RequestError, match="user_id"):
        await client.undo_disconnect()


@pytest.mark.gen_test
async def test_a_program_that_embeds_hermes_disconnects_too(start: Start) -> None:
    """Without HTTP."""
    hermes = await start()
    socket = await hermes.open("/ws/notifications", signed())
    assert (await hermes.gateway.disconnect(user_id=123)).closed == 1
    assert await socket.wait_closed() == REVOKED
    assert await hermes.gateway.undo_disconnect(user_id="123") == 1
    with pytest.raises(RequestError):
        await hermes.gateway.disconnect()


@pytest.fixture
def running(tmp_path: Path) -> Any:
    """A ``hermes serve`` with these keys."""
    keys = tmp_path / "keys"
    keys.write_text(FILE)
    words = (
        "serve",
        "--port",
        "0",
        "--mqtt-url",
        "off",
        "--api-key-file",
        str(keys),
        "--state-dir",
        f"{tmp_path}/state",
    )
    with hermes_program(*words, HERMES_JWT_SECRET=SECRET) as program:
        yield program


def test_the_command_disconnects_and_undoes_it(
    running: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes the key of the file that has the scope; the audit log names that key."""
    words = ["disconnect", "--url", running.url, "--api-key-file", str(tmp_path / "keys")]

    def answer(*more: str) -> dict[str, Any]:
        code = main([*words, *more])
        value = json.loads(capsys.readouterr().out)
        assert (value["status"] == "success") is (code == 0)
        assert isinstance(value, dict)
        return value

    done = answer("--user", "123", "--reason", "left the company")
    assert (done["closed"], done["revoked_until"] > 0) == (0, True)
    running.wait_for(r"hermes\.audit: revoked by operator: user 123, 0 sockets closed; reason: left the company")
    assert answer("--token-id", "t1", "--no-revoke")["revoked_until"] is None
    assert answer("--user", "123", "--undo") == {"status": "success", "removed": 1}
    assert answer("--tenant", "x" * 257)["error"]["fields"].keys() == {"tenant_id"}
    for wrong in ([], ["--user", "1", "--tenant", "2"], ["--user", "1", "--undo", "--no-revoke"]):
        with pytest.raises(SystemExit):
            main([*words, *wrong])


@pytest.mark.gen_test
async def test_the_metrics_show_revocations(start: Start) -> None:
    """Their number, and what was refused because of them."""
    hermes = await start()
    await call(hermes, {"user_id": "123"})
    await (await hermes.open("/ws/notifications", signed())).wait_closed()
    text = (await hermes.request("/metrics")).body.decode()
    assert "hermes_revocations 1.0" in text
    assert 'hermes_sockets_refused_total{reason="revoked"} 1.0' in text
    await eventually(lambda: not hermes.gateway.hub.sessions)
