"""Floor 3: what probes and monitors ask: ``/health``, ``/ready``, ``/metrics``."""

import orjson
from tornado.web import RequestHandler

from hermes.delivery.link_state import Link
from hermes.metrics import CONTENT_TYPE, Metrics


class HealthHandler(RequestHandler):
    """``GET /health``: 200 while the loop turns."""

    def get(self) -> None:
        """Answer."""
        self.set_header("Content-Type", "application/json")
        self.finish(b'{"status":"ok"}')


class ReadyHandler(RequestHandler):
    """``GET /ready``: 200 when devices' data can arrive, or MQTT is off; else 503 with what is missing."""

    def initialize(self, link: Link) -> None:
        """Take the link's state."""
        self._link = link

    def get(self) -> None:
        """Answer ``{"ready":bool,"mqtt":state,"since":Unix ms,"missing":[words]}``."""
        link = self._link
        self.set_status(200 if link.ready else 503)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(
            orjson.dumps({"ready": link.ready, "mqtt": link.state, "since": link.since_ms, "missing": link.missing})
        )


class MetricsHandler(RequestHandler):
    """``GET /metrics``: Prometheus' text format."""

    def initialize(self, metrics: Metrics) -> None:
        """Take the counters."""
        self._metrics = metrics

    def get(self) -> None:
        """Answer."""
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self._metrics.exposition())
