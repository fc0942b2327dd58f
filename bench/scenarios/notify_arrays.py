"""How many notifications a second leave for sockets when they come in arrays."""

import json
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark, percent_of_core
from bench.load.requests import post


@dataclass(frozen=True, slots=True)
class NotifyArrays:
    """``requests`` arrays of ``notifications`` each to ``users`` in turn, who have one socket each."""

    summary: ClassVar[str] = "POST /notify in arrays of 500 over 2 connections, to 100 users with a socket"
    requests: int = 300
    notifications: int = 500
    users: int = 100
    connections: int = 2

    def run(self) -> list[Figure]:
        """Notifications a second, from the first request until the last frame is read. None may be missing."""
        total = self.requests * self.notifications
        with hermes() as server:
            asked = post(
                server.port,
                "/notify",
                [self._body()],
                headers=[f"X-API-Key: {server.api_key}"],
                connections=self.connections,
                count=self.requests,
                word='"sent":true',
                listeners=[server.user_socket(str(number)) for number in range(self.users)],
                frames_each=self.notifications,
                server_pid=server.child.pid,
            )
        asked.only(200, self.requests).sent(total, [total // self.users] * self.users)
        return [
            Figure("Hermes", "notifications", total / asked.receiving_s, "1/s", Mark(at_least=60_000)),
            Figure("Hermes", "CPU a notification", 1e6 * asked.server_cpu_s / total, "µs"),
            Figure("Hermes", "an array's answer p50", asked.p50_ms, "ms"),
            Figure("Hermes", "an array's answer p99", asked.p99_ms, "ms"),
            Figure("Hermes", "CPU", percent_of_core(asked.server_cpu_s, asked.receiving_s), "% of a core"),
            Figure("client", "CPU", percent_of_core(asked.cpu_s, asked.receiving_s), "% of a core"),
        ]

    def _body(self) -> bytes:
        notifications = [
            {"user_id": str(number % self.users), "title": "A door is open", "message": "Cold room 4, since 08:15"}
            for number in range(self.notifications)
        ]
        return json.dumps(notifications).encode()
