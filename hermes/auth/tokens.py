"""Verify and sign JSON Web Tokens (RFC 7519, HS256 only).

PyJWT checks form and signature (RFC 7515). The claims are checked here, so that fractions of a second count, tests can
pass a clock, and claims that the protocol does not use are ignored.
"""

import hashlib
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.algorithms import HMACAlgorithm

from hermes.auth.principal import Principal
from hermes.errors import TOKEN_EXPIRED, TOKEN_INVALID, SocketRejected
from hermes.ids import TenantId, UserId, id_text
from hermes.json_nesting import nested_too_deeply

ALGORITHM = "HS256"
SECRET_MIN_BYTES = 32  # RFC 7518 §3.2: a key of at least the hash's size
DATE_MAX_S = 2**53 / 1_000  # the last date with exact milliseconds in every JSON reader; a later one means never
TOKEN_MAX_CHARS = 8192  # a longer text is rejected without a signature check
CACHE_MAX_TOKENS = 20_000  # more than the sockets of most sites; about 1 KiB each


class _PreparedHmac(HMACAlgorithm):
    """HS256 with one secret, prepared once.

    PyJWT prepares it for each token: a quarter of the time of a check.
    """

    def __init__(self, secret: str) -> None:
        super().__init__(HMACAlgorithm.SHA256)
        self._key = super().prepare_key(secret)

    def prepare_key(self, key: str | bytes) -> bytes:
        """Return the prepared secret."""
        return self._key


def unusable_secret(secret: str) -> str | None:
    """Return PyJWT's error for a PEM or SSH key, or a JWK; None for another secret."""
    try:
        _PreparedHmac(secret)
    except jwt.InvalidKeyError as error:
        return str(error)
    return None


class SecretTokenVerifier:
    """Verify tokens that are signed with one shared secret; a `TokenVerifier`.

    ``claim_tenant`` is the name of the claim with the tenant id. ``issuer`` and ``audience`` (RFC 7519 §4.1.1, §4.1.3)
    are checked if they are not None. ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        secret: str,
        claim_tenant: str = "tenant_id",
        issuer: str | None = None,
        audience: str | None = None,
        clock: Callable[[], float] = time.time,
        cache_max_tokens: int = CACHE_MAX_TOKENS,
    ) -> None:
        self._jws = jwt.PyJWS(algorithms=[])
        self._jws.register_algorithm(ALGORITHM, _PreparedHmac(secret))
        self._claim_tenant = claim_tenant
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._cache: OrderedDict[bytes, Principal] = OrderedDict()  # by the SHA-256 of the token
        self._cache_max_tokens = cache_max_tokens

    def verify(self, token: str) -> Principal:
        """Return the principal of a valid token.

        Valid tokens are cached by their digest, because after a restart thousands of clients reconnect at once; the
        least recently used is evicted first. ``nbf`` is checked only for a token that is not in the cache. Raises
        `SocketRejected`: ``TOKEN_EXPIRED`` from ``exp`` on, without leeway; ``TOKEN_INVALID`` for any other reason.
        """
        digest = _digest(token)
        principal = self._cache.get(digest)
        if principal is None:
            principal = self._cache[digest] = self._checked(token)
            if len(self._cache) > self._cache_max_tokens:
                self._cache.popitem(last=False)
        elif principal.expires_at is not None and principal.expires_at <= self._clock():
            del self._cache[digest]
            raise SocketRejected(TOKEN_EXPIRED)
        else:
            self._cache.move_to_end(digest)
        return principal

    def is_known(self, token: str) -> bool:
        """Return whether the token is in the cache."""
        return _digest(token) in self._cache

    def _checked(self, token: str) -> Principal:
        claims = self._verified_claims(token)
        expires_at = _numeric_date(claims, "exp")
        not_before = _numeric_date(claims, "nbf")
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise SocketRejected(TOKEN_EXPIRED)
        if not_before is not None and not_before > now:
            raise SocketRejected(TOKEN_INVALID, "not valid yet")
        return self._principal_of(claims, expires_at)

    def _verified_claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > TOKEN_MAX_CHARS:
            raise SocketRejected(TOKEN_INVALID, "too long")
        # PyJWT also raises errors of its dependencies: RecursionError for deep JSON, ValueError for surrogates and for
        # numbers with thousands of digits.
        try:
            payload = self._jws.decode(token, algorithms=[ALGORITHM])
            if nested_too_deeply(payload):  # Python's own limit depends on its version
                raise SocketRejected(TOKEN_INVALID, "the claims are nested too deeply")
            claims = json.loads(payload)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise SocketRejected(TOKEN_INVALID, type(error).__name__) from None
        if not isinstance(claims, dict):
            raise SocketRejected(TOKEN_INVALID, "the claims are not an object")
        self._check_parties(claims)
        return claims

    def _check_parties(self, claims: Mapping[str, Any]) -> None:
        """Check ``iss`` and ``aud`` (RFC 7519 §4.1.1, §4.1.3), if they are configured."""
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise SocketRejected(TOKEN_INVALID, "another issuer")
        if self._audience is not None:
            given = claims.get("aud")
            named = given if isinstance(given, list) else [given]
            if self._audience not in named or not all(isinstance(name, str) for name in named):
                raise SocketRejected(TOKEN_INVALID, "another audience")

    def _principal_of(self, claims: Mapping[str, Any], expires_at: float | None) -> Principal:
        user_id = id_text(claims.get("user_id"))
        username = claims.get("username")
        if user_id is None or not isinstance(username, str) or not username:
            raise SocketRejected(TOKEN_INVALID, "user_id and username are required")
        if not all(map(_is_unicode, (user_id, username, id_text(claims.get(self._claim_tenant)) or ""))):
            raise SocketRejected(TOKEN_INVALID, "a lone surrogate")
        tenant = claims.get(self._claim_tenant)
        tenant_id = id_text(tenant)
        if tenant is not None and tenant_id is None:
            raise SocketRejected(TOKEN_INVALID, f"{self._claim_tenant} is not an id")
        return Principal(
            user_id=UserId(user_id),
            username=username,
            tenant_id=None if tenant_id is None else TenantId(tenant_id),
            is_superuser=claims.get("is_superuser") is True,
            expires_at=expires_at,
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _is_unicode(text: str) -> bool:
    """Return False for lone surrogates: JSON escapes can contain them, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _numeric_date(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate claim (RFC 7519 §2) in Unix seconds, or None."""
    value = claims.get(name)
    if value is None:
        if name in claims:
            raise SocketRejected(TOKEN_INVALID, f"{name} is null")
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SocketRejected(TOKEN_INVALID, f"{name} is not a number")
    try:
        seconds = float(value)
    except OverflowError:
        raise SocketRejected(TOKEN_INVALID, f"{name} is out of range") from None
    if not math.isfinite(seconds):
        raise SocketRejected(TOKEN_INVALID, f"{name} is not finite")
    return max(-DATE_MAX_S, min(seconds, DATE_MAX_S))


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """Sign tokens that a `SecretTokenVerifier` with the same values accepts."""

    secret: str
    claim_tenant: str = "tenant_id"
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
    ) -> str:
        """Return a JWT; ``ttl_s`` is its lifetime in seconds, None never expires."""
        claims: dict[str, object] = {"user_id": user_id, "username": username, "iat": int(time.time())}
        if tenant_id is not None:
            claims[self.claim_tenant] = tenant_id
        if is_superuser:
            claims["is_superuser"] = True
        if ttl_s is not None:
            claims["exp"] = int(time.time() + ttl_s)
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
