"""The state of the MQTT link, as operators and sockets get it."""

from hermes.delivery.link_state import LinkState, MqttLinkState
from hermes.testing import FakeClock


def test_changed_ms_is_when_the_link_went_down_or_up() -> None:
    """It is not down while the first connection is made; the first failure is a change, and so is the reconnection."""
    clock = FakeClock(now_s=100.0)
    link = MqttLinkState(clock=clock)
    assert (link.state, link.is_down, link.ready, link.changed_ms) == (LinkState.CONNECTING, False, False, 100_000)
    clock.now_s = 101.0
    link.down("no broker")
    assert (link.is_down, link.since_ms, link.changed_ms, link.missing) == (True, 101_000, 101_000, ("no broker",))
    clock.now_s = 102.0
    link.up()
    assert (link.is_down, link.ready, link.since_ms, link.changed_ms) == (False, True, 102_000, 102_000)
    clock.now_s = 103.0
    link.up()
    assert link.changed_ms == 102_000


def test_the_link_is_down_since_the_last_bytes_arrived() -> None:
    """Not since that was detected; further failures do not change the time."""
    clock = FakeClock(now_s=100.0)
    link = MqttLinkState(clock=clock)
    link.up()
    clock.now_s = 150.0
    link.down("fell silent", silent_s=45.0)
    assert (link.since_ms, link.changed_ms) == (105_000, 105_000)
    clock.now_s = 160.0
    link.down("cannot be reached", silent_s=5.0)
    assert (link.since_ms, link.changed_ms, link.missing) == (105_000, 105_000, ("cannot be reached",))


def test_off_is_ready_and_not_down() -> None:
    """Nothing is missing, and nothing arrives."""
    link = MqttLinkState(off=True)
    assert (link.state, link.ready, link.is_down, link.missing) == (LinkState.OFF, True, False, ())
