"""Verify and sign JSON Web Tokens (RFC 7519, HS256 only).

PyJWT checks form and signature (RFC 7515). The claims are checked here, so that fractions of a second count, tests can
pass a clock, and nothing is checked that the contract ignores.
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

ALGORITHM = "HS256"
SECRET_MIN_BYTES = 32  # RFC 7518 §3.2: a key of at least the hash's size
DATE_MAX_S = 2**53 / 1_000  # the last date whose milliseconds every JSON reader has exactly; as good as never
TOKEN_MAX_CHARS = 8192  # more is no token: do not spend a signature check on rubbish
REMEMBERED_MAX = 20_000  # more than the sockets of most sites; about 1 KiB each


class _Prepared(HMACAlgorithm):
    """HS256 with the one secret there is. PyJWT would prepare it anew for each token: a quarter of the whole check."""

    def __init__(self, secret: str) -> None:
        super().__init__(HMACAlgorithm.SHA256)
        self._key = super().prepare_key(secret)

    def prepare_key(self, key: str | bytes) -> bytes:
        """The one that was prepared."""
        return self._key


def unusable_secret(secret: str) -> str | None:
    """Why PyJWT will not sign with this secret, in its words: a PEM or SSH key, or a JWK. None where it will."""
    try:
        _Prepared(secret)
    except jwt.InvalidKeyError as error:
        return str(error)
    return None


class TokenVerifier:
    """Checks tokens against one secret and one set of rules."""

    def __init__(
        self,
        *,
        secret: str,
        claim_tenant: str = "tenant_id",
        issuer: str | None = None,
        audience: str | None = None,
        clock: Callable[[], float] = time.time,
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        self._jws = jwt.PyJWS(algorithms=[])
        self._jws.register_algorithm(ALGORITHM, _Prepared(secret))
        self._claim_tenant = claim_tenant
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._remembered: OrderedDict[bytes, Principal] = OrderedDict()  # SHA-256 of the token → whose it is
        self._remembered_max = remembered_max

    def verify(self, token: str) -> Principal:
        """The principal of a good token.

        A good one is remembered by its digest, because after a restart thousands come back with theirs at once; the
        least recently used is forgotten first. ``nbf`` is checked when a token is first seen. Raises `SocketRejected`
        with ``token_expired`` past ``exp``, with ``token_invalid`` for every other fault. There is no leeway.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        principal = self._remembered.get(digest)
        if principal is None:
            principal = self._remembered[digest] = self._checked(token)
            if len(self._remembered) > self._remembered_max:
                self._remembered.popitem(last=False)
        elif principal.expires_at is not None and principal.expires_at <= self._clock():
            del self._remembered[digest]
            raise SocketRejected(TOKEN_EXPIRED)
        else:
            self._remembered.move_to_end(digest)
        return principal

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
        # Beside its own errors PyJWT lets some of its parts' through: RecursionError on deep JSON, and the
        # ValueErrors of surrogates and of numbers with thousands of digits.
        try:
            claims = json.loads(self._jws.decode(token, algorithms=[ALGORITHM]))
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise SocketRejected(TOKEN_INVALID, type(error).__name__) from None
        if not isinstance(claims, dict):
            raise SocketRejected(TOKEN_INVALID, "the claims are no object")
        self._check_parties(claims)
        return claims

    def _check_parties(self, claims: Mapping[str, Any]) -> None:
        """``iss`` and ``aud`` (RFC 7519 §4.1.1, §4.1.3), where they were configured."""
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


def _is_unicode(text: str) -> bool:
    """JSON escapes can spell lone surrogates, which no UTF-8 text can hold: no frame, no log line."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _numeric_date(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate claim (RFC 7519 §2) in Unix seconds; None where the claim is absent."""
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
    """Signs tokens by the rules that an `TokenVerifier` of the same settings checks."""

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
        """A JWT that is good for ``ttl_s`` seconds from now, or for ever."""
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
    """Return a JWT for one user, signed with HS256, for gateways with the default claim names.

    ``secret`` has at least 32 bytes (RFC 7518 §3.2). ``ttl_s`` is the lifetime in seconds; None never expires.
    """
    return TokenSigner(secret).sign(
        user_id=user_id, username=username, tenant_id=tenant_id, is_superuser=is_superuser, ttl_s=ttl_s
    )
