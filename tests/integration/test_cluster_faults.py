"""Three nodes, each at its own of three NATS servers: parts that hang, end, or are cut off."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes.cluster.participation import State
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually, token
from tests.support.nats import NatsServer, nats_servers
from tests.support.nodes import assert_uncertain, bus, note, open_on

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("complaints")]

Site = list[tuple[Hermes, NatsServer]]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[NatsServer]]:
    """Run three NATS servers of one system."""
    with nats_servers(tmp_path, 3) as running:
        yield running


@pytest.fixture
def site(servers: list[NatsServer], make_hermes: MakeHermes, tmp_path: Path) -> Callable[[], Awaitable[Site]]:
    """Start nodes a, b and c, which know each other."""
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")

    async def start() -> Site:
        nodes = [
            await make_hermes(nats_url=server.url, node_name=name, state_dir=tmp_path / name, api_key_file=keys)
            for name, server in zip("abc", servers, strict=True)
        ]
        await eventually(lambda: all(bus(node).state is State.JOINED and len(bus(node).members) == 2 for node in nodes))
        return list(zip(nodes, servers, strict=True))

    return start


async def sent_to(sender: Hermes, user: str) -> dict[str, Any]:
    """Notify until the answer is true: the routes of NATS need a moment to tell of a subscription."""
    while not (answer := await sender.notify(note(user)))["sent"]:
        await asyncio.sleep(0.02)
    return answer


@pytest.mark.gen_test
async def test_a_node_of_which_the_nats_server_fails(
    site: Callable[[], Awaitable[Site]], complaints: list[Any]
) -> None:
    """It is uncertain to the others and they to it, while its server hangs, and while it has ended; then all heals."""
    (a, _), (b, server), (c, _) = await site()
    await open_on(b, "/ws/notifications", token("ub"))
    await open_on(a, "/ws/notifications", token("ua"))
    await sent_to(a, "ub")
    await sent_to(b, "ua")
    assert (await c.notify(note("nobody"))).keys() == {"status", "sent", "id"}

    server.send_signal(signal.SIGSTOP)
    assert_uncertain(await a.notify(note("ub", id="while-it-hangs")), "b")
    assert_uncertain(await b.notify(note("ua", id="while-it-hangs")), "a", "c")
    assert (await b.notify(note("ub")))["sent"] is True

    server.stop()
    await eventually(lambda: bus(b).state is State.ALONE)
    while "uncertain" not in (answer := await a.notify(note("ub"))):  # until the routes have noticed
        assert answer["sent"] is False
    assert_uncertain(answer, "b")
    await sent_to(c, "ua")
    assert_uncertain(await b.notify(note("ua")), "a", "c")

    server.start()
    await eventually(lambda: bus(b).state is State.JOINED and all("b" in bus(node).members for node in (a, c)))
    await sent_to(c, "ub")
    await sent_to(b, "ua")
    await asyncio.gather(*[node.gateway.stop() for node in (a, b, c)])
    complaints.clear()
