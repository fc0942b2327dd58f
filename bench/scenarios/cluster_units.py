"""What a user, a notification, a row and a node cost at NATS and at PostgreSQL: the unit costs of `bench.scaling`."""

import asyncio
import json
import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.contenders.hermes import Hermes, hermes
from bench.contenders.nats import Nats, nats, two_nats
from bench.contenders.postgres import INBOX, PostgresServer, inbox_server
from bench.figures import Figure
from bench.load.requests import post
from bench.processes import BenchError, cpu_ns_of
from hermes.cluster.nats.client import NatsClient
from hermes.cluster.nats.protocol import NatsMessage
from hermes.metrics import Metrics
from hermes.settings.urls.nats import parse_nats_url

MESSAGE = b"x" * 250  # about a frame with its envelope
ARRAY = 100  # notifications of a request
TIMEOUT_S = 60.0
LOOKED_S = 2.0  # a node looks at the inbox each second


@dataclass(frozen=True, slots=True)
class ClusterUnits:
    """``subscriptions`` and ``messages`` of two NATS servers; ``rows`` that one node stores and another one finds."""

    summary: ClassVar[str] = "unit costs of several nodes: subscriptions and messages of NATS, rows of PostgreSQL"
    subscriptions: int = 50_000
    messages: int = 20_000
    rows: int = 5_000
    single_rows: int = 1_000
    quiet_s: float = 10.0

    def run(self) -> list[Figure]:
        """Memory in KiB, CPU in microseconds."""
        with two_nats() as servers:
            found = asyncio.run(self._nats(servers))
        return [*found, *self._inbox()]

    async def _nats(self, servers: tuple[Nats, Nats]) -> list[Figure]:
        own, other = servers
        near, far = [
            NatsClient([parse_nats_url(server.url)], name=name, metrics=Metrics())
            for server, name in ((own, "near"), (other, "far"))
        ]
        await near.start()
        await far.start()
        try:
            return [*await self._subscribed(near, own, other), *await self._requested(near, far, own, other)]
        finally:
            await near.stop()
            await far.stop()

    async def _subscribed(self, client: NatsClient, own: Nats, other: Nats) -> list[Figure]:
        """Return what the subscription of an online user costs at its server and at the others."""
        before = [(server.child.rss_bytes, server.child.cpu_ns) for server in (own, other)]
        known, began_s = other.subscriptions, time.monotonic()
        for number in range(self.subscriptions):
            client.subscribe(f"hermes.user.{number}", lambda message: None)
            if number % 1_000 == 0:
                await client.flush()
        await client.flush()
        while other.subscriptions < known + self.subscriptions:
            if time.monotonic() - began_s > TIMEOUT_S:
                raise BenchError("the other server does not get the subscriptions")
            await asyncio.sleep(0.05)
        took_s = time.monotonic() - began_s
        figures = []
        for name, server, (rss_bytes, cpu_ns) in zip(("own", "other"), (own, other), before, strict=True):
            memory = (server.child.rss_bytes - rss_bytes) / 1_024 / self.subscriptions
            cpu = (server.child.cpu_ns - cpu_ns) / 1_000 / self.subscriptions
            figures += [
                Figure("NATS", f"memory of a subscription, {name} server", memory, "KiB"),
                Figure("NATS", f"CPU of a subscription, {name} server", cpu, "µs"),
            ]
        return [*figures, Figure("NATS", "subscriptions, known to both servers", self.subscriptions / took_s, "1/s")]

    async def _requested(self, near: NatsClient, far: NatsClient, own: Nats, other: Nats) -> list[Figure]:
        """Return the CPU of a request to a client of the other server, and of its answer."""
        answered = 0

        def answer(message: NatsMessage) -> None:
            far.publish(message.reply, MESSAGE[:60])

        def count(message: NatsMessage) -> None:
            nonlocal answered
            answered += 1

        far.subscribe("hermes.far", answer)
        near.subscribe("hermes.reply.*", count)
        await asyncio.gather(near.flush(), far.flush())
        await asyncio.sleep(0.2)  # a route needs a moment
        before = [server.child.cpu_ns for server in (own, other)]
        for number in range(self.messages):
            near.publish("hermes.far", MESSAGE, reply=f"hermes.reply.{number}")
            if number % 100 == 0:
                await near.flush()
        until_s = time.monotonic() + TIMEOUT_S
        while answered < self.messages:
            if time.monotonic() > until_s:
                raise BenchError(f"{answered} of {self.messages} answers")
            await asyncio.sleep(0.01)
        spent = [server.child.cpu_ns - cpu_ns for server, cpu_ns in zip((own, other), before, strict=True)]
        both_us = sum(spent) / 1_000 / self.messages
        return [Figure("NATS", "CPU of a request and its answer, each server", both_us / 2, "µs")]

    def _inbox(self) -> list[Figure]:
        """Return what a row costs PostgreSQL, and a node that does not need it."""
        with ExitStack() as stack:
            database = stack.enter_context(inbox_server())
            options = ("--nats-url", stack.enter_context(nats()).url, "--inbox", database.url(INBOX))
            secret = secrets.token_urlsafe(48)
            storing = stack.enter_context(hermes(*options, "--node-name", "storing", secret=secret))
            alone = self._store(storing, database, array=1, callers=1)
            single = self._store(storing, database, array=1, callers=64)
            many = self._store(storing, database, array=ARRAY)
            known = set(database.pids())
            other = stack.enter_context(hermes(*options, "--node-name", "other", secret=secret))
            time.sleep(1.0)
            (connection,) = [pid for pid in database.pids() if pid not in known and _is_of_an_inbox(pid)]
            looking = self._rest(other, connection)
            found = self._store(storing, database, other, connection, array=ARRAY)
        looks_us = [each * found.took_s for each in (looking.node_us, looking.other_us)]
        return [
            Figure("PostgreSQL", "transactions one after the other", alone.rows / alone.took_s, "1/s"),
            Figure("PostgreSQL", "CPU of a transaction with one row", alone.database_us / alone.rows, "µs"),
            Figure("PostgreSQL", "rows of 64 callers at one node", single.rows / single.took_s, "1/s"),
            Figure("PostgreSQL", "rows in arrays of 100, at most", many.rows / many.took_s, "1/s"),
            Figure("PostgreSQL", "CPU of a row in an array", many.database_us / many.rows, "µs"),
            Figure("a node that does not need it", "CPU of a row", (found.node_us - looks_us[0]) / found.rows, "µs"),
            Figure(
                "a node that does not need it",
                "CPU of a row at PostgreSQL",
                (found.other_us - looks_us[1]) / found.rows,
                "µs",
            ),
            Figure("an idle node", "CPU in a second", looking.node_us, "µs"),
            Figure("an idle node", "CPU in a second at PostgreSQL", looking.other_us, "µs"),
        ]

    def _store(
        self,
        storing: Hermes,
        database: PostgresServer,
        other: Hermes | None = None,
        connection: int = 0,
        *,
        array: int,
        callers: int = 4,
    ) -> "_Spent":
        """Store rows by one node, for users that have no socket on any; ``connection`` is that of the other node."""
        rows = self.rows if array > 1 else self.single_rows
        notifications = [
            {"user_id": f"nobody-{number}", "title": "A door is open", "message": "Cold room 4"}
            for number in range(array)
        ]
        body = json.dumps(notifications if array > 1 else notifications[0]).encode()

        def spent_us() -> tuple[float, float, float]:
            node_ns, other_ns = (0, 0) if other is None else (other.child.cpu_ns, cpu_ns_of(connection))
            return database.cpu_ns / 1_000, node_ns / 1_000, other_ns / 1_000

        before, began_s = spent_us(), time.monotonic()
        post(
            storing.port,
            "/notify",
            [body],
            headers=[f"X-API-Key: {storing.api_key}"],
            connections=callers,
            count=rows // array,
            word='"stored":true',
            server_pid=storing.child.pid,
        ).only(200, rows // array)
        took_s = time.monotonic() - began_s
        if other is not None:
            time.sleep(LOOKED_S)
            took_s += LOOKED_S
        spent = [after - at_first for after, at_first in zip(spent_us(), before, strict=True)]
        return _Spent(rows, took_s, *spent)

    def _rest(self, node: Hermes, connection: int) -> "_Spent":
        """Return what an idle node spends in a second."""
        before = node.child.cpu_ns, cpu_ns_of(connection)
        time.sleep(self.quiet_s)
        spent = [
            after - at_first for after, at_first in zip((node.child.cpu_ns, cpu_ns_of(connection)), before, strict=True)
        ]
        return _Spent(0, self.quiet_s, 0.0, *[each / 1_000 / self.quiet_s for each in spent])


@dataclass(frozen=True, slots=True)
class _Spent:
    """CPU of PostgreSQL, of the other node, and of its connection."""

    rows: int
    took_s: float
    database_us: float
    node_us: float
    other_us: float


def _is_of_an_inbox(pid: int) -> bool:
    return "hermes" in Path(f"/proc/{pid}/cmdline").read_text()
