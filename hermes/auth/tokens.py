"""Verify and sign JSON Web Tokens (RFC 7519).

PyJWT checks signatures and signs. The form (RFC 7515 §7.1) is checked here: PyJWT does it byte by byte in Python, once
for each key that is tried, which is a tenth of a handshake. The claims are checked in `hermes.auth.claims`, so that
fractions of a second count, tests can pass a clock, and claims that the protocol does not use are ignored.
"""

import base64
import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import orjson

from hermes.auth.claims import ACCESS_TOKEN_TYPE, ClaimNames, TokenRules, shown
from hermes.auth.key_ring import KeyRing
from hermes.auth.keys import VerificationKey
from hermes.auth.principal import NothingRevoked, Principal, Revocations
from hermes.errors import KEYS_UNAVAILABLE, REVOKED, TOKEN_EXPIRED, TOKEN_INVALID, SocketRejected
from hermes.json_nesting import nested_too_deeply

ALGORITHM = "HS256"  # with which Hermes signs
TOKEN_MAX_CHARS = 8192  # a longer text is rejected without a signature check
CACHE_MAX_TOKENS = 20_000  # more than the sockets of most sites; about 1 KiB each
ENCRYPTED_PARTS = 5  # RFC 7516 §3.1
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)


class JwtVerifier:
    """Verify tokens with the keys of a ring; a `TokenVerifier`.

    Valid tokens are remembered by their digest, because after a restart thousands of clients reconnect at once; the
    least recently used is evicted first. ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        keys: KeyRing,
        rules: TokenRules,
        *,
        revocations: Revocations | None = None,
        clock: Callable[[], float] = time.time,
        cache_max_tokens: int = CACHE_MAX_TOKENS,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._revocations: Revocations = NothingRevoked() if revocations is None else revocations
        self._clock = clock
        self._cache: OrderedDict[bytes, Principal] = OrderedDict()  # by the SHA-256 of the token
        self._cache_max_tokens = cache_max_tokens
        keys.on_change(self._forget_tokens_of_gone_keys)

    def verify(self, token: str) -> Principal:
        """Return the principal of a valid token.

        ``nbf`` is checked only for a token that is not remembered; expiry, key and revocation at every use. Raises
        `SocketRejected`.
        """
        digest = _digest(token)
        principal = self._cache.get(digest)
        if principal is None:
            principal = self._checked(token)
            self._check_revocation(principal)
            self._cache[digest] = principal
            if len(self._cache) > self._cache_max_tokens:
                self._cache.popitem(last=False)
            return principal
        if principal.expires_at is not None and principal.expires_at <= self._clock():
            del self._cache[digest]
            raise SocketRejected(TOKEN_EXPIRED)
        self._keys.check_recent(principal.key_id)
        self._check_revocation(principal)
        self._cache.move_to_end(digest)
        return principal

    def is_known(self, token: str) -> bool:
        """Return whether the token is remembered."""
        return _digest(token) in self._cache

    def use_rules(self, rules: TokenRules) -> None:
        """Check claims by these rules from now on; no earlier token stays remembered."""
        self._rules = rules
        self._cache.clear()

    def _check_revocation(self, principal: Principal) -> None:
        if self._revocations.refuses(principal):
            raise SocketRejected(REVOKED)

    def _forget_tokens_of_gone_keys(self) -> None:
        gone = [digest for digest, principal in self._cache.items() if principal.key_id not in self._keys]
        for digest in gone:
            del self._cache[digest]

    def _checked(self, token: str) -> Principal:
        signed = SignedToken.parse(token)
        rejection: SocketRejected | None = None
        for key in self._keys.candidates(signed.algorithm, signed.kid):
            if not key.verifies(signed.message, signed.signature, algorithm=signed.algorithm):
                continue
            try:
                self._keys.check_recent(key.id)
                return self._principal_of(signed.payload, key)
            except SocketRejected as error:  # another source may have the same key
                rejection = rejection if rejection and rejection.close is KEYS_UNAVAILABLE else error
        raise rejection or self._keys.rejection(signed.algorithm, signed.kid)

    def _principal_of(self, payload: bytes, key: VerificationKey) -> Principal:
        claims = _claims_of(payload)
        if key.issuer is not None and claims.get("iss") != key.issuer:
            raise SocketRejected(TOKEN_INVALID, f"its issuer is {shown(claims.get('iss'))}, not {shown(key.issuer)}")
        return self._rules.principal(claims, now_s=self._clock(), key_id=key.id)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class SignedToken:
    """The parts of a token (RFC 7515 §7.1), before anything is verified.

    ``message`` is what was signed; ``algorithm`` and ``kid`` only select the keys to try.
    """

    algorithm: str
    kid: str | None
    message: bytes
    payload: bytes
    signature: bytes

    @classmethod
    def parse(cls, token: str) -> "SignedToken":
        """Return the parts. Raises `SocketRejected`."""
        if len(token) > TOKEN_MAX_CHARS:
            raise SocketRejected(TOKEN_INVALID, f"it has more than {TOKEN_MAX_CHARS} characters")
        found = _COMPACT.fullmatch(token)
        if found is None:
            raise SocketRejected(TOKEN_INVALID, _form_problem(token))
        header = _header_of(_decoded(found[1]))
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
        if not isinstance(algorithm, str):
            raise SocketRejected(TOKEN_INVALID, "its header has no alg")
        if not isinstance(kid, str | None):
            raise SocketRejected(TOKEN_INVALID, "the kid of its header is not a text")
        if "crit" in header or header.get("b64", True) is not True:  # RFC 7515 §4.1.11, RFC 7797
            raise SocketRejected(TOKEN_INVALID, "its header has extensions that Hermes does not know (crit, b64)")
        if isinstance(kind, str) and _is_of_another_kind(kind):
            raise SocketRejected(TOKEN_INVALID, f"the typ of its header is {shown(kind)}: send an access token")
        message = token[: found.end(2)].encode()
        return cls(algorithm, kid, message, _decoded(found[2]), _decoded(found[3]))


def _form_problem(token: str) -> str:
    parts = token.count(".") + 1
    if parts == ENCRYPTED_PARTS:
        return "it is encrypted (JWE); Hermes reads signed tokens only"
    if parts != 3:
        return "it is not a JWT, which has three parts: ask the issuer for one"
    if token.endswith("."):
        return "it is not signed"
    return "it is not a JWT: a part is not base64url"


def _decoded(part: str) -> bytes:
    """Return the bytes of base64url without padding (RFC 7515 §2).

    Bits that stand for nothing must be 0: else a token had several spellings.
    """
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raw = b""
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise SocketRejected(TOKEN_INVALID, "it is not a JWT: a part is not base64url")
    return raw


def _header_of(raw: bytes) -> Mapping[str, Any]:
    try:
        header = orjson.loads(raw)
    except orjson.JSONDecodeError:
        header = None
    if not isinstance(header, dict):
        raise SocketRejected(TOKEN_INVALID, "it is not a JWT: its header cannot be read")
    return header


def _is_of_another_kind(header_typ: str) -> bool:
    """Return whether the header names an explicit type, but not of access tokens.

    Source: RFC 8725 §3.11.
    """
    kind = header_typ.lower().removeprefix("application/")
    return kind.endswith("+jwt") and kind != ACCESS_TOKEN_TYPE


def _claims_of(payload: bytes) -> Mapping[str, Any]:
    if nested_too_deeply(payload):  # Python's own limit depends on its version
        raise SocketRejected(TOKEN_INVALID, "the claims are nested too deeply")
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise SocketRejected(TOKEN_INVALID, f"the claims are not JSON ({type(error).__name__})") from None
    if not isinstance(claims, dict):
        raise SocketRejected(TOKEN_INVALID, "the claims are not an object")
    return claims


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """Sign tokens that a `JwtVerifier` with the same values accepts."""

    secret: str
    names: ClaimNames = field(default_factory=ClaimNames)
    issuer: str | None = None
    audience: str | None = None

    def sign(
        self,
        *,
        user_id: str,
        username: str,
        tenant_id: str | None = None,
        is_superuser: bool = False,
        ttl_s: float | None = None,
        issued_s: int | None = None,
    ) -> str:
        """Return a JWT.

        ``ttl_s`` is its lifetime in seconds, None never expires. It begins at ``issued_s`` in Unix seconds, by default
        now.
        """
        claims = self.names.of(user_id=user_id, username=username, tenant_id=tenant_id, is_superuser=is_superuser)
        issued_s = int(time.time()) if issued_s is None else issued_s
        claims["iat"] = issued_s
        if ttl_s is not None:
            claims["exp"] = int(issued_s + ttl_s)
        if self.issuer is not None:
            claims["iss"] = self.issuer
        if self.audience is not None:
            claims["aud"] = self.audience
        return jwt.encode(claims, self.secret, algorithm=ALGORITHM)


def sign_token(
    secret: str,
    *,
    user_id: str,
    username: str,
    tenant_id: str | None = None,
    is_superuser: bool = False,
    ttl_s: float | None = 3_600,
) -> str:
    """Return a JWT for one user, signed with HS256.

    It is for gateways with the default claim names. ``secret`` has at least 32 bytes (RFC 7518 §3.2). ``ttl_s`` is the
    lifetime in seconds; None never expires.
    """
    return TokenSigner(secret).sign(
        user_id=user_id, username=username, tenant_id=tenant_id, is_superuser=is_superuser, ttl_s=ttl_s
    )
