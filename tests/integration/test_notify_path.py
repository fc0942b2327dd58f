"""Without an inbox, `POST /notify` does nothing for one: no wait, no lock, no look-up; it reads one header more.

What is counted here is what the code does, not how long it takes.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, coroutine
from typing import Any

import pytest

from hermes.delivery.channels import Channel
from hermes.gateway import Gateway
from hermes.web.http import delegate
from hermes.web.http.headers import RequestHeaders
from tests.support.gateways import KEY, Hermes, MakeHermes, token

NOTE = {"user_id": "123", "title": "t", "message": ""}
# of the inbox, and of what does the same without one
MODULES = ("hermes.inbox", "hermes.web.inbox", "hermes.web.sockets.waiting", "hermes.web.api.idempotency")


@contextmanager
def profiled() -> Iterator[Counter[str]]:
    """Count the Python functions of Hermes that are called, and the locks that they take."""
    calls: Counter[str] = Counter()

    def record(frame: FrameType, event: str, argument: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        caller = frame if event == "c_call" else frame.f_back
        of_hermes = caller is not None and caller.f_globals.get("__name__", "").startswith("hermes.")
        if event == "call" and module.startswith("hermes."):
            calls[f"{module}.{frame.f_code.co_qualname}"] += 1
        elif (event == "call" and of_hermes and module in ("asyncio.locks", "threading")) or (
            event == "c_call" and of_hermes and argument.__name__ == "acquire"
        ):
            calls[f"lock in {module}.{frame.f_code.co_qualname}"] += 1

    sys.setprofile(record)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def of_the_inbox(calls: Counter[str]) -> dict[str, int]:
    """Return the functions that are there for an inbox."""
    return {name: times for name, times in calls.items() if name.startswith(MODULES)}


@pytest.mark.gen_test
@pytest.mark.parametrize("with_socket", [False, True])
async def test_no_function_of_the_inbox_is_called(hermes: Hermes, with_socket: bool) -> None:
    """Only that which reads the header; and no lock is taken."""
    if with_socket:
        await hermes.open("/ws/notifications", token())
    await hermes.notify(NOTE)  # what is done only once
    with profiled() as calls:
        assert (await hermes.notify(NOTE))["sent"] is with_socket
    assert calls["hermes.web.notify.NotifyHandler.post"] >= 1
    assert of_the_inbox(calls) == {"hermes.web.api.idempotency.idempotency_key": 1}
    assert [name for name in calls if name.startswith("lock in ")] == []


@pytest.mark.gen_test
async def test_it_reads_one_header_more(hermes: Hermes, monkeypatch: pytest.MonkeyPatch) -> None:
    """``Idempotency-Key``, once; these were all before."""
    names: Counter[str] = Counter()
    get = RequestHeaders.get

    def counted(headers: RequestHeaders, name: str, default: Any = None) -> Any:
        caller = sys._getframe(1).f_globals["__name__"]
        if caller in ("hermes.web.notify", "hermes.web.api.idempotency", "hermes.web.inbox.sender_api"):
            names[name] += 1
        return get(headers, name, default)

    monkeypatch.setattr(RequestHeaders, "get", counted)
    await hermes.notify(NOTE)
    assert names == {"Idempotency-Key": 1}


@pytest.mark.gen_test
@pytest.mark.parametrize(("with_socket", "waits"), [(False, 0), (True, 1)])
async def test_it_waits_for_the_flush_only(
    hermes: Hermes, monkeypatch: pytest.MonkeyPatch, with_socket: bool, waits: int
) -> None:
    """Without a socket it waits for nothing, and no task is made."""
    if with_socket:
        await hermes.open("/ws/notifications", token())
    sends = 0
    step = delegate._steps

    def counted(running: Any, waits_for: object) -> Any:
        nonlocal sends
        sends += 1
        return (yield from step(running, waits_for))

    monkeypatch.setattr(delegate, "_steps", coroutine(counted))
    await hermes.notify(NOTE)
    assert sends == waits


@pytest.mark.gen_test
async def test_it_looks_up_what_it_did_before(make_hermes: MakeHermes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the gateway that it uses, and one look-up of the user's channel."""
    hermes = await make_hermes()
    hub = hermes.gateway.hub
    await hermes.notify(NOTE)
    lookups: list[Channel] = []

    class Sessions(dict[Channel, Any]):
        def __contains__(self, channel: object) -> bool:
            lookups.append(channel)  # type: ignore[arg-type]
            return super().__contains__(channel)

        def get(self, channel: Channel, default: Any = None) -> Any:
            lookups.append(channel)
            return super().get(channel, default)

    monkeypatch.setattr(hub, "_sessions", Sessions(hub._sessions))
    used: set[str] = set()
    get = Gateway.__getattribute__

    def recorded(gateway: Gateway, name: str) -> Any:
        if sys._getframe(1).f_globals["__name__"] == "hermes.web.notify":
            used.add(name)
        return get(gateway, name)

    monkeypatch.setattr(Gateway, "__getattribute__", recorded)
    response = await hermes.post(NOTE, {"X-API-Key": KEY})
    monkeypatch.undo()
    assert json.loads(response.body)["status"] == "success"
    assert lookups == [("user", "123")]
    assert used == {"bus", "inbox", "metrics"}
