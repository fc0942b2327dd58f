"""The table of all figures, and the page that keeps it."""

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Results, Row
from bench.processes import BenchError

BEGIN = "<!-- figures: written by python -m bench --write; do not edit -->"
END = "<!-- end of figures -->"
HEAD = ("scenario", "program", "measure", "median", "min – max", "mark", "met")


def text(results: Results, facts: Sequence[str]) -> str:
    """Markdown: the facts as a list, then the table."""
    return "\n".join((*(f"- {fact}" for fact in facts), "", table(results)))


def table(results: Results) -> str:
    """One row a figure, columns padded so that it also reads well on a terminal."""
    cells = [HEAD, *(_cells(row) for row in results.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def write(page: Path, content: str) -> None:
    """Replace what stands between the page's two comments. Raises `BenchError` if they are missing."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"{page} lacks the lines {BEGIN} and {END}")
    page.write_text(f"{before}{begin}\n\n{content}\n\n{end}{after}")


def write_json(file: Path, results: Results, facts: Sequence[str]) -> None:
    """All values of all runs, for `bench.plots` and for whoever wants to compare."""
    rows = [
        {
            "scenario": row.scenario,
            "contender": row.figure.contender,
            "measure": row.figure.measure,
            "unit": row.figure.unit,
            "values": [value if math.isfinite(value) else None for value in row.values],
        }
        for row in results.rows
    ]
    file.write_text(json.dumps({"facts": list(facts), "rows": rows}, indent=1, ensure_ascii=False) + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    figure, values = row.figure, row.values
    return (
        row.scenario,
        figure.contender,
        f"{figure.measure}, {figure.unit}" if figure.unit else figure.measure,
        _number(statistics.median(values)),
        f"{_number(min(values))} – {_number(max(values))}",
        "" if figure.mark is None else str(figure.mark),
        "" if figure.mark is None else "yes" if figure.mark.met(values) else "no",
    )


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "none"
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
