"""Prometheus metrics of one gateway.

Hot paths add once per batch, never once per socket and message.
"""

import logging
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

__all__ = ["CONTENT_TYPE", "Counter", "Gauge", "Metrics", "by_label", "observed", "total"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


logger = logging.getLogger(__name__)

WORK_KINDS = (
    "handshake",
    "client_frame",
    "notify",
    "mqtt",
    "flush",
    "outbox",
    "housekeeping",
    "page",
    "metrics",
    "disconnect",
    "replay",
)
LONG_WORK_S = 0.05  # one line in the log
LONG_WORK_LOG_INTERVAL_S = 10.0
WORK_WINDOW_S = 60.0  # the longest piece is that of the present window and the one before


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
        self.sockets_closed_by_client = self._counter(
            "hermes_sockets_closed_by_client", "Sockets closed by the client, by the code that it sent", "code"
        )
        self.sockets_refused = self._counter(
            "hermes_sockets_refused", "Sockets refused when opened, by reason", "reason"
        )
        self.origins_refused = self._counter(
            "hermes_origins_refused", "Requests answered with 403 because pages of their origin are not allowed"
        )
        self.accept_pauses = self._counter("hermes_accept_pauses", "Pauses of accept() after an error, one second each")
        self.http_connections = self._gauge("hermes_http_connections_open", "Open connections that are not WebSockets")
        self.http_closed = self._counter(
            "hermes_http_connections_closed",
            "HTTP connections closed by a limit: of the time for head, body, response or idle, or of their number",
            "cause",
        )
        self.http_rejected = self._counter(
            "hermes_http_rejected", "HTTP requests answered without a handler, by status", "status"
        )
        self.tls_handshakes = self._counter("hermes_tls_handshakes", "TLS handshakes of clients, by outcome", "outcome")
        self.certificate_expires = self._gauge(
            "hermes_certificate_expiry_timestamp_seconds", "When the certificate ends, in Unix time", "certificate"
        )
        self.connects_limited = self._counter(
            "hermes_connects_limited", "Connections over --max-connects-per-address-s: delayed, or closed", "outcome"
        )
        self.failed_auth = self._counter(
            "hermes_failed_auth", "Wrong tokens and API keys: refused, or not even checked", "outcome"
        )
        self.token_keys = self._gauge("hermes_token_keys", "Keys that verify tokens, by source", "source")
        self.token_keys_age_s = self._gauge(
            "hermes_token_keys_age_seconds",
            "Time since the last good answer of a source of keys; -1 without one",
            "source",
        )
        self.key_fetches = self._counter(
            "hermes_key_fetches", "Fetches of keys from an identity provider, by source and result", "source", "result"
        )
        self.key_set_skipped = self._gauge(
            "hermes_key_set_skipped",
            "Keys of the last key set that do not verify tokens, as those for encryption",
            "source",
        )
        self.unknown_kids = self._counter("hermes_unknown_kids", "Key ids that tokens named and no source had")
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
        self.key_requests = self._counter(
            "hermes_key_requests", "Requests with a valid API key, by the name of the key", "key"
        )
        self.disconnects = self._counter(
            "hermes_disconnects", "Calls of POST /disconnect, by what they name and what was done", "target", "result"
        )
        self.revocations = self._gauge("hermes_revocations", "Revoked users, tokens and tenants")
        self.revocations_failed = self._counter(
            "hermes_revocations_failed", "Writes of revocations that failed: a restart would forget them"
        )
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
        self.cluster_connected = self._gauge("hermes_cluster_connected", "1 while connected to NATS")
        self.cluster_connects = self._counter("hermes_cluster_connects", "Connections to NATS that were made")
        self.cluster_nodes = self._gauge("hermes_cluster_nodes", "Other living nodes")
        self.cluster_requests = self._counter(
            "hermes_cluster_requests", "Deliveries that other nodes were asked for, by result", "result"
        )
        self.cluster_received = self._counter("hermes_cluster_received", "Messages of other nodes, by operation", "op")
        self.cluster_dropped = self._counter(
            "hermes_cluster_dropped", "Messages to other nodes that could not be sent, by reason", "reason"
        )
        self.inbox_requests = self._counter(
            "hermes_inbox_requests", "Notifications for the inbox, by what became of them", "outcome"
        )
        self.inbox_resumes = self._counter("hermes_inbox_resumes", "Positions that were answered, by gap", "gap")
        self.inbox_replayed = self._counter("hermes_inbox_replayed", "Rows and changes that were replayed")
        self.inbox_acks = self._counter("hermes_inbox_acks", "Acknowledgements, by what became of them", "outcome")
        self.inbox_removed = self._counter("hermes_inbox_removed", "Rows removed: expired or evicted", "reason")
        self.inbox_rows = self._gauge("hermes_inbox_rows", "Rows, acknowledgements and withdrawals in the inbox")
        self.inbox_bytes = self._gauge("hermes_inbox_bytes", "Size of the inbox's file")
        self.inbox_oldest_s = self._gauge("hermes_inbox_oldest_seconds", "Age of the oldest row in the inbox")
        self.inbox_clock_ahead_s = self._gauge(
            "hermes_inbox_clock_ahead_seconds", "How far the clock of the inbox's database is ahead of this machine's"
        )
        self.inbox_queued = self._gauge("hermes_inbox_queued", "Operations that wait for the inbox")
        self.inbox_waits = self._gauge("hermes_inbox_waits", "Requests that wait for an acknowledgement or a row")
        self.inbox_commit_s = Histogram(
            "hermes_inbox_commit_seconds",
            "Time of a commit of the inbox: a sync of the disk",
            registry=self.registry,
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0),
        )
        self.loop_lag_s = Histogram(
            "hermes_loop_lag_seconds",
            "How late the one-second housekeeping task ran; every message may wait that long",
            registry=self.registry,
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0),
        )

        self.work = WorkMeter(
            self._gauge("hermes_work_seconds", "Longest piece of work on the event loop in a minute or two", "kind")
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus text format 0.0.4."""
        return generate_latest(self.registry)


class WorkPiece:
    """One kind of work on the event loop: a context manager around each piece.

    It measures how long a piece holds the loop, which delays everything else. Not reentrant.
    """

    __slots__ = ("_before_s", "_began_s", "_clock", "_kind", "_log_again_s", "_longest_s", "detail")

    def __init__(self, kind: str, *, clock: Callable[[], float]) -> None:
        self.detail: object = ""  # what the log says of a long piece; set it within the context
        self._kind = kind
        self._log_again_s = clock()
        self._clock = clock
        self._began_s = 0.0
        self._longest_s = self._before_s = 0.0

    def __enter__(self) -> "WorkPiece":
        """Begin to measure."""
        self._began_s = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End; log a line if it took over `LONG_WORK_S`."""
        took_s = self._clock() - self._began_s
        if took_s > self._longest_s:
            self._longest_s = took_s
            if took_s > LONG_WORK_S and self._clock() >= self._log_again_s:
                self._log_again_s = self._clock() + LONG_WORK_LOG_INTERVAL_S
                detail = f": {self.detail}" if self.detail else ""
                logger.warning("%s held the event loop for %.0f ms%s", self._kind, 1e3 * took_s, detail)
        self.detail = ""

    def next_window(self) -> None:
        """Begin a new window."""
        self._before_s, self._longest_s = self._longest_s, 0.0

    @property
    def longest_s(self) -> float:
        """The longest piece in seconds, of the last one to two windows."""
        return max(self._before_s, self._longest_s)


class WorkMeter:
    """The longest piece of each kind of work; ``gauge`` has the label ``kind``.

    ``clock`` gives monotonic seconds.
    """

    def __init__(self, gauge: Gauge, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._pieces = {kind: WorkPiece(kind, clock=clock) for kind in WORK_KINDS}
        self._gauges = {kind: gauge.labels(kind) for kind in WORK_KINDS}
        self._clock = clock
        self._window_ends_s = clock() + WORK_WINDOW_S

    def __getitem__(self, kind: str) -> WorkPiece:
        """Return the context manager of one kind."""
        return self._pieces[kind]

    def update(self) -> None:
        """Set the gauge; to be called about once a second."""
        for kind, piece in self._pieces.items():
            self._gauges[kind].set(piece.longest_s)
        if self._clock() >= self._window_ends_s:
            self._window_ends_s = self._clock() + WORK_WINDOW_S
            for piece in self._pieces.values():
                piece.next_window()


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
