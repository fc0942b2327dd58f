"""State kept from one connection attempt to the next: the MQTT version to try, and the time without a link."""

from collections.abc import Callable
from enum import IntEnum

from hermes.metrics import Metrics
from hermes.mqtt.failures import NoConnack, WrongVersion

# A 3.1.1 broker may close on a CONNECT that it cannot read (MQTT-3.1.2-2). One that has spoken this version before
# is more likely to be restarting.
SILENT_CLOSES_MAX = 2
SILENT_CLOSES_MAX_WORKED = 10


class MqttVersion(IntEnum):
    """The versions that Hermes speaks, by their number in CONNECT (MQTT 5 §3.1.2.2)."""

    V311 = 4
    V5 = 5

    def __str__(self) -> str:
        return "5" if self is MqttVersion.V5 else "3.1.1"


class VersionNegotiator:
    """Which version of MQTT to try: 5 first, 3.1.1 where the broker does not know 5, and what worked again."""

    def __init__(self) -> None:
        self.current = MqttVersion.V5
        self.retry_at_once = False
        self._worked: MqttVersion | None = None
        self._silent_closes = 0

    def record(self, lost: Exception | None, *, connected: bool) -> None:
        """Draw the conclusion from an attempt's end."""
        self.retry_at_once = False
        if connected:
            self._worked = self.current
            self._silent_closes = 0
            return
        self._silent_closes += isinstance(lost, NoConnack)
        limit = SILENT_CLOSES_MAX_WORKED if self._worked is self.current else SILENT_CLOSES_MAX
        if not isinstance(lost, WrongVersion) and self._silent_closes < limit:
            return
        self._silent_closes = 0
        if self.current == MqttVersion.V5:
            self.current = MqttVersion.V311
            self.retry_at_once = True
        else:
            self.current = MqttVersion.V5


class Downtime:
    """The time between a link's loss and its return. Used by one thread; ``clock`` gives monotonic seconds."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._began_s: float | None = None
        self._counted_s = 0.0

    def begin(self, since_s: float) -> None:
        """Lost; ``since_s`` is when the broker was last heard of."""
        self._began_s = self._counted_s = since_s
        self._metrics.mqtt_outages.inc()
        self.go_on()

    def go_on(self) -> None:
        """Still lost, if it was."""
        if self._began_s is not None:
            now_s = self._clock()
            self._metrics.mqtt_outage_s.inc(max(0.0, now_s - self._counted_s))
            self._counted_s = now_s

    def end(self) -> float | None:
        """Back: after how many seconds. None where there was no outage."""
        self.go_on()
        began_s, self._began_s = self._began_s, None
        return None if began_s is None else self._clock() - began_s
