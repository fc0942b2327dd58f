"""One contender, many sockets, one message at a time: what the scenarios about fan-out share."""

import os
from dataclasses import dataclass

from bench.contenders import Broadcaster
from bench.contenders.broadcasters import Start
from bench.load.swarm import OpenSwarm, Seen, Swarm
from bench.processes import Child, allow_open_files, pin

FILES_RESERVED = 128
WARM_UP_SOCKETS = 100
WARM_UP_S = 0.3  # for those that compile while they run
MESSAGES_MAX = 1_000_000  # the time ends it


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of it; CPU is of all the server's threads and processes."""

    name: str
    seen: Seen
    server_cpu_ns: int

    @property
    def server_us(self) -> float:
        """The server's CPU for each delivered frame, in microseconds."""
        return self.server_cpu_ns / 1e3 / max(1, self.seen.delivered)

    @property
    def client_us(self) -> float:
        """The client's own."""
        return self.seen.cpu_ns / 1e3 / max(1, self.seen.delivered)

    @property
    def server_percent(self) -> float:
        """The server's share of one core."""
        return 100 * self.server_cpu_ns / max(1, self.seen.wall_ns)


def deliver(start: Start, *, sockets: int, for_s: float, deflate: bool = False) -> Delivery:
    """Start the contender, warm it up, and deliver one message after the other for so long.

    Each message is written when the one before has come to all sockets. Client and server have cores of their own,
    because the scheduler would else put some of them on one core and others not. Raises `BenchError` if anything is
    lost, and `NotInstalledError` if the contender is missing.
    """
    allow_open_files(sockets + FILES_RESERVED)
    with start() as server:
        with _swarm(server, min(sockets, WARM_UP_SOCKETS), min(for_s, WARM_UP_S), deflate=deflate).opened() as swarm:
            apart(server.child, swarm)
            swarm.run()
        with _swarm(server, sockets, for_s, deflate=deflate).opened() as swarm:
            apart(server.child, swarm)
            return measure(server, swarm)


def measure(server: Broadcaster, swarm: OpenSwarm) -> Delivery:
    """Let the open sockets have their messages. Raises `BenchError` if anything is lost."""
    before_ns = server.child.cpu_ns
    seen = swarm.run().complete()
    return Delivery(server.name, seen, server.child.cpu_ns - before_ns)


def apart(server: Child, swarm: OpenSwarm) -> None:
    """The last core is the client's, the others are the server's; on one core nothing is done."""
    *others, last = sorted(os.sched_getaffinity(0))
    if others:
        pin(server, others)
        pin(swarm.child, [last])


def _swarm(server: Broadcaster, sockets: int, for_s: float, *, deflate: bool) -> Swarm:
    return Swarm(
        port=server.port,
        paths=server.paths(sockets),
        sockets=sockets,
        source=server.source,
        subscription=server.subscription,
        messages=MESSAGES_MAX,
        for_s=for_s,
        deflate=deflate,
    )
