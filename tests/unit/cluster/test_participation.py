"""From which nodes a node that joins gets what it must know."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hermes.cluster.members import Members
from hermes.cluster.participation import Participation, State
from hermes.cluster.surveys import Answers
from hermes.metrics import Metrics
from tests.support.gateways import eventually


class Bench:
    """A participation, what it asks, and the answers to its greeting."""

    def __init__(self, *joined: str, joining: tuple[str, ...] = (), fails: bool = False) -> None:
        self.asked: list[tuple[list[str], bool]] = []
        self.fails = fails
        answers = Answers({name: {"joined": True} for name in joined} | {name: {"joined": False} for name in joining})

        async def greet() -> Answers:
            return answers

        self.participation = Participation(
            members=Members(name="a", instance="1", keys=str, metrics=Metrics()),
            greet=greet,
            announce=lambda: None,
            on_state=lambda: None,
        )
        self.participation.on_join = self.join

    async def join(self, names: list[str], *, with_all: bool) -> bool:
        """Note what is asked."""
        self.asked.append((names, with_all))
        if self.fails:
            raise ValueError("a bug")
        return True

    async def until(self, state: State) -> None:
        """Run until this state."""
        client: Any = SimpleNamespace(is_connected=True, problem="", refusal="")
        self.participation.start(client)
        await eventually(lambda: self.participation.state is state)


@pytest.mark.gen_test
async def test_a_node_that_has_joined_is_asked() -> None:
    """One that is joining itself may not know all yet; if all are, all are asked."""
    for bench, expected in (
        (Bench("c", joining=("b",)), (["c"], False)),
        (Bench(joining=("b", "c")), (["b", "c"], True)),
    ):
        asked = bench.asked
        await bench.until(State.JOINED)
        assert asked == [expected]
        bench.participation.appeared("d")
        while len(asked) == 1:
            await asyncio.sleep(0)
        assert asked[1] == (["d"], True)
        await bench.participation.stop()


@pytest.mark.gen_test
async def test_a_failed_exchange_does_not_keep_sockets_out(caplog: pytest.LogCaptureFixture) -> None:
    """The node continues alone."""
    bench = Bench("b", fails=True)
    await bench.until(State.ALONE)
    assert "the exchange with the other nodes failed" in caplog.text
    await bench.participation.stop()
