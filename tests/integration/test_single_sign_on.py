"""The guide of single sign-on: its settings are tried with an issuer that speaks as Keycloak; ``hermes check``."""

import asyncio
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes.cli.check import check
from hermes.settings.load import load_settings
from hermes.testing import gateway_settings
from tests.support.gateways import MakeHermes, eventually
from tests.support.issuers import CERTS, Issuer, json_answer, private_key, public_pem, running_issuer
from tests.support.paths import CHECKOUT
from tests.support.programs import free_port

pytestmark = pytest.mark.usefixtures("complaints")

GUIDE = (CHECKOUT / "docs" / "guide" / "single-sign-on.md").read_text()
PROVIDERS = ("Keycloak", "Entra ID", "Auth0")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store fetched keys in a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Run an issuer."""
    with running_issuer() as running:
        yield running


def settings_of(provider: str) -> dict[str, Any]:
    """Return the settings that the guide gives for a provider."""
    section = GUIDE.partition(f"## {provider}\n")[2].partition("\n## ")[0]
    found = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return tomllib.loads(found[1])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_settings_of_the_guide_are_valid(provider: str) -> None:
    """Without a secret."""
    settings = load_settings(settings_of(provider) | {"mqtt_url": "off"})
    assert settings.token_rules.audience
    assert settings.oidc_client_id


@pytest.mark.gen_test
async def test_the_recipe_for_keycloak_works(make_hermes: MakeHermes, issuer: Issuer) -> None:
    """A token as Keycloak makes it opens every socket, with the user, the tenant and the role of its claims."""
    given = settings_of("Keycloak") | {"oidc_issuer": issuer.url, "jwt_secret": None}
    hermes = await make_hermes(**given)
    await eventually(lambda: not hermes.gateway.remote_keys[0].problem)
    token = issuer.token()
    for path in ("/ws/notifications", "/ws/tenant/acme", "/ws/device/d1", "/ws", "/ws/tenant/globex"):
        await (await hermes.open(path, token)).expect_silence()
    (principal,) = {session.principal for session in hermes.gateway.hub.sessions}
    assert (principal.user_id, principal.username) == ("f3c5c9e2-8e5c-4f5e-9d3b-0a1b2c3d4e5f", "ana")
    assert (principal.tenant_id, principal.is_superuser) == ("acme", True)
    lightweight = await hermes.open("/ws", issuer.token(sub=None))
    assert await lightweight.wait_closed() == (1008, "token_invalid")
    page = await hermes.request("/")
    data = json.loads(re.findall(r'id="page-data">(.*?)</script>', page.body.decode(), re.DOTALL)[0])
    assert data["token_rules"] == {
        "algorithms": ["RS256"],
        "fetches_keys": True,
        "claim_user": "sub",
        "claim_name": "preferred_username",
        "name_required": False,
        "claim_tenant": "tenant_id",
        "claim_superuser": "realm_access.roles",
        "superuser_value": "hermes-admin",
        "checks_issuer": True,
        "checks_audience": True,
        "leeway_s": 0.0,
        "max_age_s": None,
        "require_exp": False,
    }
    assert data["login"]["client_id"] == "hermes-console"
    assert data["login"]["token_endpoint"].startswith(issuer.url)


@pytest.mark.gen_test
async def test_without_a_client_the_page_has_no_login_and_a_closed_policy(
    make_hermes: MakeHermes, issuer: Issuer
) -> None:
    """It may connect to Hermes only."""
    hermes = await make_hermes(oidc_issuer=issuer.url)
    await eventually(lambda: not hermes.gateway.remote_keys[0].problem)
    page = await hermes.request("/")
    assert b'"login":null' in page.body
    assert "connect-src 'self';" in page.headers["Content-Security-Policy"]


@pytest.mark.gen_test
async def test_an_end_point_cannot_change_the_policy(make_hermes: MakeHermes, issuer: Issuer) -> None:
    """One with characters that end a directive is not used."""
    evil = "https://a.example;script-src'unsafe-inline'/token"
    document = {
        "issuer": issuer.url,
        "jwks_uri": issuer.jwks_url,
        "token_endpoint": evil,
        "authorization_endpoint": evil,
    }
    issuer.behave("/realms/site/.well-known/openid-configuration", json_answer(document))
    hermes = await make_hermes(oidc_issuer=issuer.url, oidc_client_id="hermes-console")
    await eventually(lambda: not hermes.gateway.remote_keys[0].problem)
    page = await hermes.request("/")
    assert "connect-src 'self';" in page.headers["Content-Security-Policy"]
    assert b'"token_endpoint":null' in page.body


# -- hermes check -------------------------------------------------------------------------------------------------


def checked(capsys: pytest.CaptureFixture[str], **given: object) -> tuple[int, list[str]]:
    """Return the exit code and the lines."""
    code = asyncio.run(check(gateway_settings(**given)))
    return code, capsys.readouterr().out.splitlines()


def test_check_fetches_the_keys(issuer: Issuer, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how many there are, and warns if tokens of every application are valid."""
    code, lines = checked(capsys, oidc_issuer=issuer.url)
    assert code == 0
    assert f"ok      {issuer.url}: 1 keys, for RS256; 1 others do not verify tokens" in lines
    assert any("--oidc-issuer" in line and "without --jwt-audience" in line for line in lines)
    _, lines = checked(capsys, oidc_issuer=issuer.url, jwt_audience="hermes")
    assert not any("--jwt-audience" in line for line in lines)


def test_check_reports_keys_that_cannot_be_fetched(issuer: Issuer, capsys: pytest.CaptureFixture[str]) -> None:
    """Each source with its reason."""
    issuer.behave(CERTS, json_answer({"keys": []}))
    port = free_port()
    code, lines = checked(capsys, oidc_issuer=f"http://127.0.0.1:{port}", jwks_url=issuer.jwks_url)
    assert code == 1
    assert f"FAIL    {issuer.jwks_url}: it has no key that verifies tokens (none at all)" in lines
    assert any(line.startswith(f"FAIL    http://127.0.0.1:{port}/.well-known/") for line in lines)


def test_check_counts_the_keys_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By source."""
    path = tmp_path / "keys.pem"
    path.write_text(public_pem(private_key("RS256")) + public_pem(private_key("EdDSA")))
    code, lines = checked(capsys, jwt_public_key_file=path)
    assert code == 0
    assert "ok      1 keys of secret, for HS256" in lines
    assert "ok      2 keys of public key, for RS256, RS384, RS512, PS256, PS384, PS512, EdDSA" in lines


def test_check_reports_a_wrong_clock(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens would be judged by it."""
    monkeypatch.setattr("hermes.cli.check.time.time", lambda: 1_000.0)
    code, lines = checked(capsys)
    assert code == 1
    assert any(line.startswith("FAIL    the clock of this machine says 1970-01-01") for line in lines)
