"""Soaks of some seconds and of one minute, with random faults."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.soak.faults import QUICK_FAULTS, Fault
from tests.soak.run import CALM_NOTIFICATIONS_MIN, new_seed, soak

pytestmark = [pytest.mark.browser, pytest.mark.broker]

LONG_S = 60.0
SHORT = ("cut",)


def expect_nothing_lost(folder: Path, *, seconds: float, faults: Mapping[str, Fault]) -> None:
    """Expect that each kind of fault occurred; the report of a failed run contains its seed."""
    verdict = soak(folder, seconds=seconds, seed=new_seed(), faults=faults)
    report = verdict.report()
    print(report)
    assert verdict.faults == [], report
    assert {caused.name for caused in verdict.caused} == set(faults), report
    assert verdict.counted >= CALM_NOTIFICATIONS_MIN * (1 + len(verdict.caused)), report
    assert verdict.refreshed > 0, report


@pytest.mark.slow
def test_after_a_cut_every_socket_is_open_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """The proxy cuts all connections once and refuses new ones for a short time."""
    expect_nothing_lost(tmp_path, seconds=0, faults={name: QUICK_FAULTS[name] for name in SHORT})


@pytest.mark.slow
def test_after_each_recovery_every_socket_is_open_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """One minute, with each kind of fault that is detected without a heartbeat."""
    expect_nothing_lost(tmp_path, seconds=LONG_S, faults=QUICK_FAULTS)
