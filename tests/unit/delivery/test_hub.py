"""Which sessions get a message, and in how many writes."""

import asyncio

import pytest

from hermes.auth.principal import Principal
from hermes.delivery import channels
from hermes.delivery import hub as hub_module
from hermes.delivery.frames import Frame, encode
from hermes.delivery.hub import Hub
from hermes.delivery.messages import DeviceMessage, Notification
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.session import Session
from hermes.ids import DeviceId, TenantId, UserId
from hermes.metrics import Metrics
from hermes.testing import FakeTransport
from tests.support.growth import FACTOR, growth
from tests.support.sessions import make_session

ACME = TenantId("acme")
CONSTANT_MAX = 3.0  # a cost that grows with the channels would be 8


def note(user: str = "123", title: str = "t") -> Notification:
    """Return a notification."""
    return Notification(UserId(user), "n1", title, "m", "info", 17)


def value(device: str, data: bytes = b"1", tenant: TenantId = ACME) -> DeviceMessage:
    """Return a device's value."""
    return DeviceMessage(tenant, DeviceId(device), "temp", "topic", data, 17)


class Bench:
    """A hub without an event loop: a test flushes it."""

    def __init__(self) -> None:
        self.scheduled = 0
        self.metrics = Metrics()
        self.hub = Hub(metrics=self.metrics, call_soon=self._schedule)

    def _schedule(self, callback: object) -> None:
        assert callback == self.hub.flush
        self.scheduled += 1

    def join(self, *names: channels.Channel, transport: FakeTransport | None = None) -> tuple[Session, FakeTransport]:
        """Return a session that is subscribed to these channels, and its transport."""
        transport = transport or FakeTransport()
        session = make_session(transport)
        self.hub.subscribe(session, names)
        return session, transport


@pytest.fixture
def bench() -> Bench:
    """Return a new hub."""
    return Bench()


USER = channels.user(UserId("123"))
TENANT = channels.tenant(ACME)


def test_a_message_reaches_the_sessions_of_its_channels_only(bench: Bench) -> None:
    """The tenant's, the device's, and those of the device id in every tenant and of every tenant."""
    transports = {
        "tenant": bench.join(TENANT)[1],
        "device": bench.join(channels.device(ACME, DeviceId("d1")))[1],
        "anywhere": bench.join(channels.device_anywhere(DeviceId("d1")))[1],
        "all tenants": bench.join(channels.TENANTS)[1],
        "other device": bench.join(channels.device(ACME, DeviceId("d2")))[1],
        "other tenant": bench.join(channels.tenant(TenantId("globex")))[1],
        "user": bench.join(USER)[1],
    }
    bench.hub.publish(value("d1"))
    bench.hub.flush()
    written = {name for name, transport in transports.items() if transport.written}
    assert written == {"tenant", "device", "anywhere", "all tenants"}


def test_the_frames_of_one_iteration_are_one_write_per_socket(bench: Bench) -> None:
    """The flush is scheduled once."""
    transports = [bench.join(TENANT)[1] for _ in range(3)]
    messages = [value("d1", str(number).encode()) for number in range(50)]
    for message in messages:
        bench.hub.publish(message)
    assert bench.scheduled == 1
    bench.hub.flush()
    expected = b"".join(encode(message).plain for message in messages)
    assert [transport.written for transport in transports] == [[expected]] * 3


def test_a_message_without_a_subscriber_is_never_encoded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no flush is scheduled."""

    def encode_nothing(message: object) -> Frame:
        raise AssertionError("encoded without a subscriber")

    monkeypatch.setattr(hub_module, "encode", encode_nothing)
    assert bench.hub.publish(value("d1")).sockets == 0
    assert bench.scheduled == 0


def test_a_receipt_counts_the_sockets_that_accepted_the_message(bench: Bench) -> None:
    """A dead socket does not count, a slow one with room in its outbox does."""
    bench.join(USER)
    bench.join(USER, transport=FakeTransport(broken=True))
    waiting, _ = bench.join(USER, transport=FakeTransport(blocked=True))
    waiting.send(Frame(b"first"))
    receipts = [bench.hub.publish(note()), bench.hub.publish(note("456"))]
    bench.hub.flush()
    assert [receipt.sockets for receipt in receipts] == [2, 0]
    assert bench.metrics.registry.get_sample_value("hermes_deliveries_total") == 2


def test_a_slow_session_does_not_affect_others(bench: Bench) -> None:
    """The session that overflows is closed, the others get everything."""
    slow = FakeTransport(blocked=True)
    session = make_session(slow, limits=OutboxLimits(max_messages=1))
    bench.hub.subscribe(session, [USER])
    healthy = [bench.join(USER)[1] for _ in range(3)]
    for _ in range(4):
        bench.hub.publish(note())
        bench.hub.flush()
    assert slow.closed is not None
    assert slow.closed[0] == 1013
    assert [len(transport.written) for transport in healthy] == [4, 4, 4]


def test_a_change_of_channels_takes_effect_between_two_messages(bench: Bench) -> None:
    """Messages that were published before arrive once; later ones follow the new channels."""
    session, transport = bench.join(TENANT)
    bench.hub.publish(value("d1", b"1"))
    bench.hub.subscribe(session, [channels.device(ACME, DeviceId("d1"))])
    bench.hub.publish(value("d1", b"2"))
    bench.hub.publish(value("d2", b"3"))
    bench.hub.flush()
    assert transport.written == [encode(value("d1", b"1")).plain, encode(value("d1", b"2")).plain]


def test_an_unsubscribed_session_gets_nothing_and_leaves_nothing_behind(bench: Bench) -> None:
    """It may be unsubscribed twice."""
    session, transport = bench.join(USER, TENANT)
    bench.hub.unsubscribe(session)
    bench.hub.unsubscribe(session)
    assert bench.hub.publish(note()).sockets == 0
    bench.hub.flush()
    assert transport.written == []
    assert not bench.hub.sessions
    assert not bench.hub._sessions


def test_many_bytes_are_flushed_before_the_iteration_ends(bench: Bench) -> None:
    """So that the memory of one iteration is bounded."""
    _, transport = bench.join(TENANT)
    data = b'"' + b"x" * 300_000 + b'"'
    for _ in range(4):
        bench.hub.publish(value("d1", data))
    assert len(transport.written) == 1
    assert len(transport.written[0]) > 1_048_576


def test_flushed_waits_for_the_next_flush_only() -> None:
    """It returns at once if nothing is pending."""

    async def run() -> None:
        hub = Hub(metrics=Metrics())
        await hub.flushed()
        transport = FakeTransport()
        hub.subscribe(make_session(transport), [USER])
        receipts = [hub.publish(note()) for _ in range(3)]
        assert not transport.written
        await asyncio.gather(hub.flushed(), hub.flushed())
        assert [receipt.sockets for receipt in receipts] == [1, 1, 1]
        assert len(transport.written) == 1

    asyncio.run(run())


def test_a_cancelled_wait_for_a_flush_does_not_affect_others() -> None:
    """The other waits end with the flush."""

    async def run() -> None:
        hub = Hub(metrics=Metrics())
        hub.subscribe(make_session(FakeTransport()), [USER])
        hub.publish(note())
        cancelled = asyncio.ensure_future(hub.flushed())
        other = asyncio.ensure_future(hub.flushed())
        await asyncio.sleep(0)
        cancelled.cancel()
        await other

    asyncio.run(run())


def test_a_change_of_one_channel_costs_one_channel() -> None:
    """However many the session has: a client may name a thousand devices, and toggle one."""
    bench = Bench()
    sessions: dict[int, Session] = {}
    for number in (100, 100 * FACTOR):
        sessions[number] = make_session(FakeTransport())
        named = [channels.device(ACME, DeviceId(f"d{each}")) for each in range(number)]
        assert set(bench.hub.subscribe(sessions[number], named)) == set(named)
    one = channels.device(ACME, DeviceId("d1"))

    def toggle(number: int) -> None:
        for _ in range(100):
            assert bench.hub.change(sessions[number], add=[], remove=[one]) == []
            assert bench.hub.change(sessions[number], add=[one], remove=[]) == [one]

    assert growth(toggle, 100, CONSTANT_MAX) < CONSTANT_MAX
    assert len(bench.hub.channels_of(sessions[100])) == 100


def test_a_change_returns_what_is_new_to_the_session() -> None:
    """A device of a tenant that it had as a whole is not new; the whole tenant is, after a device of it."""
    bench = Bench()
    session = make_session(FakeTransport())
    whole, one = channels.tenant(ACME), channels.device(ACME, DeviceId("d1"))
    bench.hub.subscribe(session, [whole])
    assert bench.hub.change(session, add=[one], remove=[whole]) == []
    assert bench.hub.change(session, add=[one], remove=[channels.LINK]) == []
    assert set(bench.hub.channels_of(session)) == {one}
    assert bench.hub.change(session, add=[whole], remove=[one]) == [whole]
    bench.hub.unsubscribe(session)
    assert not bench.hub._sessions


def test_a_message_for_one_tenant_reaches_its_sessions_only(bench: Bench) -> None:
    """In the same iteration as one for all; each receipt counts its own sockets."""
    sessions = {tenant: bench.join(USER) for tenant in ("acme", "globex", None)}
    for tenant, (session, _) in sessions.items():
        session.principal = Principal(UserId("123"), "ana", None if tenant is None else TenantId(tenant))
    bound = [bench.hub.publish(note(title=f"b{n}"), only_tenant=ACME) for n in range(2)]
    free = bench.hub.publish(note(title="f"))
    nothing = bench.hub.publish(note(), only_tenant=TenantId("initech"))
    bench.hub.flush()
    assert ([each.sockets for each in bound], free.sockets, nothing.sockets) == ([1, 1], 3, 0)
    written = {tenant: b"".join(transport.written) for tenant, (_, transport) in sessions.items()}
    assert {tenant: data.count(b'"title":"b') for tenant, data in written.items()} == {"acme": 2, "globex": 0, None: 0}
    assert {data.count(b'"title":"f"') for data in written.values()} == {1}
