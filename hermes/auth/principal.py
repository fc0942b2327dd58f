"""The validated claims of a token, and what they allow."""

from dataclasses import dataclass
from typing import Protocol

from hermes.errors import FORBIDDEN, SocketRejected
from hermes.ids import TenantId, UserId


@dataclass(frozen=True, slots=True)
class Principal:
    """The user of a socket: the validated claims of one token.

    ``expires_at`` is when the token ends in Unix seconds, by ``exp`` or by the maximum age; None never ends. For
    revocation there are ``issued_at`` (``iat``, Unix seconds) and ``token_id`` (``jti``); ``key_id`` is the
    `hermes.auth.keys.VerificationKey` that verified the token.
    """

    user_id: UserId
    username: str
    tenant_id: TenantId | None = None
    is_superuser: bool = False
    expires_at: float | None = None
    issued_at: float | None = None
    token_id: str | None = None
    key_id: str = ""


class Revocations(Protocol):
    """The revoked users, tenants and tokens."""

    def refuses(self, principal: Principal) -> bool:
        """Return whether the token of this principal is revoked.

        Called at each use of a token, also of one that is remembered, so it must be fast.
        """


class NothingRevoked:
    """`Revocations` without any entry."""

    def refuses(self, principal: Principal) -> bool:
        """Return False."""
        return False


class TokenVerifier(Protocol):
    """Verify the token of a socket: the extension point for other kinds of tokens."""

    def verify(self, token: str) -> Principal:
        """Return the principal of a valid token.

        ``token`` is the text from a query, a header or a ``refresh`` action. Called on the event loop for each new
        socket and each ``refresh``, so it must not block. Raises `SocketRejected` with the close code for the client:
        ``TOKEN_EXPIRED``, ``REVOKED``, ``KEYS_UNAVAILABLE`` if the key may be fetched in a moment, or ``TOKEN_INVALID``
        for any other reason.
        """

    def is_known(self, token: str) -> bool:
        """Return whether the token was verified before and is remembered.

        A verifier without a memory returns False.
        """


def check_requested_tenant(principal: Principal, requested: str | None) -> None:
    """Check ``?tenant_id=``: the principal's own tenant, or any for a superuser.

    Raises `SocketRejected`.
    """
    if requested is not None and requested != principal.tenant_id and not principal.is_superuser:
        raise SocketRejected(FORBIDDEN, "tenant_id is not the token's tenant")


def check_tenant(principal: Principal, tenant_id: str) -> None:
    """Check that the principal is of this tenant or a superuser.

    Raises `SocketRejected`.
    """
    if tenant_id != principal.tenant_id and not principal.is_superuser:
        raise SocketRejected(FORBIDDEN, "another tenant")


def check_superuser(principal: Principal) -> None:
    """Check that the principal is a superuser.

    Raises `SocketRejected`.
    """
    if not principal.is_superuser:
        raise SocketRejected(FORBIDDEN, "not a superuser")


def device_tenant(principal: Principal, requested: str | None) -> TenantId | None:
    """Return the tenant of the devices that this principal can subscribe to.

    None is every tenant (superusers). Raises `SocketRejected` if the token has no tenant, or if ``requested`` is not
    its own.
    """
    check_requested_tenant(principal, requested)
    if principal.is_superuser:
        return None if requested is None else TenantId(requested)
    if principal.tenant_id is None:
        raise SocketRejected(FORBIDDEN, "the token has no tenant")
    return principal.tenant_id
