"""Tiny runs of each scenario, and tests that a loss is detected. No verdict depends on times."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import report
from bench.__main__ import PAGE, main
from bench.contenders.centrifugo import VARIABLE
from bench.figures import Figure, Mark, Results, percentile
from bench.load.notifier import Notifier
from bench.load.poll import Poll
from bench.load.websocket import Receiver
from bench.processes import BenchError, running
from bench.scenarios import FULL, QUICK
from bench.scenarios.broadcast import Broadcast
from hermes.delivery.frames import Frame
from tests.support.paths import CHECKOUT
from tests.support.programs import needs

SHORT = ("notify", "mqtt-latency")  # one that asks over HTTP, one with a broker
KILLED = {
    "stored, but lost",
    "came twice",
    "came to another user",
    "gaps, and numbers that fell",
    "stored, but without exactly one row",
}
# The measures that must be 0 in every run
FACTS = {
    "cluster-kill": KILLED,
    "cluster-kill-1k": KILLED,
    "notify": {"not arrived, or not in order", "answered without sent: true"},
    "mqtt-fan-out": {
        f"{fault} at {rate}/s" for fault in ("frames lost, or too many", "frames out of order") for rate in (200, 400)
    },
    "mqtt-latency": {"frames lost or out of order", "messages lost"},
    "reconnect": {"outages not counted, or too many"},
    "fleet": {"frames lost, or too many", "frames out of order"},
    "storm": {"notifications lost"},
    "inbox-postgres": {"not arrived"},
    "attacked": {"notifications lost"},
    "frozen": {
        "lost by those that read",
        "frozen sockets that were closed",
        "frozen sockets with a wrong count",
        "frozen sockets without the last value",
    },
    "storm-10k": {"notifications lost"},
    "inbox-storm": {"sockets without exactly their rows", "notifications lost"},
    "return": {"clients refused"},
    "ten-thousand": {"frames lost, or too many", "frames out of order", "sockets closed or cut"},
}


def written_rows(page: Path) -> list[dict[str, str]]:
    """The table's rows between the page's two comments, by the names of their columns."""
    table = page.read_text().partition(report.BEGIN)[2].partition(report.END)[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


@pytest.mark.broker
@pytest.mark.parametrize(
    "scenario", [name if name in SHORT else pytest.param(name, marks=pytest.mark.slow) for name in FULL]
)
def test_a_scenario_runs_loses_nothing_and_its_table_is_written(scenario: str, tmp_path: Path) -> None:
    """By the command, with tiny sizes, into a copy of the real page."""
    needs("mosquitto")
    needs("cc")
    if scenario == "binary" and not (CHECKOUT / "dist" / "hermes").is_file():
        pytest.skip("dist/hermes is missing; run: make binary")
    if scenario == "centrifugo" and not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} does not name the program")
    page = tmp_path / "performance.md"
    shutil.copy(PAGE, page)
    assert main([scenario, "--quick", "--runs", "1", "--write", "--page", str(page)]) == 0
    rows = written_rows(page)
    assert rows
    assert {row["scenario"] for row in rows} == {scenario}
    assert {row["measure"]: row["met"] for row in rows if row["mark"] == "0"} == dict.fromkeys(
        FACTS.get(scenario, ()), "yes"
    )
    assert "none" not in {row["median"] for row in rows}
    assert f"`python -m bench {scenario} --quick" in page.read_text()


def test_every_scenario_has_a_small_form() -> None:
    """Of the same kind, so that the test above runs the code that `make bench` runs."""
    assert {name: type(scenario) for name, scenario in FULL.items()} == {
        name: type(scenario) for name, scenario in QUICK.items()
    }


@pytest.mark.parametrize("words", [["speed"], ["--runs", "0"], ["--quick", "--write"]])
def test_what_cannot_be_meant_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown scenario, no runs, and figures that mean nothing for the real page."""
    with pytest.raises(SystemExit) as refused:
        main(words)
    assert refused.value.code == 2
    assert "error" in capsys.readouterr().err


def test_the_page_keeps_all_but_its_figures(tmp_path: Path) -> None:
    """What stands between the comments is replaced, however often."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for content in ("first", "second"):
        report.write(page, content)
        assert page.read_text() == f"before\n{report.BEGIN}\n\n{content}\n\n{report.END}\nafter\n"


def test_a_page_without_the_comments_is_left_alone(tmp_path: Path) -> None:
    """The error names what is missing."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.END}\n{report.BEGIN}\n")
    with pytest.raises(BenchError, match="figures"):
        report.write(page, "figures")
    assert page.read_text() == f"before\n{report.END}\n{report.BEGIN}\n"


def test_the_table_has_medians_and_judges_them() -> None:
    """A limit is asked of the median, a count of every run."""
    results = Results()
    for latency_ms, lost in ((1.0, 0), (2.5, 0), (9.0, 1)):
        results.add(
            "fan-out",
            [
                Figure("Hermes", "latency", latency_ms, "ms", Mark(below=3)),
                Figure("Hermes", "lost", lost, "", Mark(exactly=0)),
            ],
        )
    latency, lost_row = report.table(results).splitlines()[2:]
    assert [cell.strip() for cell in latency.split("|")[3:-1]] == ["latency, ms", "2.50", "1 – 9", "< 3", "yes"]
    assert [cell.strip() for cell in lost_row.split("|")[3:-1]] == ["lost", "0", "0 – 1", "0", "no"]


@pytest.mark.parametrize(
    ("mark", "words", "values", "met"),
    [
        (Mark(at_most=1.65), "≤ 1.65", [1, 1.65, 9], True),
        (Mark(at_most=1.65), "≤ 1.65", [1, 1.66, 1.7], False),
        (Mark(at_least=60_000), "≥ 60,000", [1, 60_000, 60_001], True),
        (Mark(at_least=60_000), "≥ 60,000", [1, 59_999, 70_000], False),
        (Mark(below=20), "< 20", [20, 20, 1], False),
    ],
)
def test_a_limit_is_met_or_not(mark: Mark, words: str, values: list[float], met: bool) -> None:
    """By the median alone; the limit itself is within ≤ and ≥."""
    assert (str(mark), mark.met(values)) == (words, met)


def test_all_values_can_be_kept_as_json(tmp_path: Path) -> None:
    """Each run's; what is not a number is null."""
    results = Results()
    for value in (1.5, float("nan")):
        results.add("sweep", [Figure("floor", "delivered, 10 sockets", value, "1/s")])
    report.write_json(tmp_path / "figures.json", results, ["a fact"])
    row = {"scenario": "sweep", "contender": "floor", "measure": "delivered, 10 sockets", "unit": "1/s"}
    kept = json.loads((tmp_path / "figures.json").read_text())
    assert kept == {"facts": ["a fact"], "rows": [row | {"values": [1.5, None]}]}


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line gives the command to install it; the others are measured."""
    needs("cc")
    monkeypatch.setattr("bench.contenders.nchan.MODULE", Path("/nowhere"))
    figures = Broadcast(sockets=2, for_s=0.05, contenders=("nchan", "floor")).run()
    assert {figure.contender for figure in figures} == {"floor", "client of floor"}
    assert "apt-get install nginx-light libnginx-mod-nchan" in capsys.readouterr().err


@pytest.mark.slow
def test_the_sweep_is_drawn(tmp_path: Path) -> None:
    """From the file that the command wrote, every contender and axis named."""
    needs("cc")
    from bench import plots

    file = tmp_path / "performance.json"
    assert main(["sweep", "--quick", "--runs", "1", "--json", str(file)]) == 0
    findings = plots.read(file)
    assert findings.contenders == ["floor", "Hermes"]
    assert set(findings.medians["delivered"]["Hermes"]) == set(findings.medians["latency p99"]["floor"]) == {2, 4}
    pictures = plots.draw(findings, tmp_path)
    assert [picture.name for picture in pictures] == [
        "performance-delivered.svg",
        "performance-latency.svg",
        "performance-memory.svg",
    ]
    assert all("<svg" in picture.read_text() for picture in pictures)


def test_the_cpu_of_a_program_is_that_of_its_children_too(tmp_path: Path) -> None:
    """Like nginx, in which a worker does the work."""
    busy = (
        "import sys, time\nend_s = time.process_time() + 0.3\nwhile time.process_time() < end_s: pass\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"]
    with running(command, output=tmp_path / "output", listens=True) as child:
        child.wait_until(lambda: child.cpu_ns / 1e9 - child.cpu_s > 0.25, "its child's CPU is not seen")


def test_a_percentile_is_one_of_the_values() -> None:
    """By the nearest rank; of nothing it is not a number."""
    assert [percentile(range(1, 201), percent) for percent in (50, 99, 100)] == [100, 198, 200]
    assert percentile([7], 50) == 7
    assert percentile([], 50) != percentile([], 50)


def test_a_program_that_fails_to_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Not with a time-out."""
    command = [needs("sh"), "-c", "echo no such thing; exit 3"]
    with running(command, output=tmp_path / "output") as child, pytest.raises(BenchError, match="no such thing"):
        child.wait_for("ready")


# -- the receiving client ---------------------------------------------------------------------------------------


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's and the client's end of a connection."""
    server, client = socket.socketpair()
    with server, client:
        server.settimeout(60)
        yield server, client


Ends = tuple[socket.socket, socket.socket]
SIZES = (0, 1, 125, 126, 127, 65_535, 65_536)
PING = b"\x89\x02hi"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1_000, 200_000])
def test_frames_are_counted_wherever_reads_are_cut(step: int, ends: Ends) -> None:
    """All three forms of the length, and a ping between two frames, which is answered."""
    server, client = ends
    frames = [Frame(bytes(size)) for size in SIZES]
    stream = frames[0].plain + PING + b"".join(frame.plain for frame in frames[1:])
    taken: list[bytes] = []
    receiver = Receiver(client, lambda payload, _: taken.append(payload))
    for at in range(0, len(stream), step):
        receiver.feed(stream[at : at + step], 0)
    assert taken == [frame.payload for frame in frames]
    assert receiver.frames == len(SIZES)
    assert server.recv(100) == b"\x8a\x82\0\0\0\0hi"


def test_only_samples_are_looked_into(ends: Ends) -> None:
    """Every third, beginning with the second."""
    taken: list[bytes] = []
    receiver = Receiver(ends[1], lambda payload, _: taken.append(payload), every=3, first=2)
    receiver.feed(b"".join(Frame(b"%d" % number).plain for number in range(1, 10)), 0)
    assert taken == [b"2", b"5", b"8"]


def test_the_checksum_is_of_the_frames_alone(ends: Ends) -> None:
    """Cuts and pings do not change it; the order of two frames does."""
    first, second = Frame(b"first").plain, Frame(b"second").plain

    def checksum(*reads: bytes) -> int:
        receiver = Receiver(ends[1], lambda *_: None)
        for data in reads:
            receiver.feed(data, 0)
        return receiver.checksum

    assert checksum(first + second) == checksum(first[:3], first[3:] + PING, second) == checksum(first, PING + second)
    assert checksum(first + second) != checksum(second + first)
    assert checksum(first + second) != checksum(first)


def test_a_close_ends_the_run(ends: Ends) -> None:
    """The error has the code and reason, so that a refused socket is not mistaken for an idle one."""
    receiver = Receiver(ends[1], lambda *_: None)
    with pytest.raises(BenchError, match="1008 b'forbidden'"):
        receiver.feed(b"\x88\x0b\x03\xf0forbidden", 0)
    ends[0].close()
    with pytest.raises(BenchError, match="cut"):
        receiver.read()


# -- detection of losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "missing"), [([0, 1, 2], 0), ([0, 1], 1), ([0, 2, 1], 2), ([0, 1, 1, 2], 2), ([], 3)]
)
def test_a_missing_notification_is_detected(received: list[int], missing: int) -> None:
    """Lost, displaced or doubled."""
    with Poll() as poll:
        assert Notifier("", poll, sent_ns=[0, 0, 0], received=received).missing == missing
