"""Who is asking, and what their claims allow. The refusals as clients see them stand in test_sockets_tokens."""

import time

import jwt
import pytest

from hermes.auth.api_keys import ApiKeys
from hermes.auth.principal import Principal, check_requested_tenant, check_tenant, device_tenant
from hermes.auth.tokens import TokenSigner, TokenVerifier
from hermes.errors import FORBIDDEN, TOKEN_EXPIRED, TOKEN_INVALID, SocketRejected
from hermes.ids import TenantId, UserId
from tests.support.fakes import FakeClock
from tests.support.gateways import SECRET, token

NOW_S = FakeClock().now_s


def principal(text: str, **rules: str) -> Principal:
    """Checked by the fake clock."""
    return TokenVerifier(
        secret=SECRET, clock=FakeClock(), issuer=rules.get("issuer"), audience=rules.get("audience")
    ).verify(text)


def test_a_good_token_becomes_its_principal() -> None:
    """Integers become their decimal strings; other claims are ignored."""
    given = token(7, "ana", tenant_id=9, is_superuser=True, exp=NOW_S + 60.5, sub=5, iat="soon", jti=1)
    assert principal(given) == Principal(UserId("7"), "ana", TenantId("9"), is_superuser=True, expires_at=NOW_S + 60.5)


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
        ({"tenant_id": ""}, TOKEN_INVALID),
        ({"user_id": "\ud800"}, TOKEN_INVALID),
        ({"username": "\ud800"}, TOKEN_INVALID),
        ({"tenant_id": "\ud800"}, TOKEN_INVALID),
    ],
)
def test_a_faulty_claim_is_refused(claims: dict[str, object], close: object) -> None:
    """Expired is said apart from invalid; there is no leeway."""
    with pytest.raises(SocketRejected) as refused:
        principal(token(**claims))  # type: ignore[arg-type]
    assert refused.value.close is close


def test_a_null_expiry_is_no_expiry_claim() -> None:
    """It is refused rather than taken for a token that lasts for ever."""
    text = jwt.encode({"user_id": "1", "username": "ana", "exp": None}, SECRET, "HS256")
    with pytest.raises(SocketRejected):
        principal(text)


@pytest.mark.parametrize("part", ["[" * 5_000, '{"a":' * 3_000, '"\\ud800"', "1" * 5_000, "", "x" * 10_240])
def test_rubbish_is_refused_not_raised(part: str) -> None:
    """Whatever a token's parts hold, also with the right signature."""
    signed = jwt.api_jws.encode(part.encode(), SECRET, "HS256")
    for text in (signed, part, f"{part}.{part}.{part}", signed[:-2]):
        with pytest.raises(SocketRejected) as refused:
            principal(text)
        assert refused.value.close is TOKEN_INVALID


def test_issuer_and_audience_are_checked_only_when_set() -> None:
    """A token that has them is fine where nobody asks."""
    stamped = token(iss="us", aud=["them", "others"])
    assert principal(stamped).user_id == "123"
    assert principal(stamped, issuer="us", audience="them").user_id == "123"
    for rules in ({"issuer": "you"}, {"audience": "you"}):
        with pytest.raises(SocketRejected):
            principal(stamped, **rules)
    with pytest.raises(SocketRejected):
        principal(token(), issuer="us")


def test_minted_tokens_pass_the_same_rules() -> None:
    """The claim's name, issuer and audience are the settings'."""
    mint = TokenSigner(SECRET, claim_tenant="org", issuer="us", audience="them")
    authenticator = TokenVerifier(secret=SECRET, claim_tenant="org", issuer="us", audience="them")
    made = authenticator.verify(mint.sign(user_id="7", username="ana", tenant_id="acme", is_superuser=True, ttl_s=60))
    assert (made.user_id, made.tenant_id, made.is_superuser) == ("7", "acme", True)
    assert made.expires_at is not None
    assert 50 < made.expires_at - time.time() <= 60
    assert authenticator.verify(mint.sign(user_id="7", username="ana")).expires_at is None


ANA = Principal(UserId("1"), "ana", TenantId("acme"))
NOBODY = Principal(UserId("2"), "nobody")
ROOT = Principal(UserId("3"), "root", is_superuser=True)


def test_a_tenants_data_is_for_its_tokens_and_superusers() -> None:
    """Nobody else's."""
    check_tenant(ANA, "acme")
    check_tenant(ROOT, "acme")
    for other, tenant in ((ANA, "globex"), (NOBODY, "acme")):
        with pytest.raises(SocketRejected) as refused:
            check_tenant(other, tenant)
        assert refused.value.close is FORBIDDEN


def test_a_device_is_meant_within_the_tokens_tenant() -> None:
    """A superuser's in every tenant, or in the one asked for."""
    assert device_tenant(ANA, None) == "acme"
    assert device_tenant(ANA, "acme") == "acme"
    assert device_tenant(ROOT, None) is None
    assert device_tenant(ROOT, "globex") == "globex"
    for other, asked in ((ANA, "globex"), (ANA, ""), (NOBODY, None), (NOBODY, "acme")):
        with pytest.raises(SocketRejected):
            device_tenant(other, asked)
    check_requested_tenant(ROOT, "globex")


def test_any_of_the_keys_is_accepted() -> None:
    """And nothing like them."""
    keys = ApiKeys(["first", "zweiter-schlüssel"])
    assert keys.accepts("first")
    assert keys.accepts("zweiter-schlüssel")
    assert not any(keys.accepts(text) for text in ("", "firs", "first ", "FIRST", "\ud800"))
    assert keys
    assert not ApiKeys([])


def test_a_remembered_token_expires_like_any_other() -> None:
    """The clock is asked each time; afterwards it is forgotten, and still expired."""
    clock = FakeClock()
    authenticator = TokenVerifier(secret=SECRET, clock=clock)
    given = token(exp=NOW_S + 10)
    first = authenticator.verify(given)
    clock.now_s += 9.9
    assert authenticator.verify(given) is first
    clock.now_s += 0.1
    for _ in range(2):
        with pytest.raises(SocketRejected) as refusal:
            authenticator.verify(given)
        assert refusal.value.close is TOKEN_EXPIRED
    assert not authenticator._remembered


def test_only_good_tokens_are_remembered_and_only_as_they_are() -> None:
    """A refused one stays refused; one that differs is another."""
    authenticator = TokenVerifier(secret=SECRET, clock=FakeClock())
    good = token()
    authenticator.verify(good)
    for bad in (good[:-2] + ("AA" if good[-2:] != "AA" else "BB"), token(secret="x" * 32), "", "\ud800"):
        for _ in range(2):
            with pytest.raises(SocketRejected):
                authenticator.verify(bad)
    assert len(authenticator._remembered) == 1


def test_what_is_remembered_is_bounded_and_the_least_recently_used_goes_first() -> None:
    """However many tokens come by."""
    authenticator = TokenVerifier(secret=SECRET, clock=FakeClock(), remembered_max=3)
    tokens = [token(user) for user in range(5)]
    kept = authenticator.verify(tokens[0])
    for text in tokens[1:]:
        authenticator.verify(text)
        assert authenticator.verify(tokens[0]) is kept
    assert len(authenticator._remembered) == 3


@pytest.mark.parametrize("audience", ["A", ["A"], ["B", "A"]])
def test_an_audience_may_be_one_or_several(audience: object) -> None:
    """RFC 7519 §4.1.3."""
    assert principal(token(aud=audience), audience="A").user_id == "123"


@pytest.mark.parametrize("audience", ["B", "", "AA", [], ["B"], ["A", 5], ["A", None], [["A"]], {"A": 1}, 5, None])
def test_another_audience_is_refused(audience: object) -> None:
    """And so is a list that holds anything but strings."""
    with pytest.raises(SocketRejected):
        principal(token(aud=audience), audience="A")
