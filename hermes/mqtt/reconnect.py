"""State from one connection attempt to the next.

It holds the MQTT version to try and the time without a connection.
"""

from collections.abc import Callable
from enum import IntEnum

from hermes.metrics import Metrics
from hermes.mqtt.failures import NoConnack, WrongVersion

# A 3.1.1 broker may close the connection at a CONNECT that it cannot read (MQTT-3.1.2-2). A broker that has accepted
# this version before is more likely to be restarting.
UNANSWERED_MAX = 2
UNANSWERED_MAX_IF_ACCEPTED = 10


class MqttVersion(IntEnum):
    """The versions that Hermes supports, by their number in CONNECT (MQTT 5 §3.1.2.2)."""

    V311 = 4
    V5 = 5

    def __str__(self) -> str:
        return "5" if self is MqttVersion.V5 else "3.1.1"


class VersionNegotiator:
    """Choose the MQTT version to try.

    The first is 5, then 3.1.1 if the broker does not support 5, and later the version that was accepted.
    """

    def __init__(self) -> None:
        self.current = MqttVersion.V5
        self.retry_at_once = False
        self._accepted: MqttVersion | None = None
        self._unanswered = 0

    def record(self, failure: Exception | None, *, connected: bool) -> None:
        """Choose the next version from the end of an attempt."""
        self.retry_at_once = False
        if connected:
            self._accepted = self.current
            self._unanswered = 0
            return
        self._unanswered += isinstance(failure, NoConnack)
        limit = UNANSWERED_MAX_IF_ACCEPTED if self._accepted is self.current else UNANSWERED_MAX
        if not isinstance(failure, WrongVersion) and self._unanswered < limit:
            return
        self._unanswered = 0
        if self.current == MqttVersion.V5:
            self.current = MqttVersion.V311
            self.retry_at_once = True
        else:
            self.current = MqttVersion.V5


class Downtime:
    """Measure the time without a connection.

    It is used by one thread. ``clock`` gives monotonic seconds.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._began_s: float | None = None
        self._counted_s = 0.0

    def start(self, since_s: float) -> None:
        """Count an outage; ``since_s`` is when the broker's last bytes arrived."""
        self._began_s = self._counted_s = since_s
        self._metrics.mqtt_outages.inc()
        self.update()

    def update(self) -> None:
        """Add the time since the last update to the metric, if there is an outage."""
        if self._began_s is not None:
            now_s = self._clock()
            self._metrics.mqtt_outage_s.inc(max(0.0, now_s - self._counted_s))
            self._counted_s = now_s

    def end(self) -> float | None:
        """End the outage and return its length in seconds; None if there was none."""
        self.update()
        began_s, self._began_s = self._began_s, None
        return None if began_s is None else self._counted_s - began_s
