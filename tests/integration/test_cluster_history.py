"""Random faults of NATS servers under three nodes, and a check of everything that senders and clients saw."""

import asyncio
import random
import signal
from functools import partial
from pathlib import Path

import pytest

from hermes.cluster.participation import State
from tests.support.gateways import KEY, MakeHermes, eventually
from tests.support.histories import Client, Request, check, explore
from tests.support.nats import NatsServer, nats_servers
from tests.support.nodes import bus
from tests.support.postgres import Databases, needs_postgres

pytestmark = pytest.mark.broker

HANGS_MAX_S = 1.5  # a NATS server
# A socket counts for the other nodes 0.1 s after its subscription; while a NATS server hangs, it waits in a route
OPEN_FOR_S = HANGS_MAX_S + 0.1


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


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("seconds", "seed"), [(3, 1), *(pytest.param(40, seed, marks=pytest.mark.slow) for seed in range(2, 6))]
)
async def test_histories_under_faults_of_nats(
    make_hermes: MakeHermes, postgres: Databases, tmp_path: Path, seconds: float, seed: int
) -> None:
    """Whatever the NATS servers do, what senders and clients saw is consistent."""
    needs_postgres()
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    inbox = postgres.empty()
    with nats_servers(tmp_path, 3) as servers:
        urls = ",".join(server.url for server in servers)
        nodes = [
            await make_hermes(nats_url=urls, node_name=name, state_dir=tmp_path / name, api_key_file=keys, inbox=inbox)
            for name in "abc"
        ]
        await eventually(lambda: all(bus(node).state is State.JOINED and len(bus(node).members) == 2 for node in nodes))
        history, clients = await explore(
            nodes, partial(fail, servers), seconds=seconds, seed=seed, counts_from=lambda since_s: since_s + OPEN_FOR_S
        )
        await asyncio.gather(*[node.gateway.stop() for node in nodes])
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
