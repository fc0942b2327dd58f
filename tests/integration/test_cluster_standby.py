"""Nodes with an inbox in a PostgreSQL that is killed, and of which the standby is promoted."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from bench.contenders.postgres import PostgresServer, postgres_server, postgres_standby
from hermes.cli.main import main
from hermes.cluster.participation import State
from hermes.inbox.inbox import FailureReason
from hermes.metrics import by_label
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually, token
from tests.support.histories import check, explore, stored_ids
from tests.support.nats import NatsServer, nats_server
from tests.support.nodes import bus, note, open_on, ready, resumed_on
from tests.support.postgres import FAST, needs_postgres
from tests.support.programs import free_port, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres, pytest.mark.slow]

Pair = tuple[PostgresServer, PostgresServer]
ANA = token("ana")


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """Run one NATS server."""
    with nats_server(tmp_path) as server:
        yield server


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Run a primary with the tables of an inbox, and a standby that follows it."""
    needs_postgres()
    with postgres_server(free_port(), FAST) as primary:
        primary.execute("CREATE DATABASE hermes")
        assert main(["inbox", "--inbox", primary.tcp_url("hermes"), "migrate"]) == 0
        with postgres_standby(primary, free_port(), FAST) as standby:
            yield primary, standby


def inbox_of(pair: Pair) -> str:
    """Return the URL with both servers."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in pair)
    return f"postgresql://postgres@{hosts}/hermes?target_session_attrs=read-write"


def make_synchronous(primary: PostgresServer) -> None:
    """Let each commit wait for the standby; the standby does not get this setting."""
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.execute("SELECT pg_reload_conf()")
    wait_until(lambda: primary.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)])


async def started(make_hermes: MakeHermes, nats: NatsServer, inbox: str, folder: Path) -> list[Hermes]:
    """Start nodes a and b, which know each other."""
    keys = folder / "keys"
    keys.write_text(f"{KEY}\n")
    nodes = [
        await make_hermes(nats_url=nats.url, node_name=name, state_dir=folder / name, api_key_file=keys, inbox=inbox)
        for name in "ab"
    ]
    await eventually(lambda: all(bus(node).state is State.JOINED and bus(node).members for node in nodes))
    return nodes


def epoch_of(node: Hermes) -> str:
    """Return the epoch of the inbox of a node."""
    assert node.gateway.inbox is not None
    return node.gateway.inbox.store.epoch


async def until_stored(node: Hermes, *, stored: bool = True) -> None:
    """Send notifications to another user until they are stored, or are not."""
    async with asyncio.timeout(60):
        while (await node.notify(note("nobody")))["stored"] is not stored:
            await asyncio.sleep(0.05)


def unstored(node: Hermes) -> float:
    """Return how many requests a node has answered as not stored."""
    counted = by_label(node.gateway.metrics.inbox_requests)
    return sum(counted[reason] for reason in get_args(FailureReason) if reason in counted)


async def kept(node: Hermes, user: str, position: str = "0") -> dict[str, Any]:
    """Return what `GET /inbox` has for a user, in one page."""
    response = await node.request(
        f"/inbox?since={position}&limit=1000", headers={"Authorization": f"Bearer {token(user)}"}
    )
    page: dict[str, Any] = json.loads(response.body)
    assert not page["more"]
    return page


@pytest.mark.gen_test(timeout=300)
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_synchronous_standby_has_all_that_was_answered_stored(
    make_hermes: MakeHermes, nats: NatsServer, pair: Pair, tmp_path: Path, seed: int, complaints: list[Any]
) -> None:
    """The primary is killed under load: live delivery goes on, and what is stored comes once in each epoch."""
    primary, standby = pair
    await asyncio.to_thread(make_synchronous, primary)
    nodes = await started(make_hermes, nats, inbox_of(pair), tmp_path)
    old = epoch_of(nodes[0])

    async def fail_over(chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(1, 3))
        await asyncio.to_thread(primary.kill)
        await asyncio.gather(*[until_stored(node, stored=False) for node in nodes])
        await eventually(lambda: all(unstored(node) > 1 for node in nodes))  # also one of the load
        assert [await ready(node) for node in nodes] == [(503, ["inbox"])] * 2
        await asyncio.sleep(chance.uniform(0, 2))
        await asyncio.to_thread(standby.promote)
        await asyncio.gather(*[until_stored(node) for node in nodes])
        await asyncio.sleep(2)

    history, clients = await explore(
        nodes, fail_over, seconds=120, seed=seed, counts_from=lambda since_s: since_s + 0.1
    )
    assert {each.answer["stored"] for each in history} == {True, False}
    faults = check(history, clients)
    assert not faults, "\n".join(faults)
    assert {epoch_of(node) for node in nodes} & {old} == set()
    assert epoch_of(nodes[0]) == epoch_of(nodes[1])
    for user in {client.user for client in clients}:
        assert stored_ids(history, user) <= {frame["id"] for frame in (await kept(nodes[0], user))["frames"]}
    assert [await ready(node) for node in nodes] == [(200, [])] * 2
    await asyncio.gather(*[node.gateway.stop() for node in nodes])
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()


@pytest.mark.gen_test(timeout=300)
async def test_an_asynchronous_standby_without_the_last_rows_begins_a_new_epoch(
    make_hermes: MakeHermes, nats: NatsServer, pair: Pair, tmp_path: Path, complaints: list[Any]
) -> None:
    """Their numbers are given again, under another epoch; every client sees a gap, and gets all that is kept."""
    primary, standby = pair
    nodes = await started(make_hermes, nats, inbox_of(pair), tmp_path)
    sockets = [await resumed_on(node, ANA) for node in nodes]
    plain = await open_on(nodes[0], "/ws/notifications", ANA)
    before = [await nodes[0].notify(note("ana", id=f"kept-{number}")) for number in range(3)]
    position = primary.execute("SELECT pg_current_wal_lsn()::text")[0][0]
    await eventually(lambda: standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn") == [(True,)])
    await asyncio.to_thread(standby.stop)
    lost = [await nodes[1].notify(note("ana", id=f"lost-{number}")) for number in range(3)]
    assert all(each["stored"] for each in before + lost)
    old = epoch_of(nodes[0])
    for socket in (*sockets, plain):
        assert [(await socket.receive())["seq"] for _ in range(6)] == [each["seq"] for each in before + lost]
    await asyncio.to_thread(primary.kill)
    await asyncio.gather(*[until_stored(node, stored=False) for node in nodes])
    for node in nodes:
        answer = await node.notify(note("ana", id=f"live-{bus(node).name}"))
        assert (answer["sent"], answer["stored"], answer["reason"]) == (True, False, "timeout")
    for socket in (*sockets, plain):
        assert {(await socket.receive())["id"] for _ in nodes} == {"live-a", "live-b"}
    await asyncio.to_thread(standby.start)
    await asyncio.to_thread(standby.promote)
    await asyncio.gather(*[until_stored(node) for node in nodes])
    new = epoch_of(nodes[0])
    assert new not in (old, "")
    assert epoch_of(nodes[1]) == new
    for socket in sockets:
        frame = await socket.receive()
        assert (frame["action"], frame["epoch"], frame["gap"]) == ("resumed", new, True)
        assert [(await socket.receive())["id"] for _ in before] == [each["id"] for each in before]
        assert (await socket.receive())["action"] == "replay_end"
    repeated = await nodes[0].notify(note("ana", id="lost-0"))
    assert (repeated["stored"], repeated["sent"], "duplicate" in repeated) == (True, True, False)
    for socket in (*sockets, plain):
        frame = await socket.receive()
        assert (frame["id"], frame["seq"]) == ("lost-0", repeated["seq"])
    for given in (f"{old}:{lost[-1]['seq']}", f"{old}:{before[-1]['seq']}"):
        page = await kept(nodes[1], "ana", given)
        assert (page["epoch"], page["gap"]) == (new, True)
        assert [frame["id"] for frame in page["frames"]] == ["kept-0", "kept-1", "kept-2", "lost-0"]
    await asyncio.gather(*[node.gateway.stop() for node in nodes])
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()


@pytest.mark.gen_test(timeout=300)
async def test_an_old_primary_that_returns_is_another_epoch(
    make_hermes: MakeHermes, nats: NatsServer, pair: Pair, tmp_path: Path, complaints: list[Any]
) -> None:
    """A node that has to connect again may take it; its rows are not those of the others until it is stopped."""
    primary, standby = pair
    nodes = a, b = await started(make_hermes, nats, inbox_of(pair), tmp_path)
    at_a, at_b = [await resumed_on(node, ANA) for node in nodes]
    plain = await open_on(a, "/ws/notifications", ANA)
    sockets = (at_a, at_b, plain)
    assert (await a.notify(note("ana", id="before")))["stored"]
    for socket in sockets:
        assert (await socket.receive())["id"] == "before"
    first = epoch_of(a)
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(standby.promote)
    await asyncio.gather(*[until_stored(node) for node in nodes])
    second = epoch_of(a)
    for socket in (at_a, at_b):
        while (await socket.receive()).get("action") != "replay_end":
            pass
    assert (await a.notify(note("ana", id="promoted")))["stored"]
    for socket in sockets:
        assert (await socket.receive())["id"] == "promoted"

    await asyncio.to_thread(primary.start)
    assert (await a.notify(note("ana", id="still")))["stored"]
    for socket in sockets:
        assert (await socket.receive())["id"] == "still"
    assert epoch_of(a) == epoch_of(b) == second  # the connections stay where they are
    reconnect(standby, a)
    await eventually(lambda: epoch_of(a) == first)
    frames = []
    while (frame := await at_a.receive()).get("action") != "replay_end":
        frames.append(frame)
    assert [frame.get("id", frame.get("gap")) for frame in frames] == [True, "before"]
    answer = await a.notify(note("ana", id="divided"))
    assert (answer["stored"], answer["sent"]) == (True, True)
    for socket in (at_a, plain):
        assert (await socket.receive())["id"] == "divided"
    answer = await a.notify(note("bob", id="divided"))
    bob = await resumed_on(b, token("bob"))
    answer = await a.notify(note("bob", id="for-bob"))
    assert (answer["stored"], answer["sent"]) == (True, False)
    assert answer["uncertain"] == ["b"]
    await eventually(lambda: {"node a", "node b"} <= named_as_another_inbox(complaints))

    await asyncio.to_thread(primary.stop)
    await until_stored(a)
    assert epoch_of(a) == epoch_of(b) == second
    frames = []
    while (frame := await at_a.receive()).get("action") != "replay_end":
        frames.append(frame)
    assert [frame.get("id", frame.get("gap")) for frame in frames] == [True, "before", "promoted", "still"]
    assert (await a.notify(note("ana", id="one again")))["stored"]
    for socket in sockets:
        assert (await socket.receive())["id"] == "one again"
    assert (await a.notify(note("bob", id="bob again")))["sent"]
    assert (await bob.receive())["id"] == "bob again"
    await asyncio.gather(*[node.gateway.stop() for node in nodes])
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()


def named_as_another_inbox(complaints: list[Any]) -> set[str]:
    """Return the nodes that another one has named in the log because of its inbox."""
    texts = [record.getMessage() for record in complaints]
    return {text.partition(" stores in another database")[0].removeprefix("the ") for text in texts}


def reconnect(server: PostgresServer, node: Hermes) -> None:
    """End the connection of a node."""
    assert node.gateway.inbox is not None
    name = node.gateway.inbox.store._writer._session.name  # type: ignore[attr-defined]
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'")


@pytest.mark.gen_test(timeout=300)
async def test_without_its_synchronous_standby_nothing_is_stored(
    make_hermes: MakeHermes, nats: NatsServer, pair: Pair, tmp_path: Path, complaints: list[Any]
) -> None:
    """Each commit of the primary waits: live delivery goes on, and the waiting sessions do not fill the server."""
    primary, standby = pair
    await asyncio.to_thread(make_synchronous, primary)
    nodes = a, b = await started(make_hermes, nats, inbox_of(pair), tmp_path)
    socket = await resumed_on(b, ANA)
    assert (await a.notify(note("ana", id="stored")))["stored"]
    assert (await socket.receive())["id"] == "stored"
    await asyncio.to_thread(standby.stop)
    most = 0
    for number in range(40):
        answer = await a.notify(note("ana", id=f"live-{number}"))
        assert (answer["sent"], answer["stored"]) == (True, False)
        while (await socket.receive())["id"] != f"live-{number}":  # the first may come again, with a number
            pass
        found = primary.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'hermes inbox %'")
        most = max(most, found[0][0])
        await asyncio.sleep(1)
    assert most <= 2 * len(nodes)
    await asyncio.to_thread(standby.start)
    await asyncio.gather(*[until_stored(node) for node in nodes])
    await asyncio.gather(*[node.gateway.stop() for node in nodes])
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()
