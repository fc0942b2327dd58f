"""What Hermes adds to the broker's own delay while it is mostly idle."""

from dataclasses import dataclass
from typing import ClassVar

from bench.contenders import TENANT
from bench.contenders.broker import broker
from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark
from bench.load.swarm import MqttSource, Swarm
from bench.scenarios.mqtt_fan_out import GRACE_S, device_topics


@dataclass(frozen=True, slots=True)
class MqttLatency:
    """``messages`` at ``rate_per_s`` to one socket and one plain MQTT subscriber, in the same process."""

    summary: ClassVar[str] = "MQTT at 1,000 messages/s to one socket, beside a plain subscriber"
    rate_per_s: int = 1_000
    messages: int = 10_000

    def run(self) -> list[Figure]:
        """Milliseconds from just before the publisher's write until just after the read, of each and between them."""
        with broker() as mosquitto, hermes(mqtt_url=mosquitto.url) as server:
            seen = Swarm(
                port=server.port,
                paths=[server.tenant_socket(TENANT)],
                sockets=1,
                plain_port=mosquitto.port,
                subscription=f"tenants/{TENANT}/#",
                source=MqttSource(mosquitto.port, device_topics()),
                messages=self.messages,
                rate_per_s=self.rate_per_s,
                for_s=self.messages / self.rate_per_s + GRACE_S,
            ).run()
        faults = seen.lost + seen.surplus + seen.out_of_order
        return [
            Figure("Hermes", "latency p50", seen.p50_ns / 1e6, "ms"),
            Figure("Hermes", "latency p99", seen.p99_ns / 1e6, "ms"),
            Figure("plain subscriber", "latency p50", seen.plain_p50_ns / 1e6, "ms"),
            Figure("plain subscriber", "latency p99", seen.plain_p99_ns / 1e6, "ms"),
            Figure("Hermes − plain", "latency p50", (seen.p50_ns - seen.plain_p50_ns) / 1e6, "ms", Mark(at_most=0.5)),
            Figure("Hermes − plain", "latency p99", (seen.p99_ns - seen.plain_p99_ns) / 1e6, "ms", Mark(at_most=3)),
            Figure("Hermes", "frames lost or out of order", faults, "", Mark(exactly=0)),
            Figure("plain subscriber", "messages lost", seen.messages - seen.plain_received, "", Mark(exactly=0)),
            Figure("client and publisher", "CPU", seen.cpu_percent, "% of a core"),
        ]
