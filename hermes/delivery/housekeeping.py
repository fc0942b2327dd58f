"""Once a second: close expired sessions, ping, and drop silent sessions."""

import asyncio
import logging
import time
from collections.abc import Callable

from hermes.delivery.hub import Hub
from hermes.delivery.last_values import LastValues
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

PERIOD_S = 1.0


class Sweep:
    """A task that checks all sessions once a second.

    It runs at the beginning of each second of the wall clock, because ``exp`` claims are whole seconds: the socket of
    an expired token closes milliseconds later. The two times of pings may be changed. ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        last_values: LastValues,
        metrics: Metrics,
        ping_interval_s: float,
        ping_timeout_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hub = hub
        self._last_values = last_values
        self._metrics = metrics
        self.ping_interval_s = ping_interval_s
        self.ping_timeout_s = ping_timeout_s
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task on the running event loop; call once."""
        self._task = asyncio.create_task(self._run(), name="hermes-sweep")

    async def stop(self) -> None:
        """Cancel the task and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            delay_s = PERIOD_S - self._clock() % PERIOD_S
            due_s = time.monotonic() + delay_s
            await asyncio.sleep(delay_s)
            self._metrics.loop_lag_s.observe(max(0.0, time.monotonic() - due_s))
            with self._metrics.work["housekeeping"]:
                self.run_once()
            self._metrics.work.update()

    def run_once(self) -> None:
        """Check all sessions and the age of the last values now."""
        self._last_values.expire()
        wall_s, monotonic_s = self._clock(), time.monotonic()
        sessions = tuple(self._hub.sessions)
        self._metrics.sockets_blocked.set(sum([session.blocked for session in sessions]))
        for session in sessions:
            try:
                session.sweep(
                    wall_s=wall_s,
                    monotonic_s=monotonic_s,
                    ping_interval_s=self.ping_interval_s,
                    ping_timeout_s=self.ping_timeout_s,
                )
            except Exception:  # the task must go on: one bad session must not stop expiry for all others
                logger.exception("the check of a session failed")
