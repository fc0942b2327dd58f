"""Prometheus metrics of one gateway.

Hot paths add once per batch, never once per socket and message.
"""

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

__all__ = ["CONTENT_TYPE", "Counter", "Gauge", "Metrics", "by_label", "observed", "total"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Registry(CollectorRegistry):
    """Collect without the ``_created`` samples that prometheus_client adds.

    ``disable_created_metrics`` would do the same for every registry of the process, also for those of a program that
    embeds Hermes.
    """

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of all collectors."""
        for metric in super().collect():
            metric.samples = _samples(metric)
            yield metric


class Metrics:
    """The metrics of one gateway: names as on ``/metrics``, and a help text each."""

    def __init__(self) -> None:
        self.registry = _Registry()
        self.sockets_open = self._gauge("hermes_sockets_open", "Open sockets", "route")
        self.sockets_blocked = self._gauge("hermes_sockets_blocked", "Sockets that are slow now: their frames wait")
        self.sockets_closed = self._counter("hermes_sockets_closed", "Sockets closed, by close code", "code")
        self.sockets_refused = self._counter(
            "hermes_sockets_refused", "Sockets refused when opened, by reason", "reason"
        )
        self.accept_pauses = self._counter("hermes_accept_pauses", "Pauses of accept() after an error, one second each")
        self.connects_limited = self._counter(
            "hermes_connects_limited", "Connections over --max-connects-per-address-s: delayed, or closed", "outcome"
        )
        self.failed_auth = self._counter(
            "hermes_failed_auth", "Wrong tokens and API keys: refused, or not even checked", "outcome"
        )
        self.client_frames = self._counter("hermes_client_frames", "Frames from clients, by action", "action")
        self.reading_pauses = self._counter(
            "hermes_reading_pauses", "Pauses of reading from a client that is over --client-frames-per-s"
        )
        self.published = self._counter("hermes_published", "Messages passed to the hub, by kind", "kind")
        self.deliveries = self._counter("hermes_deliveries", "Messages accepted by a socket; each socket counts")
        self.flushes = self._counter("hermes_flushes", "Flushes of the hub")
        self.slow_consumers = self._counter("hermes_slow_consumers", "Sockets closed with 1013 slow_consumer")
        self.skipped = self._counter("hermes_skipped", "Device values replaced by a newer one on a slow socket")
        self.lost_pongs = self._counter("hermes_lost_pongs", "Sockets dropped because they did not answer a ping")
        self.notify_requests = self._counter("hermes_notify_requests", "Answers of /notify, by HTTP status", "status")
        self.notify_accepted = self.notify_requests.labels("200")
        self.mqtt_received = self._counter("hermes_mqtt_received", "MQTT messages received")
        self.mqtt_batches = self._counter("hermes_mqtt_batches", "Batches passed from MQTT thread to event loop")
        self.mqtt_dropped = self._counter("hermes_mqtt_dropped", "MQTT messages not delivered, by reason", "reason")
        self.mqtt_queued = self._gauge("hermes_mqtt_queued", "MQTT messages that wait for the event loop")
        self.mqtt_connected = self._gauge("hermes_mqtt_connected", "1 while connected and subscribed")
        self.mqtt_connects = self._counter("hermes_mqtt_connects", "Successful connections to the broker")
        self.mqtt_outages = self._counter("hermes_mqtt_outages", "Times that the link to the broker was lost")
        self.mqtt_outage_s = self._counter("hermes_mqtt_outage_seconds", "Total time without the link to the broker")
        self.mqtt_publish_lost = self._counter("hermes_mqtt_publish_lost", "Messages that Hermes could not publish")
        self.snapshot_values = self._gauge("hermes_snapshot_values", "Last values in memory")
        self.snapshot_bytes = self._gauge("hermes_snapshot_bytes", "Memory that the last values use, approximate")
        self.snapshot_evicted = self._counter(
            "hermes_snapshot_evicted", "Last values evicted, by the limit reached", "reason"
        )
        self.share_dropped = self._counter(
            "hermes_share_dropped",
            "Dropped from a full store because the device or tenant had over half of it, or as the oldest of all",
            "store",
            "holder",
        )
        self.sparkplug_nodes = self._gauge("hermes_sparkplug_nodes", "Sparkplug edge nodes in memory")
        self.sparkplug_forgotten = self._counter(
            "hermes_sparkplug_forgotten", "Sparkplug edge nodes evicted at the memory limit"
        )
        self.sparkplug_gaps = self._counter("hermes_sparkplug_gaps", "Sparkplug messages after a gap in the sequence")
        self.sparkplug_withheld = self._counter(
            "hermes_sparkplug_withheld", "Sparkplug metrics that no birth defines, withheld"
        )
        self.sparkplug_rebirth_requests = self._counter(
            "hermes_sparkplug_rebirth_requests", "Sparkplug births requested"
        )
        self.broker_restarts = self._counter("hermes_broker_restarts", "Restarts of the embedded broker")
        self.device_accounts = self._gauge("hermes_device_accounts", "Device accounts of the embedded broker")
        self.loop_lag_s = Histogram(
            "hermes_loop_lag_seconds",
            "How late the one-second housekeeping task ran; every message may wait that long",
            registry=self.registry,
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0),
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus text format 0.0.4."""
        return generate_latest(self.registry)


class Observed(NamedTuple):
    """The number of observations of a histogram, and their sum in seconds."""

    times: int
    sum_s: float


def _samples(metric: Metric) -> list[Sample]:
    return [sample for sample in metric.samples if not sample.name.endswith("_created")]


def total(metric: Counter | Gauge) -> float:
    """Return the sum over all labels."""
    return sum(sample.value for family in metric.collect() for sample in _samples(family))


def by_label(metric: Counter | Gauge) -> dict[str, float]:
    """Return the value for each value of the metric's only label."""
    samples = [sample for family in metric.collect() for sample in _samples(family)]
    return {label: sample.value for sample in samples for label in sample.labels.values()}


def observed(histogram: Histogram) -> Observed:
    """Return how many values were observed, and their sum."""
    values = {sample.name: sample.value for family in histogram.collect() for sample in family.samples}
    by_suffix = {name.rpartition("_")[2]: value for name, value in values.items()}
    return Observed(int(by_suffix["count"]), by_suffix["sum"])
