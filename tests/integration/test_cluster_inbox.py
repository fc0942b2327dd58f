"""Several nodes with one inbox in a real PostgreSQL: each row once, in rising order, whatever node stored it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes.cluster.participation import State
from hermes.delivery import channels
from hermes.ids import UserId
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually, token
from tests.support.nats import NatsServer, nats_server
from tests.support.nodes import bus, note
from tests.support.postgres import Databases, needs_postgres

pytest.importorskip("psycopg")

from hermes.inbox.postgres import writer

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("complaints", "patient")]

Start = Callable[..., Awaitable[list[Hermes]]]


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run one NATS server."""
    with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def start(make_hermes: MakeHermes, nats: NatsServer, postgres: Databases, tmp_path: Path) -> Start:
    """Start nodes with these names, which share an empty inbox."""
    needs_postgres()
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    inbox = postgres.empty()

    async def run(*names: str) -> list[Hermes]:
        nodes = [
            await make_hermes(
                nats_url=nats.url, node_name=name, state_dir=tmp_path / name, api_key_file=keys, inbox=inbox
            )
            for name in names
        ]
        await eventually(
            lambda: all(bus(node).state is State.JOINED and len(bus(node).members) == len(names) - 1 for node in nodes)
        )
        return nodes

    return run


async def resumed(hermes: Hermes, user: str = "123", since: str = "0") -> Any:
    """Open a socket that has resumed."""
    socket = await hermes.open(f"/ws/notifications?since={since}", token(user))
    assert (await socket.receive())["action"] == "resumed"
    await socket.expect_silence()
    assert await bus(hermes).synchronised()
    return socket


@pytest.mark.gen_test
async def test_rows_of_every_node_arrive_once_in_rising_order(start: Start) -> None:
    """The answers are exact, or name the nodes that were too slow; a bus message is only the wake-up."""
    a, b, c = await start("a", "b", "c")
    on_b, on_c = await resumed(b), await resumed(c)
    answer = await a.notify(note(id="n0"))
    assert (answer["sent"], answer["stored"], "uncertain" in answer) == (True, True, False)
    assert (await a.notify(note("nobody")))["sent"] is False
    answers = await asyncio.gather(
        *[node.notify(note(id=f"{n}")) for n in range(30) for node in (a, b, c)[n % 3 :][:1]]
    )
    assert [each for each in answers if not (each["sent"] or each.get("uncertain"))] == []
    for socket in (on_b, on_c):
        frames = [await socket.receive() for _ in range(31)]
        numbers = [frame["seq"] for frame in frames]
        assert numbers == sorted(set(numbers))
        assert {frame["id"] for frame in frames} == {"n0", *(str(n) for n in range(30))}
        await socket.expect_silence()
    again = await c.notify(note(id="n0"))
    assert (again["duplicate"], again["seq"]) == (True, answer["seq"])
    await on_b.expect_silence()


@pytest.mark.gen_test
async def test_acknowledgements_and_withdrawals_reach_every_node(start: Start) -> None:
    """Also a sender that waits on a node without a socket of the user."""
    a, b, c = await start("a", "b", "c")
    on_b, on_c = await resumed(b), await resumed(c)
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    waiting = asyncio.ensure_future(
        a.request("/notify?wait=acked&timeout_s=60", method="POST", body=json.dumps(note(id="n1")), headers=headers)
    )
    assert (await on_b.receive())["id"] == (await on_c.receive())["id"] == "n1"
    await on_b.send({"action": "ack", "notification_id": "n1"})
    for socket in (on_b, on_c):
        frame = await socket.receive()
        assert (frame["action"], frame["notification_id"]) == ("acked", "n1")
    assert json.loads((await waiting).body)["acked"] is True
    await a.notify(note(id="n2"))
    assert (await on_b.receive())["id"] == (await on_c.receive())["id"] == "n2"
    await c.request("/notify?id=n2&user_id=123", method="DELETE", headers={"X-API-Key": KEY})
    for socket in (on_b, on_c):
        frame = await socket.receive()
        assert (frame["action"], frame["notification_id"]) == ("withdrawn", "n2")


@pytest.mark.gen_test
async def test_a_row_without_a_wake_up_is_found(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the node that stored it had died at once: the others compare their position with the store's."""
    a, b = await start("a", "b")
    on_b = await resumed(b)
    with monkeypatch.context() as patch:
        patch.setattr(bus(a)._client, "publish", lambda *given, **named: False)
        answer = await a.notify(note(id="n1"))
    assert (answer["sent"], answer["uncertain"], answer["stored"]) == (False, ["b"], True)
    assert (await on_b.receive())["id"] == "n1"
    again = await b.notify(note(id="n1"))
    assert again["duplicate"] is True
    await on_b.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("holder", "more"),
    [
        pytest.param("a", {}, id="at-the-first-with-row"),
        pytest.param("c", {}, id="elsewhere-with-row", marks=pytest.mark.slow),
        pytest.param("a", {"ttl_s": 0}, id="at-the-first-without-row", marks=pytest.mark.slow),
        pytest.param("c", {"ttl_s": 0}, id="elsewhere-without-row"),
    ],
)
async def test_a_repetition_at_another_node_while_the_first_is_under_way(
    start: Start, monkeypatch: pytest.MonkeyPatch, more: dict[str, object], holder: str
) -> None:
    """Its answer is that of the first, or names the node that has not finished."""
    a, b, c = await start("a", "b", "c")
    socket = await resumed({"a": a, "c": c}[holder])
    may_end = asyncio.Event()
    flushed = bus(a).flushed

    async def wait(receipts: Any) -> None:
        await may_end.wait()
        await flushed(receipts)

    monkeypatch.setattr(bus(a), "flushed", wait)
    first = asyncio.ensure_future(a.notify(note(id="n1", **more)))
    assert (await socket.receive())["id"] == "n1"
    again = await b.notify(note(id="n1", **more))
    assert (again["duplicate"], again["sent"] or again["uncertain"] == ["a"]) == (True, True)
    if not more:
        assert again["sent"] is True
    may_end.set()
    assert (await first)["sent"] is True
    answers = [await node.notify(note(id="n1", **more)) for node in (a, b, c)]
    assert [(each["duplicate"], each["sent"], "uncertain" in each) for each in answers] == [(True, True, False)] * 3
    await a.notify(note("nobody", id="n2", **more))
    assert (await b.notify(note("nobody", id="n2", **more))).items() >= {"duplicate": True, "sent": False}.items()
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_a_socket_that_has_resumed_learns_of_another_series(
    start: Start, postgres: Databases, complaints: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets another answer, with a gap, on the nodes that have to connect again and on those that have not."""
    monkeypatch.setattr(writer, "CATCH_UP_INTERVAL_S", 0.05)
    a, b = await start("a", "b")
    sockets = [await resumed(a), await resumed(b)]
    await a.notify(note(id="n1"))
    for socket in sockets:
        assert (await socket.receive())["id"] == "n1"
    assert a.gateway.inbox is not None
    old = a.gateway.inbox.store.epoch
    name = str(a.gateway.settings.inbox_url).partition("@/")[2].partition("?")[0]
    postgres.server.execute("UPDATE hermes.meta SET value = 'x' WHERE name = 'incarnation'", name=name)
    postgres.server.execute(
        "SELECT pg_terminate_backend(min(pid)) FROM pg_stat_activity"
        f" WHERE application_name LIKE 'hermes inbox %' AND datname = '{name}'"
    )
    for socket in sockets:
        frame = await socket.receive()
        assert (frame["action"], frame["from"], frame["gap"], frame["epoch"] == old) == ("resumed", 0, True, False)
        frame = await socket.receive()
        assert (frame["id"], frame["replayed"]) == ("n1", True)
    await eventually(lambda: all(channels.user_changes(UserId("123")) in each.gateway.hub.watched for each in (a, b)))
    await sockets[0].send({"action": "ack", "upto": 1})  # of the new series
    for socket in sockets:
        frame = await socket.receive()
        assert (frame["action"], frame["upto"]) == ("acked", 1)
    complaints.clear()


@pytest.mark.gen_test
async def test_what_is_not_stored_crosses_nodes_too(start: Start) -> None:
    """It has no number, and also goes to a socket that is replaying."""
    a, b = await start("a", "b")
    on_b = await resumed(b)
    answer = await a.notify(note(id="n1", ttl_s=0))
    assert (answer["sent"], answer["stored"]) == (True, False)
    frame = await on_b.receive()
    assert (frame["id"], "seq" in frame) == ("n1", False)


@pytest.mark.gen_test
async def test_a_client_moves_to_another_node(start: Start) -> None:
    """It resumes there with its position: nothing is lost and nothing comes twice."""
    a, b = await start("a", "b")
    on_a = await resumed(a)
    await b.notify(note(id="n1"))
    first = await on_a.receive()
    await on_a.close()
    await eventually(lambda: not a.gateway.hub.sessions)
    await a.notify(note(id="n2"))
    epoch = b.gateway.inbox.store.epoch if b.gateway.inbox is not None else ""
    on_b = await b.open(f"/ws/notifications?since={epoch}:{first['seq']}", token())
    answer = await on_b.receive()
    assert (answer["action"], answer["gap"]) == ("resumed", False)
    assert (await on_b.receive())["id"] == "n2"
    await on_b.expect_silence()
