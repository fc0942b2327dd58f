"""What sockets that read nothing cost the others, and what they find when they read again."""

import math
import time
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders import TENANT
from bench.contenders.broker import broker
from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark, percent_of_core
from bench.load.swarm import MqttSource, Seen, Swarm
from bench.processes import allow_open_files
from bench.scenarios.mqtt_fan_out import device_topics

FILES_RESERVED = 256
SETTLING = 0.25  # of the freeze, before memory is looked at: kernel and outboxes fill up
GRACE_S = 15.0


@dataclass(frozen=True, slots=True)
class Frozen:
    """MQTT at ``rate_per_s`` to ``sockets`` for ``for_s``, twice: all read; then ``frozen`` of them read nothing until
    half a second before the end.
    """

    summary: ClassVar[str] = "MQTT at 1,000 messages/s to 1,000 sockets for 60 s, 50 of them frozen"
    sockets: int = 1_000
    frozen: int = 50
    rate_per_s: int = 1_000
    for_s: float = 60.0

    def run(self) -> list[Figure]:
        """Latency and loss of those that read, and whether received plus skipped is what was published for the rest."""
        allow_open_files(self.sockets + FILES_RESERVED)
        free, _, free_percent = self._once(0)
        seen, growth_bytes, percent = self._once(self.frozen)
        ratio = seen.p99_ns / free.p99_ns if free.p99_ns else math.nan
        return [
            Figure("Hermes", "latency p99, none frozen", free.p99_ns / 1e6, "ms"),
            Figure("Hermes", "latency p99, some frozen", seen.p99_ns / 1e6, "ms"),
            Figure("Hermes", "latency p99, some frozen : none frozen", ratio, "", Mark(at_most=1.5)),
            Figure("Hermes", "lost by those that read", seen.lost + seen.out_of_order, "", Mark(exactly=0)),
            Figure("Hermes", "delivered to those that read", seen.deliveries_per_s, "1/s"),
            Figure("Hermes", "frozen sockets that were closed", seen.frozen_gone, "", Mark(exactly=0)),
            Figure("Hermes", "frozen sockets with a wrong count", seen.frozen - seen.frozen_exact, "", Mark(exactly=0)),
            Figure(
                "Hermes", "frozen sockets without the last value", seen.frozen - seen.frozen_latest, "", Mark(exactly=0)
            ),
            Figure("Hermes", "frames of a frozen socket", seen.frozen_received / self.frozen),
            Figure("Hermes", "skipped by a frozen socket", seen.frozen_skipped / self.frozen),
            Figure("Hermes", "memory gained while frozen", growth_bytes / 2**20, "MiB"),
            Figure("Hermes", "CPU, none frozen", free_percent, "% of a core"),
            Figure("Hermes", "CPU, some frozen", percent, "% of a core"),
        ]

    def _once(self, frozen: int) -> tuple[Seen, int, float]:
        patient = ("--ping-timeout-s", str(self.for_s + 60))  # the frozen answer no pings, and shall not be dropped
        with broker() as mosquitto, hermes(*patient, mqtt_url=mosquitto.url) as server:
            swarm = Swarm(
                port=server.port,
                paths=[server.tenant_socket(TENANT)],
                sockets=self.sockets,
                source=MqttSource(mosquitto.port, device_topics()),
                messages=int(self.rate_per_s * self.for_s),
                rate_per_s=self.rate_per_s,
                for_s=self.for_s + GRACE_S,
                grace_s=GRACE_S,
                frozen=frozen,
                thaw_after_s=self.for_s - 0.5 if frozen else 0,
            )
            with swarm.opened() as opened:
                before_s, began_s = server.child.cpu_s, time.monotonic()
                opened.begin()
                time.sleep(self.for_s * SETTLING)
                settled_bytes = server.child.rss_bytes
                time.sleep(max(0.0, self.for_s - 0.5 - (time.monotonic() - began_s)))
                growth_bytes = server.child.rss_bytes - settled_bytes
                seen = opened.result()
                used_s = server.child.cpu_s - before_s
        return seen, growth_bytes, percent_of_core(used_s, seen.wall_s)
