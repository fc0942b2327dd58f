"""Several nodes, and a PostgreSQL of which the disk is full."""

import asyncio
import itertools
import random
import string
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bench.contenders.postgres import postgres_server
from hermes.cli.main import main
from hermes.cluster.participation import State
from tests.support.disks import Disk, database_disk
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually, token
from tests.support.nats import NatsServer, nats_server
from tests.support.nodes import bus, note, ready, resumed_on
from tests.support.postgres import needs_postgres
from tests.support.programs import free_port

pytestmark = [pytest.mark.broker, pytest.mark.postgres, pytest.mark.slow]

SETTINGS = ("max_wal_size = 64MB", "wal_keep_size = 0")
USERS = ("ua", "ub", "uc")
REASONS = ("disk_full", "timeout")  # the server may end when it cannot write its log
CHECKED_EVERY_S = 1.0  # the inbox looks at the database
TEXT = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=8_000))  # cannot be compressed


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """Run one NATS server."""
    with nats_server(tmp_path) as server:
        yield server


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk of 160 MB."""
    needs_postgres()
    with database_disk("160m") as mounted:
        yield mounted


@pytest.mark.gen_test(timeout=300)
@pytest.mark.parametrize("what", ["tables", "everything"])
async def test_a_full_disk_of_the_database_stops_no_node(
    make_hermes: MakeHermes, nats: NatsServer, disk: Disk, tmp_path: Path, what: str, complaints: list[Any]
) -> None:
    """Each node says why it stores nothing, delivers what is live, and stores again; nothing stored is lost."""
    folder = disk.folder / "server"
    folder.mkdir(mode=0o755)
    with ExitStack() as stack:
        server = stack.enter_context(
            postgres_server(free_port(), SETTINGS, folder=folder if what == "everything" else None)
        )
        if what == "tables":
            server.give(folder)
            server.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        server.execute(f"CREATE DATABASE hermes {'TABLESPACE small' if what == 'tables' else ''}")
        inbox = server.url("hermes")
        assert main(["inbox", "--inbox", inbox, "migrate"]) == 0
        nodes = await started(make_hermes, nats, inbox, tmp_path)
        sockets = [await resumed_on(node, token(user)) for node, user in zip(nodes, USERS, strict=True)]
        assert all([(await node.notify(note(user)))["stored"] for node in nodes for user in USERS])
        for socket in sockets:
            assert [len(await socket.receive()) for _ in nodes]
        disk.leave(1_048_576)
        stored: dict[str, list[str]] = {user: [] for user in USERS}
        failing: set[str] = set()
        for number in itertools.count():
            node, user, socket = nodes[number % 3], USERS[number // 3 % 3], sockets[number // 3 % 3]
            answer = await node.notify(note(user, id=f"n{number}", message=TEXT))
            assert answer["sent"] or "uncertain" in answer
            assert (await socket.receive())["id"] == f"n{number}"
            if answer["stored"]:
                stored[user].append(f"n{number}")
            else:
                assert answer["reason"] == "disk_full" if what == "tables" else answer["reason"] in REASONS
                failing.add(bus(node).name)
            if len(failing) == len(nodes):
                break
        assert [await ready(node) for node in nodes] == [(503, ["inbox"])] * 3
        await asyncio.sleep(3 * CHECKED_EVERY_S)
        assert [await ready(node) for node in nodes] == [(503, ["inbox"])] * 3
        disk.empty()
        await asyncio.to_thread(server.restart_if_ended)
        for node in nodes:
            await until_stored(node)
        assert [await ready(node) for node in nodes] == [(200, [])] * 3
        for user in USERS:
            socket = await nodes[0].open("/ws/notifications?replay_end=1&since=0", token(user))
            frames = []
            while (frame := await socket.receive()).get("action") != "replay_end":
                frames.append(frame.get("id"))
            assert [id for id in frames if id in stored[user]] == stored[user]
        await asyncio.gather(*[node.gateway.stop() for node in nodes])
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()


async def started(make_hermes: MakeHermes, nats: NatsServer, inbox: str, folder: Path) -> list[Hermes]:
    """Start nodes a, b and c, which know each other."""
    keys = folder / "keys"
    keys.write_text(f"{KEY}\n")
    nodes = [
        await make_hermes(nats_url=nats.url, node_name=name, state_dir=folder / name, api_key_file=keys, inbox=inbox)
        for name in "abc"
    ]
    await eventually(lambda: all(bus(node).state is State.JOINED and len(bus(node).members) == 2 for node in nodes))
    return nodes


async def until_stored(node: Hermes) -> None:
    """Wait until this node stores, and its inbox has no problem."""
    while not (await node.notify(note("nobody", message=TEXT)))["stored"]:
        await asyncio.sleep(0.1)
    await eventually(lambda: node.gateway.inbox is not None and node.gateway.inbox.store.problem is None)
