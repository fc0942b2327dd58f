"""The token bucket of one client's frames."""

import pytest

from hermes.quotas.work_budget import PAUSE_MIN_S, SLOW_DOWN_AFTER_S, WorkBudget
from hermes.testing import FakeClock


def test_a_burst_of_ten_seconds_then_the_rate() -> None:
    """Over the limit, the wait is what the debt needs."""
    clock = FakeClock(5.0)
    budget = WorkBudget(200.0, clock=clock)
    budget.spend(2_000)
    assert budget.wait_s == 0
    budget.spend(50)
    assert budget.wait_s == pytest.approx(0.25)
    clock.now_s += 0.25
    budget.spend(1)
    assert budget.wait_s == PAUSE_MIN_S, "rather one pause than one for each frame"
    clock.now_s += 1_000.0
    budget.spend(2_000)
    assert budget.wait_s == 0, "it holds ten seconds' worth, not more"
    budget.spend(1)
    assert budget.wait_s > 0


def test_only_a_client_that_never_rests_is_exhausted() -> None:
    """Thirty seconds without a second in which it sent nothing."""
    clock = FakeClock(5.0)
    budget = WorkBudget(10.0, clock=clock)
    budget.spend(101)
    waited_s = 0.0
    while not budget.exhausted:
        clock.now_s += budget.wait_s
        waited_s += budget.wait_s
        budget.spend(5)
        assert waited_s <= SLOW_DOWN_AFTER_S + 1
    assert waited_s >= SLOW_DOWN_AFTER_S - 1
    resting = WorkBudget(10.0, clock=clock)
    resting.spend(100)
    for _ in range(100):
        resting.spend(20)
        clock.now_s += resting.wait_s + 1.1
        assert not resting.exhausted
