"""Which version of MQTT a broker speaks, learned from how connections to it end."""

from enum import IntEnum

from hermes.mqtt.endings import NoAnswer, WrongVersion

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


class Versions:
    """Which version of MQTT to try: 5 first, 3.1.1 where the broker does not know 5, and what worked again."""

    def __init__(self) -> None:
        self.current = MqttVersion.V5
        self.retry_at_once = False
        self._worked: MqttVersion | None = None
        self._silent_closes = 0

    def learn(self, lost: Exception | None, *, connected: bool) -> None:
        """Draw the conclusion from an attempt's end."""
        self.retry_at_once = False
        if connected:
            self._worked = self.current
            self._silent_closes = 0
            return
        self._silent_closes += isinstance(lost, NoAnswer)
        limit = SILENT_CLOSES_MAX_WORKED if self._worked is self.current else SILENT_CLOSES_MAX
        if not isinstance(lost, WrongVersion) and self._silent_closes < limit:
            return
        self._silent_closes = 0
        if self.current == MqttVersion.V5:
            self.current = MqttVersion.V311
            self.retry_at_once = True
        else:
            self.current = MqttVersion.V5
