"""A minute of faults at random, with the console and applications' clients living through them."""

from pathlib import Path

from tests.soak.faults import QUICK_FAULTS
from tests.soak.run import new_seed, soak

SECONDS = 60.0
CALMS_HOLD_AT_LEAST = 50  # notifications; a soak that counts none proves nothing


def test_after_each_recovery_every_socket_is_open_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """Every kind of fault comes at least once; the seed of a failed run is in its report."""
    verdict = soak(tmp_path, seconds=SECONDS, seed=new_seed())
    report = verdict.report()
    print(report)
    assert verdict.faults == [], report
    assert {caused.name for caused in verdict.caused} == set(QUICK_FAULTS), report
    assert verdict.counted > CALMS_HOLD_AT_LEAST, report
    assert verdict.refreshed > 0, report
