"""Which claims say who the user of a token is, and what they must be."""

from typing import Any

import jwt
import pytest

from hermes.auth.claims import SuperuserClaim, claim_at
from hermes.auth.principal import Principal
from hermes.errors import TOKEN_EXPIRED, TOKEN_INVALID, SocketRejected
from hermes.testing import FakeClock
from tests.support.gateways import SECRET, token
from tests.support.verifiers import verifier

NOW_S = FakeClock().now_s
KEYCLOAK = {
    "claim_user": "sub",
    "claim_name": "preferred_username",
    "claim_superuser": "realm_access.roles=hermes-admin",
}


def principal(text: str, **rules: object) -> Principal:
    """Return the principal of a token by these rules, with the fake clock."""
    return verifier(clock=FakeClock(), **rules).verify(text)  # type: ignore[arg-type]


def rejection(text: str, **rules: object) -> SocketRejected:
    """Return why a token is rejected."""
    with pytest.raises(SocketRejected) as found:
        principal(text, **rules)
    return found.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plain", 1),
        ("a.b", "whole"),
        ("a.c", "inner"),
        ("a.d.e", [1]),
        ("resource_access.my.app.roles", ["x"]),
        ("https://example.org/tenant", "acme"),
        ("absent", None),
        ("a", {"b": "hidden", "c": "inner", "d": {"e": [1]}}),
        ("a.d.e.f", None),
        ("plain.x", None),
        ("a.", None),
        (".a", None),
        (".", None),
        ("", None),
    ],
)
def test_a_claim_is_found_by_its_whole_name_or_by_a_path(name: str, value: object) -> None:
    """The whole name has precedence; a key of the path may contain dots."""
    claims = {
        "plain": 1,
        "a.b": "whole",
        "a": {"b": "hidden", "c": "inner", "d": {"e": [1]}},
        "resource_access": {"my.app": {"roles": ["x"]}},
        "https://example.org/tenant": "acme",
    }
    assert claim_at(claims, name) == value


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("admin", True, True),
        ("admin", "true", False),
        ("admin", 1, False),
        ("admin", ["true"], False),
        ("admin=yes", "yes", True),
        ("admin=yes", ["no", "yes"], True),
        ("admin=yes", "yes ", False),
        ("admin=yes", ["Yes"], False),
        ("admin=yes", {"yes": True}, False),
        ("admin=yes", "yes,no", False),
        ("admin=true", True, False),
        ("admin=a=b", "a=b", True),
        ("admin=yes", None, False),
    ],
)
def test_a_superuser_is_recognised_by_true_or_by_a_value(rule: str, value: object, expected: bool) -> None:
    """A text that is equal, or a list that contains it; nothing similar."""
    assert principal(token(admin=value), claim_superuser=rule).is_superuser is expected


@pytest.mark.parametrize("text", ["", "=", "=yes", "name="])
def test_a_superuser_claim_without_name_or_value_is_refused(text: str) -> None:
    """The error gives an example."""
    with pytest.raises(ValueError, match="NAME=VALUE"):
        SuperuserClaim.parse(text)


def test_the_claims_of_keycloak_become_a_principal() -> None:
    """With the three flags that the documentation gives."""
    given = token(
        None,
        None,
        sub="f3c5",
        preferred_username="ana",
        tenant_id="acme",
        realm_access={"roles": ["offline_access", "hermes-admin"]},
        jti="onrtac:1",
        iat=NOW_S - 5,
        exp=NOW_S + 300,
    )
    found = principal(given, **KEYCLOAK)
    assert (found.user_id, found.username, found.tenant_id, found.is_superuser) == ("f3c5", "ana", "acme", True)
    assert (found.issued_at, found.token_id) == (NOW_S - 5, "onrtac:1")
    assert not principal(token(None, None, sub="f3c5", realm_access={"roles": []}), **KEYCLOAK).is_superuser


def test_without_a_name_under_a_renamed_claim_the_user_id_is_shown() -> None:
    """A name that is no text is refused; under the default names it is required."""
    assert principal(token(None, None, sub="f3c5"), **KEYCLOAK).username == "f3c5"
    assert principal(token(7, None), claim_name="display").username == "7"
    assert rejection(token(None, None, sub="1", preferred_username=5), **KEYCLOAK).close is TOKEN_INVALID
    assert rejection(token(7, None)).close is TOKEN_INVALID


def test_sub_is_read_only_if_it_is_named() -> None:
    """It never replaces an absent ``user_id``; the reason names the claim and the flag."""
    found = rejection(token(None, "ana", sub="f3c5"))
    assert "no claim user_id (--claim-user)" in found.detail
    assert "sub" in found.detail


def test_an_empty_tenant_is_no_tenant() -> None:
    """As null and absence."""
    for value in ("", None):
        assert principal(token(tenant_id=value)).tenant_id is None


@pytest.mark.parametrize("kind", ["Refresh", "Offline", "ID", "Logout"])
def test_another_token_of_the_issuer_is_refused(kind: str) -> None:
    """A refresh, ID or logout token is signed with the same key, but gives no access."""
    assert "send the access token" in rejection(token(typ=kind)).detail
    assert principal(token(typ="Bearer")).user_id == "123"
    assert principal(token(typ=5)).user_id == "123"


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"aud": "hermes"}, True),
        ({"aud": ["account", "hermes"]}, True),
        ({"azp": "hermes"}, True),
        ({"aud": "account", "azp": "hermes"}, False),
        ({"azp": ["hermes"]}, True),
        ({"azp": "other"}, False),
        ({}, False),
    ],
)
def test_azp_counts_only_without_aud(claims: dict[str, Any], accepted: bool) -> None:
    """The party for which a token was issued stands in for an audience that is absent, not for another one."""
    if accepted:
        assert principal(token(**claims), audience="hermes").user_id == "123"
    else:
        assert "its audience is" in rejection(token(**claims), audience="hermes").detail


def test_a_null_audience_is_not_absent() -> None:
    """``azp`` does not count then."""
    text = jwt.encode({"user_id": "1", "username": "a", "aud": None, "azp": "hermes"}, SECRET, "HS256")
    assert rejection(text, audience="hermes").close is TOKEN_INVALID


def test_leeway_extends_both_ends_of_the_lifetime() -> None:
    """Exactly by its seconds."""
    assert principal(token(exp=NOW_S - 4, nbf=NOW_S + 5), leeway_s=5).expires_at == NOW_S + 1
    assert rejection(token(exp=NOW_S - 5), leeway_s=5).close is TOKEN_EXPIRED
    assert "compare the clocks" in rejection(token(nbf=NOW_S + 5.5), leeway_s=5).detail


def test_a_token_ends_at_its_maximum_age() -> None:
    """Or at ``exp``, whichever is first; without ``iat`` it is refused."""
    assert principal(token(iat=NOW_S - 10), max_age_s=60).expires_at == NOW_S + 50
    assert principal(token(iat=NOW_S - 10, exp=NOW_S + 5), max_age_s=60).expires_at == NOW_S + 5
    assert principal(token(iat=NOW_S - 62), max_age_s=60, leeway_s=3).expires_at == NOW_S + 1
    assert rejection(token(iat=NOW_S - 60), max_age_s=60).close is TOKEN_EXPIRED
    for iat in (None, "now", True):
        assert rejection(token(iat=iat), max_age_s=60).close is TOKEN_INVALID


def test_exp_may_be_required() -> None:
    """A token without one is then refused."""
    assert "it has no exp" in rejection(token(), require_exp=True).detail
    assert principal(token(exp=NOW_S + 1), require_exp=True).expires_at == NOW_S + 1


@pytest.mark.parametrize("claims", [{"iat": "soon", "jti": {}}, {"iat": None}, {"iat": float("inf"), "jti": "\ud800"}])
def test_what_only_a_revocation_needs_may_be_anything(claims: dict[str, Any]) -> None:
    """An unusable ``iat`` or ``jti`` counts as absent."""
    found = principal(token(**claims))
    assert (found.issued_at, found.token_id) == (None, None)
