"""How long to wait between two attempts."""

from hermes.backoff import Backoff


def test_the_back_off_doubles_to_its_bound_with_full_jitter() -> None:
    """From 0.5 s to 30 s, anything from nothing to the bound, anew after success."""
    drawn = 1.0
    backoff = Backoff(draw=lambda: drawn)
    assert [backoff.next_delay_s() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    drawn = 0.25
    assert backoff.next_delay_s() == 7.5
    backoff.reset()
    assert backoff.next_delay_s() == 0.125
    assert all(0 <= Backoff().next_delay_s() <= 0.5 for _ in range(100))


def test_tries_that_cost_nobody_anything_stay_frequent() -> None:
    """A broker's machine that reboots is found again some seconds after its start, not half a minute."""
    backoff = Backoff(draw=lambda: 1.0)
    assert [backoff.next_delay_s(short=True) for _ in range(6)] == [0.5, 1, 2, 3, 3, 3]
    assert backoff.next_delay_s() == 6
