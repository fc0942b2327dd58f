"""``kill -9`` while notifications are stored: nothing that was answered is lost, nothing comes twice."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest

from hermes.ids import UserId
from hermes.inbox.inbox import ROWS_PER_OWNER, Page, Reader, Row
from hermes.inbox.position import BEGINNING, Position
from tests.support.inboxes import inbox_at
from tests.support.paths import CHECKOUT
from tests.support.postgres import Databases
from tests.support.programs import wait_until

SEED = 18
KILLS = int(os.environ.get("INBOX_KILLS", "300"))  # 1,000 take 3 to 10 minutes
WRITES_MAX_S = 0.2  # of one process before it is killed
ROWS_MAX = ROWS_PER_OWNER - 1_000  # a new inbox begins before a limit removes rows


@pytest.mark.slow_on_postgres
@pytest.mark.parametrize("kills", [5, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_what_was_answered_survives_a_kill(tmp_path: Path, kills: int, inbox_databases: Databases | None) -> None:
    """And a reader that resumes after each kill gets every row once, in rising order."""
    chance = random.Random(SEED)

    def new(number: int) -> str:
        return str(tmp_path / f"{number}" / "inbox.db") if inbox_databases is None else inbox_databases.empty()

    place, position, rows, answers = new(0), BEGINNING, 0, 0
    with Writers() as writers:
        for kill in range(kills):
            if rows > ROWS_MAX:
                place, position, rows = new(kill), BEGINNING, 0
            output = tmp_path / f"answers-{kill}"
            answered = writers.written(place, output, f"{kill}", chance.uniform(0, WRITES_MAX_S))
            got, position = asyncio.run(read(place, position))
            rows += len(got)
            answers += len(answered)
            assert {seq: id for seq, id in answered.items() if got.get(seq) != id and not is_replaced(id)} == {}
    print(f"{kills} kills, {answers} answers, none lost, none doubled")


def is_replaced(id: str) -> bool:
    """Return whether the writer may have replaced this row, with or without an answer."""
    return int(id.rpartition("-")[2]) % 7 == 0


class Writers:
    """Processes that write, one after the other."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.inbox_writer"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def written(self, place: str, output: Path, prefix: str, for_s: float) -> dict[int, str]:
        """Let a process write for this time and kill it; return number and id of what it answered."""
        pid = int(self._ask(f"{place} {prefix} {output}"))
        wait_until(lambda: output.exists() and output.stat().st_size)  # at least one row
        time.sleep(for_s)  # the moment of the kill, not a condition
        os.kill(pid, signal.SIGKILL)
        assert self._answer() == "ended"
        lines = output.read_text().splitlines(keepends=True)
        output.unlink()
        return {int(seq): id for seq, id in (line.split() for line in lines if line.endswith("\n"))}

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


async def read(place: str, position: Position) -> tuple[dict[int, str], Position]:
    """Resume as a client: return the rows after the position, and the new position."""
    inbox = inbox_at(place)
    await inbox.start()
    try:
        reader = Reader(UserId("ana"))
        resumed = await inbox.resume(reader, position, capped=False)
        assert not resumed.gap
        numbers: list[int] = []
        rows: dict[int, str] = {}
        pages: list[Page] = []
        while not pages or not pages[-1].is_last:
            after_seq = pages[-1].last_seq if pages else resumed.from_seq
            await inbox.replay(reader, resumed, after_seq=after_seq, then=pages.append)
            numbers += [entry.seq for entry in pages[-1].read_entries()]
            for entry in pages[-1].read_entries():
                if isinstance(entry, Row):
                    rows[entry.seq] = entry.text.decode().split('"')[3]
        assert numbers == sorted(set(numbers))
        assert all(number > position.seq for number in numbers)
        return rows, Position(resumed.epoch, resumed.to_seq)
    finally:
        await inbox.stop()
