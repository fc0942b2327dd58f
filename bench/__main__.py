"""``python -m bench``: run scenarios some times over and print one table of medians."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import machine, report
from bench.figures import Results
from bench.processes import BenchError
from bench.scenarios import FULL, ONLY_BY_NAME, QUICK

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code is 1 if a scenario could not run, and 0 whether or not the marks are met."""
    options = _options(arguments)
    command = " ".join(("python -m bench", *(sys.argv[1:] if arguments is None else arguments)))
    facts = machine.facts()
    began_s = time.monotonic()
    try:
        results = _run(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    facts += [f"command: `{command}`, {options.runs} runs, {time.monotonic() - began_s:.0f} s in all"]
    text = report.text(results, facts)
    print(text)
    if options.write:
        report.write(options.page, text)
    if options.json:
        report.write_json(options.json, results, facts)
    return 0


def _run(options: argparse.Namespace) -> Results:
    """Every scenario once, then all again: what else the machine does is spread over all of them."""
    scenarios = QUICK if options.quick else FULL
    results = Results()
    for run in range(1, options.runs + 1):
        for name in options.scenarios or [name for name in scenarios if name not in ONLY_BY_NAME]:
            print(f"bench: run {run} of {options.runs}: {name}", file=sys.stderr, flush=True)
            results.add(name, scenarios[name].run())
    return results


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Hermes. Scenarios: "
        + "; ".join(f"{name}: {scenario.summary}" for name, scenario in FULL.items())
        + ".",
    )
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help=f"{', '.join(FULL)}; if none is named, all but {', '.join(ONLY_BY_NAME)}",
    )
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="how often; the table has the medians (5)")
    parser.add_argument("--write", action="store_true", help="put this table into the page, replacing the old one")
    parser.add_argument(
        "--page", type=Path, default=PAGE, metavar="FILE", help="that page (docs/reference/performance.md)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all values into this file too, as bench.plots reads them"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny sizes, to test the benchmarks themselves: the figures are meaningless",
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.scenarios) - set(FULL):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(FULL)}")
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    if options.quick and options.write and options.page == PAGE:
        parser.error("--quick is no measurement: it is not written to docs/reference/performance.md")
    return options


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that programs and folders are cleared away
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
