"""Floor 2: the one timer of all sessions. Once a second it closes expired ones, pings, and drops silent ones."""

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
    """A task, started and stopped by the server. It wakes as the wall clock's second turns, because ``exp`` claims
    are whole seconds: an expired token's socket closes milliseconds after.
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
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; call once, on the loop."""
        self._task = asyncio.create_task(self._run(), name="hermes-sweep")

    async def stop(self) -> None:
        """End the task and wait for it."""
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
            self.once()

    def once(self) -> None:
        """Sweep all sessions, and what is remembered, now."""
        self._last_values.expire()
        wall_s, monotonic_s = self._clock(), time.monotonic()
        sessions = tuple(self._hub.sessions)
        self._metrics.sockets_blocked.set(sum([session.blocked for session in sessions]))
        for session in sessions:
            try:
                session.sweep(
                    wall_s=wall_s,
                    monotonic_s=monotonic_s,
                    ping_interval_s=self._ping_interval_s,
                    ping_timeout_s=self._ping_timeout_s,
                )
            except Exception:  # a task's top: one bad session must not stop expiry for all the others
                logger.exception("sweep failed")
