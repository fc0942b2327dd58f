"""Sessions with a fake transport."""

from hermes.auth.principal import Principal
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.session import Session
from hermes.ids import TenantId, UserId
from hermes.metrics import Metrics
from hermes.testing import FakeTransport


def make_session(
    transport: FakeTransport,
    *,
    limits: OutboxLimits | None = None,
    expires_at: float | None = None,
    metrics: Metrics | None = None,
) -> Session:
    """Return a session of user 123 in tenant acme."""
    principal = Principal(UserId("123"), "ana", TenantId("acme"), expires_at=expires_at)
    return Session(
        principal=principal, transport=transport, limits=limits or OutboxLimits(), metrics=metrics or Metrics()
    )
