"""Whether the traffic of a node grows with the users of the other nodes."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from bench.figures import Figure, Mark
from bench.load.swarm import Swarm
from bench.processes import allow_open_files
from bench.scenarios.cluster import nodes
from bench.scenarios.idle_memory import FILES_RESERVED

HOLDERS = 2  # 20,000 sockets need more open files than one process may often have


@dataclass(frozen=True, slots=True)
class ClusterTraffic:
    """Two nodes have ``few`` users, each with a socket, then ``many``; a third node has none.

    Its traffic is counted for ``quiet_s`` each time, ``settle_s`` after the last user is known. Nodes announce
    themselves after random 4.5 to 5 s: a short time would count one announcement more or less.
    """

    summary: ClassVar[str] = "traffic of a node without users, while other nodes have 1,000 and 20,000"
    few: int = 1_000
    many: int = 20_000
    settle_s: float = 2.0  # until changed numbers of users are announced
    quiet_s: float = 60.0

    def run(self) -> list[Figure]:
        """Bytes that the node has sent to NATS and received from it in a second."""
        allow_open_files(self.many // HOLDERS + FILES_RESERVED)
        rates = []
        with ExitStack() as stack:
            names = ["idle", *(f"holder-{number}" for number in range(HOLDERS))]
            (_, *holders), server = nodes(stack, names, "--max-sockets-per-address", str(self.many))
            opened, others = 0, server.subscriptions
            for users in (self.few, self.many):
                for first, holder in enumerate(holders):
                    paths = [holder.user_socket(str(number)) for number in range(opened + first, users, HOLDERS)]
                    stack.enter_context(Swarm(port=holder.port, paths=paths, sockets=len(paths)).opened())
                opened = users
                server.child.wait_until(
                    lambda expected=others + users: server.subscriptions >= expected,  # type: ignore[misc]
                    "NATS does not get the subscriptions",
                )
                time.sleep(self.settle_s)
                before, began_s = server.bytes_of("hermes idle"), time.monotonic()
                time.sleep(self.quiet_s)
                rates.append((server.bytes_of("hermes idle") - before) / (time.monotonic() - began_s))
        few, many = rates
        return [
            Figure("an idle node", f"traffic, {self.few:,} remote users", few, "B/s"),
            Figure("an idle node", f"traffic, {self.many:,} remote users", many, "B/s"),
            Figure("many : few", "traffic", many / few if few else 1.0, "", Mark(at_most=1.1)),
        ]
