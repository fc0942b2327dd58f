"""Handlers for probes and monitors: /health, /ready, /metrics and /status."""

import os
import resource
from pathlib import Path
from typing import Any

import orjson

from hermes import __version__
from hermes.delivery.messages import now_ms
from hermes.errors import RequestError
from hermes.metrics import CONTENT_TYPE, Counter, Gauge, Metrics, by_label, observed, total
from hermes.web.api_handler import ApiHandler, authorize
from hermes.web.gateway_parts import GatewayParts
from hermes.web.http.errors import HttpErrors

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class HealthHandler(HttpErrors):
    """``GET /health``: 200 while the event loop runs."""

    def get(self) -> None:
        """Respond with a constant body."""
        self.set_header("Content-Type", "application/json")
        self.finish(b'{"status":"ok"}')

    head = get


class ReadyHandler(HttpErrors):
    """``GET /ready``: 200 if device data can arrive or MQTT is off; otherwise 503.

    Also 503 without the keys of an identity provider, and with a wrong clock. The body names what is missing.
    """

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        self._gateway = gateway

    def get(self) -> None:
        """Respond with ``{"ready":bool,"mqtt":state,"since":Unix ms,"missing":[texts]}``."""
        link = self._gateway.link
        missing = missing_parts(self._gateway)
        self.set_status(503 if missing else 200)
        self.set_header("Content-Type", "application/json")
        self.finish(
            orjson.dumps({"ready": not missing, "mqtt": link.state, "since": link.since_ms, "missing": missing})
        )

    head = get


def missing_parts(gateway: GatewayParts) -> list[str]:
    """Return a text for each thing without which the gateway is not ready."""
    return [*gateway.link.missing, *gateway.missing]


class MetricsHandler(HttpErrors):
    """``GET /metrics``: the text format of Prometheus."""

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the metrics."""
        self._metrics = gateway.metrics

    def get(self) -> None:
        """Respond with every metric."""
        self.set_header("Content-Type", CONTENT_TYPE)
        with self._metrics.work["metrics"]:
            text = self._metrics.exposition()
        self.finish(text)

    head = get


class NodeStatusHandler(ApiHandler):
    """``GET /status``: the figures of the node, for clients with an API key.

    Counts are since the start. Clients must ignore keys that they do not know.
    """

    methods = ("GET", "HEAD")

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        self._gateway = gateway

    def get(self) -> None:
        """Respond with the figures."""
        try:
            authorize(self.request, self._gateway)
        except RequestError as error:
            return self.write_fault(error)
        return self.write_json(200, figures(self._gateway))

    async def head(self) -> None:
        """Respond with the headers of ``GET``."""
        self.get()

    post = ApiHandler.other_method


def figures(gateway: GatewayParts) -> dict[str, Any]:
    """Return the figures: times in Unix ms, durations in seconds, sizes in bytes."""
    metrics, missing = gateway.metrics, missing_parts(gateway)
    return {
        "version": __version__,
        "now": now_ms(),
        "started": gateway.started_ms,
        "dev": gateway.settings.dev,
        "ready": not missing,
        "missing": missing,
        "mqtt": _mqtt(gateway),
        "sockets": {
            "open": _counts(metrics.sockets_open),
            "limit": gateway.admission.limits.total,
            "blocked": _count(metrics.sockets_blocked),
            "closed": _counts(metrics.sockets_closed),
            "refused": _counts(metrics.sockets_refused),
            "lost_pongs": _count(metrics.lost_pongs),
            "slow_consumers": _count(metrics.slow_consumers),
        },
        "delivery": {
            "published": _counts(metrics.published),
            "deliveries": _count(metrics.deliveries),
            "skipped": _count(metrics.skipped),
            "flushes": _count(metrics.flushes),
            "client_frames": _counts(metrics.client_frames),
        },
        "notify": {"answers": _counts(metrics.notify_requests)},
        "snapshot": {
            "values": _count(metrics.snapshot_values),
            "bytes": _count(metrics.snapshot_bytes),
            "evicted": _counts(metrics.snapshot_evicted),
        },
        "process": _process(metrics),
    }


def _mqtt(gateway: GatewayParts) -> dict[str, Any]:
    link, metrics = gateway.link, gateway.metrics
    return {
        "state": link.state,
        "since": link.since_ms,
        "missing": link.missing,
        "broker": gateway.settings.broker_kind,
        "received": _count(metrics.mqtt_received),
        "batches": _count(metrics.mqtt_batches),
        "queued": _count(metrics.mqtt_queued),
        "dropped": _counts(metrics.mqtt_dropped),
        "connects": _count(metrics.mqtt_connects),
        "outages": _count(metrics.mqtt_outages),
        "outage_s": total(metrics.mqtt_outage_s),
        "broker_restarts": _count(metrics.broker_restarts),
    }


def _process(metrics: Metrics) -> dict[str, Any]:
    loop_lag = observed(metrics.loop_lag_s)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "pid": os.getpid(),
        "rss_bytes": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "loop_lag_s": loop_lag.sum_s,
        "loop_looks": loop_lag.times,
    }


def _count(metric: Counter | Gauge) -> int:
    return int(total(metric))


def _counts(metric: Counter | Gauge) -> dict[str, int]:
    return {label: int(value) for label, value in by_label(metric).items()}
