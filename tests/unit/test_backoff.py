"""How often the link tries, and how often it says so."""

from hermes.backoff import Backoff
from hermes.mqtt.log_throttle import LogThrottle


def test_repeated_failures_are_logged_every_ten_minutes() -> None:
    """The first at once, then with the number of tries; another reason at once."""
    now_s = 100.0
    complaints = LogThrottle(lambda: now_s)
    assert complaints.allow("refused") == 1
    for _ in range(9):
        now_s += 60
        assert complaints.allow("refused") is None
    now_s += 60
    assert complaints.allow("refused") == 10
    assert complaints.allow("timed out") == 1
    complaints.clear()
    assert complaints.allow("timed out") == 1


def test_the_back_off_doubles_to_its_bound_with_full_jitter() -> None:
    """From 0.5 s to 30 s, anything from nothing to the bound, anew after success."""
    drawn = 1.0
    backoff = Backoff(draw=lambda: drawn)
    assert [backoff.wait_s() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    drawn = 0.25
    assert backoff.wait_s() == 7.5
    backoff.reset()
    assert backoff.wait_s() == 0.125
    assert all(0 <= Backoff().wait_s() <= 0.5 for _ in range(100))


def test_tries_that_cost_nobody_anything_stay_frequent() -> None:
    """A broker's machine that reboots is found again some seconds after its start, not half a minute."""
    backoff = Backoff(draw=lambda: 1.0)
    assert [backoff.wait_s(cheap=True) for _ in range(6)] == [0.5, 1, 2, 3, 3, 3]
    assert backoff.wait_s() == 6
