"""The bench measures what it says: tiny runs of each scenario, and proof that it would notice a loss. Never times."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import report
from bench.__main__ import PAGE, main
from bench.figures import Figure, Mark, Results, percentile
from bench.load.websocket import Receiver
from bench.processes import BenchError, running
from bench.scenarios import FULL, QUICK
from bench.scenarios.fan_out import DEVICES, Audience
from bench.scenarios.notify import Exchange
from hermes.delivery.frames import Frame
from tests.conftest import needs

FACTS = {
    "notify": {"not arrived, or not in order", "answered without sent: true"},
    "idle-memory": set[str](),
    "fan-out": {"frames lost", "sockets out of order"},
}


def written_rows(page: Path) -> list[dict[str, str]]:
    """The table's rows between the page's two comments, by the names of their columns."""
    table = page.read_text().partition(report.BEGIN)[2].partition(report.END)[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


@pytest.mark.parametrize("scenario", FULL)
def test_a_scenario_runs_loses_nothing_and_its_table_is_written(scenario: str, tmp_path: Path) -> None:
    """By the command, with tiny sizes, into a copy of the real page."""
    needs("mosquitto")
    page = tmp_path / "performance.md"
    shutil.copy(PAGE, page)
    assert main([scenario, "--quick", "--runs", "1", "--write", "--page", str(page)]) == 0
    rows = written_rows(page)
    assert rows
    assert {row["scenario"] for row in rows} == {scenario}
    assert {row["measure"]: row["met"] for row in rows if row["mark"] == "0"} == dict.fromkeys(FACTS[scenario], "yes")
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
    """And the fault says what is missing."""
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
        server.settimeout(5)
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
    """With its code and reason, so that nobody takes a refused socket for an idle one."""
    receiver = Receiver(ends[1], lambda *_: None)
    with pytest.raises(BenchError, match="1008 b'forbidden'"):
        receiver.feed(b"\x88\x0b\x03\xf0forbidden", 0)
    ends[0].close()
    with pytest.raises(BenchError, match="cut"):
        receiver.read()


# -- would a loss be noticed? -----------------------------------------------------------------------------------


def device_frame(number: int) -> bytes:
    """What message ``number`` looks like on a socket."""
    data = {"n": number, "t": 1_000_000 * number}
    return Frame(json.dumps({"device_id": f"d{number % DEVICES:02}", "data": data}).encode()).plain


def heard(*streams: list[int]) -> Audience:
    """An audience whose sockets got these messages."""
    audience = Audience()
    for stream in streams:
        server, client = socket.socketpair()
        with server, client:
            receiver = audience.seat(client)
            for number in stream:
                receiver.feed(device_frame(number), 1_000_000 * number + 500_000)
    return audience


ALL = list(range(60))
SWAPPED = [*range(10), 30, *range(11, 30), 10, *range(31, 60)]  # 10 and 30 are of one device


@pytest.mark.parametrize(
    ("streams", "lost", "out_of_order"),
    [
        ((ALL, ALL, ALL), 0, 0),
        ((ALL, ALL, ALL[:-1]), 1, 1),
        ((ALL[1:], ALL, ALL), 1, 3),
        ((ALL, ALL, [*ALL, 59]), 1, 1),
        ((ALL, SWAPPED, ALL), 0, 1),
        ((SWAPPED, SWAPPED, SWAPPED), 0, 3),
        ((ALL[:30] + ALL[31:], ALL[:30] + ALL[31:]), 2, 2),
    ],
)
def test_a_lost_or_displaced_frame_is_noticed(streams: tuple[list[int], ...], lost: int, out_of_order: int) -> None:
    """On the first socket, on another, or on all alike."""
    audience = heard(*streams)
    assert (audience.lost(len(ALL)), audience.out_of_order()) == (lost, out_of_order)
    assert audience.has(len(ALL)) is all(len(stream) >= len(ALL) for stream in streams)


def test_latency_is_from_the_publishers_stamp() -> None:
    """Of the sockets that sample."""
    assert set(heard(ALL, ALL).latencies_ms) == {0.5}


@pytest.mark.parametrize(
    ("received", "missing"), [([0, 1, 2], 0), ([0, 1], 1), ([0, 2, 1], 2), ([0, 1, 1, 2], 2), ([], 3)]
)
def test_a_missing_notification_is_noticed(received: list[int], missing: int) -> None:
    """Lost, displaced or doubled."""
    exchange = Exchange(api_key="", sent_ns=[0, 0, 0])
    for number in received:
        exchange.take_frame(b'{"id":"%d"}' % number, 1_000_000)
    assert exchange.missing(3) == missing
