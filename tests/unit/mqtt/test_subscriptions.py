"""When the broker has sent all retained messages of a connection."""

import logging

import pytest

from hermes.mqtt.subscriptions import QOS1_QUEUE_MESSAGES, RETAINED_QUIET_S, RetainedMessages
from hermes.settings.mqtt import Qos
from hermes.testing import FakeClock


class Link:
    """A connection with a fake clock, to a broker that answers pings when the test says so."""

    def __init__(self, qos: Qos = 0) -> None:
        self.pings_sent = self.pings_answered = 0
        self.clock = FakeClock()
        self.retained = RetainedMessages(self, qos=qos, clock=self.clock)

    def ping(self) -> None:
        """Count a ping."""
        self.pings_sent += 1

    def completes_after(self, seconds: float) -> bool:
        """Return whether it is complete after this time, if the broker answers each ping at once."""
        self.clock.now_s += seconds
        self.retained.complete()
        self.pings_answered = self.pings_sent
        return self.retained.complete()


def test_it_is_complete_when_a_ping_is_answered_after_ten_seconds_of_silence() -> None:
    """Once."""
    link = Link()
    link.retained.begin()
    assert not link.completes_after(RETAINED_QUIET_S - 0.1)
    assert link.pings_sent == 0
    assert link.completes_after(0.2)
    assert link.pings_sent == 1
    assert not link.completes_after(100)
    assert link.pings_sent == 1


def test_without_an_answer_it_is_never_complete() -> None:
    """The keep-alive of the connection ends that; no second ping is sent."""
    link = Link()
    link.retained.begin()
    for _ in range(5):
        link.clock.now_s += RETAINED_QUIET_S
        assert not link.retained.complete()
    assert link.pings_sent == 1


def test_retained_messages_that_arrive_slowly_begin_the_wait_again() -> None:
    """However many they are; other messages do not."""
    link = Link()
    link.retained.begin()
    for _ in range(50):
        assert not link.completes_after(RETAINED_QUIET_S - 1)
        link.retained.count(True)
    assert not link.completes_after(RETAINED_QUIET_S - 1)
    link.retained.count(False)
    assert link.completes_after(1)


def test_the_answer_to_a_ping_before_the_last_retained_message_does_not_count() -> None:
    """Neither one that Hermes sent for this, nor one of the keep-alive."""
    link = Link()
    link.retained.begin()
    link.clock.now_s += RETAINED_QUIET_S
    assert not link.retained.complete()
    link.retained.count(True)
    link.pings_answered = 1
    assert not link.retained.complete()
    link.ping()
    link.clock.now_s += RETAINED_QUIET_S
    assert not link.retained.complete()
    assert link.pings_sent == 3
    link.pings_answered = 2
    assert not link.retained.complete()
    link.pings_answered = 3
    assert link.retained.complete()


def test_before_the_subscriptions_are_granted_it_is_not_complete() -> None:
    """The wait begins then."""
    link = Link()
    link.retained.count(True)
    assert not link.completes_after(10 * RETAINED_QUIET_S)
    link.retained.begin()
    assert not link.completes_after(0)


def test_with_qos_1_a_full_queue_of_the_broker_may_hide_retained_messages(caplog: pytest.LogCaptureFixture) -> None:
    """Then nothing follows from their absence."""
    caplog.set_level(logging.INFO)
    for qos, messages, expected in ((1, QOS1_QUEUE_MESSAGES - 1, True), (1, QOS1_QUEUE_MESSAGES, False)):
        link = Link(qos)  # type: ignore[arg-type]
        link.retained.begin()
        for _ in range(messages):
            link.retained.count(False)
        assert link.completes_after(RETAINED_QUIET_S) is expected
    assert [record.message for record in caplog.records] == [
        "values from before the outage stay marked as stale: the broker's queue may have been full"
    ]
    link = Link()
    link.retained.begin()
    for _ in range(QOS1_QUEUE_MESSAGES):
        link.retained.count(True)
    assert link.completes_after(RETAINED_QUIET_S)
