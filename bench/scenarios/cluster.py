"""What a notification costs if its user is on another node, and what an idle user costs there."""

import json
import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders.hermes import Hermes, hermes
from bench.contenders.nats import Nats, nats
from bench.figures import Figure, Mark
from bench.load.requests import Asked, Total, post
from bench.load.websocket import open_socket
from bench.processes import allow_open_files
from bench.scenarios.idle_memory import FILES_RESERVED, IdleMemory

SENT, NOT_SENT = '"sent":true', '"sent":false'
KNOWN_S = 0.5  # until each node knows the other, and NATS the subscriptions: a socket counts after 0.1 s


def nodes(stack: ExitStack, names: Sequence[str], *options: str) -> tuple[list[Hermes], Nats]:
    """Start nodes with these names and further options, until the end of ``stack``, and a NATS server for them."""
    server, secret = stack.enter_context(nats()), secrets.token_urlsafe(48)
    options = ("--nats-url", server.url, *options)
    return [stack.enter_context(hermes(*options, "--node-name", name, secret=secret)) for name in names], server


@dataclass(frozen=True, slots=True)
class Cluster:
    """``rounds`` of ``requests`` each, by turns: one node, a user on another node, a user without a socket.

    Then the memory of ``idle`` users.
    """

    summary: ClassVar[str] = "POST /notify to a user on another node, on NATS, against one node; idle users"
    requests: int = 3_000
    rounds: int = 3
    connections: int = 4
    users: int = 16
    idle: int = 1_000

    def run(self) -> list[Figure]:
        """CPU and latency against one node. Every answer must be the right one, else the run is void."""
        return [*self._notifications(), *self._memory()]

    def _notifications(self) -> list[Figure]:
        local, remote, offline, receiver_cpu_s = Total(), Total(), Total(), 0.0
        with ExitStack() as stack:
            alone = stack.enter_context(hermes())
            (sender, receiver), _ = nodes(stack, ("sender", "receiver"))
            for node in (alone, receiver):
                for number in range(self.users):
                    stack.enter_context(open_socket(node.port, node.user_socket(str(number))))
            time.sleep(KNOWN_S)
            for node in (alone, sender):
                self._post(node, "", SENT)  # what is loaded only once
            for _ in range(self.rounds):
                local.add(self._post(alone, "", SENT))
                before_s = receiver.child.cpu_s
                remote.add(self._post(sender, "", SENT))
                receiver_cpu_s += receiver.child.cpu_s - before_s
                offline.add(self._post(sender, "nobody-", NOT_SENT))
        received_us = 1e6 * receiver_cpu_s / (self.rounds * self.requests)
        return [
            Figure("one node", "latency p50", local.p50_ms, "ms"),
            Figure("two nodes", "latency p50, user on the other", remote.p50_ms, "ms"),
            Figure("two nodes", "latency p50, user without a socket", offline.p50_ms, "ms"),
            Figure(
                "two nodes", "latency above 3 × one node's", remote.p50_ms - 3 * local.p50_ms, "ms", Mark(at_most=1)
            ),
            Figure("one node", "CPU a request", local.cpu_us, "µs"),
            Figure("two nodes : one", "CPU a request, sender", remote.cpu_us / local.cpu_us, "", Mark(at_most=1.5)),
            Figure("two nodes : one", "CPU a request, receiver", received_us / local.cpu_us, "", Mark(at_most=0.6)),
            Figure("two nodes", "requests, user on the other", remote.per_s, "1/s"),
        ]

    def _post(self, node: Hermes, prefix: str, word: str) -> Asked:
        bodies = [
            json.dumps({"user_id": f"{prefix}{number}", "title": "A door is open", "message": "Cold room 4"}).encode()
            for number in range(self.users)
        ]
        asked = post(
            node.port,
            "/notify",
            bodies,
            headers=[f"X-API-Key: {node.api_key}"],
            connections=self.connections,
            count=self.requests,
            word=word,
            server_pid=node.child.pid,
        ).only(200, self.requests)
        return asked.sent(self.requests, [])

    def _memory(self) -> list[Figure]:
        """Return what NATS adds to the memory of an idle user's socket."""
        idle = IdleMemory(sockets=self.idle)
        allow_open_files(self.idle + FILES_RESERVED)
        without = idle.kib_a_socket(hermes(), deflate=False)
        with nats() as server:
            connected = hermes("--nats-url", server.url, "--node-name", "a")
            added = idle.kib_a_socket(connected, deflate=False) - without
        return [Figure("NATS", "memory of an idle user", added, "KiB", Mark(at_most=1.5))]
