"""Random faults of NATS servers under three nodes, and a check of everything that senders and clients saw.

- Nothing is lost that was answered ``stored``, and nothing comes twice to a client that resumes.
- On each socket ``seq`` rises.
- ``sent`` is never true for what no client got. It is false for a user with an open socket only together with
  ``uncertain``.
"""

import asyncio
import contextlib
import json
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hermes.cluster.participation import State
from hermes.testing import connect
from tests.integration.test_cluster import bus, note
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually, token
from tests.support.nats import NatsServer, nats_servers
from tests.support.postgres import Databases, needs_postgres

pytestmark = pytest.mark.broker

HANGS_MAX_S = 1.5  # a NATS server
# A socket counts for the other nodes 0.1 s after its subscription; while a NATS server hangs, it waits in a route
OPEN_FOR_S = HANGS_MAX_S + 0.1


@dataclass
class Client:
    """One page of a user, which moves between nodes and resumes."""

    user: str
    position: str = "0"
    got: list[str] = field(default_factory=list)
    open: list[tuple[float, float]] = field(default_factory=list)  # from when until when, in monotonic seconds
    faults: list[str] = field(default_factory=list)
    ends: bool = False

    async def run(self, nodes: list[Hermes], chance: random.Random) -> None:
        """Stay on a node for a while, then move, until ``ends`` is set."""
        while not self.ends:
            await self._visit(chance.choice(nodes), chance.uniform(0.3, 4.0))

    async def _visit(self, node: Hermes, stay_s: float) -> None:
        path = f"/ws/notifications?replay_end=1&since={self.position}"
        socket = await connect(node.gateway, path, token=token(self.user))
        visit = Visit(self)
        counting: asyncio.Task[None] | None = None
        end_s = time.monotonic() + stay_s
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(stay_s):
                    while not visit.ended:
                        visit.handle(await socket.connection.read_message())  # it may be cancelled
                        if visit.is_live and counting is None:
                            counting = asyncio.create_task(visit.count_from(node))
        finally:
            if counting is not None:
                counting.cancel()
            if visit.counts_from_s is not None:
                self.open.append((visit.counts_from_s, min(end_s, time.monotonic())))
            socket.connection.close()
            while not visit.ended and await socket.receive_text() is not None:
                pass  # comes again after the next ``resumed``: the position does not count it


class Visit:
    """One socket of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._epoch = ""
        self._last = 0
        self.is_live = False
        self.ended = False
        self.counts_from_s: float | None = None  # for the other nodes

    def handle(self, text: str | bytes | None) -> None:
        """Note a frame, or the end."""
        if text is None:
            self.ended = True  # refused, or closed by the node
            return
        frame, client = json.loads(text), self._client
        match frame.get("action"):
            case "resumed":
                client.faults += ["a gap"] if frame["gap"] else []
                self._epoch = frame["epoch"]
            case "replay_end":
                self.is_live = True
        if "id" in frame:
            client.faults += [] if frame["seq"] > self._last else [f"seq {frame['seq']} after {self._last}"]
            self._last = frame["seq"]
            client.position = f"{self._epoch}:{self._last}"
            client.got.append(frame["id"])

    async def count_from(self, node: Hermes) -> None:
        """Wait until the socket counts for the other nodes."""
        if await bus(node).synchronised():
            self.counts_from_s = time.monotonic() + OPEN_FOR_S


@dataclass(frozen=True)
class Request:
    """One notification: when it was posted and answered, and the answer."""

    user: str
    began_s: float
    ended_s: float
    answer: dict[str, Any]


async def post(node: Hermes, users: list[str], chance: random.Random, history: list[Request]) -> None:
    """Notify random users by a node; end when cancelled."""
    while True:
        id = f"{bus(node).name}{len(history)}"
        user, began_s = chance.choice(users), time.monotonic()
        answer = await node.notify(note(user, id=id))
        history.append(Request(user, began_s, time.monotonic(), answer))
        await asyncio.sleep(chance.uniform(0, 0.03))


async def fail(servers: list[NatsServer], chance: random.Random) -> None:
    """Stop, kill and restart NATS servers; end when cancelled."""
    while True:
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        server = chance.choice(servers)
        if chance.random() < 0.5:
            server.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(chance.uniform(0.05, HANGS_MAX_S))
            finally:
                server.send_signal(signal.SIGCONT)
        else:
            server.stop()
            try:
                await asyncio.sleep(chance.uniform(0.05, 1.0))
            finally:
                await asyncio.to_thread(server.start)


def check(history: list[Request], clients: list[Client]) -> list[str]:
    """Return what is wrong with a history."""
    faults = [f"client of {client.user}: {fault}" for client in clients for fault in client.faults]
    for client in clients:
        stored = {each.answer["id"] for each in history if each.user == client.user and each.answer["stored"]}
        faults += [f"{id} is lost" for id in sorted(stored - set(client.got))]
        faults += [f"{id} came twice" for id in sorted({id for id in client.got if client.got.count(id) > 1})]
    for each in history:
        of_user = [client for client in clients if client.user == each.user]
        id = each.answer["id"]
        if each.answer["sent"] and not any(id in client.got for client in of_user):
            faults.append(f"{id}: sent is wrongly true")
        was_open = any(
            start <= each.began_s and each.ended_s <= end for client in of_user for start, end in client.open
        )
        if was_open and not each.answer["sent"] and "uncertain" not in each.answer:
            faults.append(f"{id}: sent is wrongly false, and no node is uncertain: {each}")
    return faults


async def explore(
    make_hermes: MakeHermes, inbox: str, folder: Path, *, seconds: float, seed: int
) -> tuple[list[Request], list[Client]]:
    """Run three nodes for a time under faults, then without; return what happened."""
    chance = random.Random(seed)
    keys = folder / "keys"
    keys.write_text(f"{KEY}\n")
    with nats_servers(folder, 3) as servers:
        urls = ",".join(server.url for server in servers)
        nodes = [
            await make_hermes(nats_url=urls, node_name=name, state_dir=folder / name, api_key_file=keys, inbox=inbox)
            for name in "abc"
        ]
        await eventually(lambda: all(len(bus(node).members) == 2 for node in nodes))
        users = ["u1", "u2", "u3"]
        clients = [Client(user) for user in users for _ in range(2)]
        histories: list[list[Request]] = [[], [], []]
        moving = [asyncio.create_task(client.run(nodes, random.Random(chance.random()))) for client in clients]
        posting = [
            asyncio.create_task(post(node, users, random.Random(chance.random()), own))
            for node, own in zip(nodes, histories, strict=True)
        ]
        failing = asyncio.create_task(fail(servers, chance))
        await asyncio.sleep(seconds)
        await end([failing, *posting])
        history = [each for own in histories for each in own]
        await eventually(lambda: all(bus(node).state is State.JOINED for node in nodes))
        stored = {user: {e.answer["id"] for e in history if e.user == user and e.answer["stored"]} for user in users}
        with contextlib.suppress(AssertionError):
            await eventually(lambda: all(stored[client.user] <= set(client.got) for client in clients))
        for client in clients:
            client.ends = True
        await asyncio.gather(*moving)
        await asyncio.gather(*[node.gateway.stop() for node in nodes])
    return history, clients


async def end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks; raise what they raised before."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("seconds", "seed"), [(3, 1), *(pytest.param(40, seed, marks=pytest.mark.slow) for seed in range(2, 6))]
)
async def test_histories_under_faults_of_nats(
    make_hermes: MakeHermes, postgres: Databases, tmp_path: Path, seconds: float, seed: int
) -> None:
    """Whatever the NATS servers do, what senders and clients saw is consistent."""
    needs_postgres()
    history, clients = await explore(make_hermes, postgres.empty(), tmp_path, seconds=seconds, seed=seed)
    assert history
    assert check(history, clients) == []


def test_the_check_finds_what_is_wrong() -> None:
    """A history with each of the faults."""
    lost = Request("u", 1.0, 1.1, {"id": "lost", "sent": True, "stored": True})
    false = Request("u", 1.0, 1.1, {"id": "false", "sent": False, "stored": True})
    client = Client("u", got=["false", "false"], open=[(0.5, 2.0)], faults=["seq 1 after 2"])
    assert [text.partition(": Request")[0].partition(", and")[0] for text in check([lost, false], [client])] == [
        "client of u: seq 1 after 2",
        "lost is lost",
        "false came twice",
        "lost: sent is wrongly true",
        "false: sent is wrongly false",
    ]
    uncertain = Request("u", 1.0, 1.1, {"id": "x", "sent": False, "stored": False, "uncertain": ["b"]})
    assert check([uncertain], [client])[2:] == []
