"""Floor 1: what every floor counts on, as Prometheus counters of one registry.

One `Metrics` belongs to one application. Hot paths add once per batch, never once per socket and message.
"""

from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

# a second line for each counter, which nobody asks for
disable_created_metrics()  # type: ignore[no-untyped-call]

__all__ = ["CONTENT_TYPE", "Counter", "Gauge", "Metrics", "by_label", "observed", "total"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters. Each name is what an operator sees on ``/metrics``; each text says what it means."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sockets_open = self._gauge("hermes_sockets_open", "Open sockets", "route")
        self.sockets_blocked = self._gauge("hermes_sockets_blocked", "Sockets that are slow just now: their data waits")
        self.sockets_closed = self._counter("hermes_sockets_closed", "Sockets ended, by close code", "code")
        self.sockets_refused = self._counter("hermes_sockets_refused", "Sockets closed at open", "reason")
        self.accept_pauses = self._counter("hermes_accept_pauses", "Rests of a second because accepting failed")
        self.client_frames = self._counter("hermes_client_frames", "Frames from clients", "action")
        self.published = self._counter("hermes_published", "Messages given to the hub", "kind")
        self.deliveries = self._counter("hermes_deliveries", "Messages taken by a socket, each socket counted")
        self.flushes = self._counter("hermes_flushes", "Coalescing flushes of the hub")
        self.slow_consumers = self._counter("hermes_slow_consumers", "Sockets closed with 1013 slow_consumer")
        self.skipped = self._counter("hermes_skipped", "Device values that a newer one replaced on a slow socket")
        self.lost_pongs = self._counter("hermes_lost_pongs", "Sockets dropped for want of a pong")
        self.notify_requests = self._counter("hermes_notify_requests", "Answers of /notify", "status")
        self.notify_accepted = self.notify_requests.labels("200")
        self.mqtt_received = self._counter("hermes_mqtt_received", "MQTT messages received")
        self.mqtt_batches = self._counter("hermes_mqtt_batches", "Batches that crossed into the event loop")
        self.mqtt_dropped = self._counter("hermes_mqtt_dropped", "MQTT messages not delivered", "reason")
        self.mqtt_queued = self._gauge("hermes_mqtt_queued", "MQTT messages between thread and event loop")
        self.mqtt_connected = self._gauge("hermes_mqtt_connected", "1 while connected and subscribed")
        self.mqtt_connects = self._counter("hermes_mqtt_connects", "Connections to the broker that succeeded")
        self.mqtt_outages = self._counter("hermes_mqtt_outages", "Times the link to the broker was lost")
        self.mqtt_outage_s = self._counter("hermes_mqtt_outage_seconds", "How long it was lost, all in all")
        self.mqtt_publish_lost = self._counter("hermes_mqtt_publish_lost", "MQTT messages that could not be sent")
        self.snapshot_values = self._gauge("hermes_snapshot_values", "Last values remembered")
        self.snapshot_bytes = self._gauge("hermes_snapshot_bytes", "About how much memory they take")
        self.snapshot_evicted = self._counter("hermes_snapshot_evicted", "Last values forgotten, by bound", "reason")
        self.sparkplug_nodes = self._gauge("hermes_sparkplug_nodes", "Sparkplug edge nodes remembered")
        self.sparkplug_forgotten = self._counter("hermes_sparkplug_forgotten", "Edge nodes forgotten for want of room")
        self.sparkplug_gaps = self._counter("hermes_sparkplug_gaps", "Sparkplug messages before which one is missing")
        self.sparkplug_withheld = self._counter("hermes_sparkplug_withheld", "Metrics that no birth gave a meaning to")
        self.sparkplug_rebirth_requests = self._counter("hermes_sparkplug_rebirth_requests", "Births asked for again")
        self.broker_restarts = self._counter("hermes_broker_restarts", "Restarts of the embedded broker")
        self.device_accounts = self._gauge("hermes_device_accounts", "Devices with an account of the embedded broker")
        self.loop_lag_s = Histogram(
            "hermes_loop_lag_seconds",
            "How late the one-second sweep ran: what a message may wait for the event loop",
            registry=self.registry,
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0),
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)


class Observed(NamedTuple):
    """What a histogram has seen."""

    times: int
    sum_s: float


def total(metric: Counter | Gauge) -> float:
    """The sum over all its labels."""
    return sum(sample.value for family in metric.collect() for sample in family.samples)


def by_label(metric: Counter | Gauge) -> dict[str, float]:
    """The value for each value of its one label."""
    samples = [sample for family in metric.collect() for sample in family.samples]
    return {label: sample.value for sample in samples for label in sample.labels.values()}


def observed(histogram: Histogram) -> Observed:
    """How often, and how much in all."""
    values = {sample.name: sample.value for family in histogram.collect() for sample in family.samples}
    by_suffix = {name.rpartition("_")[2]: value for name, value in values.items()}
    return Observed(int(by_suffix["count"]), by_suffix["sum"])
