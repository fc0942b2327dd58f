"""The parts of an inbox that handlers use."""

from hermes.cluster.bus import Bus
from hermes.delivery.hub import Hub
from hermes.delivery.reconnect_delay import ReturnRate
from hermes.inbox.inbox import InboxStore
from hermes.inbox.read_state import ReadState
from hermes.inbox.remote import RemoteEntries
from hermes.inbox.resumption import ResumedSockets
from hermes.inbox.sender import Sender
from hermes.inbox.wakeups import Wakeups
from hermes.metrics import Metrics


class InboxParts:
    """An inbox, and what sends to it and reads from it.

    ``ttl_s`` is how long a row is kept by default.
    """

    def __init__(
        self, *, store: InboxStore, hub: Hub, bus: Bus, return_rate: ReturnRate, metrics: Metrics, ttl_s: int
    ) -> None:
        self.store = store
        self._metrics = metrics
        self.wakeups = Wakeups()
        self.read_state = ReadState(inbox=store, bus=bus, wakeups=self.wakeups, metrics=metrics)
        self.remote = RemoteEntries(inbox=store, hub=hub, wakeups=self.wakeups, read_state=self.read_state)
        self.sender = Sender(
            inbox=store,
            bus=bus,
            wakeups=self.wakeups,
            metrics=metrics,
            ttl_s=ttl_s,
            receipt_of=self.remote.receipt_of,
        )
        self.resumed = ResumedSockets(return_rate)
        store.on_new_epoch(self._begin_series)
        metrics.inbox_queued.set_function(lambda: store.waiting)
        metrics.inbox_waits.set_function(lambda: self.wakeups.waiters + self.read_state.waiting)

    def _begin_series(self) -> None:
        self.remote.forget()
        self.wakeups.wake_all()
        self.resumed.begin_again()

    async def stop(self) -> None:
        """Commit what was accepted and close the inbox; may be repeated."""
        await self.resumed.stop()
        await self.read_state.stop()
        await self.store.stop()
