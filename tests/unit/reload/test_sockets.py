"""Which open sockets end because of a reload."""

import asyncio
from collections.abc import Mapping

from hermes.auth.principal import Principal
from hermes.delivery import channels
from hermes.delivery.hub import Hub
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.session import Session
from hermes.errors import KEYS_UNAVAILABLE, TOKEN_EXPIRED, TOKEN_INVALID, SocketRejected
from hermes.ids import TenantId, UserId
from hermes.metrics import Metrics
from hermes.reload.sockets import close_changed_sockets
from hermes.testing import FakeTransport


class Verifier:
    """Returns the principal of a name, or raises."""

    def __init__(self, found: Mapping[str, Principal | SocketRejected]) -> None:
        self.found = found

    def verify(self, token: str) -> Principal:
        """Look the name up."""
        found = self.found[token]
        if isinstance(found, SocketRejected):
            raise found
        return found

    def is_known(self, token: str) -> bool:
        """Return False."""
        return False


def principal(tenant: str | None = "acme", *, user: str = "1", key: str = "k", **more: float | bool) -> Principal:
    """Return a principal."""
    tenant_id = None if tenant is None else TenantId(tenant)
    return Principal(user_id=UserId(user), username="u", tenant_id=tenant_id, key_id=key, **more)  # type: ignore[arg-type]


class Sockets:
    """Open sockets with the names of their tokens."""

    def __init__(self) -> None:
        self.hub = Hub(metrics=Metrics())
        self.transports: dict[str, FakeTransport] = {}
        self.sessions: dict[str, Session] = {}

    def open(self, token: str, who: Principal) -> None:
        """Open one."""
        self.transports[token] = FakeTransport()
        self.sessions[token] = Session(
            principal=who,
            transport=self.transports[token],
            limits=OutboxLimits(65_536, 10),
            metrics=Metrics(),
            token=lambda: token,
        )
        self.hub.subscribe(self.sessions[token], [channels.user(who.user_id)])

    def check(self, verifier: Verifier, *, gone: tuple[str, ...] = (), claims: bool = True) -> list[str]:
        """Check all, and return the names of those that were closed."""

        async def scenario() -> int:
            return await close_changed_sockets(
                self.hub, verifier, gone_keys=gone, claims_changed=claims, retry_ms=lambda live: 1_000 + live
            )

        closed = asyncio.run(scenario())
        found = [token for token, transport in self.transports.items() if transport.closed is not None]
        assert len(found) == closed
        for token in found:
            closed_with = self.transports[token].closed
            assert closed_with is not None
            assert closed_with[1].endswith(f";retry_ms={1_000 + len(self.sessions)}")
        return found


def test_sockets_of_a_key_that_is_gone_are_closed() -> None:
    """Each with the time after which to return; the others are not even verified."""
    sockets = Sockets()
    for number in range(100):
        sockets.open(f"t{number}", principal(key=f"k{number % 2}"))
    assert len(sockets.check(Verifier({}), gone=("k1",), claims=False)) == 50


def test_sockets_of_which_the_claims_mean_something_else_are_closed() -> None:
    """User, tenant and superuser; what ends the token is only brought up to date."""
    sockets = Sockets()
    now: dict[str, Principal | SocketRejected] = {
        "same": principal(expires_at=5.0),
        "tenant": principal("other"),
        "no tenant": principal(None),
        "user": principal(user="2"),
        "superuser": principal(is_superuser=True),
        "refused": SocketRejected(TOKEN_INVALID, "no audience"),
        "expired": SocketRejected(TOKEN_EXPIRED),
        "no keys": SocketRejected(KEYS_UNAVAILABLE),
    }
    for token in now:
        sockets.open(token, principal())
    assert sockets.check(Verifier(now)) == ["tenant", "no tenant", "user", "superuser", "refused", "no keys"]
    assert sockets.transports["refused"].closed == (1008, "token_invalid;retry_ms=1008")
    assert sockets.transports["no keys"].closed == (1013, "keys_unavailable;retry_ms=1008")
    assert sockets.sessions["same"].principal.expires_at == 5.0


def test_a_socket_without_its_token_stays_open() -> None:
    """As one that a program that embeds Hermes has made."""
    sockets = Sockets()
    sockets.open("a", principal())
    sockets.sessions["a"].token = None
    assert sockets.check(Verifier({})) == []
    sockets.sessions["a"].token = "b"
    assert sockets.check(Verifier({"b": principal("other")})) == ["a"]


def test_a_check_of_many_sockets_lets_others_work_meanwhile() -> None:
    """Signatures of a thousand tokens take a tenth of a second and more."""
    sockets = Sockets()
    for number in range(200):
        sockets.open(f"t{number}", principal())
    verified: list[int] = []

    class Counting(Verifier):
        """Counts calls."""

        def verify(self, token: str) -> Principal:
            """Count."""
            verified[-1] += 1
            return principal()

    async def scenario() -> None:
        checking = asyncio.ensure_future(
            close_changed_sockets(sockets.hub, Counting({}), gone_keys=(), claims_changed=True, retry_ms=lambda live: 1)
        )
        while not checking.done():
            verified.append(0)
            await asyncio.sleep(0)
        assert await checking == 0

    asyncio.run(scenario())
    assert sum(verified) == 200
    assert max(verified) <= 20
