"""Every wake-up is answered, and a fence after all that came before it."""

import asyncio

import pytest

from hermes.cluster.incoming import readings as module
from hermes.cluster.incoming.readings import Readings


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.gen_test
async def test_what_cannot_be_read_is_answered_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The inbox is away, the reading failed, or there are too many."""
    monkeypatch.setattr(module, "READINGS_MAX", 3)
    answers: list[tuple[str, int | None]] = []
    readings = Readings(lambda reply, sockets: answers.append((reply, sockets)))
    readings.begin(1, "", "no inbox")
    await _settle()
    may_end = asyncio.Event()

    async def read(seq: int, epoch: str) -> int | None:
        await may_end.wait()
        if seq == 4:
            raise ValueError("a bug")
        return {2: 7, 3: None}[seq]

    readings.read = read
    for seq in (2, 3, 4, 5):
        readings.begin(seq, "", str(seq))
    assert answers == [("no inbox", None), ("5", None)]
    readings.then(lambda: answers.append(("too many", 0)))
    may_end.set()
    await _settle()
    assert answers[2:] == [("2", 7), ("3", None), ("4", None)]
    assert "cannot be read" in caplog.text


@pytest.mark.gen_test
async def test_a_fence_is_answered_after_a_reading_that_fails() -> None:
    """So the sender knows that nothing more comes."""
    answers: list[tuple[str, int | None]] = []
    readings = Readings(lambda reply, sockets: answers.append((reply, sockets)))
    readings.begin(1, "", "1")
    readings.then(lambda: answers.append(("fence", 0)))
    await _settle()
    assert answers == [("1", None), ("fence", 0)]
