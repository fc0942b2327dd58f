"""Floor 1: the state of the MQTT link. Written by ``mqtt/`` on the event loop, shown by ``web/``."""

import time
from collections.abc import Callable
from enum import StrEnum


class LinkState(StrEnum):
    """What an operator is told."""

    OFF = "off"
    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"


class MqttLinkState:
    """Whether devices' data arrives, since when, and what is missing where it does not."""

    def __init__(self, *, off: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.state = LinkState.OFF if off else LinkState.CONNECTING
        self.since_ms = int(clock() * 1000)
        self.changed_ms = self.since_ms
        self.missing: tuple[str, ...] = () if off else ("not connected to the MQTT broker yet",)

    @property
    def is_down(self) -> bool:
        """Whether it is known that no data arrives; ``changed_ms`` is since when that, or the contrary, is so. In the
        first moment after a start nothing is known yet.
        """
        return self.state is LinkState.DOWN

    @property
    def ready(self) -> bool:
        """True when connected and subscribed, or when MQTT is off."""
        return self.state in (LinkState.UP, LinkState.OFF)

    def up(self) -> None:
        """Connected, and every subscription granted."""
        self._enter(LinkState.UP, ())

    def connecting(self, missing: str) -> None:
        """On the way up: what is still awaited."""
        self._enter(LinkState.CONNECTING, (missing,))

    def down(self, missing: str, *, silent_s: float = 0.0) -> None:
        """Lost, or never reached: why, in words, and for how long nothing had been heard before that was noticed."""
        self._enter(LinkState.DOWN, (missing,), silent_s)

    def _enter(self, state: LinkState, missing: tuple[str, ...], ago_s: float = 0.0) -> None:
        if state is not self.state:
            was_down, self.state = self.is_down, state
            self.since_ms = int((self._clock() - ago_s) * 1000)
            if was_down != self.is_down:
                self.changed_ms = self.since_ms
        self.missing = missing
