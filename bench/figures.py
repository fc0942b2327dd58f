"""Measured numbers: one `Figure` a run, collected over the runs, judged by its `Mark`."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mark:
    """What is asked of a figure: its median is within the limit, or every run is ``exactly`` it. One of the four."""

    below: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    exactly: float | None = None

    def __post_init__(self) -> None:
        assert sum(limit is not None for limit in (self.below, self.at_most, self.at_least, self.exactly)) == 1

    def __str__(self) -> str:
        signs = (("<", self.below), ("≤", self.at_most), ("≥", self.at_least))
        limits = [f"{sign} {limit:,}" for sign, limit in signs if limit is not None]
        return limits[0] if limits else f"{self.exactly:g}"

    def met(self, values: Sequence[float]) -> bool:
        """Whether these runs meet it."""
        if self.exactly is not None:
            return all(value == self.exactly for value in values)
        median = statistics.median(values)
        return (
            (self.below is None or median < self.below)
            and (self.at_most is None or median <= self.at_most)
            and (self.at_least is None or median >= self.at_least)
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one run: contender, measure, and unit (empty for counts and ratios)."""

    contender: str
    measure: str
    value: float
    unit: str = ""
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The same figure over all runs."""

    scenario: str
    figure: Figure  # of the first run: its names, unit and mark are those of all
    values: list[float]


@dataclass(slots=True)
class Results:
    """All rows, in the order in which they first came."""

    _rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)

    def add(self, scenario: str, figures: Iterable[Figure]) -> None:
        """Take one run's figures of one scenario."""
        for figure in figures:
            key = (scenario, figure.contender, figure.measure)
            self._rows.setdefault(key, Row(scenario, figure, [])).values.append(figure.value)

    @property
    def rows(self) -> list[Row]:
        """Grouped by scenario."""
        names = list(dict.fromkeys(row.scenario for row in self._rows.values()))
        return sorted(self._rows.values(), key=lambda row: names.index(row.scenario))


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest-rank percentile; not a number if there are no values."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def percent_of_core(cpu_s: float, wall_s: float) -> float:
    """CPU time as a share of one core."""
    return 100 * cpu_s / wall_s
