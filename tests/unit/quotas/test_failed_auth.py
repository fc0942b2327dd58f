"""An address that gave many wrong credentials is blocked for ten seconds."""

from hermes.metrics import Metrics, by_label
from hermes.quotas.failed_auth import ADDRESSES_MAX, WINDOW_S, FailedAuth
from hermes.testing import FakeClock


def test_an_address_is_blocked_at_the_limit_for_ten_seconds() -> None:
    """Others are not; afterwards it may fail as often again."""
    clock = FakeClock(1_000.0)
    failed = FailedAuth(3, metrics=Metrics(), clock=clock)
    for _ in range(2):
        for _ in range(2):
            failed.add("192.0.2.1")
        assert not failed.blocks("192.0.2.1")
        failed.add("192.0.2.1")
        assert failed.blocks("192.0.2.1")
        assert not failed.blocks("192.0.2.2")
        clock.now_s += WINDOW_S - 0.1
        assert failed.blocks("192.0.2.1")
        clock.now_s += 0.1
        assert not failed.blocks("192.0.2.1")


def test_failures_that_are_far_apart_do_not_block() -> None:
    """A fat finger now and then is no attack."""
    clock = FakeClock(1_000.0)
    failed = FailedAuth(3, metrics=Metrics(), clock=clock)
    for _ in range(20):
        failed.add("192.0.2.1")
        assert not failed.blocks("192.0.2.1")
        clock.now_s += WINDOW_S / 2


def test_zero_is_no_limit_and_failures_are_counted() -> None:
    """By what was done with them."""
    metrics = Metrics()
    failed = FailedAuth(0, metrics=metrics)
    for _ in range(1_000):
        failed.add("192.0.2.1")
    assert [failed.count_unchecked("192.0.2.1") for _ in range(3)] == [1, 0, 0], "one line in the log for many"
    assert not failed.blocks("192.0.2.1")
    assert by_label(metrics.failed_auth) == {"refused": 1_000, "unchecked": 3}


def test_the_memory_of_addresses_is_bounded() -> None:
    """The oldest is forgotten first."""
    failed = FailedAuth(1, metrics=Metrics(), clock=FakeClock(1_000.0))
    for number in range(ADDRESSES_MAX + 1):
        failed.add(str(number))
    assert not failed.blocks("0")
    assert failed.blocks("1")
    assert failed.blocks(str(ADDRESSES_MAX))
