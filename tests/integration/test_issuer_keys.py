"""Keys that are fetched from an identity provider: real requests to one that may be down, slow, hostile or rotating."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from hermes.auth import key_http, remote_keys
from hermes.auth.key_ring import KeyRing
from hermes.delivery import housekeeping
from hermes.errors import ConfigError
from hermes.gateway import Gateway
from hermes.metrics import by_label, total
from hermes.settings.folders import serving_folder
from hermes.testing import ClientSocket, FakeClock, gateway_settings
from tests.support.certificates import LOOPBACK, Authority
from tests.support.gateways import Hermes, MakeHermes, eventually, swept, token
from tests.support.issuers import CERTS, DISCOVERY, Answer, Issuer, json_answer, redirect, running_issuer
from tests.support.programs import free_port

pytestmark = pytest.mark.usefixtures("complaints", "state")

UNAVAILABLE = "keys_unavailable;retry_ms="
CLAIMS = {
    "claim_user": "sub",
    "claim_name": "preferred_username",
    "claim_superuser": "realm_access.roles=hermes-admin",
    "jwt_audience": "hermes",
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store fetched keys in a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return serving_folder() / "keys"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Run an issuer."""
    with running_issuer() as running:
        yield running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch for every unknown key id, and soon after a failure."""
    monkeypatch.setattr(remote_keys, "REQUESTED_INTERVAL_S", 0.05)
    monkeypatch.setattr(remote_keys, "RETRY_FIRST_S", 0.05)
    monkeypatch.setattr(remote_keys, "RETRY_MAX_S", 0.1)


async def fetched(hermes: Hermes) -> None:
    """Wait until the first fetch has ended well."""
    await eventually(lambda: not any(keys.problem for keys in hermes.gateway.remote_keys))


async def close_of(hermes: Hermes, given: str) -> str:
    """Return the reason with which a socket for this token is closed."""
    socket = await hermes.open("/ws/notifications", given)
    _, reason = await socket.wait_closed()
    return reason or ""


async def opens(hermes: Hermes, given: str, path: str = "/ws/tenant/acme") -> ClientSocket:
    """Open a socket and assert that it stays open."""
    socket = await hermes.open(path, given)
    await socket.expect_silence()
    return socket


async def opens_at_last(hermes: Hermes, given: str) -> None:
    """Try until a socket opens; every refusal before is ``keys_unavailable``."""
    while True:
        socket = await hermes.open("/ws/notifications", given)
        await socket.send({"action": "ping"})
        if (frame := await socket.receive_text()) is not None:
            assert json.loads(frame) == {"action": "pong"}
            return
        assert (socket.connection.close_reason or "").startswith(UNAVAILABLE)


async def readiness(hermes: Hermes) -> tuple[int, list[str]]:
    """Return status and what is missing."""
    response = await hermes.request("/ready")
    return response.code, json.loads(response.body)["missing"]


# -- the right way ------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_tokens_of_an_issuer_open_sockets(make_hermes: MakeHermes, issuer: Issuer) -> None:
    """With the claims that Keycloak writes; the encryption key of the set is skipped."""
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await fetched(hermes)
    await opens(hermes, issuer.token())
    await opens(hermes, issuer.token(), "/ws/tenant/globex")  # a superuser by the role
    plain = issuer.token(realm_access={"roles": []}, sub="2")
    assert (await (await hermes.open("/ws/tenant/globex", plain)).wait_closed())[1] == "forbidden"
    assert issuer.requests == [DISCOVERY, CERTS]
    metrics = hermes.gateway.metrics
    assert by_label(metrics.token_keys) == {"secret": 1, "public_key": 0, "jwks_file": 0, "oidc": 1}
    assert by_label(metrics.key_set_skipped) == {"oidc": 1}
    assert 0 <= by_label(metrics.token_keys_age_s)["oidc"] < 3_600
    assert await readiness(hermes) == (200, [])


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "claims",
    [{"iss": "https://evil"}, {"iss": None}, {"aud": "account"}, {"typ": "ID"}, {"typ": "Refresh"}, {"sub": None}],
)
async def test_a_token_of_the_issuer_for_another_purpose_is_refused(
    make_hermes: MakeHermes, issuer: Issuer, claims: dict[str, Any]
) -> None:
    """Although its signature is right."""
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await fetched(hermes)
    assert await close_of(hermes, issuer.token(**claims)) == "token_invalid"


@pytest.mark.gen_test
async def test_all_kinds_of_keys_verify_at_once(make_hermes: MakeHermes, issuer: Issuer, tmp_path: Path) -> None:
    """A secret beside an issuer, a key set by URL and one in a file; each checks its own issuer."""
    path = tmp_path / "set.json"
    with running_issuer(algorithm="ES256") as of_file, running_issuer(algorithm="EdDSA") as of_url:
        of_file.kids, of_url.kids = ["file"], ["url"]
        path.write_text(json.dumps(of_file.key_set()))
        hermes = await make_hermes(oidc_issuer=issuer.url, jwks_url=of_url.jwks_url, jwks_file=path, jwt_issuer="files")
        await fetched(hermes)
        names = {"user_id": "1", "username": "ana"}
        for good in (
            issuer.token(**names),
            of_file.token(**names, iss="files"),
            of_url.token(**names, iss="files"),
            token(tenant_id="acme", iss="files"),
        ):
            await opens(hermes, good)
        for bad in (issuer.token(**names, iss="files"), of_url.token(**names), token(), of_file.token(**names)):
            assert await close_of(hermes, bad) == "token_invalid"


# -- an issuer that is down, slow or hostile ----------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.usefixtures("quick")
async def test_hermes_starts_without_its_issuer_and_recovers(
    make_hermes: MakeHermes, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then its tokens get 1013 and `/ready` says so; tokens of the secret are verified."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/realms/site"
    with caplog.at_level(logging.INFO):
        hermes = await make_hermes(oidc_issuer=url, **CLAIMS)
        given = Issuer(port).token()
        assert (await close_of(hermes, given)).startswith(UNAVAILABLE)
        await eventually(lambda: "refused" in hermes.gateway.remote_keys[0].problem)
        code, (missing,) = await readiness(hermes)
        assert code == 503
        assert missing.startswith(f"keys_unavailable: {url}/.well-known/openid-configuration: ")
        await opens(hermes, token(None, None, sub="1", aud="hermes"), "/ws/notifications")
        with running_issuer(port=port) as running:
            await opens_at_last(hermes, running.token())
            assert await readiness(hermes) == (200, [])
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1, "one line for many failures"
    assert "no token with its keys can be verified" in warnings[0]


def hang(released: Event) -> Answer:
    """Return an answer that does not come."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        released.wait(60)

    return answer


def drip(request: BaseHTTPRequestHandler) -> None:
    """Send a byte in a while, for ever."""
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b" ")
        time.sleep(0.02)


def lie(length: int, body: bytes) -> Answer:
    """Return an answer of another length than it says."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(length))
        request.end_headers()
        request.wfile.write(body)
        request.close_connection = True

    return answer


def endless(request: BaseHTTPRequestHandler) -> None:
    """Send chunks for ever."""
    request.protocol_version = "HTTP/1.1"
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    while True:
        request.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


SET: dict[str, object] = {"keys": []}
BROKEN: dict[str, tuple[str, Answer, str]] = {
    "404": (CERTS, json_answer({}, 404), "it answers 404"),
    "500": (DISCOVERY, json_answer({}, 500), "it answers 500"),
    "a redirect": (CERTS, redirect("http://127.0.0.1:9/elsewhere"), "it answers 302, a redirect"),
    "a redirected discovery": (DISCOVERY, redirect("/realms/other"), "it answers 302, a redirect"),
    "no JSON": (CERTS, json_answer(b"<html>"), "it is not JSON"),
    "no set": (CERTS, json_answer({}), "it is not a JWK set"),
    "an empty set": (CERTS, json_answer(SET), "no key that verifies tokens"),
    "no discovery": (DISCOVERY, json_answer([]), "it is not a JSON object"),
    "another issuer": (DISCOVERY, json_answer({"issuer": "https://evil"}), "its issuer is https://evil"),
    "10 MB": (CERTS, json_answer(b" " * 10_000_000), "over 512 KiB"),
    "10 MB in chunks": (CERTS, endless, "over 512 KiB"),
    "too few bytes": (CERTS, lie(1_000, b"{}"), "ended early"),
    "too many bytes": (CERTS, lie(2, b'{"keys":[]}'), "it is not JSON"),
    "never an end": (CERTS, drip, "no complete answer within"),
    "a file": (DISCOVERY, json_answer({"jwks_uri": "file:///etc/passwd"}), "its issuer is absent"),
}


@pytest.mark.gen_test
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_cannot_be_used_changes_nothing(
    make_hermes: MakeHermes, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The last good keys stay in use; the problem is named, and a good answer ends it."""
    monkeypatch.setattr(key_http, "TIMEOUT_S", 1.0)
    path, answer, words = BROKEN[name]
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    (keys,) = hermes.gateway.remote_keys
    await fetched(hermes)
    issuer.behave(path, answer)
    assert (await close_of(hermes, issuer.token("first", jti="1") + "x")) != ""  # a wrong signature causes no fetch
    issuer.rotate("second")
    assert (await close_of(hermes, issuer.token())).startswith(UNAVAILABLE)
    await eventually(lambda: words in keys.problem)
    await opens(hermes, issuer.token("first"))
    assert (await hermes.request("/health")).code == 200
    assert await readiness(hermes) == (200, [])
    issuer.behave(path, None)
    await opens_at_last(hermes, issuer.token())
    assert keys.problem == ""
    counts = hermes.gateway.metrics.registry.get_sample_value
    assert counts("hermes_key_fetches_total", {"source": "oidc", "result": "failed"})
    assert "/realms/other" not in issuer.requests


@pytest.mark.gen_test
async def test_an_issuer_that_hangs_holds_nothing(
    make_hermes: MakeHermes, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tokens are verified meanwhile, and Hermes stops at once."""
    released = Event()
    issuer.behave(CERTS, hang(released))
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await asyncio.to_thread(issuer.wait_for_requests, CERTS, 1)
    await opens(hermes, token(None, None, sub="1", aud="hermes"), "/ws/notifications")
    assert (await close_of(hermes, issuer.token())).startswith(UNAVAILABLE)
    await hermes.gateway.stop()
    released.set()


@pytest.mark.gen_test
async def test_a_foreign_key_address_must_be_https(make_hermes: MakeHermes, issuer: Issuer) -> None:
    """A discovery document cannot move the keys to a place that anybody can change."""
    document = {"issuer": issuer.url, "jwks_uri": "http://keys.example/certs"}
    issuer.behave(DISCOVERY, json_answer(document))
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await eventually(lambda: "its jwks_uri must be https" in hermes.gateway.remote_keys[0].problem)


@pytest.mark.gen_test
async def test_https_is_verified_by_the_ca_of_the_site(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Without it the certificate is not trusted, and the message names the setting."""
    authority = Authority(tmp_path)
    signed = authority.sign("issuer", LOOPBACK)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed.certificate, signed.key)
    with running_issuer(tls=context) as issuer:
        trusting = await make_hermes(oidc_issuer=issuer.url, jwks_ca_file=authority.certificate, **CLAIMS)
        await fetched(trusting)
        await opens(trusting, issuer.token())
        other = await make_hermes(jwks_url=issuer.jwks_url, **CLAIMS)
        await eventually(lambda: "--jwks-ca-file names the CA" in other.gateway.remote_keys[0].problem)


# -- rotation -----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_random_key_ids_cause_one_fetch(
    make_hermes: MakeHermes, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tokens an attacker sends: at most one in 30 s, and none counts as a wrong token."""
    assert remote_keys.REQUESTED_INTERVAL_S == 30
    monkeypatch.setattr(remote_keys, "REQUESTED_INTERVAL_S", 3_600.0)  # longer than the test on any machine
    hermes = await make_hermes(oidc_issuer=issuer.url, max_failed_auth_per_address=5, **CLAIMS)
    await fetched(hermes)
    for number in range(40):
        reason = await close_of(hermes, issuer.token(named=f"random-{number}"))
        assert reason.startswith(UNAVAILABLE)
    await asyncio.to_thread(issuer.wait_for_requests, CERTS, 2)
    for number in range(40):
        reason = await close_of(hermes, issuer.token(named=f"more-{number}"))
        assert reason.startswith(UNAVAILABLE)
    assert issuer.count(CERTS) == 2
    assert total(hermes.gateway.metrics.unknown_kids) == 80
    await opens(hermes, issuer.token())


@pytest.mark.gen_test
@pytest.mark.usefixtures("quick")
async def test_a_key_id_that_no_answer_has_becomes_invalid(make_hermes: MakeHermes, issuer: Issuer) -> None:
    """Once a fetch that began after it was seen has ended without it."""
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await fetched(hermes)
    given = issuer.token("never")
    assert (await close_of(hermes, given)).startswith(UNAVAILABLE)
    await asyncio.to_thread(issuer.wait_for_requests, CERTS, 2)
    while (reason := await close_of(hermes, given)) != "token_invalid":
        assert reason.startswith(UNAVAILABLE)


async def rotate_under(hermes: Hermes, issuer: Issuer, clock: FakeClock, number: int) -> None:
    """Rotate the keys under open sockets; assert which stay open, and until when."""
    exp = clock.now_s + 100
    lifetime: dict[str, Any] = {"iat": int(clock.now_s), "exp": exp}
    old = [issuer.token(sub=str(user), **lifetime) for user in range(number)]
    sockets = [await hermes.open("/ws/notifications", each) for each in old]
    for socket in sockets:
        await socket.expect_silence()
    issuer.rotate("second", keep=0)
    renewed = issuer.token(sub="0", **(lifetime | {"exp": exp + 100}))
    await sockets[0].send({"action": "refresh", "token": renewed})  # with a key that Hermes does not have yet
    assert await sockets[0].receive() == {"action": "refreshed", "expires": round((exp + 100) * 1_000)}
    verifier = hermes.gateway.token_verifier
    assert not any(verifier.is_known(each) for each in old)
    assert (await close_of(hermes, old[1])).startswith((UNAVAILABLE, "token_invalid"))
    clock.now_s = exp - 1
    await swept(hermes)
    for socket in sockets:
        await socket.expect_silence()
    clock.now_s = exp
    for socket in sockets[1:]:
        assert await socket.wait_closed() == (1008, "token_expired")
    await sockets[0].expect_silence()
    clock.now_s = exp + 100
    assert await sockets[0].wait_closed() == (1008, "token_expired")


@pytest.mark.gen_test
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("number", [20, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_a_rotation_loses_no_socket_and_keeps_none_too_long(
    make_hermes: MakeHermes, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Open ones go on to their `exp` and not beyond; a refresh waits for the new key; remembered tokens are dropped."""
    monkeypatch.setattr(housekeeping, "PERIOD_S", 0.0625)
    clock = FakeClock()
    hermes = await make_hermes(
        oidc_issuer=issuer.url,
        clock=clock,
        max_sockets="2000",
        max_sockets_per_address="0",
        max_connects_per_address_s="0",
        **CLAIMS,
    )
    await fetched(hermes)
    await rotate_under(hermes, issuer, clock, number)


@pytest.mark.gen_test
@pytest.mark.usefixtures("quick")
async def test_a_refresh_that_waits_ends_with_the_verdict(make_hermes: MakeHermes, issuer: Issuer) -> None:
    """1008 if no answer has the key; a later refresh replaces one that waits."""
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await fetched(hermes)
    first, second = [await opens(hermes, issuer.token()) for _ in range(2)]
    issuer.behave(CERTS, json_answer({}, 500))
    await first.send({"action": "refresh", "token": issuer.token("never")})
    await first.expect_silence()
    await second.send({"action": "refresh", "token": issuer.token("never")})
    await second.send({"action": "refresh", "token": issuer.token("first", exp=None)})
    assert await second.receive() == {"action": "refreshed", "expires": None}
    issuer.behave(CERTS, None)
    assert await first.wait_closed() == (1008, "token_invalid")
    await second.expect_silence()
    ring = hermes.gateway.key_ring
    assert isinstance(ring, KeyRing)
    assert not ring._waiting


@pytest.mark.gen_test
async def test_a_socket_that_leaves_waits_no_longer(make_hermes: MakeHermes, issuer: Issuer) -> None:
    """What waits is bounded by the open sockets."""
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await fetched(hermes)
    issuer.behave(CERTS, json_answer({}, 500))
    socket = await opens(hermes, issuer.token())
    await socket.send({"action": "refresh", "token": issuer.token("never")})
    await socket.expect_silence()
    assert len(hermes.gateway.key_ring._waiting) == 1
    await socket.close()
    await eventually(lambda: not hermes.gateway.key_ring._waiting)


def mode_of(path: Path) -> int:
    """Return the permissions."""
    return path.stat().st_mode & 0o777


def store(state: Path, text: str) -> None:
    """Write the file of the issuer."""
    state.mkdir(parents=True)
    (state / "oidc.json").write_bytes(text.encode("utf-8", "surrogatepass"))


# -- after a restart ----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_last_good_keys_are_used_after_a_restart(make_hermes: MakeHermes, state: Path) -> None:
    """While the issuer is down; the file is private, and has only public members."""
    with running_issuer() as issuer:
        first = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
        await fetched(first)
        path = state / "oidc.json"
        await eventually(path.exists)
        await first.gateway.stop()
        given = issuer.token()
    assert [mode_of(each) for each in (path, state)] == [0o600, 0o700]
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await opens(hermes, given)
    assert await readiness(hermes) == (200, [])
    elsewhere = await make_hermes(oidc_issuer=f"{issuer.url}2", **CLAIMS)  # not the issuer of the file
    assert (await close_of(elsewhere, given)).startswith(UNAVAILABLE)


@pytest.mark.gen_test
async def test_stored_keys_that_are_too_old_open_nothing(make_hermes: MakeHermes, state: Path) -> None:
    """Their age counts also while Hermes does not run."""
    with running_issuer() as issuer:
        first = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
        await fetched(first)
        path = state / "oidc.json"
        await eventually(path.exists)
        await first.gateway.stop()
        given = issuer.token()
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"fetched_s": stored["fetched_s"] - 3_601}))
    hermes = await make_hermes(oidc_issuer=issuer.url, jwks_max_stale_s="3600", **CLAIMS)
    assert (await close_of(hermes, given)).startswith(UNAVAILABLE)
    assert (await readiness(hermes))[0] == 503


@pytest.mark.gen_test
@pytest.mark.parametrize("text", ["", "{", "[]", '{"version":1}', '{"version":"1"}', "\ud800", "[" * 100_000])
async def test_a_damaged_file_is_fetched_again(make_hermes: MakeHermes, issuer: Issuer, state: Path, text: str) -> None:
    """It is only a copy."""
    store(state, text)
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await fetched(hermes)
    await opens(hermes, issuer.token())


@pytest.mark.gen_test
async def test_a_file_of_a_newer_hermes_ends_the_start(issuer: Issuer, state: Path) -> None:
    """With words and exit code 2."""
    store(state, '{"version":2}')
    gateway = Gateway(gateway_settings(oidc_issuer=issuer.url, **CLAIMS))
    with pytest.raises(ConfigError, match="is of a newer Hermes"):
        await gateway.start()


@pytest.mark.gen_test
async def test_a_folder_that_cannot_be_written_is_one_warning(
    make_hermes: MakeHermes, issuer: Issuer, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything else works."""
    state.parent.parent.mkdir(parents=True, exist_ok=True)
    state.parent.write_text("not a folder")
    hermes = await make_hermes(oidc_issuer=issuer.url, **CLAIMS)
    await fetched(hermes)
    await opens(hermes, issuer.token())
    await eventually(lambda: "cannot store the keys" in caplog.text)


# -- words --------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_with_dev_the_reason_says_why(make_hermes: MakeHermes, issuer: Issuer) -> None:
    """A developer sees it in the browser; it fits into the frame, and has no other hint."""
    hermes = await make_hermes(dev=True)
    reason = await close_of(hermes, issuer.token())
    assert reason.startswith(
        "token_invalid;detail=signed with RS256, this Hermes has only an HS256 secret: add --jwks-url"
    )
    assert len(reason.encode()) <= 123
    socket = await opens(hermes, token(), "/ws/notifications")
    await socket.send({"action": "refresh", "token": issuer.token()})
    assert (await socket.wait_closed())[1] == reason


@pytest.mark.gen_test
async def test_without_dev_the_reason_is_one_word(
    make_hermes: MakeHermes, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """The log explains it to the site."""
    hermes = await make_hermes()
    with caplog.at_level(logging.INFO):
        assert await close_of(hermes, issuer.token()) == "token_invalid"
    assert "signed with RS256; this Hermes has only an HS256 secret: add --jwks-url or" in caplog.text


@pytest.mark.gen_test
async def test_a_clock_before_the_build_is_reported(
    make_hermes: MakeHermes, complaints: list[logging.LogRecord]
) -> None:
    """`/ready` is 503 until the clock is set; there is a line in the log."""
    clock = FakeClock(1_000.0)
    hermes = await make_hermes(clock=clock)
    code, (missing,) = await readiness(hermes)
    assert (code, missing.partition(":")[0]) == (503, "clock")
    (record,) = complaints
    assert "set the clock" in record.getMessage()
    complaints.clear()
    clock.now_s = FakeClock().now_s
    assert await readiness(hermes) == (200, [])
