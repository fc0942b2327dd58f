"""Soak of the memory for half an hour; for 50 minutes if other programs disturb it."""

from pathlib import Path

import pytest

from tests.soak.memory import LINE_MAX, SLOPE_MAX, slope_per_hour, soak

SECONDS = 1_800


@pytest.mark.first
@pytest.mark.slow
@pytest.mark.broker
def test_at_half_load_neither_the_memory_nor_any_line_of_python_grows(tmp_path: Path) -> None:
    """Over 20 minutes: at most 4 MiB an hour by least squares, and 64 KiB for each line."""
    measured = soak(tmp_path, seconds=SECONDS)
    print(f"\n{measured.report()}")
    assert measured.slope <= SLOPE_MAX, measured.report()
    assert measured.growth[0][1] <= LINE_MAX, measured.report()


def test_the_slope_is_that_of_the_least_squares_line() -> None:
    """Bytes an hour; a single sample that is higher hardly counts."""
    assert slope_per_hour([(0.0, 100), (1.0, 101), (2.0, 102)]) == pytest.approx(3_600)
    assert slope_per_hour([(float(second), 100) for second in range(10)]) == 0
