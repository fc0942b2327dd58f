"""A whole fleet on one socket, and what watching a few of its devices costs when only their topics are subscribed."""

import time
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders import TENANT
from bench.contenders.broker import Broker, broker
from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark, percent_of_core
from bench.load.swarm import MqttSource, Seen, Swarm
from bench.processes import BenchError
from bench.scenarios.mqtt_fan_out import GRACE_S

SETTLING_S = 0.5  # until what the sockets ask for is subscribed to
SOON_S = 0.5  # the frames of other devices never come


@dataclass(frozen=True, slots=True)
class Fleet:
    """``devices`` publish ``rate_per_s`` in turn for ``for_s``: to one socket of their tenant; then only to
    ``watched`` sockets of one device each, subscribing to everything, and on demand.
    """

    summary: ClassVar[str] = "10,000 devices, 5,000 messages/s: to one tenant's socket, and with ten devices watched"
    devices: int = 10_000
    watched: int = 10
    rate_per_s: int = 5_000
    for_s: float = 10.0

    def run(self) -> list[Figure]:
        """Latency from just before the publisher's write; CPU of Hermes while the devices publish."""
        seen = self._published_to_tenant()
        all_percent = self._cpu_of_watching()
        demand_percent = self._cpu_of_watching("--mqtt-on-demand", "true")
        return [
            Figure("Hermes", "latency p50", seen.p50_ns / 1e6, "ms"),
            Figure("Hermes", "latency p99", seen.p99_ns / 1e6, "ms"),
            Figure("Hermes", "frames lost, or too many", seen.lost + seen.surplus, "", Mark(exactly=0)),
            Figure("Hermes", "frames out of order", seen.out_of_order, "", Mark(exactly=0)),
            Figure("Hermes", "delivered", seen.deliveries_per_s, "1/s"),
            Figure("Hermes", f"CPU with {self.watched} devices watched, all subscribed", all_percent, "% of a core"),
            Figure("Hermes", f"CPU with {self.watched} devices watched, on demand", demand_percent, "% of a core"),
            Figure("on demand : all", "CPU of Hermes", 100 * demand_percent / all_percent, "%", Mark(at_most=2)),
        ]

    def _published_to_tenant(self) -> Seen:
        with broker() as mosquitto, hermes(mqtt_url=mosquitto.url) as server:
            return self._swarm(mosquitto, server.port, [server.tenant_socket(TENANT)], GRACE_S).run()

    def _cpu_of_watching(self, *options: str) -> float:
        """Of one core, while the devices publish; few of the messages are for the sockets."""
        with broker() as mosquitto, hermes(*options, mqtt_url=mosquitto.url) as server:
            every = self.devices // self.watched
            paths = [server.device_socket(TENANT, _device(number * every)) for number in range(self.watched)]
            with self._swarm(mosquitto, server.port, paths, SOON_S).opened() as opened:
                time.sleep(SETTLING_S)
                began_s, before_ns = time.monotonic(), server.child.cpu_ns
                opened.begin()
                time.sleep(self.for_s)
                used_ns, took_s = server.child.cpu_ns - before_ns, time.monotonic() - began_s
                seen = opened.result()
        if not seen.delivered:
            raise BenchError("no message of the watched devices was received")
        return percent_of_core(used_ns / 1e9, took_s)

    def _swarm(self, mosquitto: Broker, port: int, paths: list[str], grace_s: float) -> Swarm:
        topics = [f"tenants/{TENANT}/devices/{_device(number)}/t" for number in range(self.devices)]
        return Swarm(
            port=port,
            paths=paths,
            sockets=len(paths),
            source=MqttSource(mosquitto.port, topics),
            messages=int(self.rate_per_s * self.for_s),
            rate_per_s=self.rate_per_s,
            for_s=self.for_s + grace_s,
            grace_s=grace_s,
        )


def _device(number: int) -> str:
    return f"device-{number:05}"
