"""One connected client: what it gets, and what happens when it is slow, silent or expired."""

import re

from hermes.delivery.frames import Batch, Frame
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.session import Session
from hermes.errors import NORMAL, STOPPING
from hermes.ids import DeviceId, TenantId
from hermes.metrics import Metrics
from hermes.testing import FakeTransport
from tests.support.sessions import make_session

PING_INTERVAL_S = 25.0
PING_TIMEOUT_S = 20.0


def sweep(session: Session, *, at_s: float) -> None:
    """Check the session, with the same time on the wall clock and the monotonic clock."""
    session.sweep(wall_s=at_s, monotonic_s=at_s, ping_interval_s=PING_INTERVAL_S, ping_timeout_s=PING_TIMEOUT_S)


def test_an_idle_socket_is_written_to_at_once() -> None:
    """One write for a batch."""
    transport = FakeTransport()
    session = make_session(transport)
    assert session.send(Batch([Frame(b"a"), Frame(b"b")]))
    assert transport.written == [Frame(b"a").plain + Frame(b"b").plain]


def test_a_socket_that_negotiated_compression_gets_the_deflated_form() -> None:
    """Other sockets get the plain form."""
    frame = Frame(b"x" * 1_000)
    transport = FakeTransport(compressed=True)
    make_session(transport).send(frame)
    assert transport.written == [frame.deflated]


def test_a_blocked_socket_resumes_in_order() -> None:
    """What was queued meanwhile is sent when the transport has drained."""
    transport = FakeTransport(blocked=True)
    session = make_session(transport)
    assert all(map(session.send, [Frame(b"1"), Frame(b"2"), Frame(b"3")]))
    assert (len(transport.written), session.waiting) == (1, 2)
    transport.blocked = False
    session.drained()
    assert b"".join(transport.written) == b"".join(Frame(text).plain for text in (b"1", b"2", b"3"))
    assert (session.waiting, session.blocked, transport.resumes) == (0, False, 0)


def test_draining_stops_when_the_socket_blocks_again() -> None:
    """One part at a time."""
    transport = FakeTransport(blocked=True)
    session = make_session(transport)
    for _ in range(4):
        session.send(Frame(b"x" * 100_000))
    session.drained()
    assert (len(transport.written), session.waiting, transport.resumes) == (2, 2, 0)


def test_a_fast_socket_is_drained_one_part_per_iteration() -> None:
    """What is sent meanwhile waits behind."""
    transport = FakeTransport(blocked=True)
    session = make_session(transport)
    texts = [bytes([65 + number]) * 20_000 for number in range(4)]
    for text in texts[:3]:
        session.send(Frame(text))
    transport.blocked = False
    session.drained()
    assert (len(transport.written), transport.resumes, session.blocked) == (2, 1, True)
    session.send(Frame(texts[3]))
    while transport.resumes:
        transport.resumes -= 1
        session.drained()
    assert b"".join(transport.written) == b"".join(Frame(text).plain for text in texts)
    assert not session.blocked


def test_only_a_stop_sends_what_waits() -> None:
    """Nothing more is written to a socket that is closed because it is slow."""
    transport = FakeTransport(blocked=True)
    session = make_session(transport)
    for text in (b"1", b"2"):
        session.send(Frame(text))
    session.close(NORMAL)
    assert transport.written == [Frame(b"1").plain]


def test_drained_after_the_end_does_nothing() -> None:
    """The transport may call it late."""
    transport = FakeTransport(blocked=True)
    session = make_session(transport)
    session.send(Frame(b"1"))
    session.close(NORMAL)
    session.drained()
    assert (len(transport.written), transport.resumes) == (1, 0)


def test_a_slow_socket_over_its_limit_is_closed_with_1013() -> None:
    """The message that exceeds the limit is not accepted, and the queue is emptied."""
    transport = FakeTransport(blocked=True)
    session = make_session(transport, limits=OutboxLimits(max_messages=2))
    assert [session.send(Frame(b"x")) for _ in range(5)] == [True, True, True, False, False]
    assert transport.closed is not None
    assert transport.closed[0] == 1013
    assert re.fullmatch(r"slow_consumer;retry_ms=\d+", transport.closed[1])
    assert (session.closed, session.waiting) == (True, 0)


def test_a_dead_socket_accepts_nothing_and_is_dropped() -> None:
    """Without a close frame; the loop over sockets continues."""
    transport = FakeTransport(broken=True)
    session = make_session(transport)
    assert not session.send(Frame(b"x"))
    assert (transport.aborted, transport.closed, session.closed) == (True, None, True)
    assert not session.send(Frame(b"y"))


def test_nothing_follows_a_close_frame() -> None:
    """Neither messages nor a second close."""
    transport = FakeTransport()
    session = make_session(transport)
    session.close(NORMAL)
    session.close(STOPPING)
    session.drained()
    sweep(session, at_s=1e12)
    assert not session.send(Frame(b"x"))
    assert (transport.closed, transport.written, transport.pings) == ((1000, ""), [], 0)


def test_stopping_sends_what_waits_before_the_close_frame() -> None:
    """So that a restart loses nothing that was accepted."""
    transport = FakeTransport(blocked=True)
    session = make_session(transport)
    for text in (b"1", b"2", b"3"):
        session.send(Frame(text))
    session.close(STOPPING, 1_500)
    assert b"".join(transport.written) == b"".join(Frame(text).plain for text in (b"1", b"2", b"3"))
    assert transport.closed == (1001, "stopping;retry_ms=1500")


def test_stopping_a_dead_socket_drops_it() -> None:
    """The last write fails, so no close frame is sent."""
    transport = FakeTransport(blocked=True)
    session = make_session(transport)
    session.send(Frame(b"1"))
    session.send(Frame(b"2"))
    transport.broken = True
    session.close(STOPPING, 1_500)
    assert (transport.aborted, transport.closed) == (True, None)


def test_an_expired_token_closes_with_1008() -> None:
    """In the second of its ``exp``, not before."""
    transport = FakeTransport()
    session = make_session(transport, expires_at=100.0)
    sweep(session, at_s=99.9)
    assert transport.closed is None
    sweep(session, at_s=100.0)
    assert transport.closed == (1008, "token_expired")


def test_a_socket_is_pinged_at_the_interval() -> None:
    """It stays open as long as it answers."""
    transport = FakeTransport()
    session = make_session(transport)
    for second in range(101):
        sweep(session, at_s=float(second))
        if transport.pings:
            session.pong(transport.ping_data)
    assert (transport.pings, transport.aborted) == (4, False)


def test_a_silent_socket_is_dropped_without_a_close_frame() -> None:
    """Twenty seconds after the ping that it did not answer."""
    transport = FakeTransport()
    session = make_session(transport)
    for second in range(45):
        sweep(session, at_s=float(second))
    assert not transport.aborted
    sweep(session, at_s=45.0)
    assert (transport.pings, transport.aborted, transport.closed) == (1, True, None)


def test_pings_more_frequent_than_the_timeout_do_not_extend_it() -> None:
    """The first unanswered ping counts."""
    transport = FakeTransport()
    session = make_session(transport)
    for second in range(23):
        session.sweep(wall_s=second, monotonic_s=second, ping_interval_s=2, ping_timeout_s=20)
    assert transport.aborted


def test_a_stop_omits_the_values_that_wait() -> None:
    """Newer ones follow after the restart, and megabytes for each slow socket would delay the stop."""
    transport = FakeTransport(blocked=True)
    session = make_session(transport)
    session.send(Frame(b"1"))
    session.send(Frame(b'{"n":2}', (TenantId("acme"), DeviceId("d1"), "t")))
    session.send(Frame(b"3"))
    session.close(STOPPING, 1_500)
    assert b"".join(transport.written) == Frame(b"1").plain + Frame(b"3").plain


def test_telemetry_to_a_blocked_socket_is_conflated_and_counted() -> None:
    """All of it is accepted."""
    transport = FakeTransport(blocked=True)
    metrics = Metrics()
    session = make_session(transport, limits=OutboxLimits(max_messages=2), metrics=metrics)
    values = [Frame(b'{"n":%d}' % n, (TenantId("acme"), DeviceId("d1"), "t")) for n in range(100)]
    assert all(map(session.send, values))
    assert session.waiting == 3
    transport.blocked = False
    session.drained()
    session.drained()
    assert transport.written[2] == Frame(b'{"n":99,"skipped":96}').plain
    assert b"hermes_skipped_total 96.0" in metrics.exposition()
