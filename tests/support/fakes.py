"""The two fakes there are: a transport and a clock."""

from dataclasses import dataclass, field

from hermes.auth.principal import Principal
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.session import Session
from hermes.ids import TenantId, UserId
from hermes.metrics import Metrics


@dataclass
class FakeTransport:
    """A socket that takes everything, until told to block or to fail."""

    compressed: bool = False
    blocked: bool = False
    broken: bool = False
    written: list[bytes] = field(default_factory=list)
    resumes: int = 0
    pings: int = 0
    closed: tuple[int, str] | None = None
    aborted: bool = False

    def write(self, data: bytes) -> bool:
        """Remember the bytes."""
        assert self.closed is None, "nothing may follow a close frame"
        if self.broken:
            raise ConnectionResetError
        self.written.append(data)
        return not self.blocked

    def resume(self) -> None:
        """Count it."""
        self.resumes += 1

    def ping(self) -> None:
        """Count it."""
        self.pings += 1

    def close(self, code: int, reason: str) -> None:
        """Remember how."""
        assert self.closed is None, "closed twice"
        self.closed = (code, reason)

    def abort(self) -> None:
        """Remember it."""
        self.aborted = True


@dataclass
class FakeClock:
    """Unix seconds that pass when told to."""

    now_s: float = 1_763_836_800.0

    def __call__(self) -> float:
        return self.now_s


def make_session(
    transport: FakeTransport,
    *,
    limits: OutboxLimits | None = None,
    expires_at: float | None = None,
    metrics: Metrics | None = None,
) -> Session:
    """A session of user 123 in tenant acme."""
    principal = Principal(UserId("123"), "ana", TenantId("acme"), expires_at=expires_at)
    return Session(
        principal=principal, transport=transport, limits=limits or OutboxLimits(), metrics=metrics or Metrics()
    )
