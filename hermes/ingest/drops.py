"""The devices' door: messages that are not delivered, counted by reason, the first of each kind in the log."""

import logging

from hermes.log_throttle import LogThrottle
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

REASONS = (
    "overrun",
    "unmatched",
    "excluded",
    "pointer",
    "mismatch",
    "undecodable",
    "too_long",
    "too_large",
    "duplicate_copy",
    "known",
    "bad_topic",
    "error",
)


class DropCounter:
    """Used by the bridge's two threads: a counter locks itself, and a line that two threads log twice does no harm."""

    def __init__(self, metrics: Metrics) -> None:
        self._dropped = {reason: metrics.mqtt_dropped.labels(reason) for reason in REASONS}
        self._log_throttle = LogThrottle()

    def expected(self, reason: str) -> None:
        """Count one that nobody misses: there is nothing to log."""
        self._dropped[reason].inc()

    def drop(
        self, reason: str, kind: str, text: str, *details: object, count: int = 1, error: Exception | None = None
    ) -> None:
        """Count a loss, and log the first of its reason and kind; later ones only count. ``kind`` is a template's text
        or an error's name: there are few.
        """
        self._dropped[reason].inc(count)
        if self._log_throttle.allow((reason, kind)):
            context = f" (template {kind})" if kind and error is None else ""
            logger.warning(f"{text}{context}; counted as {reason}, not logged again", *details, exc_info=error)
