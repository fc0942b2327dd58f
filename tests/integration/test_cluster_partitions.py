"""Links between nodes, NATS servers and PostgreSQL of which the packets are dropped, in one direction or in both."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hermes.cluster import members
from hermes.cluster.nats import client
from hermes.cluster.participation import State
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually, token
from tests.support.histories import check, explore
from tests.support.links import NUMBERS, LinkedSite, database_link, linked_site, nats_link, random_cut, route_links
from tests.support.nodes import assert_uncertain, bus, note, open_on, ready, resumed_on

pytestmark = pytest.mark.broker

Start = Callable[..., Awaitable[LinkedSite]]

DIRECTIONS = pytest.mark.parametrize(
    ("to", "back"), [(True, True), (True, False), (False, True)], ids=["both", "to-the-server", "from-the-server"]
)
QUICK = 'ping_interval: "1s"', "ping_max: 2"  # NATS servers notice a dead link after 3 s; by default after minutes


@pytest.fixture
def site(tmp_path: Path, complaints: list[Any]) -> Iterator[LinkedSite]:
    """Run the servers; errors in the log are expected, tracebacks are not."""
    with linked_site(tmp_path, *QUICK) as running:
        yield running
        running.heal()
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()


@pytest.fixture
def start(site: LinkedSite, make_hermes: MakeHermes, tmp_path: Path) -> Start:
    """Start nodes a, b and c, which know each other."""

    async def run(**given: Any) -> LinkedSite:
        await site.start(make_hermes, tmp_path, **given)
        return site

    return run


async def until_sent(sender: Hermes, user: str) -> None:
    """Notify until the answer is true."""
    while not (await sender.notify(note(user)))["sent"]:
        await asyncio.sleep(0.02)


async def open_pages(a: Hermes, b: Hermes, **claims: Any) -> tuple[Any, Any]:
    """Open a page of ua on one node and of ub on another; return them when each node reaches the page of the other."""
    on_a, on_b = await resumed_on(a, token("ua", **claims)), await resumed_on(b, token("ub", **claims))
    await until_sent(a, "ub")
    await until_sent(b, "ua")
    return on_a, on_b


async def until_got(socket: Any, id: str) -> list[str]:
    """Return the ids of the frames up to this one."""
    ids: list[str] = []
    while id not in ids:
        ids.append((await socket.receive())["id"])
    return ids


@pytest.mark.gen_test
async def test_a_node_cut_from_nats_goes_on_alone(
    make_hermes: MakeHermes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaints: list[Any]
) -> None:
    """The short form of the next test, without an inbox."""
    monkeypatch.setattr(client, "PING_INTERVAL_S", 0.3)
    with linked_site(tmp_path, database=False) as site:
        await site.start(make_hermes, tmp_path, own_server=False)
        a, b, _ = site.nodes
        on_b = await open_on(b, "/ws/notifications", token("ub"))
        await until_sent(a, "ub")
        site.cut([nats_link(1, each) for each in NUMBERS])
        answer = await a.notify(note("ub"))
        assert_uncertain(answer, "b")
        await eventually(lambda: bus(b).state is State.ALONE)
        assert await ready(b) == (503, ["cluster"])
        assert (await b.notify(note("ub", id="own")))["sent"] is True
        assert (await until_got(on_b, "own"))[-1] == "own"
        await site.healed()
        await until_sent(a, "ub")
        await asyncio.gather(*[node.gateway.stop() for node in site.nodes])
    complaints.clear()


@pytest.mark.slow
@pytest.mark.gen_test(timeout=300)
@DIRECTIONS
async def test_a_node_cut_from_nats(start: Start, to: bool, back: bool) -> None:
    """It is uncertain to the others and they to it; it names that, goes on alone, and what it missed is found."""
    site = await start(own_server=False)
    a, b, _c = site.nodes
    on_a, on_b = await open_pages(a, b)
    site.cut([nats_link(1, each) for each in NUMBERS], to=to, back=back)
    answer = await a.notify(note("ub", id="to-b"))
    assert_uncertain(answer, "b")
    await eventually(lambda: bus(b).state is State.ALONE)
    assert await ready(b) == (503, ["cluster"])
    assert (await ready(a))[0] == 200
    answer = await b.notify(note("ua", id="to-a"))
    assert_uncertain(answer, "a", "c")
    assert (await b.notify(note("ub", id="own")))["sent"] is True
    assert (await until_got(on_b, "own"))[-2:] == ["to-b", "own"]  # by PostgreSQL
    assert (await until_got(on_a, "to-a"))[-1] == "to-a"
    await site.healed()
    print(f"healed after {site.healing_s} s")
    assert [await ready(node) for node in site.nodes] == [(200, [])] * 3
    await until_sent(a, "ub")
    await until_sent(b, "ua")


@pytest.mark.slow
@pytest.mark.gen_test(timeout=300)
@DIRECTIONS
async def test_a_nats_server_cut_from_the_others(
    start: Start, to: bool, back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part goes on; a node of the other part is uncertain until it is forgotten. Then the parts meet again."""
    monkeypatch.setattr(members, "FORGOTTEN_S", 3_600.0)
    site = await start(own_server=True)
    a, b, c = site.nodes
    on_a, on_b = await open_pages(a, b, iat=1)
    on_c = await resumed_on(c, token("uc", iat=1))
    await until_sent(b, "uc")
    site.cut([link for other in (1, 2) for link in route_links(0, other)], to=to, back=back)
    for number in range(15):  # before and after the servers have noticed
        answer = await a.notify(note("ub", id=f"a{number}"))
        assert_uncertain(answer, "b", "c")
        answer = await b.notify(note("ua", id=f"b{number}"))
        assert_uncertain(answer, "a")
        answer = await b.notify(note("uc", id=f"c{number}"))
        assert answer["sent"] or "c" in answer["uncertain"]  # on a slow machine
        assert [bus(node).state for node in site.nodes] == [State.JOINED] * 3
    ids = [f"{number}" for number in range(15)]
    for socket, name in ((on_b, "a"), (on_a, "b"), (on_c, "c")):
        assert (await until_got(socket, f"{name}14"))[-15:] == [f"{name}{id}" for id in ids]
    await until_sent(b, "uc")
    monkeypatch.undo()
    await eventually(lambda: not bus(a).members.names and bus(b).members.names == ["c"])
    answer = await a.notify(note("ub", id="forgotten"))
    assert (answer["sent"], "uncertain" in answer) == (False, False)
    body, headers = '{"user_id":"ub"}', {"X-API-Key": KEY, "Content-Type": "application/json"}
    await a.request("/disconnect", method="POST", body=body, headers=headers)
    await until_got(on_b, "forgotten")
    await on_b.expect_silence()
    await site.healed()
    print(f"healed after {site.healing_s} s")
    assert await on_b.wait_closed() == (1008, "revoked")
    await until_sent(b, "ua")
    await until_sent(a, "uc")


@pytest.mark.slow
@pytest.mark.gen_test(timeout=300)
@DIRECTIONS
async def test_a_node_cut_from_postgresql(start: Start, to: bool, back: bool) -> None:
    """It stores nothing and says so, delivers what is live, and catches up afterwards; the others are not affected."""
    site = await start(own_server=False)
    a, b, c = site.nodes
    on_a, on_b = await open_pages(a, b)
    site.cut([database_link(1)], to=to, back=back)
    began_s = time.monotonic()
    answer = await b.notify(note("ua", id="unstored-a"))
    print(f"stored: false after {time.monotonic() - began_s:.2f} s")
    assert (answer["sent"], answer["stored"], answer["reason"]) == (True, False, "timeout")
    assert await until_got(on_a, "unstored-a")
    answer = await a.notify(note("ub", id="missed"))
    assert_uncertain(answer, "b")
    answer = await b.notify(note("ub", id="unstored-b"))
    assert (answer["sent"], answer["stored"]) == (True, False)
    assert (await until_got(on_b, "unstored-b"))[-1] == "unstored-b"
    assert await ready(b) == (503, ["inbox"])
    assert [(await ready(node))[0] for node in (a, c)] == [200, 200]
    assert (await c.notify(note("ua", id="others")))["stored"] is True
    assert await until_got(on_a, "others")
    await site.healed()
    print(f"healed after {site.healing_s} s")
    assert (await b.notify(note("ub", id="after")))["stored"] is True
    found = await until_got(on_b, "after")
    assert found == ["missed", "after"]
    again = await b.notify(note("ua", id="unstored-a"))
    assert (again["duplicate"], again["stored"]) == (True, False)
    late = await resumed_on(c, token("ub"))
    assert late


async def cut_links(site: LinkedSite, chance: random.Random) -> None:
    """Cut random links for a while, heal, and wait until all is well; end when cancelled."""
    while True:
        await asyncio.sleep(chance.uniform(1.5, 4.0))
        addresses, to, back = random_cut(chance)
        try:
            site.cut(addresses, to=to, back=back)
            await asyncio.sleep(chance.choice([chance.uniform(0.1, 2.0), chance.uniform(3.0, 11.0)]))
        finally:
            site.heal()
        await site.healed()


@pytest.mark.slow
@pytest.mark.gen_test(timeout=600)
@pytest.mark.parametrize("own_server", [False, True], ids=["all-servers", "own-server"])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_histories_under_partitions(start: Start, seed: int, own_server: bool) -> None:
    """Whatever the network does, what senders and clients saw is consistent."""
    site = await start(own_server=own_server)
    history, clients = await explore(
        site.nodes, partial(cut_links, site), seconds=60, seed=seed, counts_from=site.counts_from, stay_max_s=12.0
    )
    print(f"{len(history)} requests; healed after {', '.join(f'{each:.1f}' for each in site.healing_s)} s")
    assert any(client.open for client in clients)
    assert check(history, clients) == []
