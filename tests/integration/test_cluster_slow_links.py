"""Links of a node that are slow, and a node that does not read what NATS sends."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import websocket_connect

from hermes.cluster import members
from hermes.cluster.participation import State
from hermes.testing import ClientSocket
from tests.support.gateways import KEY, SECRET, Hermes, MakeHermes, eventually, token
from tests.support.histories import check, explore
from tests.support.nats import NatsServer, nats_server
from tests.support.nodes import assert_uncertain, bus, note, ready, resumed_on
from tests.support.postgres import Databases, needs_postgres
from tests.support.programs import hermes as hermes_program
from tests.support.proxies import SlowLink, slow_link

pytestmark = [pytest.mark.broker, pytest.mark.postgres, pytest.mark.slow]

SETTLED_S = 1.0  # a socket counts for other nodes 0.1 s after its subscription


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """Run a NATS server that gives up a client which does not read."""
    with nats_server(tmp_path, 'write_deadline: "500ms"', "max_pending: 1048576") as server:
        yield server


@pytest.fixture
def to_nats(nats: NatsServer) -> Iterator[SlowLink]:
    """Run the link of node b to NATS."""
    with slow_link(nats.port) as link:
        yield link


@pytest.fixture
def to_database(postgres: Databases) -> Iterator[SlowLink]:
    """Run the link of node b to PostgreSQL."""
    needs_postgres()
    with slow_link(postgres.server.port) as link:
        yield link


Start = Callable[[], Awaitable[list[Hermes]]]


@pytest.fixture
def start(
    make_hermes: MakeHermes,
    nats: NatsServer,
    to_nats: SlowLink,
    to_database: SlowLink,
    postgres: Databases,
    tmp_path: Path,
    complaints: list[Any],
) -> Iterator[Start]:
    """Start nodes a, b and c. Errors in the log are expected, tracebacks are not."""
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    postgres.empty()

    async def run() -> list[Hermes]:
        nodes = []
        for name in "abc":
            nats_port, port = (to_nats.port, to_database.port) if name == "b" else (nats.port, postgres.server.port)
            nodes.append(
                await make_hermes(
                    nats_url=f"nats://127.0.0.1:{nats_port}",
                    node_name=name,
                    state_dir=tmp_path / name,
                    api_key_file=keys,
                    inbox=f"postgresql://postgres@127.0.0.1:{port}/{postgres.main}",
                )
            )
        await eventually(lambda: all(bus(each).state is State.JOINED and len(bus(each).members) == 2 for each in nodes))
        return nodes

    yield run
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()


async def no_faults(chance: random.Random) -> None:
    """Let nothing fail."""
    await asyncio.Event().wait()


async def assert_consistent(nodes: list[Hermes], seconds: float) -> None:
    """Use the nodes for a while; what senders and clients see is consistent."""
    history, clients = await explore(
        nodes, no_faults, seconds=seconds, seed=1, counts_from=lambda since_s: since_s + SETTLED_S
    )
    print(f"{len(history)} requests, {sum(each.answer['sent'] for each in history)} sent")
    assert check(history, clients) == []


@pytest.mark.gen_test(timeout=300)
async def test_a_link_to_nats_of_200_ms(start: Start, to_nats: SlowLink) -> None:
    """It is within the wait of 250 ms: an answer is exact, or names who is uncertain."""
    a, b, _c = nodes = await start()
    to_nats.delay_s = 0.1
    on_b = await resumed_on(b, token("ub"))
    answers = [await a.notify(note("ub", id=f"n{number}")) for number in range(20)]
    print(f"{sum(each['sent'] for each in answers)} of {len(answers)} sent")
    assert all(each["sent"] or "b" in each["uncertain"] for each in answers), answers
    assert [(await on_b.receive())["id"] for _ in answers] == [f"n{number}" for number in range(20)]
    while "uncertain" in await a.notify(note("nobody")):
        pass  # on a slow machine
    await assert_consistent(nodes, 10)
    assert [await ready(node) for node in nodes] == [(200, [])] * 3


@pytest.mark.gen_test(timeout=300)
async def test_a_link_to_nats_of_400_ms(start: Start, to_nats: SlowLink) -> None:
    """It is longer than the wait: its users are uncertain to the others, all users to it; everything arrives once."""
    a, b, _c = nodes = await start()
    on_a, on_b = await resumed_on(a, token("ua")), await resumed_on(b, token("ub"))
    to_nats.delay_s = 0.2
    for number in range(10):
        answer = await a.notify(note("ub", id=f"n{number}"))
        assert answer["sent"] or "b" in answer["uncertain"]
        answer = await b.notify(note("ua", id=f"n{number}"))
        assert answer["sent"] or "a" in answer["uncertain"]
    for socket in (on_a, on_b):
        assert [(await socket.receive())["id"] for _ in range(10)] == [f"n{number}" for number in range(10)]
        await socket.expect_silence()
    assert (await b.notify(note("ub")))["sent"] is True
    while "uncertain" in await a.notify(note("nobody")):
        pass  # on a slow machine
    await assert_consistent(nodes, 10)
    assert [await ready(node) for node in nodes] == [(200, [])] * 3


@pytest.mark.gen_test(timeout=300)
async def test_a_link_to_postgresql_of_a_second(start: Start, to_database: SlowLink) -> None:
    """What is stored within 2 s is stored once and never lost; the others are not affected."""
    a, b, _c = nodes = await start()
    on_b = await resumed_on(b, token("ub"))
    to_database.delay_s = 0.5
    answers = [await b.notify(note("ub", id=f"n{number}")) for number in range(10)]
    print(f"{sum(each['stored'] for each in answers)} of {len(answers)} stored")
    assert all(each["sent"] for each in answers)
    assert (await a.notify(note("ua")))["stored"] is True
    ids = [(await on_b.receive())["id"] for _ in answers]
    assert set(ids) == {f"n{number}" for number in range(10)}
    await assert_consistent(nodes, 20)


@pytest.mark.gen_test(timeout=300)
async def test_a_link_to_postgresql_of_three_seconds(start: Start, to_database: SlowLink) -> None:
    """Nothing is stored by this node, and it says so within 2 s; live delivery and the other nodes are not affected."""
    a, b, _c = nodes = await start()
    on_a, on_b = await resumed_on(a, token("ua")), await resumed_on(b, token("ub"))
    to_database.delay_s = 1.5
    slowest_s = 0.0
    for number in range(10):
        began_s = time.monotonic()
        answer = await b.notify(note("ua", id=f"n{number}"))
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        assert (answer["sent"], answer["stored"], answer["reason"]) == (True, False, "timeout")
        assert (await on_a.receive())["id"] == f"n{number}"
        answer = await b.notify(note("ub", id=f"own{number}", ttl_s=0))
        assert answer["sent"] is True, answer
        assert (await on_b.receive())["id"] == f"own{number}"
    print(f"the slowest answer took {slowest_s:.2f} s")
    assert await ready(b) == (503, ["inbox"])
    answer = await a.notify(note("ub", id="missed"))
    assert_uncertain(answer, "b")
    to_database.delay_s = 0.0
    await eventually(lambda: b.gateway.inbox is not None and b.gateway.inbox.store.problem is None)
    assert (await on_b.receive())["id"] == "missed"
    assert (await b.notify(note("ub", id="after")))["stored"] is True
    assert (await on_b.receive())["id"] == "after"
    await assert_consistent(nodes, 5)


LARGE = "x" * 16_000


@pytest.mark.gen_test(timeout=300)
async def test_a_node_that_nats_gives_up_because_it_does_not_read(
    make_hermes: MakeHermes,
    nats: NatsServer,
    postgres: Databases,
    tmp_path: Path,
    complaints: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes back, and finds everything that was stored meanwhile; the sender was told that it is uncertain."""
    monkeypatch.setattr(members, "FORGOTTEN_S", 3_600.0)
    needs_postgres()
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    inbox = postgres.empty()
    a = await make_hermes(nats_url=nats.url, node_name="a", state_dir=tmp_path / "a", api_key_file=keys, inbox=inbox)
    arguments = ("serve", "--port", "0", "--mqtt-url", "off", "--nats-url", nats.url, "--node-name", "z")
    with hermes_program(
        *arguments, "--inbox", inbox, HERMES_JWT_SECRET=SECRET, XDG_STATE_HOME=str(tmp_path)
    ) as program:
        try:
            url = await asyncio.to_thread(lambda: program.url)
            address = url.replace("http", "ws", 1)
            await eventually(lambda: "z" in bus(a).members)
            socket = await _resume_at(address, a)
            while not (await a.notify(note()))["sent"]:
                await asyncio.sleep(0.05)
            program.process.send_signal(signal.SIGSTOP)
            stored: list[str] = []
            while "Slow Consumer" not in nats.log.read_text():
                array = [note(message=LARGE, ttl_s=0) for _ in range(60)]
                answers = (await a.notify([*array, note(id=f"n{len(stored)}")]))["results"]
                assert all((each["sent"], each.get("uncertain")) == (False, ["z"]) for each in answers), answers
                assert answers[-1]["stored"]
                stored.append(f"n{len(stored)}")
                assert len(stored) < 1_000, "the server keeps the connection"
            print(f"given up after {len(stored)} MB")
            program.process.send_signal(signal.SIGCONT)
            found: list[dict[str, Any]] = []
            while not found or found[-1]["id"] != stored[-1]:
                frame = await socket.receive()
                found += [frame] if "seq" in frame else []
            assert [frame["id"] for frame in found if frame["id"] in stored] == stored
            numbers = [frame["seq"] for frame in found]
            assert numbers == sorted(set(numbers))
            while not (await a.notify(note()))["sent"]:
                await asyncio.sleep(0.05)
        finally:
            program.process.send_signal(signal.SIGCONT)
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()


async def _resume_at(address: str, hermes: Hermes) -> ClientSocket:
    """Open a socket at another process, as soon as it has joined; it is closed together with a node."""
    while True:
        socket = ClientSocket(await websocket_connect(f"{address}/ws/notifications?since=0&token={token()}"))
        hermes.sockets.append(socket)
        frame = await socket.receive_text()
        if frame is not None:
            return socket
        assert (socket.connection.close_reason or "").startswith("joining;retry_ms=")
