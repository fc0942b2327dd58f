"""``Idempotency-Key``: a repeated request is delivered once, with and without an inbox."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hermes.errors import RequestError
from hermes.testing import FakeClock
from hermes.web.api import idempotency
from hermes.web.api.idempotency import KEPT_S, RecentAnswers
from tests.support.gateways import KEY, Hermes, MakeHermes, token

pytestmark = pytest.mark.usefixtures("patient")

ANA = token(tenant_id="acme")
NOTE = {"user_id": "123", "title": "t", "message": "m"}


@pytest.fixture(params=["memory", "inbox"])
def started(make_hermes: MakeHermes, tmp_path: Path, request: pytest.FixtureRequest) -> "asyncio.Future[Hermes]":
    """A gateway without an inbox, or with one."""
    given = {"inbox": str(tmp_path / "inbox.db")} if request.param == "inbox" else {}
    return make_hermes(**given)  # type: ignore[return-value]


@pytest.mark.gen_test
async def test_a_repeated_request_is_delivered_once(started: "asyncio.Future[Hermes]") -> None:
    """It gets the first answer, also if it comes at the same time; the key is the id."""
    hermes = await started
    socket = await hermes.open("/ws/notifications", ANA)
    answers = await asyncio.gather(*(hermes.notify(NOTE, **{"Idempotency-Key": "k"}) for _ in range(3)))
    assert sorted(answer.pop("duplicate", False) for answer in answers) == [False, True, True]
    assert answers[0] == answers[1] == answers[2]
    assert (answers[0]["sent"], answers[0]["id"]) == (True, "k")
    assert (await hermes.notify(NOTE | {"id": "k"}, **{"Idempotency-Key": "k"}))["duplicate"]
    assert "duplicate" not in await hermes.notify(NOTE | {"user_id": "ben"}, **{"Idempotency-Key": "k"})
    assert (await socket.receive())["id"] == "k"
    await socket.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "key", "status"),
    [
        (NOTE | {"title": "other"}, "k", 409),
        (NOTE | {"id": "other"}, "k", 422),
        ([NOTE], "k", 422),
        (NOTE, "", 422),
        (NOTE, "a b", 422),
        (NOTE, "x" * 65, 422),
        (NOTE, "ä", 422),
    ],
)
async def test_a_wrong_key_is_refused(started: "asyncio.Future[Hermes]", body: object, key: str, status: int) -> None:
    """And nothing is delivered."""
    hermes = await started
    await hermes.notify(NOTE, **{"Idempotency-Key": "k"})
    socket = await hermes.open("/ws/notifications", ANA)
    response = await hermes.post(body, {"X-API-Key": KEY, "Idempotency-Key": key})
    assert response.code == status
    assert json.loads(response.body)["sent"] is False
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_an_id_without_the_header_is_delivered_again(hermes: Hermes) -> None:
    """Without an inbox, as before."""
    socket = await hermes.open("/ws/notifications", ANA)
    for _ in range(2):
        await hermes.notify(NOTE | {"id": "same"})
        assert (await socket.receive())["id"] == "same"


@pytest.mark.gen_test
async def test_keys_end_by_age_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory is bounded, and a day is the limit."""
    monkeypatch.setattr(idempotency, "KEYS_MAX", 2)
    clock = FakeClock(0.0)
    answers = RecentAnswers(clock=clock)
    sent: list[str] = []

    async def send(name: str, digest: bytes = b"") -> bool:
        async def deliver() -> dict[str, object]:
            sent.append(name)
            return {"id": name}

        return "duplicate" in await answers.answer((name,), digest, deliver)

    assert [await send(name) for name in ("a", "b", "a", "c", "a")] == [False, False, True, False, False]
    with pytest.raises(RequestError, match="same Idempotency-Key"):
        await send("a", b"other")
    clock.now_s += KEPT_S
    assert not await send("a", b"other")
    assert sent == ["a", "b", "c", "a", "a"]


@pytest.mark.gen_test
async def test_a_request_that_fails_is_not_remembered() -> None:
    """Who waits for its answer is tried instead."""
    answers = RecentAnswers()
    go_on = asyncio.Event()

    async def fail() -> dict[str, Any]:
        await go_on.wait()
        raise ValueError

    async def work() -> dict[str, Any]:
        return {"sent": True}

    first = asyncio.ensure_future(answers.answer(("k",), b"", fail))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(answers.answer(("k",), b"", work))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait((first, second), timeout=60)
    assert (type(first.exception()), second.result()) == (ValueError, {"sent": True})
    assert await answers.answer(("k",), b"", work) == {"sent": True, "duplicate": True}
