"""Scenarios, one file each: a frozen dataclass with the sizes as its fields.

To add one: write its file, and name it in `FULL` and, small, in `QUICK`.
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from bench.figures import Figure
from bench.scenarios.attacked import Attacked
from bench.scenarios.binary import Binary
from bench.scenarios.broadcast import Broadcast
from bench.scenarios.centrifugo import BesideCentrifugo
from bench.scenarios.cluster import Cluster
from bench.scenarios.cluster_kill import ClusterKill
from bench.scenarios.cluster_traffic import ClusterTraffic
from bench.scenarios.cluster_units import ClusterUnits
from bench.scenarios.compression import Compression
from bench.scenarios.console import ConsolePage
from bench.scenarios.event_loop import EventLoop
from bench.scenarios.fleet import Fleet
from bench.scenarios.frozen import Frozen
from bench.scenarios.handshakes import Handshakes
from bench.scenarios.idle_memory import IdleMemory
from bench.scenarios.inbox_notify import InboxNotify
from bench.scenarios.inbox_postgres import InboxPostgres
from bench.scenarios.inbox_storm import InboxStorm
from bench.scenarios.mqtt_fan_out import MqttFanOut
from bench.scenarios.mqtt_latency import MqttLatency
from bench.scenarios.notify import Notify
from bench.scenarios.notify_arrays import NotifyArrays
from bench.scenarios.notify_rate import NotifyRate
from bench.scenarios.paho_receive import PahoReceive
from bench.scenarios.reconnect import Reconnect
from bench.scenarios.refusals import Refusals
from bench.scenarios.returning import Return
from bench.scenarios.snapshot import LastValues
from bench.scenarios.storm import Storm
from bench.scenarios.sweep import Sweep
from bench.scenarios.templates import Templates
from bench.scenarios.ten_thousand import TenThousand
from bench.scenarios.token_keys import TokenKeys
from bench.scenarios.websocket_framing import WebsocketFraming


class Scenario(Protocol):
    """Starts what it measures, drives it, ends it."""

    summary: ClassVar[str]

    def run(self) -> list[Figure]:
        """One run, the same figures in the same order each time. Raises `BenchError` if it cannot."""


FULL: Mapping[str, Scenario] = {
    "notify": Notify(),
    "idle-memory": IdleMemory(),
    "broadcast": Broadcast(),
    "mqtt-fan-out": MqttFanOut(),
    "mqtt-latency": MqttLatency(),
    "fleet": Fleet(),
    "snapshot": LastValues(),
    "templates": Templates(),
    "paho-receive": PahoReceive(),
    "websocket-framing": WebsocketFraming(),
    "reconnect": Reconnect(),
    "ten-thousand": TenThousand(),
    "handshakes": Handshakes(),
    "notify-rate": NotifyRate(),
    "notify-arrays": NotifyArrays(),
    "inbox-postgres": InboxPostgres(),
    "storm": Storm(),
    "storm-10k": Storm(sockets=10_000, within_s=6),
    "return": Return(),
    "inbox-notify": InboxNotify(),
    "inbox-storm": InboxStorm(),
    "cluster": Cluster(),
    "cluster-units": ClusterUnits(),
    "cluster-traffic": ClusterTraffic(),
    "cluster-kill": ClusterKill(),
    "cluster-kill-1k": ClusterKill(rate_per_s=1_000),
    "compression": Compression(),
    "uvloop": EventLoop(),
    "frozen": Frozen(),
    "console": ConsolePage(),
    "refusals": Refusals(),
    "token-keys": TokenKeys(),
    "attacked": Attacked(),
    "sweep": Sweep(),
    "binary": Binary(),
    "centrifugo": BesideCentrifugo(),
}

ONLY_BY_NAME = frozenset(
    {
        *("sweep", "frozen", "reconnect", "console", "binary", "centrifugo", "inbox-storm", "cluster-traffic"),
        *("cluster-kill", "cluster-kill-1k"),
    }
)  # up to some minutes each: too long for every run

QUICK: Mapping[str, Scenario] = {
    "notify": Notify(rate_per_s=50, requests=20),
    "idle-memory": IdleMemory(sockets=50, settle_s=0.1),
    "broadcast": Broadcast(
        sockets=5, for_s=0.1, contenders=("floor", "Hermes", "direct Tornado", "nchan", "picows", "mosquitto")
    ),
    "mqtt-fan-out": MqttFanOut(rates_per_s=(200, 400), marked_per_s=400, sockets=5, for_s=0.2, window_s=0.05),
    "mqtt-latency": MqttLatency(rate_per_s=500, messages=100),
    "fleet": Fleet(devices=50, watched=2, rate_per_s=100, for_s=0.5),
    "snapshot": LastValues(devices=20, sockets=2),
    "templates": Templates(rounds=2),
    "paho-receive": PahoReceive(messages=2_000, rounds=1),
    "websocket-framing": WebsocketFraming(messages=200, rounds=1),
    "reconnect": Reconnect(restarts=2, away_s=(0.0,), settle_s=0.1),
    "ten-thousand": TenThousand(sockets=40, fewer=20, messages=3, rate_per_s=20, for_s=0.1),
    "handshakes": Handshakes(handshakes=20, rounds=1, connections=4, remembered=4),
    "notify-rate": NotifyRate(requests=40, rounds=1, connections=4, users=4),
    "notify-arrays": NotifyArrays(requests=4, notifications=20, users=10),
    "inbox-postgres": InboxPostgres(rate_per_s=50, requests=20),
    "storm": Storm(sockets=20),
    "storm-10k": Storm(sockets=20, within_s=6),
    "return": Return(sockets=20),
    "inbox-notify": InboxNotify(requests=40, rounds=1, connections=4, syncs=5),
    "inbox-storm": InboxStorm(users=20, rows=12, quiet_s=0.2),
    "cluster": Cluster(requests=40, rounds=1, users=4, idle=10),
    "cluster-traffic": ClusterTraffic(few=2, many=4, settle_s=0.1, quiet_s=0.1),
    "cluster-kill": ClusterKill(clients=30, rate_per_s=20, connections=2, before_s=0.5, after_s=1.0),
    "cluster-kill-1k": ClusterKill(clients=30, rate_per_s=20, connections=2, before_s=0.5, after_s=1.0),
    "cluster-units": ClusterUnits(subscriptions=100, messages=100, rows=200, single_rows=20, quiet_s=0.5),
    "compression": Compression(sockets=5, for_s=0.1),
    "uvloop": EventLoop(requests=16, handshakes=10, sockets=5, rate_per_s=200, for_s=0.2),
    "frozen": Frozen(sockets=6, frozen=2, rate_per_s=200, for_s=1.0),
    "console": ConsolePage(loads=1, devices=50, rate_per_s=100, for_s=0.5, scroll_s=0.3, restarts=1, away_s=0.1),
    "refusals": Refusals(handshakes=20, rounds=1, connections=4),
    "token-keys": TokenKeys(handshakes=20, rounds=1, connections=4, remembered=4),
    "attacked": Attacked(idle=1, rate_per_s=20, for_s=0.5),
    "binary": Binary(starts=1, settle_s=0.1),
    "centrifugo": BesideCentrifugo(requests=20, handshakes=10, rounds=1, connections=4, batch=5, sockets=20, for_s=0.1),
    "sweep": Sweep(numbers=(2, 4), idle=5, for_s=0.05, settle_s=0.1, contenders=("floor", "Hermes")),
}
