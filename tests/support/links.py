"""A site of several nodes in a network of its own, with links between its parts that can be cut.

Each link has an address of its own: that of the server, as this client reaches it.
"""

import contextlib
import random
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.contenders.postgres import postgres_server
from hermes.cluster.participation import State
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually
from tests.support.namespaces import Namespace, namespace
from tests.support.nats import NatsServer
from tests.support.nodes import bus
from tests.support.postgres import FAST, Databases, needs_postgres
from tests.support.programs import free_port

NAMES = "abc"
NUMBERS = range(len(NAMES))
NOWHERE = "192.0.2.1:1"  # RFC 5737; a server must not find another one by an address that the test does not know
SETTLED_S = 1.0  # a socket counts for other nodes 0.1 s after its subscription


def nats_link(node: int, server: int) -> str:
    """Return the address of the link from a node to a NATS server."""
    return f"127.1.{node}.{server + 1}"


def database_link(node: int) -> str:
    """Return the address of the link from a node to PostgreSQL."""
    return f"127.2.{node}.1"


def route_links(one: int, other: int) -> list[str]:
    """Return the addresses of the links between two NATS servers, each of which connects to the other one."""
    return [f"127.3.{one}.{other + 1}", f"127.3.{other}.{one + 1}"]


@dataclass
class LinkedSite:
    """Three NATS servers, PostgreSQL and nodes. ``whole`` has since when and until when no link was cut."""

    network: Namespace
    servers: list[NatsServer]
    databases: Databases | None
    nodes: list[Hermes] = field(default_factory=list)
    whole: list[tuple[float, float]] = field(default_factory=list)
    healing_s: list[float] = field(default_factory=list)  # how long each return took

    def cut(self, addresses: Collection[str], *, to: bool = True, back: bool = True) -> None:
        """Drop what goes to these addresses, or comes back from them, or both; other links work."""
        self._break_off()
        self.network.drop_links(to=addresses if to else (), back=addresses if back else ())

    def heal(self) -> None:
        """Let every packet pass."""
        self.network.drop_links()

    async def healed(self) -> None:
        """Let every packet pass; wait until all parts work together again."""
        began_s = time.monotonic()
        self.heal()
        await eventually(self._works)
        for node in self.nodes:
            await self._until_known(node)
        now_s = time.monotonic()
        self.healing_s.append(now_s - began_s)
        self.whole.append((now_s, float("inf")))

    def _works(self) -> bool:
        return all(
            bus(node).state is State.JOINED
            and not bus(node).problems
            and len(bus(node).members) == len(self.nodes) - 1
            and (node.gateway.inbox is None or node.gateway.inbox.store.problem is None)
            for node in self.nodes
        )

    async def _until_known(self, node: Hermes) -> None:
        """Wait until a node has an answer of each other one, by the routes between the NATS servers."""
        for name in bus(node).members.names:
            question = {"instance": ""}
            while await bus(node).ask_one(name, "name", question, timeout_s=1.0) is None:
                pass  # its time-out is the pause

    def _break_off(self) -> None:
        """Note the end of the time in which no link was cut."""
        if self.whole and self.whole[-1][1] == float("inf"):
            self.whole[-1] = (self.whole[-1][0], time.monotonic())

    def counts_from(self, subscribed_s: float) -> float | None:
        """Return from when a socket counts for the other nodes: after a while in which no link was cut."""
        for start_s, end_s in self.whole:
            if max(start_s, subscribed_s) + SETTLED_S <= end_s:
                return max(start_s, subscribed_s) + SETTLED_S
        return None

    def database_url(self, number: int) -> str:
        """Return the URL of the inbox for a node; it works also while a link of another node is cut."""
        assert self.databases is not None
        server = self.databases.server
        return f"postgresql://postgres@{database_link(number)}:{server.port}/{self.databases.main}"

    async def start(self, make_hermes: MakeHermes, folder: Path, *, own_server: bool, **given: object) -> None:
        """Start nodes a, b and c: each at a NATS server of its own, or with all servers to choose from."""
        keys = folder / "keys"
        keys.write_text(f"{KEY}\n")
        for number in NUMBERS:
            servers = [number] if own_server else list(NUMBERS)
            urls = [f"nats://{nats_link(number, each)}:{self.servers[each].port}" for each in servers]
            defaults = {
                "nats_url": ",".join(urls),
                "node_name": NAMES[number],
                "state_dir": folder / NAMES[number],
                "api_key_file": keys,
                **({} if self.databases is None else {"inbox": self.database_url(number)}),
            }
            self.nodes.append(await make_hermes(**(defaults | given)))
        await self.healed()
        self.healing_s.clear()


def random_cut(chance: random.Random) -> tuple[list[str], bool, bool]:
    """Return addresses to cut, and in which directions: of a node and its servers, or of two NATS servers."""
    number = chance.choice(NUMBERS)
    others = [each for each in NUMBERS if each != number]
    addresses = chance.choice(
        [
            [nats_link(number, each) for each in NUMBERS],
            [link for each in others for link in route_links(number, each)],
            route_links(number, others[0]),
            [database_link(number)],
            [nats_link(number, each) for each in NUMBERS] + [database_link(number)],
        ]
    )
    to, back = chance.choice([(True, True), (True, False), (False, True)])
    return addresses, to, back


@contextlib.contextmanager
def linked_site(folder: Path, *lines: str, database: bool = True) -> Iterator[LinkedSite]:
    """Run NATS servers, with these lines in their configuration, and PostgreSQL; this thread is in their network."""
    with namespace() as network, network.entered(), contextlib.ExitStack() as stack:
        servers = [NatsServer(folder, host="0.0.0.0") for _ in NUMBERS]
        for number, server in enumerate(servers):
            routes = [
                f"nats://127.3.{number}.{other + 1}:{each.cluster_port}"
                for other, each in enumerate(servers)
                if other != number
            ]
            listen = f'listen: "0.0.0.0:{server.cluster_port}", advertise: "{NOWHERE}"'
            server.lines = [
                f"server_name: nats-{number}",
                f"cluster {{ name: test, {listen}, routes: [{', '.join(routes)}] }}",
                *lines,
            ]
            stack.callback(server.stop)
            server.start()
        databases = None
        if database:
            needs_postgres()
            settings = (*FAST, "listen_addresses = '*'")
            databases = Databases(stack.enter_context(postgres_server(free_port(), settings)))
        yield LinkedSite(network, servers, databases)
