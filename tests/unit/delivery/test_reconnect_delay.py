"""How closed sockets are asked to return: spread evenly, at the rate that this machine accepts."""

import pytest

from hermes.delivery import reconnect_delay
from hermes.delivery.reconnect_delay import ReturnRate, retry_ms


def handshake(rate: ReturnRate, seconds: float) -> None:
    """Measure a handshake that opened a socket."""
    rate.admitted()
    rate.measure(seconds)


def test_one_socket_returns_after_one_to_two_seconds() -> None:
    """Nothing needs to be spread."""
    delays = [retry_ms() for _ in range(1_000)]
    assert min(delays) >= 1_000
    assert max(delays) <= 2_000
    assert max(delays) - min(delays) > 500


def test_many_sockets_are_spread_at_the_rate() -> None:
    """10,000 at 2,000/s return within 5 s, after the first second."""
    delays = sorted(retry_ms(10_000, 2_000.0) for _ in range(10_000))
    assert delays[0] >= 1_000
    assert delays[-1] <= 6_000
    for second in range(1, 6):
        returning = sum(second * 1_000 <= delay < second * 1_000 + 1_000 for delay in delays)
        assert 1_700 < returning < 2_300


def test_the_rate_follows_the_time_of_a_handshake() -> None:
    """Two thirds of the event loop's time; when handshakes take longer, the rate falls."""
    rate = ReturnRate()
    for _ in range(1_000):
        handshake(rate, 0.000_25)
    assert rate.per_s == pytest.approx(2_667, rel=0.01)
    for _ in range(5 * reconnect_delay.SMOOTHING):
        handshake(rate, 0.001)
    assert rate.per_s == pytest.approx(667, rel=0.05)


def test_one_slow_handshake_changes_little() -> None:
    """The process may have been stopped meanwhile."""
    rate = ReturnRate()
    for _ in range(1_000):
        handshake(rate, 0.000_25)
    handshake(rate, 0.05)
    assert rate.per_s > 1_000


@pytest.mark.parametrize(
    ("handshake_s", "expected"), [(1.0, reconnect_delay.SLOWEST_PER_S), (0.000_001, reconnect_delay.FASTEST_PER_S)]
)
def test_the_rate_has_limits(handshake_s: float, expected: float) -> None:
    """Whatever was measured."""
    rate = ReturnRate()
    for _ in range(reconnect_delay.MEASURED_LEAST):
        handshake(rate, handshake_s)
    assert rate.per_s == expected


def test_too_few_handshakes_are_not_used() -> None:
    """A gateway that has just started does not know."""
    rate = ReturnRate()
    for _ in range(reconnect_delay.MEASURED_LEAST - 1):
        handshake(rate, 1.0)
    assert rate.per_s == reconnect_delay.UNMEASURED_PER_S


def test_refused_handshakes_are_not_measured() -> None:
    """They are cheaper: many of them must not raise the rate."""
    rate = ReturnRate()
    for _ in range(1_000):
        handshake(rate, 0.001)
        rate.measure(0.000_01)
    assert rate.per_s == pytest.approx(667, rel=0.01)
