"""How many ``POST /notify`` one by one, against the least that Tornado can do with a JSON request."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders import Contender
from bench.contenders.bare_tornado import bare_tornado
from bench.contenders.hermes import Hermes, hermes
from bench.figures import Figure, Mark
from bench.load.requests import Asked, Total, post

SENT = '"sent":true'


@dataclass(frozen=True, slots=True)
class NotifyRate:
    """``rounds`` of ``requests`` each, by turns: to users with one socket, to users with none, to bare Tornado."""

    summary: ClassVar[str] = "POST /notify one by one over 16 connections, against a bare Tornado JSON handler"
    requests: int = 4_000
    rounds: int = 3
    connections: int = 16
    users: int = 16

    def run(self) -> list[Figure]:
        """Requests a second. Every notification must have reached its socket, else the run is void."""
        received, without_sockets, bare = Total(), Total(), Total()
        with ExitStack() as stack:
            ours, peer = stack.enter_context(hermes()), stack.enter_context(bare_tornado())
            self._post(ours, listeners=self._sockets(ours))  # what is loaded only once
            self._post(peer)
            for _ in range(self.rounds):
                received.add(self._received(self._post(ours, listeners=self._sockets(ours))))
                bare.add(self._post(peer))
                without_sockets.add(self._post(ours))
        return [
            *self._figures("users with a socket", received, bare, Mark(at_least=0.8)),
            *self._figures("users without a socket", without_sockets, bare, None),
            Figure("bare Tornado", "requests", bare.per_s, "1/s"),
            Figure("bare Tornado", "CPU a request", bare.cpu_us, "µs"),
            Figure("Hermes", "CPU", received.server_percent, "% of a core"),
            Figure("client", "CPU", received.client_percent, "% of a core"),
        ]

    def _sockets(self, server: Hermes) -> Sequence[str]:
        return [server.user_socket(str(number)) for number in range(self.users)]

    def _post(self, contender: Contender, listeners: Sequence[str] = ()) -> Asked:
        notifications = [
            {"user_id": str(number), "title": "A door is open", "message": "Cold room 4, since 08:15"}
            for number in range(self.users)
        ]
        asked = post(
            contender.port,
            "/notify",
            [json.dumps(notification).encode() for notification in notifications],
            headers=[f"X-API-Key: {contender.api_key if isinstance(contender, Hermes) else 'for who reads it'}"],
            connections=self.connections,
            count=self.requests,
            word=SENT,
            listeners=listeners,
            frames_each=1 if listeners else 0,
            server_pid=contender.child.pid,
        )
        return asked.only(200, self.requests)

    def _received(self, asked: Asked) -> Asked:
        return asked.sent(self.requests, [self.requests // self.users] * self.users)

    def _figures(self, what: str, ours: Total, bare: Total, mark: Mark | None) -> list[Figure]:
        return [
            Figure("Hermes", f"requests, {what}", ours.per_s, "1/s"),
            Figure("Hermes : bare Tornado", f"requests, {what}", ours.per_s / bare.per_s, "", mark),
            Figure("Hermes", f"CPU a request, {what}", ours.cpu_us, "µs"),
            Figure("bare Tornado : Hermes", f"CPU a request, {what}", bare.cpu_us / ours.cpu_us),
            Figure("Hermes", f"latency p99, {what}", ours.p99_ms, "ms"),
        ]
