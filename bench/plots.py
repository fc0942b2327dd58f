"""``python -m bench.plots [FILE [FOLDER]]``: draw what the `sweep` scenario found, as SVG.

FILE is what ``python -m bench sweep --json FILE`` wrote, by default ``docs/reference/performance.json``; the pictures
go beside it: ``performance-delivered.svg``, ``performance-latency.svg``, ``performance-memory.svg``.
"""

import json
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.scenarios.sweep import DELIVERED, LATENCY, MEMORY

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
OURS = "Hermes"
# Of equal lightness, distinguished also without colour by their marks
COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#9c755f", "#76b7b2", "#edc948", "#797979", "#ff9da7")
MARKS = "s^DvPX<>*"


@dataclass(frozen=True, slots=True)
class Findings:
    """Medians: measure → contender → number of sockets (0 if there is none) → value."""

    medians: Mapping[str, Mapping[str, Mapping[int, float]]]

    @property
    def contenders(self) -> list[str]:
        """In the order of the run."""
        return list(dict.fromkeys(name for measure in self.medians.values() for name in measure))


def read(file: Path) -> Findings:
    """The rows of the sweep; raises `ValueError` if there are none."""
    medians: dict[str, dict[str, dict[int, float]]] = {}
    for row in json.loads(file.read_text())["rows"]:
        values = [value for value in row["values"] if value is not None]
        if row["scenario"] != "sweep" or not values:
            continue
        name, _, rest = row["measure"].partition(", ")
        number = re.match(r"([\d,]+) sockets", rest)
        sockets = int(number[1].replace(",", "")) if number else 0
        medians.setdefault(name, {}).setdefault(row["contender"], {})[sockets] = statistics.median(values)
    if not medians:
        raise ValueError(f"{file} has no rows of the scenario sweep")
    return Findings(medians)


def draw(findings: Findings, folder: Path) -> list[Path]:
    """Three pictures; the answer is their files."""
    mpl.rcParams.update({"svg.hashsalt": "hermes", "svg.fonttype": "path", "font.size": 11})
    pictures = {
        "delivered": _lines(findings, DELIVERED, "deliveries per second"),
        "latency": _lines(findings, LATENCY, "latency p99, ms"),
        "memory": _bars(findings, MEMORY, "resident memory of an idle socket, KiB"),
    }
    files = []
    for name, picture in pictures.items():
        files.append(folder / f"performance-{name}.svg")
        picture.savefig(files[-1], facecolor="white", metadata={"Date": None})
    return files


def _lines(findings: Findings, measure: str, label: str) -> Picture:
    picture = Picture(figsize=(9, 5.5), layout="constrained")
    axes = picture.add_subplot()
    for index, name in enumerate(findings.contenders):
        points = sorted(findings.medians[measure].get(name, {}).items())
        ours = name == OURS
        axes.plot(
            [sockets for sockets, _ in points],
            [value for _, value in points],
            label=name,
            color="#c8102e" if ours else COLOURS[index % len(COLOURS)],
            marker="o" if ours else MARKS[index % len(MARKS)],
            linewidth=3 if ours else 1.5,
            zorder=3 if ours else 2,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("sockets, one message at a time to all of them")
    axes.set_ylabel(label)
    _plain_numbers(axes)
    axes.grid(visible=True, which="major", color="#d8d8d8", linewidth=0.8)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    _without_box(axes)
    return picture


def _bars(findings: Findings, measure: str, label: str) -> Picture:
    picture = Picture(figsize=(9, 4.5), layout="constrained")
    axes = picture.add_subplot()
    names = [name for name in reversed(findings.contenders) if name in findings.medians[measure]]
    values = [findings.medians[measure][name][0] for name in names]
    bars = axes.barh(names, values, color=["#c8102e" if name == OURS else "#9aa7b5" for name in names])
    axes.bar_label(bars, labels=[f"{value:.1f}" for value in values], padding=4)
    axes.set_xlabel(label)
    axes.margins(x=0.1)
    _without_box(axes)
    return picture


def _plain_numbers(axes: Axes) -> None:
    """10,000 and 0.5, not powers of ten."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if axis is axes.yaxis else (1.0,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def _without_box(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def main(arguments: Sequence[str]) -> int:
    """Draw the charts and print the names of the files."""
    file = Path(arguments[0]) if arguments else REFERENCE / "performance.json"
    folder = Path(arguments[1]) if len(arguments) > 1 else file.parent
    for picture in draw(read(file), folder):
        print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
