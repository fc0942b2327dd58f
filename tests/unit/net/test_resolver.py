"""Names are resolved with a time limit, by one thread for each."""

import asyncio
import threading

import pytest

from hermes.net import resolver as module
from hermes.net.resolver import Resolver
from tests.support.outages import hanging_resolver


def threads() -> int:
    """Return how many resolve."""
    return sum(thread.name == "hermes-resolver" for thread in threading.enumerate())


@pytest.mark.gen_test
async def test_addresses_and_names() -> None:
    """An address is its own; localhost has at least one; what no name can be is an error."""
    resolver = Resolver()
    assert await resolver.addresses("127.0.0.1", 1) == ["127.0.0.1"]
    assert await resolver.addresses("::1", 1) == ["::1"]
    assert "127.0.0.1" in await resolver.addresses("localhost", 1)
    for name in ("no-such-name.invalid", "a" * 64 + ".invalid"):
        with pytest.raises(OSError, match="cannot be resolved"):
            await resolver.addresses(name, 1)
    with pytest.raises(UnicodeError):
        await resolver.addresses("é" * 64, 1)
    assert resolver._pending == {}


@pytest.mark.gen_test
async def test_a_question_without_an_answer_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks again waits for the same answer, and is told so after the time."""
    may_answer, asked = hanging_resolver(monkeypatch)
    monkeypatch.setattr(module, "RESOLVE_TIMEOUT_S", 0.05)
    resolver = Resolver()
    try:
        for _ in range(3):
            with pytest.raises(OSError, match="not resolved within"):
                await resolver.addresses("db.test", 5432)
        assert (asked, threads()) == (["db.test"], 1)
        monkeypatch.setattr(module, "RESOLVE_TIMEOUT_S", 60.0)
        waiting = asyncio.ensure_future(resolver.addresses("db.test", 5432))
        await asyncio.sleep(0)
        may_answer.set()
        with pytest.raises(OSError, match="cannot be resolved"):
            await waiting
        assert resolver._pending == {}
    finally:
        may_answer.set()
