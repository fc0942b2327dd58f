"""What the extra ``uvloop`` brings: the same work on asyncio's own event loop and on that."""

import json
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from bench.contenders import TENANT
from bench.contenders.broker import broker
from bench.contenders.hermes import hermes, hermes_broadcasts
from bench.figures import Figure, percent_of_core
from bench.load.requests import post, upgrade
from bench.load.swarm import MqttSource, Swarm
from bench.processes import allow_open_files
from bench.scenarios.delivery import deliver
from bench.scenarios.mqtt_fan_out import device_topics

FILES_RESERVED = 256
CONNECTIONS = 16
MQTT_SOCKETS = 100
LOOPS = {"asyncio": (), "uvloop": ("--uvloop", "true")}


@dataclass(frozen=True, slots=True)
class EventLoop:
    """``requests`` to ``/notify``, ``handshakes``, one message at a time to ``sockets``, MQTT at ``rate_per_s``."""

    summary: ClassVar[str] = "Hermes on asyncio's event loop and on uvloop"
    requests: int = 5_000
    handshakes: int = 1_500
    sockets: int = 1_000
    rate_per_s: int = 10_000
    for_s: float = 3.0

    def run(self) -> list[Figure]:
        """CPU for each piece of work."""
        allow_open_files(max(self.sockets, self.handshakes) + FILES_RESERVED)
        return [figure for name, options in LOOPS.items() for figure in self._on(name, options)]

    def _on(self, name: str, options: tuple[str, ...]) -> list[Figure]:
        delivery = deliver(partial(hermes_broadcasts, *options), sockets=self.sockets, for_s=self.for_s)
        return [
            *self._requests(name, options),
            Figure(name, "CPU per delivery, one message at a time", delivery.server_us, "µs"),
            *self._mqtt(name, options),
        ]

    def _requests(self, name: str, options: tuple[str, ...]) -> list[Figure]:
        with hermes(*options) as server:
            users = [server.user_socket(str(number)) for number in range(CONNECTIONS)]
            posted = post(
                server.port,
                "/notify",
                [_notification(number) for number in range(CONNECTIONS)],
                headers=[f"X-API-Key: {server.api_key}"],
                connections=CONNECTIONS,
                count=self.requests,
                listeners=users,
                frames_each=1,
                server_pid=server.child.pid,
            ).only(200, self.requests)
            paths = [server.user_socket(f"new-{number}") for number in range(self.handshakes)]
            opened = upgrade(
                server.port,
                paths,
                connections=2 * CONNECTIONS,
                count=self.handshakes,
                kept=self.handshakes,
                server_pid=server.child.pid,
            ).only(101, self.handshakes)
        return [
            Figure(name, "CPU a /notify", 1e6 * posted.server_cpu_s / self.requests, "µs"),
            Figure(name, "CPU a handshake", 1e6 * opened.server_cpu_s / self.handshakes, "µs"),
        ]

    def _mqtt(self, name: str, options: tuple[str, ...]) -> list[Figure]:
        with broker() as mosquitto, hermes(*options, mqtt_url=mosquitto.url) as server:
            swarm = Swarm(
                port=server.port,
                paths=[server.tenant_socket(TENANT)],
                sockets=min(self.sockets, MQTT_SOCKETS),
                source=MqttSource(mosquitto.port, device_topics()),
                messages=int(self.rate_per_s * self.for_s),
                rate_per_s=self.rate_per_s,
                for_s=self.for_s + 5,
            )
            with swarm.opened() as opened:
                before_s = server.child.cpu_s
                seen = opened.run().complete()
                percent = percent_of_core(server.child.cpu_s - before_s, seen.wall_s)
        return [
            Figure(name, f"CPU, MQTT at {self.rate_per_s:,}/s to {swarm.sockets} sockets", percent, "% of a core"),
            Figure(name, f"latency p99, MQTT at {self.rate_per_s:,}/s", seen.p99_ns / 1e6, "ms"),
        ]


def _notification(number: int) -> bytes:
    return json.dumps({"user_id": str(number), "title": "A door is open", "message": "Cold room 4"}).encode()
