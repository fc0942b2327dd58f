"""Report state and liveness to the service manager."""

import asyncio
import logging
import math
import time
from collections.abc import Callable

from hermes.appliance.notify_socket import NotifySocket

logger = logging.getLogger(__name__)

STATUS_INTERVAL_S = 1.0
FEED_INTERVAL_S = 10.0
FEEDS = 3  # in the watchdog's time, if that is short


class Supervision:
    """A task that sends the status when it changes, and feeds the watchdog.

    The watchdog is fed while the event loop runs and ``answers`` returns True. ``answers`` must depend on this process
    alone: a broker that is away is no reason to restart Hermes. ``status`` returns one line. Without a ``notify``
    socket nothing happens. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        notify: NotifySocket | None,
        *,
        status: Callable[[], str],
        answers: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notify = notify
        self._status = status
        self._answers = answers
        self._clock = clock
        self._sent_status = ""
        self._feed_due_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Report that Hermes is started, and start the task."""
        if self._notify is not None:
            self.ready()
            self._task = asyncio.create_task(self._run(), name="hermes-supervision")

    def ready(self) -> None:
        """Report that Hermes is started, or has finished to reload."""
        if self._notify is not None:
            self._sent_status = self._status()
            self._notify.ready(self._sent_status)

    def reloading(self) -> None:
        """Report that Hermes reads its settings again."""
        if self._notify is not None:
            self._notify.reloading()

    async def stop(self) -> None:
        """Report that Hermes stops, and end the task."""
        if self._notify is not None:
            self._notify.stopping()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._notify is not None:
            self._notify.close()

    async def _run(self) -> None:
        assert self._notify is not None
        interval_s = min(STATUS_INTERVAL_S, (self._notify.watchdog_s or math.inf) / FEEDS)
        while True:
            self.run_once(self._notify)
            await asyncio.sleep(interval_s)

    def run_once(self, notify: NotifySocket) -> None:
        """Send what is due now."""
        status = self._status()
        if status != self._sent_status:
            self._sent_status = status
            notify.status(status)
        now_s = self._clock()
        if notify.watchdog_s is None or now_s < self._feed_due_s:
            return
        self._feed_due_s = now_s + min(FEED_INTERVAL_S, notify.watchdog_s / FEEDS)
        if self._answers():
            notify.feed_watchdog()
        else:
            logger.error("the MQTT thread does not answer; the watchdog is not fed")
