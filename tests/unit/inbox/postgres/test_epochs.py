"""The inbox in PostgreSQL when its database loses rows, or is an earlier one again."""

import asyncio
import time

import pytest

from hermes.inbox.inbox import Stored
from hermes.inbox.position import Position
from tests.support.inboxes import FakeClock
from tests.support.postgres import Databases
from tests.unit.inbox.postgres.test_inbox import ANA, ENOUGH_S, Node, running
from tests.unit.inbox.postgres.test_inbox import clock as clock
from tests.unit.inbox.postgres.test_inbox import url as url

pytest.importorskip("psycopg")

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("patient")]


async def until_epoch(node: Node, number: int) -> None:
    """Let the process connect again, until it has seen so many changes of the epoch."""
    if node.inbox._writer._session is not None:
        node.inbox._writer._session.cut()
    until = time.monotonic() + ENOUGH_S
    while len(node.new_epochs) < number and time.monotonic() < until:
        await asyncio.sleep(0.02)
    await node.works()


def test_lost_rows_begin_a_new_epoch(
    postgres: Databases, url: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The files of the server were replaced by an older copy: nothing tells it but the numbers that were seen."""

    def go_back() -> None:
        postgres.server.execute("DELETE FROM hermes.log WHERE seq > 1", name=postgres.main)
        postgres.server.execute("DELETE FROM hermes.ids WHERE seq > 1", name=postgres.main)
        postgres.server.execute("UPDATE hermes.state SET last_seq = 1", name=postgres.main)

    async def test() -> None:
        async with running(url, clock) as node, running(url, clock) as other:
            for id in "abc":
                await node.append(id)
            assert await other.inbox.catch_up() == 3
            old = node.inbox.epoch
            await asyncio.to_thread(go_back)
            await until_epoch(node, 1)
            await until_epoch(other, 1)
            assert node.new_epochs == other.new_epochs == [node.inbox.epoch] != [old]
            assert await node.append("d") == Stored(2)
            assert await other.inbox.catch_up() == 2
            assert node.numbers == other.numbers == [1, 2, 3, 2]
            for seq in (1, 2, 3):
                assert (await node.inbox.resume(ANA, Position(old, seq))).gap

    asyncio.run(test())
    caplog.clear()


@pytest.mark.slow
def test_an_earlier_database_goes_on_where_it_was_left(
    postgres: Databases, url: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An old primary beside the promoted one: what was published from it is not published again."""
    server, name = postgres.server, postgres.main

    def state(table: str) -> dict[str, str]:
        return dict(server.execute(f"SELECT name, value FROM {table}", name=name))

    async def test() -> None:
        async with running(url, clock) as node, running(url, clock) as other:
            for id in "abc":
                await node.append(id)
            assert await other.inbox.catch_up() == 3
            first = state("hermes.meta")
            await asyncio.to_thread(postgres.replace)
            await until_epoch(node, 1)
            await until_epoch(other, 1)
            for key in ("epoch", "epoch_began_at"):
                server.execute(f"UPDATE hermes.meta SET value = '{first[key]}' WHERE name = '{key}'", name=name)
            await until_epoch(other, 2)
            await until_epoch(node, 2)
            assert node.inbox.epoch == other.inbox.epoch == first["epoch"]
            assert await node.append("d") == Stored(4)
            assert await other.inbox.catch_up() == 4
            assert node.numbers == other.numbers == [1, 2, 3, 4]

    asyncio.run(test())
    caplog.clear()
