"""The devices' door: the one crossing from paho's thread to the event loop.

The thread puts what it read into a bounded queue and wakes the loop once per batch; the loop hands the batch to the
`Ingest`, which publishes it. Changes of the link cross in the same queue, so that they keep their place
between the messages. Past its bound the queue loses its oldest messages, counted: the newest values are what a
dashboard wants.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hermes.delivery.link_state import MqttLinkState
from hermes.delivery.messages import LinkStatus
from hermes.ingest.ingest import InboundMessage, Ingest
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

QUEUE_MAX_MESSAGES = 50_000  # some seconds of a busy site, while the loop is held up
QUEUE_MAX_BYTES = 64 * 1_048_576
PAYLOAD_MAX_BYTES = 1_048_576
TURN_MAX_MESSAGES = 500  # half of what an outbox holds, and about 5 ms of work: sockets get their turn in between
TURN_MAX_BYTES = 4 * 1_048_576
# After a turn's work the loop rests from MQTT as long as that took: what arrives meanwhile leaves in one write, other
# work is done, and the thread reads without being interrupted. A turn shorter than this is not worth a wait.
REST_MIN_S = 0.000_3
REST_MAX_S = 0.02


class _LinkChange(NamedTuple):
    """A change of the link, to be told on the loop; ``connected`` is what the gauge shows afterwards."""

    tell: Callable[[], None]
    connected: bool


class Bridge:
    """The queue between one MQTT client's thread and one event loop.

    ``intake`` gets each message on the loop, ``flush`` is called after each turn's last; ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        intake: Ingest,
        flush: Callable[[], None],
        link: MqttLinkState,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        queue_max_messages: int = QUEUE_MAX_MESSAGES,
        queue_max_bytes: int = QUEUE_MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._intake = intake
        self._flush = flush
        self._link = link
        self._metrics = metrics
        self._loop = loop
        self._queue_max_messages = queue_max_messages
        self._queue_max_bytes = queue_max_bytes
        self._clock = clock
        self._resting_until_s = 0.0  # the loop's clock
        self._batch: list[InboundMessage] = []  # the thread's own, until wake()
        self._lock = threading.Lock()  # guards all that follows
        self._queue: deque[InboundMessage | _LinkChange] = deque()
        self._queued_messages = 0
        self._queued_bytes = 0
        self._overrun = 0
        self._drain_pending = False

    # The thread's side. One thread only.

    def put(self, topic: str, payload: bytes, *, retained: bool, subscription_ids: Sequence[int]) -> None:
        """Take a message; the loop sees it after the next `wake`."""
        kept = payload if len(payload) <= PAYLOAD_MAX_BYTES else None
        self._batch.append(InboundMessage(topic, kept, retained, subscription_ids, int(self._clock() * 1000)))

    def put_bad_topic(self, topic: bytes) -> None:
        """Count a message whose topic is not UTF-8 (MQTT-1.5.4-1) and drop it."""
        self._metrics.mqtt_received.inc()
        self._intake.losses.drop("bad_topic", "", "topic %r is not UTF-8", topic[:200])

    def wake(self) -> None:
        """Hand over what was put since the last time; wakes the loop unless it has been woken already."""
        if self._batch:
            batch, self._batch = self._batch, []
            with self._lock:
                self._queue.extend(batch)
                self._queued_messages += len(batch)
                self._queued_bytes += sum(arrival.size for arrival in batch)
                self._drop_oldest()
        self._wake_loop()

    def connecting(self, missing: str) -> None:
        """The link is on its way up; what is still awaited."""
        self._change(_LinkChange(lambda: self._link.connecting(missing), connected=False))

    def up(self) -> None:
        """The link is connected, and every subscription granted."""
        self._change(_LinkChange(self._link.up, connected=True))

    def down(self, reason: str, *, silent_s: float = 0.0) -> None:
        """The link is lost, or could not be had: why, in words, and for how long the broker had said nothing."""
        self._change(_LinkChange(lambda: self._link.down(reason, silent_s=silent_s), connected=False))

    def _change(self, change: _LinkChange) -> None:
        self.wake()
        with self._lock:
            self._append_change(change)
        self._wake_loop()

    def _append_change(self, change: _LinkChange) -> None:
        if self._queue and isinstance(self._queue[-1], _LinkChange):
            self._queue.pop()  # nothing came in between: nobody could tell, and the queue stays bounded
        self._queue.append(change)

    def _drop_oldest(self) -> None:
        """Make the queue fit its bounds; of the link's changes among the dropped, the last one stays."""
        change: _LinkChange | None = None
        while self._queued_messages > self._queue_max_messages or self._queued_bytes > self._queue_max_bytes:
            oldest = self._queue.popleft()
            if isinstance(oldest, _LinkChange):
                change = oldest
                continue
            self._forget(oldest)
            self._overrun += 1
        if change is not None:
            self._queue.appendleft(change)

    def _forget(self, arrival: InboundMessage) -> None:
        self._queued_messages -= 1
        self._queued_bytes -= arrival.size

    def _wake_loop(self) -> None:
        with self._lock:
            if self._drain_pending or not self._queue:
                return
            self._drain_pending = True
        try:
            self._loop.call_soon_threadsafe(self._drain_when_rested)
        except RuntimeError:  # the loop is closed: nobody listens any more, and the queue stays within its bounds
            logger.debug("messages arrived after the event loop was closed")

    # The loop's side.

    def _drain_when_rested(self) -> None:
        if self._loop.time() < self._resting_until_s:
            self._loop.call_at(self._resting_until_s, self._drain)
        else:
            self._drain()

    def _drain(self) -> None:
        """Publish what is queued, a bounded part of it in each turn of the loop."""
        began_s = self._loop.time()
        items, left, overrun = self._take()
        try:
            self._publish_items(items)
            self._flush()
        except Exception as error:  # noqa: BLE001 - whatever happened to this turn, the next one must come
            self._intake.losses.drop(
                "error", type(error).__name__, "a turn's messages could not be written", error=error
            )
        if left:
            self._loop.call_soon(self._drain)
        else:
            self._rest(self._loop.time() - began_s)
        self._metrics.mqtt_received.inc(overrun)
        self._metrics.mqtt_batches.inc()
        self._metrics.mqtt_queued.set(left)
        if overrun:
            self._intake.losses.drop(
                "overrun", "", "the event loop is too slow: the oldest messages are dropped", count=overrun
            )

    def _publish_items(self, items: Sequence[InboundMessage | _LinkChange]) -> None:
        received = 0
        for item in items:
            if isinstance(item, InboundMessage):
                received += 1
                self._intake.handle(item)
            else:
                self._tell(item)
        self._metrics.mqtt_received.inc(received)

    def _tell(self, change: _LinkChange) -> None:
        """Write the link's state, and tell the sockets where that changes what they get."""
        was_down = self._link.is_down
        change.tell()
        self._metrics.mqtt_connected.set(change.connected)
        if self._link.is_down != was_down:
            self._intake.publish_link_status(LinkStatus(up=not self._link.is_down, since_ms=self._link.changed_ms))

    def _rest(self, worked_s: float) -> None:
        if worked_s >= REST_MIN_S:
            self._resting_until_s = self._loop.time() + min(worked_s, REST_MAX_S)

    def _take(self) -> tuple[list[InboundMessage | _LinkChange], int, int]:
        """The items of this turn, the number of those left, and the number lost before it."""
        items: list[InboundMessage | _LinkChange] = []
        size = 0
        with self._lock:
            while self._queue and len(items) < TURN_MAX_MESSAGES and size < TURN_MAX_BYTES:
                item = self._queue.popleft()
                if isinstance(item, InboundMessage):
                    self._forget(item)
                    size += item.size
                items.append(item)
            left, overrun, self._overrun = len(self._queue), self._overrun, 0
            self._drain_pending = left > 0
        return items, left, overrun
