"""From devices' MQTT messages to a hundred sockets of their tenant, and what the broker's own WebSockets can do."""

from dataclasses import dataclass
from typing import ClassVar

from bench.contenders import TENANT
from bench.contenders.broker import broker
from bench.contenders.hermes import hermes
from bench.contenders.mosquitto_websockets import mosquitto_websockets
from bench.figures import Figure, Mark, percent_of_core
from bench.load.swarm import MqttSource, Swarm

DEVICES = 20
# Messages under way at a time, tried for mosquitto: it has its best rate at few, and only queues more beyond
WINDOWS = (1, 4, 16, 64)
MESSAGES_MAX = 1_000_000  # the time ends it
GRACE_S = 10.0  # after the last message, for those still on their way


def device_topics() -> list[str]:
    """One series of each device."""
    return [f"tenants/{TENANT}/devices/d{device:02}/t" for device in range(DEVICES)]


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one rate."""

    figures: list[Figure]
    delivered_per_s: float


@dataclass(frozen=True, slots=True)
class MqttFanOut:
    """``rates_per_s`` for ``for_s`` each, of 20 devices in turn, to ``sockets`` on ``/ws/tenant``.

    The marks of latency and loss are of the rates up to ``marked_per_s``. Mosquitto's best is held against the highest
    rate, because at a lower one Hermes delivers what it is offered and no more.
    """

    summary: ClassVar[str] = "MQTT at 2,000, 10,000 and 20,000 messages/s to 100 sockets, and mosquitto's own best"
    rates_per_s: tuple[int, ...] = (2_000, 10_000, 20_000)
    marked_per_s: int = 10_000
    sockets: int = 100
    for_s: float = 10.0
    window_s: float = 2.0  # of each of mosquitto's windows

    def run(self) -> list[Figure]:
        """Latency in milliseconds from just before the publisher's write until just after the socket's read."""
        runs = {rate_per_s: self._at(rate_per_s) for rate_per_s in self.rates_per_s}
        best_per_s = max(self._of_mosquitto(window) for window in WINDOWS)
        return [
            *(figure for run in runs.values() for figure in run.figures),
            Figure("mosquitto", "delivered at its best", best_per_s, "1/s"),
            *(
                Figure(
                    "Hermes : mosquitto",
                    f"delivered at {rate_per_s:,}/s : at its best",
                    run.delivered_per_s / best_per_s,
                    "",
                    Mark(at_least=8) if rate_per_s == max(self.rates_per_s) else None,
                )
                for rate_per_s, run in runs.items()
            ),
        ]

    def _at(self, rate_per_s: int) -> "Run":
        with broker() as mosquitto, hermes(mqtt_url=mosquitto.url) as server:
            swarm = Swarm(
                port=server.port,
                paths=[server.tenant_socket(TENANT)],
                sockets=self.sockets,
                source=MqttSource(mosquitto.port, device_topics()),
                messages=int(rate_per_s * self.for_s),
                rate_per_s=rate_per_s,
                for_s=self.for_s + GRACE_S,
                grace_s=GRACE_S,
            )
            with swarm.opened() as opened:
                before_s = [child.cpu_ns / 1e9 for child in (server.child, mosquitto.child)]
                seen = opened.run()
                after_s = [child.cpu_ns / 1e9 for child in (server.child, mosquitto.child)]
        hermes_percent, broker_percent = (
            percent_of_core(after - before, seen.wall_s) for after, before in zip(after_s, before_s, strict=True)
        )
        published_per_s = (seen.messages - 1) / max(1, seen.sending_ns) * 1e9
        at = f" at {rate_per_s:,}/s"
        marked = rate_per_s <= self.marked_per_s
        soon, none = (Mark(at_most=60), Mark(exactly=0)) if marked else (None, None)
        figures = [
            Figure("Hermes", "latency p50" + at, seen.p50_ns / 1e6, "ms"),
            Figure("Hermes", "latency p99" + at, seen.p99_ns / 1e6, "ms", soon),
            Figure("Hermes", "frames lost, or too many" + at, seen.lost + seen.surplus, "", none),
            Figure("Hermes", "frames out of order" + at, seen.out_of_order, "", none),
            Figure("Hermes", "delivered" + at, seen.deliveries_per_s, "1/s"),
            Figure("publisher", "published" + at, published_per_s, "1/s"),
            Figure("Hermes", "CPU" + at, hermes_percent, "% of a core"),
            Figure("mosquitto", "CPU" + at, broker_percent, "% of a core"),
            Figure("client and publisher", "CPU" + at, seen.cpu_percent, "% of a core"),
        ]
        return Run(figures, seen.deliveries_per_s)

    def _of_mosquitto(self, window: int) -> float:
        with mosquitto_websockets() as server:
            swarm = Swarm(
                port=server.port,
                paths=server.paths(self.sockets),
                sockets=self.sockets,
                source=server.source,
                subscription=server.subscription,
                messages=MESSAGES_MAX,
                window=window,
                for_s=self.window_s,
                grace_s=GRACE_S,
            )
            return swarm.run().complete().deliveries_per_s
