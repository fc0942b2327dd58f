"""When it is certain whether another node has delivered a message."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from hermes.cluster import deliveries as module
from hermes.cluster.attachment import Attachment
from hermes.cluster.deliveries import Deliveries, RemoteReceipt
from hermes.cluster.members import Members
from hermes.delivery.hub import Receipt
from hermes.metrics import Metrics
from hermes.testing import FakeClock


class Bench:
    """Deliveries of a node with two other nodes, b and c; the test is the network."""

    def __init__(self) -> None:
        self.clock = FakeClock(0.0)
        self.metrics = Metrics()
        self.members = Members(name="a", instance="1", keys=lambda: "", metrics=self.metrics, clock=self.clock)
        for name in ("b", "c"):
            self.members.heard({"op": "here", "node": name, "instance": name, "keys": "", "protocol": 1})
        self.fences: list[int] = []
        self.probes: dict[str, int] = {}
        self.pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        numbers = itertools.count(1)
        self.attachment = Attachment(
            members=self.members,
            next_number=numbers.__next__,
            probe=self.probes.__setitem__,
            ping=lambda: self.pong,
            clock=self.clock,
        )
        self.deliveries = Deliveries(
            attachment=self.attachment,
            members=self.members,
            metrics=self.metrics,
            next_number=numbers.__next__,
            send_fence=self.fences.append,
            clock=self.clock,
        )

    def request(self, *, sent: bool = True, local: Receipt | None = None) -> RemoteReceipt:
        """Send one."""
        return self.deliveries.request(local or Receipt(), lambda number: sent)

    async def wait(self, seconds: float) -> None:
        """Let this time pass: the ticks follow the clock of the loop, their decisions that of the test."""
        self.clock.now_s += seconds
        await asyncio.sleep(2 * module.TICK_S)


def run(test: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a test on an event loop."""

    async def started() -> None:
        bench = Bench()
        await test(bench)
        bench.deliveries.lost()

    asyncio.run(started())


def test_no_responders_is_certain_if_every_node_is_connected_to_nats() -> None:
    """A result is used again for a moment."""

    async def test(bench: Bench) -> None:
        bench.clock.now_s = 10.0
        receipt = bench.request()
        bench.deliveries.no_responders(receipt.number)
        assert sorted(bench.probes) == ["b", "c"]
        assert not receipt.settled
        bench.pong.set_result(None)
        await receipt.completed()
        assert (receipt.sockets, receipt.uncertain, len(bench.deliveries)) == (0, None, 0)
        again = bench.request()
        bench.deliveries.no_responders(again.number)
        assert again.settled

    run(test)


def test_a_node_that_is_not_connected_to_nats_is_uncertain() -> None:
    """It may have sockets, of which NATS does not know."""

    async def test(bench: Bench) -> None:
        bench.clock.now_s = 10.0
        receipt = bench.request()
        bench.deliveries.no_responders(receipt.number)
        bench.attachment.no_responders(bench.probes["c"])
        bench.pong.set_result(None)
        await receipt.completed()
        assert receipt.uncertain == ("c",)
        bench.members.left("c", "c")
        again = bench.request()
        bench.deliveries.no_responders(again.number)
        assert (again.settled, again.uncertain) == (True, None)

    run(test)


def test_the_first_answer_with_a_socket_is_enough() -> None:
    """Later ones change nothing."""

    async def test(bench: Bench) -> None:
        receipt = bench.request()
        bench.deliveries.answered(receipt.number, 2)
        await receipt.completed()
        bench.deliveries.answered(receipt.number, 5)
        assert (receipt.sockets, receipt.uncertain) == (2, None)

    run(test)


def test_a_socket_of_this_node_is_enough() -> None:
    """The other nodes are not waited for."""

    async def test(bench: Bench) -> None:
        local = Receipt()
        receipt = bench.request(local=local)
        local.sockets = 1
        await receipt.completed()
        assert (receipt.sockets, receipt.uncertain) == (1, None)
        await bench.wait(0.11)
        assert len(bench.deliveries) == 0

    run(test)


def test_an_answer_without_a_socket_is_certain_after_a_fence() -> None:
    """Every node must have answered the fence: another one may have a socket."""

    async def test(bench: Bench) -> None:
        bench.clock.now_s = 10.0
        receipt = bench.request()
        bench.deliveries.answered(receipt.number, 0)
        assert len(bench.fences) == 1
        bench.deliveries.passed("b", bench.fences[0])
        assert not receipt.settled
        bench.deliveries.passed("c", bench.fences[0])
        await receipt.completed()
        assert (receipt.sockets, receipt.uncertain) == (0, None)

    run(test)


def test_the_nodes_that_do_not_answer_are_uncertain() -> None:
    """After 250 ms, those that have not answered a fence that was sent after the request."""

    async def test(bench: Bench) -> None:
        early = bench.request()
        await bench.wait(0.05)
        assert bench.fences == []
        await bench.wait(0.06)
        assert len(bench.fences) == 1
        bench.deliveries.passed("b", bench.fences[0])
        late = bench.request()
        await bench.wait(0.15)
        await early.completed()
        assert early.uncertain == ("c",)
        await bench.wait(0.15)
        await late.completed()
        assert late.uncertain == ("b", "c")

    run(test)


def test_a_node_with_a_new_connection_is_uncertain() -> None:
    """It may have had none when the request was sent, although it answers the fence."""

    async def test(bench: Bench) -> None:
        bench.clock.now_s = 10.0
        for name in ("b", "c"):
            bench.deliveries.linked(name, "1")
        receipt = bench.request()
        bench.deliveries.answered(receipt.number, 0)
        bench.deliveries.linked("c", "2")
        for name in ("b", "c"):
            bench.deliveries.passed(name, bench.fences[0])
        assert (receipt.settled, receipt.uncertain) == (True, ("c",))
        missed = bench.request()
        bench.deliveries.no_responders(missed.number)
        bench.deliveries.linked("b", "3")
        bench.pong.set_result(None)
        await missed.completed()
        assert missed.uncertain == ("b",)

    run(test)


def test_what_cannot_be_sent_is_uncertain_at_once() -> None:
    """So is what waits when the connection is lost."""

    async def test(bench: Bench) -> None:
        assert bench.request(sent=False).uncertain == ("b", "c")
        waiting = bench.request()
        bench.deliveries.lost()
        await waiting.completed()
        assert waiting.uncertain == ("b", "c")

    run(test)


def test_a_stranger_passes_no_fence() -> None:
    """Only the nodes that are known count."""

    async def test(bench: Bench) -> None:
        bench.clock.now_s = 10.0
        receipt = bench.request()
        bench.deliveries.answered(receipt.number, 0)
        bench.deliveries.passed("x", bench.fences[0])
        bench.deliveries.passed("b", bench.fences[0])
        assert not receipt.settled

    run(test)


def test_requests_that_wait_are_bounded() -> None:
    """Over the bound they count as not sent."""

    async def test(bench: Bench) -> None:
        for _ in range(module.PENDING_MAX):
            bench.request()
        assert bench.request().uncertain == ("b", "c")

    run(test)


def test_a_node_that_cannot_read_the_inbox_is_uncertain() -> None:
    """It has answered, and delivers later; a socket of another node makes the message sent nevertheless."""

    async def test(bench: Bench) -> None:
        bench.clock.now_s = 10.0
        for name in ("b", "c"):
            bench.deliveries.linked(name, "1")
        receipt, taken = bench.request(), bench.request()
        for each in (receipt, taken):
            bench.deliveries.unread(each.number, "c")
            bench.deliveries.unread(each.number, "stranger")
        bench.deliveries.answered(taken.number, 1)
        await bench.wait(0.11)
        for name in ("b", "c"):
            bench.deliveries.passed(name, bench.fences[-1])
        await receipt.completed()
        await taken.completed()
        assert (receipt.sockets, receipt.uncertain) == (0, ("c",))
        assert (taken.sockets, taken.uncertain) == (1, None)

    run(test)
