"""Which users have sockets, and when they were last seen."""

import pytest

from hermes.auth.principal import Principal
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.session import Session
from hermes.ids import TenantId, UserId
from hermes.metrics import Metrics
from hermes.observe import presence as module
from hermes.observe.presence import Presence, UserPresence
from hermes.testing import FakeTransport

METRICS = Metrics()
ANA, ACME, GLOBEX = UserId("ana"), TenantId("acme"), TenantId("globex")


def session(user: str = "ana", tenant: TenantId | None = ACME, *, route: str = "/ws", opened_ms: int = 5) -> Session:
    """Return an open session."""
    return Session(
        principal=Principal(UserId(user), "", tenant),
        transport=FakeTransport(),
        limits=OutboxLimits(),
        metrics=METRICS,
        route=route,
        opened_ms=opened_ms,
    )


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a clock: change its only element."""
    clock = [1_000]
    monkeypatch.setattr(module, "now_ms", lambda: clock[0])
    return clock


def test_sockets_count_by_route_until_the_last_is_closed(now: list[int]) -> None:
    """The oldest one says since when; afterwards, the last one says when the user was seen."""
    presence = Presence()
    assert presence.of(ANA) == UserPresence({}, None, None)
    first, second = session(opened_ms=7), session(route="/ws/notifications", opened_ms=8)
    presence.opened(first)
    assert presence.of(ANA) == UserPresence({"/ws": 1}, 7, 1_000)
    presence.opened(second)
    presence.opened(session("zoe"))
    assert presence.of(ANA) == UserPresence({"/ws": 1, "/ws/notifications": 1}, 7, 1_000)
    presence.closed(first)
    presence.closed(first)
    assert presence.of(ANA).since_ms == 8
    now[0] = 2_000
    presence.closed(second)
    now[0] = 3_000
    assert presence.of(ANA) == UserPresence({}, None, 2_000)


def test_a_tenant_sees_its_own_sockets_only(now: list[int]) -> None:
    """Also when the user was last seen."""
    presence = Presence()
    acme, globex = session(), session(tenant=GLOBEX, route="/ws/notifications")
    presence.opened(acme)
    presence.opened(globex)
    assert presence.of(ANA, only_tenant=GLOBEX).routes == {"/ws/notifications": 1}
    presence.closed(acme)
    assert presence.of(ANA, only_tenant=ACME) == UserPresence({}, None, 1_000)
    assert presence.of(ANA, only_tenant=TenantId("none")) == UserPresence({}, None, None)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, now: list[int]) -> None:
    """The user, and the tenant, that was not seen for the longest time is forgotten."""
    monkeypatch.setattr(module, "LAST_SEEN_MAX", 2)
    monkeypatch.setattr(module, "TENANTS_MAX", 1)
    presence = Presence()
    for user, tenant in (("ana", ACME), ("ana", GLOBEX), ("bob", ACME), ("cem", ACME)):
        each = session(user, tenant)
        presence.opened(each)
        presence.closed(each)
    assert presence.of(ANA) == UserPresence({}, None, None)
    assert presence.of(UserId("bob")).last_seen_ms == 1_000


def test_the_presence_on_several_nodes_is_added() -> None:
    """What another node sends is read with care."""
    here, there = UserPresence({"/ws": 1}, 5, 9), UserPresence({"/ws": 2, "/ws/tenants": 1}, 4, 8)
    merged = UserPresence.merged([here, UserPresence.from_fields(there.fields()), UserPresence({}, None, None)])
    assert merged == UserPresence({"/ws": 3, "/ws/tenants": 1}, 4, 9)
    strange = {"routes": {"/ws": "x", "/sse": True}, "since": "now", "last_seen": None, "mood": 1}
    assert UserPresence.from_fields(strange) == UserPresence.from_fields({}) == UserPresence({}, None, None)
