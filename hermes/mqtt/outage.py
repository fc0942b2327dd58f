"""The devices' door: how long the link was lost, counted while it still is, so that nobody has to wait for its end."""

from collections.abc import Callable

from hermes.metrics import Metrics


class Outage:
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
