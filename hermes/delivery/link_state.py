"""The state of the MQTT link, written by ``mqtt/`` and read by ``web/``."""

import time
from collections.abc import Callable
from enum import StrEnum


class LinkState(StrEnum):
    """The states as ``/status`` shows them."""

    OFF = "off"
    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"


class MqttLinkState:
    """Whether device data arrives, since when, and what is missing if it does not.

    ``since_ms`` (Unix milliseconds) is when the state last changed; ``changed_ms`` when `is_down` last changed;
    ``missing`` has one text for each thing that is missing. ``clock`` gives Unix seconds.
    """

    def __init__(self, *, off: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.state = LinkState.OFF if off else LinkState.CONNECTING
        self.since_ms = int(clock() * 1000)
        self.changed_ms = self.since_ms
        self.missing: tuple[str, ...] = () if off else ("not connected to the MQTT broker yet",)

    @property
    def is_down(self) -> bool:
        """Whether data certainly does not arrive.

        This is not known yet while the first connection is made.
        """
        return self.state is LinkState.DOWN

    @property
    def ready(self) -> bool:
        """True when connected and subscribed, or when MQTT is off."""
        return self.state in (LinkState.UP, LinkState.OFF)

    def up(self) -> None:
        """Record that the link is connected and every subscription granted."""
        self._enter(LinkState.UP, ())

    def connecting(self, missing: str) -> None:
        """Record that the link is being established, and what it waits for."""
        self._enter(LinkState.CONNECTING, (missing,))

    def down(self, missing: str, *, silent_s: float = 0.0) -> None:
        """Record that the link is lost or was never up, and why.

        ``silent_s`` is how long ago the broker's last bytes arrived: the link counts as down since then.
        """
        self._enter(LinkState.DOWN, (missing,), silent_s)

    def _enter(self, state: LinkState, missing: tuple[str, ...], ago_s: float = 0.0) -> None:
        if state is not self.state:
            was_down, self.state = self.is_down, state
            self.since_ms = int((self._clock() - ago_s) * 1000)
            if was_down != self.is_down:
                self.changed_ms = self.since_ms
        self.missing = missing
