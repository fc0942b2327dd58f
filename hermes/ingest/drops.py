"""Count the messages that are not delivered, and log the first of each kind."""

import logging

from hermes.log import LogThrottle
from hermes.metrics import Metrics
from hermes.quotas.fair_queue import Holder

logger = logging.getLogger(__name__)

REASONS = (
    "overrun",
    "unmatched",
    "excluded",
    "pointer",
    "mismatch",
    "undecodable",
    "too_long",
    "bad_id",
    "too_large",
    "too_many",
    "duplicate_copy",
    "known",
    "bad_topic",
    "error",
)


class DropCounter:
    """Dropped messages by reason, as ``hermes_mqtt_dropped_total``.

    Used by both threads of the bridge: Prometheus counters have locks, and a line that is logged twice is acceptable.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._dropped = {reason: metrics.mqtt_dropped.labels(reason) for reason in REASONS}
        self._share_dropped = metrics.share_dropped
        self._log_throttle = LogThrottle()

    def drop_share(self, store: str, holder: Holder) -> None:
        """Count an item that a full store has dropped."""
        self._share_dropped.labels(store, holder).inc()

    def ignore(self, reason: str) -> None:
        """Count a message that is not a loss; it is not logged."""
        self._dropped[reason].inc()

    def drop(
        self, reason: str, kind: str, text: str, *details: object, count: int = 1, error: Exception | None = None
    ) -> None:
        """Count dropped messages, and log the first of each reason and kind.

        ``kind`` is the text of a template or the name of an error, so there are few; ``text`` and ``details`` are as
        for `logging`. A detail that is a function is called if the line is logged.
        """
        self._dropped[reason].inc(count)
        if self._log_throttle.allow((reason, kind)):
            context = f" (template {kind})" if kind and error is None else ""
            shown = [detail() if callable(detail) else detail for detail in details]
            logger.warning(f"{text}{context}; counted as {reason}, not logged again", *shown, exc_info=error)
