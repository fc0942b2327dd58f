"""Handlers for probes and monitors: /health, /ready, /metrics and /status.

`/metrics` and what is ``missing`` are for callers on this machine, and for those with a key.
"""

import os
import resource
from pathlib import Path
from typing import Any

import orjson

from hermes import __version__
from hermes.auth.api_keys import LOCAL, Caller, Scope
from hermes.delivery.messages import now_ms
from hermes.errors import RequestError
from hermes.metrics import CONTENT_TYPE, Counter, Gauge, Metrics, by_label, observed, total
from hermes.web.api.callers import count_wrong_key, find_caller
from hermes.web.api_handler import ApiHandler
from hermes.web.cluster_status import cluster_fields
from hermes.web.gateway_parts import GatewayParts
from hermes.web.http.errors import HttpErrors

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
WATCHING = frozenset({Scope.STATUS, Scope.METRICS})  # either shows what is missing


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

    caller: Caller | None = None

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        self._gateway = gateway

    def get(self) -> None:
        """Respond with ``{"ready":bool,"mqtt":state,"since":Unix ms,"missing":[texts]}``.

        ``missing`` names hosts and users of the site: it is left out unless the caller may see it.
        """
        link = self._gateway.link
        missing = missing_parts(self._gateway)
        body: dict[str, Any] = {"ready": not missing, "mqtt": link.state, "since": link.since_ms}
        if self._may_see_missing():
            body["missing"] = missing
        self.set_status(503 if missing else 200)
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(body))

    head = get

    def _may_see_missing(self) -> bool:
        """Return whether the caller is on this machine, or has a key to watch Hermes."""
        try:
            caller = self.caller = find_caller(self.request, self._gateway, local=True)
        except RequestError:
            return False
        if caller is None:
            count_wrong_key(self.request, self._gateway)
            return False
        return not caller.scopes.isdisjoint(WATCHING)


def missing_parts(gateway: GatewayParts) -> list[str]:
    """Return a text for each thing without which the gateway is not ready."""
    return [*gateway.link.missing, *gateway.missing]


class MetricsHandler(ApiHandler):
    """``GET /metrics``: the text format of Prometheus."""

    methods = ("GET", "HEAD")
    scope = Scope.METRICS
    accepts_local = True

    def check_caller(self) -> Caller:
        """Return the caller; with ``--metrics-public`` every request is accepted."""
        return (
            LOCAL
            if self.gateway.settings.metrics_public and self.request.method in self.methods
            else super().check_caller()
        )

    def get(self) -> None:
        """Respond with every metric."""
        metrics = self.gateway.metrics
        self.set_header("Content-Type", CONTENT_TYPE)
        with metrics.work["metrics"]:
            text = metrics.exposition()
        self.finish(text)

    head = get


class NodeStatusHandler(ApiHandler):
    """``GET /status``: the figures of the node, for clients with an API key.

    Counts are since the start. Clients must ignore keys that they do not know.
    """

    methods = ("GET", "HEAD")
    scope = Scope.STATUS

    async def get(self) -> None:
        """Respond with the figures; with several nodes, also with those of the others."""
        body = figures(self.gateway)
        if self.gateway.cluster is not None:
            body["cluster"] = await cluster_fields(self.gateway.cluster)
        self.write_json(200, body)

    head = get


def figures(gateway: GatewayParts) -> dict[str, Any]:
    """Return the figures: times in Unix ms, durations in seconds, sizes in bytes."""
    metrics, missing = gateway.metrics, missing_parts(gateway)
    last = gateway.origin_rule.last
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
            "closed_by_client": _counts(metrics.sockets_closed_by_client),
            "refused": _counts(metrics.sockets_refused),
            "origins_refused": _count(metrics.origins_refused),
            "last_refused_origin": None if last is None else last.facts(),
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
