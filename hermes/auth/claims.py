"""Which claims of a token say who its user is, and what they must be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hermes.auth.principal import Principal
from hermes.errors import TOKEN_EXPIRED, TOKEN_INVALID, SocketRejected
from hermes.ids import TenantId, UserId, id_text

DATE_MAX_S = 2**53 / 1_000  # the last date with exact milliseconds in every JSON reader; a later one means never
SHOWN_MAX_CHARS = 60  # of a text from a token, in a message
OTHER_TOKENS = frozenset({"Refresh", "Offline", "ID", "Logout"})  # `typ` claims of Keycloak's tokens without access
ACCESS_TOKEN_TYPE = "at+jwt"  # RFC 9068 §2.1

USER_ID, USERNAME, TENANT_ID, IS_SUPERUSER = "user_id", "username", "tenant_id", "is_superuser"


def claim_at(claims: Mapping[str, Any], name: str) -> Any:
    """Return the claim of that whole name, else of a path of keys by dots.

    None if there is none. A key of the path may contain dots itself.
    """
    if name in claims:
        return claims[name]
    for end, sign in enumerate(name):
        if sign == "." and isinstance(inner := claims.get(name[:end]), Mapping):
            value = claim_at(inner, name[end + 1 :])
            if value is not None:
                return value
    return None


@dataclass(frozen=True, slots=True)
class SuperuserClaim:
    """The claim that makes a superuser.

    Without a ``value`` it must be JSON ``true``; else that text, or a list with it.
    """

    name: str = IS_SUPERUSER
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> "SuperuserClaim":
        """Return the claim of ``NAME`` or ``NAME=VALUE``.

        Raises ValueError that says what to write.
        """
        name, separator, value = text.partition("=")
        if not name or (separator and not value):
            raise ValueError("write NAME, or NAME=VALUE as in realm_access.roles=hermes-admin")
        return cls(name, value if separator else None)

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Return whether these claims make a superuser."""
        found = claim_at(claims, self.name)
        if self.value is None:
            return found is True
        return found == self.value or (isinstance(found, list) and self.value in found)

    @property
    def example(self) -> object:
        """The value of the claim of a superuser."""
        return True if self.value is None else self.value


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """The names, or paths, of the claims that Hermes reads."""

    user: str = USER_ID
    name: str = USERNAME
    tenant: str = TENANT_ID
    superuser: SuperuserClaim = field(default_factory=SuperuserClaim)

    @property
    def are_renamed(self) -> bool:
        """Whether the user's id or name is in a claim of another name."""
        return (self.user, self.name) != (USER_ID, USERNAME)

    def of(
        self, *, user_id: str, username: str, tenant_id: str | None = None, is_superuser: bool = False
    ) -> dict[str, object]:
        """Return the claims of a token for this user."""
        claims: dict[str, object] = {self.name: username, self.user: user_id}
        if tenant_id is not None:
            claims[self.tenant] = tenant_id
        if is_superuser:
            claims[self.superuser.name] = self.superuser.example
        return claims


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What the claims of a valid token are, beside its signature and its issuer.

    ``leeway_s`` is added to both ends of its lifetime; ``max_age_s`` counts from ``iat``.
    """

    names: ClaimNames = field(default_factory=ClaimNames)
    audience: str | None = None
    leeway_s: float = 0.0
    max_age_s: float | None = None
    require_exp: bool = False

    def principal(self, claims: Mapping[str, Any], *, now_s: float, key_id: str) -> Principal:
        """Return the principal of these claims.

        ``now_s`` is Unix seconds. Raises `SocketRejected`.
        """
        self._check_kind(claims)
        self._check_audience(claims)
        issued_at = self._issued_at(claims)
        expires_at = self._expiry(claims, issued_at)
        if expires_at is not None and expires_at <= now_s:
            raise SocketRejected(TOKEN_EXPIRED, f"{_seconds(now_s - expires_at)} ago, by the clock of this machine")
        not_before = _numeric_date(claims, "nbf")
        if not_before is not None and not_before - self.leeway_s > now_s:
            wait = _seconds(not_before - self.leeway_s - now_s)
            raise SocketRejected(
                TOKEN_INVALID, f"it is valid only in {wait}: compare the clocks of this machine and of the issuer"
            )
        return self._principal(claims, expires_at=expires_at, issued_at=issued_at, key_id=key_id)

    def _check_kind(self, claims: Mapping[str, Any]) -> None:
        kind = claims.get("typ")
        if isinstance(kind, str) and kind in OTHER_TOKENS:
            raise SocketRejected(TOKEN_INVALID, f"its typ is {kind}: send the access token")

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        """Check ``aud`` (RFC 7519 §4.1.3), or ``azp`` without it, if an audience is set."""
        if self.audience is None:
            return
        given = claims["aud"] if "aud" in claims else claims.get("azp")
        named = given if isinstance(given, list) else [given]
        if self.audience not in named or not all(isinstance(name, str) for name in named):
            raise SocketRejected(
                TOKEN_INVALID, f"its audience is {shown(given)}, but --jwt-audience is {shown(self.audience)}"
            )

    def _issued_at(self, claims: Mapping[str, Any]) -> float | None:
        if self.max_age_s is not None:
            issued_at = _numeric_date(claims, "iat")
            if issued_at is None:
                raise SocketRejected(TOKEN_INVALID, "it has no iat, which --jwt-max-age-s needs")
            return issued_at
        try:
            return _numeric_date(claims, "iat")
        except SocketRejected:  # what nothing depends on may be anything; for a revocation it counts as absent
            return None

    def _expiry(self, claims: Mapping[str, Any], issued_at: float | None) -> float | None:
        expires_at = _numeric_date(claims, "exp")
        if expires_at is None and self.require_exp:
            raise SocketRejected(TOKEN_INVALID, "it has no exp, which --jwt-require-exp needs")
        ends = [] if expires_at is None else [expires_at + self.leeway_s]
        if self.max_age_s is not None and issued_at is not None:
            ends.append(issued_at + self.max_age_s + self.leeway_s)
        return min(ends, default=None)

    def _principal(
        self, claims: Mapping[str, Any], *, expires_at: float | None, issued_at: float | None, key_id: str
    ) -> Principal:
        names = self.names
        user_id = id_text(claim_at(claims, names.user))
        if user_id is None:
            raise SocketRejected(TOKEN_INVALID, self._no_user(claims))
        tenant = claim_at(claims, names.tenant)
        tenant_id = id_text(tenant)
        if tenant_id is None and tenant not in (None, ""):
            raise SocketRejected(TOKEN_INVALID, f"{names.tenant} is {shown(tenant)}, not a text or an integer")
        username = self._username(claims, user_id)
        if not all(map(_is_unicode, (user_id, username, tenant_id or ""))):
            raise SocketRejected(TOKEN_INVALID, "an id or name has a lone surrogate")
        return Principal(
            user_id=UserId(user_id),
            username=username,
            tenant_id=None if tenant_id is None else TenantId(tenant_id),
            is_superuser=names.superuser.holds(claims),
            expires_at=expires_at,
            issued_at=issued_at,
            token_id=_token_id(claims),
            key_id=key_id,
        )

    def _username(self, claims: Mapping[str, Any], user_id: str) -> str:
        name = claim_at(claims, self.names.name)
        if name is None and self.names.are_renamed:
            return user_id
        if not isinstance(name, str) or not name:
            raise SocketRejected(TOKEN_INVALID, f"{self.names.name} is {shown(name)}, but a name is required")
        return name

    def _no_user(self, claims: Mapping[str, Any]) -> str:
        name = self.names.user
        found = claim_at(claims, name)
        if found is not None:
            return f"{name} is {shown(found)}, not a text or an integer"
        others = ", ".join(shown(each) for each in list(claims)[:8])
        return f"it has no claim {name} (--claim-user); it has {others or 'none'}"


def _token_id(claims: Mapping[str, Any]) -> str | None:
    """Return ``jti`` (RFC 7519 §4.1.7) if it can be stored and compared as text."""
    token_id = id_text(claims.get("jti"))
    return token_id if token_id is not None and _is_unicode(token_id) else None


def shown(value: object) -> str:
    """Return a value of a token as a short text for a message."""
    text = "absent" if value is None else value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= SHOWN_MAX_CHARS else f"{text[:SHOWN_MAX_CHARS]}…"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"


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
