"""The validated claims of one token, and what they allow."""

from dataclasses import dataclass

from hermes.errors import FORBIDDEN, SocketRejected
from hermes.ids import TenantId, UserId


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose socket it is: the validated claims of one token. ``expires_at`` is Unix seconds, None is never."""

    user_id: UserId
    username: str
    tenant_id: TenantId | None = None
    is_superuser: bool = False
    expires_at: float | None = None


def check_requested_tenant(principal: Principal, requested: str | None) -> None:
    """``?tenant_id=`` from anyone but a superuser must be their own tenant; raises `SocketRejected`."""
    if requested is not None and requested != principal.tenant_id and not principal.is_superuser:
        raise SocketRejected(FORBIDDEN, "tenant_id is not the token's tenant")


def check_tenant(principal: Principal, tenant_id: str) -> None:
    """A tenant's data is for tokens of that tenant and for superusers; raises `SocketRejected`."""
    if tenant_id != principal.tenant_id and not principal.is_superuser:
        raise SocketRejected(FORBIDDEN, "another tenant")


def device_tenant(principal: Principal, requested: str | None) -> TenantId | None:
    """The tenant in which this principal means a device id; None means in every tenant (superusers).

    Raises `SocketRejected` where the token has no tenant, or asks for one that is not its own.
    """
    check_requested_tenant(principal, requested)
    if principal.is_superuser:
        return None if requested is None else TenantId(requested)
    if principal.tenant_id is None:
        raise SocketRejected(FORBIDDEN, "the token has no tenant")
    return principal.tenant_id
