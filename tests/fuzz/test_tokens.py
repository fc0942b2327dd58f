"""Any token: a principal, or `SocketRejected`."""

import base64
import hashlib
import hmac
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from hermes.auth.principal import Principal
from hermes.errors import SocketRejected
from hermes.web import credentials
from tests.support.gateways import SECRET, token
from tests.support.verifiers import verifier

TEXT = st.text(max_size=5) | st.sampled_from(["HS256", "none", "RS256", "a", "\ud800", "\0", "123"])
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        TEXT,
        st.integers(),
        st.floats(),
        st.sampled_from([2**53, 10**400, 10**4_299, -(10**300), 1e308]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
HEADER_NAMES = ("alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5u", "cty")
CLAIM_NAMES = ("user_id", "username", "tenant_id", "exp", "nbf", "iat", "iss", "aud", "is_superuser")
HEADERS = st.fixed_dictionaries(
    {"alg": st.just("HS256") | VALUES}, optional=dict.fromkeys(HEADER_NAMES[1:], VALUES)
).map(json.dumps)
CLAIMS = st.fixed_dictionaries(
    {"user_id": st.just("1") | VALUES, "username": st.just("a") | VALUES},
    optional=dict.fromkeys(CLAIM_NAMES[2:], VALUES),
).map(json.dumps)
DEEP = st.integers(1, 2_500).map(
    lambda levels: '{"user_id":"1","username":"a","x":' + "[" * levels + "]" * levels + "}"
)
NUMBERS = st.integers(1, 5_000).map(lambda digits: '{"user_id":%s,"username":"a"}' % ("9" * digits))
JSON_TEXTS = st.one_of(st.text(max_size=20), VALUES.map(json.dumps))


def signed(header: str, claims: str) -> str:
    """Return a token of these texts with the right signature."""
    parts = [encoded(text.encode("utf-8", "surrogatepass")) for text in (header, claims)]
    digest = hmac.new(SECRET.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, encoded(digest)])


def encoded(data: bytes) -> str:
    """Return unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


GOOD = token(tenant_id="acme")
TOKENS = st.one_of(
    st.builds(signed, HEADERS | JSON_TEXTS, CLAIMS | JSON_TEXTS),
    st.builds(signed, st.just('{"alg":"HS256"}'), CLAIMS | DEEP | NUMBERS),
    st.builds(signed, DEEP | NUMBERS, CLAIMS),
    st.builds(lambda at, piece: GOOD[:at] + piece + GOOD[at + 1 :], st.integers(0, len(GOOD)), st.text(max_size=2)),
    st.text(max_size=40),
    st.lists(st.text("aA0_-=.", max_size=8), max_size=6).map(".".join),
)


RULES: list[dict[str, Any]] = [
    {},
    {"max_age_s": 60.0, "leeway_s": 5.0},
    {"claim_user": "a.b", "claim_name": "iss", "claim_tenant": "x.", "claim_superuser": "is_superuser.a=b"},
]


@given(
    st.lists(TOKENS, min_size=1, max_size=3),
    st.sampled_from([None, "acme"]),
    st.sampled_from([None, "acme"]),
    st.sampled_from(RULES),
)
@example([GOOD, GOOD], None, None, {})
@example([signed('{"alg":"HS256"}', '{"user_id":"\\ud800","username":"a"}')], None, None, {})
def test_any_token_has_a_principal_or_is_rejected(
    tokens: list[str], issuer: str | None, audience: str | None, rules: dict[str, Any]
) -> None:
    """Without any other exception; each part of a principal can be encoded."""
    checked = verifier(issuer=issuer, audience=audience, clock=lambda: 1_000.0, cache_max_tokens=2, **rules)
    for each in tokens:
        checked.is_known(each)
        try:
            check(checked.verify(each))
        except SocketRejected as error:
            assert error.close.word in {"token_invalid", "token_expired"}
    assert len(checked._cache) <= 2


def check(principal: Principal) -> None:
    """Assert that frames and log lines can contain each part."""
    assert principal.user_id.encode()
    assert principal.username.encode()
    assert principal.tenant_id is None or principal.tenant_id.encode()
    assert principal.expires_at is None or round(principal.expires_at * 1_000)


LATIN = st.text(st.characters(max_codepoint=255), max_size=12)
PROTOCOLS = st.lists(st.sampled_from(["hermes.v1", "", " ", "x", GOOD]) | LATIN, max_size=6).map(",".join)


@given(
    st.none() | PROTOCOLS,
    st.none() | st.sampled_from(["Bearer", "bearer x", "Basic x", f"Bearer {GOOD}"]) | LATIN,
    st.lists(st.tuples(st.sampled_from(["token", "x"]), st.binary(max_size=6)), max_size=4),
)
def test_any_headers_and_query_have_one_token_or_are_rejected(
    protocol: str | None, authorization: str | None, query: list[tuple[str, bytes]]
) -> None:
    """Wherever the tokens are, and however many they are."""
    given = {"Sec-WebSocket-Protocol": protocol, "Authorization": authorization}
    headers = HTTPHeaders({"Host": "hermes"})
    for name, value in given.items():
        if value is not None:
            headers[name] = value
    request = HTTPServerRequest(start_line=RequestStartLine("GET", "/ws", "HTTP/1.1"), headers=headers)
    for name, argument in query:
        request.query_arguments.setdefault(name, []).append(argument)
    try:
        assert credentials.token(request)
    except SocketRejected as error:
        assert error.close.word in {"token_missing", "token_invalid"}
