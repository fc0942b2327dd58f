"""Tokens, principals and API keys; the close codes that clients get are tested in test_sockets_tokens."""

import time

import jwt
import pytest

from hermes.auth.claims import ClaimNames
from hermes.auth.principal import Principal, TokenVerifier, check_requested_tenant, check_tenant, device_tenant
from hermes.auth.tokens import TokenSigner
from hermes.errors import FORBIDDEN, TOKEN_EXPIRED, TOKEN_INVALID, SocketRejected
from hermes.ids import TenantId, UserId
from hermes.testing import FakeClock
from tests.support.gateways import SECRET, token
from tests.support.verifiers import verifier

NOW_S = FakeClock().now_s


def principal(text: str, **rules: str) -> Principal:
    """Return the principal of a token, with the fake clock."""
    return verifier(clock=FakeClock(), issuer=rules.get("issuer"), audience=rules.get("audience")).verify(text)


def test_a_good_token_becomes_its_principal() -> None:
    """Integers become their decimal text; other claims are ignored."""
    given = token(7, "ana", tenant_id=9, is_superuser=True, exp=NOW_S + 60.5, sub=5, iat="soon", jti=1)
    found = principal(given)
    assert found == Principal(
        UserId("7"),
        "ana",
        TenantId("9"),
        is_superuser=True,
        expires_at=NOW_S + 60.5,
        token_id="1",
        key_id=found.key_id,
    )


@pytest.mark.parametrize("value", [1, "true", "1", [True], None, 1.0])
def test_only_true_makes_a_superuser(value: object) -> None:
    """JSON ``true``."""
    assert not principal(token(is_superuser=value)).is_superuser


@pytest.mark.parametrize(
    ("claims", "close"),
    [
        ({"exp": NOW_S}, TOKEN_EXPIRED),
        ({"exp": NOW_S - 0.5}, TOKEN_EXPIRED),
        ({"exp": NOW_S + 60, "nbf": NOW_S + 0.5}, TOKEN_INVALID),
        ({"exp": "tomorrow"}, TOKEN_INVALID),
        ({"exp": True}, TOKEN_INVALID),
        ({"exp": float("inf")}, TOKEN_INVALID),
        ({"exp": 10**400}, TOKEN_INVALID),
        ({"nbf": [1]}, TOKEN_INVALID),
        ({"user_id": True}, TOKEN_INVALID),
        ({"user_id": 1.5}, TOKEN_INVALID),
        ({"user_id": ""}, TOKEN_INVALID),
        ({"username": 5}, TOKEN_INVALID),
        ({"username": ""}, TOKEN_INVALID),
        ({"tenant_id": False}, TOKEN_INVALID),
        ({"tenant_id": 1.0}, TOKEN_INVALID),
        ({"user_id": "\ud800"}, TOKEN_INVALID),
        ({"username": "\ud800"}, TOKEN_INVALID),
        ({"tenant_id": "\ud800"}, TOKEN_INVALID),
    ],
)
def test_a_faulty_claim_is_rejected(claims: dict[str, object], close: object) -> None:
    """Expired and invalid have different close codes; there is no leeway."""
    with pytest.raises(SocketRejected) as rejection:
        principal(token(**claims))  # type: ignore[arg-type]
    assert rejection.value.close is close


def test_a_null_expiry_is_rejected() -> None:
    """It does not mean a token that never expires."""
    text = jwt.encode({"user_id": "1", "username": "ana", "exp": None}, SECRET, "HS256")
    with pytest.raises(SocketRejected):
        principal(text)


@pytest.mark.parametrize("part", ["[" * 5_000, '{"a":' * 3_000, '"\\ud800"', "1" * 5_000, "", "x" * 10_240])
def test_malformed_tokens_are_rejected(part: str) -> None:
    """Whatever the parts of a token contain, also with the right signature."""
    signed = jwt.api_jws.encode(part.encode(), SECRET, "HS256")
    for text in (signed, part, f"{part}.{part}.{part}", signed[:-2]):
        with pytest.raises(SocketRejected) as rejection:
            principal(text)
        assert rejection.value.close is TOKEN_INVALID


def test_issuer_and_audience_are_checked_only_when_set() -> None:
    """A token that has them is accepted by a verifier that does not check them."""
    given = token(iss="issuer", aud=["audience", "others"])
    assert principal(given).user_id == "123"
    assert principal(given, issuer="issuer", audience="audience").user_id == "123"
    for rules in ({"issuer": "other"}, {"audience": "other"}):
        with pytest.raises(SocketRejected):
            principal(given, **rules)
    with pytest.raises(SocketRejected):
        principal(token(), issuer="issuer")


def test_signed_tokens_are_accepted_by_a_verifier_with_the_same_values() -> None:
    """The name of the tenant claim, the issuer and the audience."""
    signer = TokenSigner(SECRET, ClaimNames(tenant="org"), issuer="issuer", audience="users")
    checked: TokenVerifier = verifier(claim_tenant="org", issuer="issuer", audience="users")
    begun_s = time.time()
    made = checked.verify(signer.sign(user_id="7", username="ana", tenant_id="acme", is_superuser=True, ttl_s=60))
    assert (made.user_id, made.tenant_id, made.is_superuser) == ("7", "acme", True)
    assert made.expires_at is not None
    assert begun_s + 59 <= made.expires_at <= time.time() + 60
    assert checked.verify(signer.sign(user_id="7", username="ana")).expires_at is None


ANA = Principal(UserId("1"), "ana", TenantId("acme"))
GUEST = Principal(UserId("2"), "guest")
ROOT = Principal(UserId("3"), "root", is_superuser=True)


def test_a_tenants_data_is_for_its_own_principals_and_superusers() -> None:
    """Others are rejected."""
    check_tenant(ANA, "acme")
    check_tenant(ROOT, "acme")
    for other, tenant in ((ANA, "globex"), (GUEST, "acme")):
        with pytest.raises(SocketRejected) as rejection:
            check_tenant(other, tenant)
        assert rejection.value.close is FORBIDDEN


def test_a_device_id_refers_to_the_tokens_tenant() -> None:
    """For a superuser to every tenant, or to the requested one."""
    assert device_tenant(ANA, None) == "acme"
    assert device_tenant(ANA, "acme") == "acme"
    assert device_tenant(ROOT, None) is None
    assert device_tenant(ROOT, "globex") == "globex"
    for other, requested in ((ANA, "globex"), (ANA, ""), (GUEST, None), (GUEST, "acme")):
        with pytest.raises(SocketRejected):
            device_tenant(other, requested)
    check_requested_tenant(ROOT, "globex")


def test_a_cached_token_expires_like_any_other() -> None:
    """The time is checked at each use; afterwards the token is removed, and still expired."""
    clock = FakeClock()
    checked = verifier(clock=clock)
    given = token(exp=NOW_S + 10)
    first = checked.verify(given)
    clock.now_s += 9.9
    assert checked.verify(given) is first
    clock.now_s += 0.1
    for _ in range(2):
        with pytest.raises(SocketRejected) as rejection:
            checked.verify(given)
        assert rejection.value.close is TOKEN_EXPIRED
    assert not checked._cache


def test_only_valid_tokens_are_cached() -> None:
    """A rejected token stays rejected; a token with one other byte is another token."""
    checked = verifier(clock=FakeClock())
    good = token()
    checked.verify(good)
    for bad in (good[:-2] + ("AA" if good[-2:] != "AA" else "BB"), token(secret="x" * 32), "", "\ud800"):
        for _ in range(2):
            with pytest.raises(SocketRejected):
                checked.verify(bad)
    assert len(checked._cache) == 1


def test_the_cache_is_bounded_and_the_least_recently_used_token_is_evicted_first() -> None:
    """However many tokens are verified."""
    checked = verifier(clock=FakeClock(), cache_max_tokens=3)
    tokens = [token(user) for user in range(5)]
    first = checked.verify(tokens[0])
    for text in tokens[1:]:
        checked.verify(text)
        assert checked.verify(tokens[0]) is first
    assert len(checked._cache) == 3


@pytest.mark.parametrize("audience", ["A", ["A"], ["B", "A"]])
def test_an_audience_may_be_one_or_several(audience: object) -> None:
    """RFC 7519 §4.1.3."""
    assert principal(token(aud=audience), audience="A").user_id == "123"


@pytest.mark.parametrize("audience", ["B", "", "AA", [], ["B"], ["A", 5], ["A", None], [["A"]], {"A": 1}, 5, None])
def test_another_audience_is_rejected(audience: object) -> None:
    """And a list that contains anything but text."""
    with pytest.raises(SocketRejected):
        principal(token(aud=audience), audience="A")
