"""Pass messages from the MQTT client's thread to the event loop.

The thread puts what it read into a bounded queue and wakes the loop once per batch; the loop passes the batch to
`Ingest`, which publishes it. Changes of the link's state use the same queue, so that they stay in order with the
messages. When the queue is full it drops messages, with fair shares for tenants and devices: see
`hermes.ingest.inbound_queue`.
"""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from hermes.delivery.link_state import MqttLinkState
from hermes.delivery.messages import LinkStatus, now_ms
from hermes.ingest.inbound_queue import InboundQueue, LinkChange
from hermes.ingest.ingest import InboundMessage, Ingest
from hermes.metrics import Metrics
from hermes.quotas.fair_queue import HOLDERS

logger = logging.getLogger(__name__)

QUEUE_MAX_MESSAGES = 50_000  # some seconds of a busy site, while the loop is blocked
QUEUE_MAX_BYTES = 64 * 1_048_576
PAYLOAD_MAX_BYTES = 1_048_576
TURN_MAX_MESSAGES = 500  # half of what an outbox holds; sockets are served between turns
TURN_MAX_S = 0.005  # what 500 usual messages take; large payloads take much longer
SLICE_MAX_MESSAGES = 50  # taken at once; the time is looked at between slices
SLICE_MAX_BYTES = 32_768
# After a turn the loop pauses MQTT for as long as the turn took: what arrives meanwhile leaves in one write, other work
# is done, and the thread reads without interruption. After a turn shorter than PAUSE_MIN_S a pause is not worth it.
PAUSE_MIN_S = 0.000_3
PAUSE_MAX_S = 0.02


class Bridge:
    """The queue between one MQTT client's thread and one event loop.

    ``ingest`` gets each message on the loop; ``flush`` is called at the end of each turn. ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        ingest: Ingest,
        flush: Callable[[], None],
        link: MqttLinkState,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        queue_max_messages: int = QUEUE_MAX_MESSAGES,
        queue_max_bytes: int = QUEUE_MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ingest = ingest
        self._flush = flush
        self._link = link
        self._metrics = metrics
        self._work = metrics.work["mqtt"]
        self._share_dropped = {holder: metrics.share_dropped.labels("mqtt_queue", holder) for holder in HOLDERS}
        self._loop = loop
        self._clock = clock
        self._paused_until_s = 0.0  # the loop's clock
        self._batch: list[InboundMessage] = []  # used by the thread only, until wake()
        self._retained_dropped = 0  # by the queue before this connection; used by the thread only
        self._taken: deque[InboundMessage | LinkChange] = deque()  # from the queue; used on the loop only
        self._lock = threading.Lock()  # protects the attributes below
        self._queue = InboundQueue(
            sender_of=ingest.sender_of, max_messages=queue_max_messages, max_bytes=queue_max_bytes
        )
        self._drain_pending = False

    # -- called by the thread -----------------------------------------------------------------------------------------

    def put(self, topic: str, payload: bytes, *, retained: bool, subscription_ids: Sequence[int]) -> None:
        """Add a message to the batch; the loop gets it after the next `wake`."""
        bounded = payload if len(payload) <= PAYLOAD_MAX_BYTES else None
        self._batch.append(InboundMessage(topic, bounded, retained, subscription_ids, int(self._clock() * 1000)))

    def put_bad_topic(self, topic: bytes) -> None:
        """Count and drop a message with a topic that is not UTF-8 (MQTT-1.5.4-1)."""
        self._metrics.mqtt_received.inc()
        self._ingest.drops.drop("bad_topic", "", "topic %r is not UTF-8", topic[:200])

    def wake(self) -> None:
        """Queue the batch, and wake the loop unless it has been woken already."""
        if self._batch:
            batch, self._batch = self._batch, []
            with self._lock:
                self._queue.extend(batch)
        self._wake_loop()

    def connecting(self, missing: str) -> None:
        """Record that the link is being established; ``missing`` says what it waits for."""
        self._change(LinkChange(lambda: self._link.connecting(missing), connected=False))

    def up(self) -> None:
        """Record that the link is connected and every subscription granted."""
        self._change(LinkChange(self._link.up, connected=True))

    def down(self, reason: str, *, silent_s: float = 0.0) -> None:
        """Record that the link is down, and why.

        ``silent_s`` is the number of seconds since the broker's last bytes arrived.
        """
        self._change(LinkChange(lambda: self._link.down(reason, silent_s=silent_s), connected=False, lost=True))
        with self._lock:
            self._retained_dropped = self._queue.retained_dropped

    def retained_sent(self) -> None:
        """Record that the broker has sent all of its retained messages since `up`."""
        self._change(LinkChange(self._link.up, connected=True, retained_dropped=self._retained_dropped))

    def _change(self, change: LinkChange) -> None:
        self.wake()
        with self._lock:
            self._queue.append_change(change)
        self._wake_loop()

    def _wake_loop(self) -> None:
        with self._lock:
            if self._drain_pending or not self._queue:
                return
            self._drain_pending = True
        try:
            self._loop.call_soon_threadsafe(self._drain_after_pause)
        except RuntimeError:  # the loop is closed; the queue stays within its bounds
            logger.debug("messages arrived after the event loop was closed")

    # -- called on the loop -------------------------------------------------------------------------------------------

    def _drain_after_pause(self) -> None:
        if self._loop.time() < self._paused_until_s:
            self._loop.call_at(self._paused_until_s, self._drain)
        else:
            self._drain()

    def resume(self) -> None:
        """Publish what the ingest has still to publish; for a caller outside a turn."""
        with self._lock:
            if self._drain_pending:
                return
            self._drain_pending = True
        self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        """Publish what is queued, a bounded part of it in each turn of the loop."""
        began_s = self._loop.time()
        messages = overrun = 0
        left: int | None = None  # in the queue, when it was looked at
        try:
            with self._work:
                while messages < TURN_MAX_MESSAGES:
                    if not self._taken and self._ingest.unfinished is None:
                        left, dropped = self._take(TURN_MAX_MESSAGES - messages)
                        overrun += dropped
                    messages += self._publish_taken()
                    is_done = left == 0 and not self._taken and self._ingest.unfinished is None
                    if is_done or self._loop.time() - began_s >= TURN_MAX_S:
                        break
                self._ingest.continue_background()
                self._work.detail = f"{messages} messages"
            self._flush()
        except Exception as error:  # noqa: BLE001 - whatever fails in this turn, the next one must run
            self._ingest.drops.drop(
                "error", type(error).__name__, "a turn's messages could not be written", error=error
            )
        if not self._continue(left):
            self._pause(self._loop.time() - began_s)
        self._metrics.mqtt_received.inc(overrun)
        self._metrics.mqtt_batches.inc()
        self._metrics.mqtt_queued.set((left or 0) + len(self._taken))
        if overrun:
            self._ingest.drops.drop(
                "overrun", "", "the event loop is too slow: the oldest messages are dropped", count=overrun
            )

    def _continue(self, left: int | None) -> bool:
        """Schedule the next turn if something is left; return whether it is.

        ``left`` is None if the queue was not looked at in this turn.
        """
        if left == 0 and not self._taken and not self._ingest.has_work:
            return False
        with self._lock:
            scheduled = left == 0 and self._drain_pending  # by the thread, which has added messages meanwhile
            self._drain_pending = True
        if not scheduled:
            self._loop.call_soon(self._drain)
        return True

    def _publish_taken(self) -> int:
        """Publish what was taken from the queue, up to a message that needs more turns.

        Return how many items were handled; a part of a message counts as one.
        """
        ingest, taken = self._ingest, self._taken
        if ingest.unfinished is not None:
            ingest.continue_message()
            return 1
        handled = received = 0
        while taken and ingest.unfinished is None:
            item = taken.popleft()
            handled += 1
            if isinstance(item, InboundMessage):
                received += 1
                ingest.handle(item)
            else:
                self._apply(item)
        self._metrics.mqtt_received.inc(received)
        return handled

    def _apply(self, change: LinkChange) -> None:
        """Change the link's state, and publish it if it changes what sockets get."""
        if change.lost:
            self._ingest.link_lost()
        was_down = self._link.is_down
        change.apply()
        self._metrics.mqtt_connected.set(change.connected)
        if self._link.is_down != was_down:
            self._ingest.publish_link_status(LinkStatus(up=not self._link.is_down, since_ms=self._link.changed_ms))
        elif change.lost and self._link.ready:  # the loop was blocked, and has missed that the link was down
            self._ingest.publish_link_status(LinkStatus(up=True, since_ms=now_ms()))
        if change.retained_dropped is not None:
            self._retained_sent(change.retained_dropped)

    def _retained_sent(self, dropped_before: int) -> None:
        if self._queue.retained_dropped == dropped_before:
            self._ingest.retained_sent()
        else:
            logger.warning("retained messages were dropped: values from before the outage stay marked as stale")

    def _pause(self, worked_s: float) -> None:
        if worked_s >= PAUSE_MIN_S:
            self._paused_until_s = self._loop.time() + min(worked_s, PAUSE_MAX_S)

    def _take(self, most: int) -> tuple[int, int]:
        """Take the next items, at most so many, from the queue.

        Return the number of items left, and of messages dropped before.
        """
        with self._lock:
            self._taken.extend(self._queue.take(min(most, SLICE_MAX_MESSAGES), SLICE_MAX_BYTES))
            left = len(self._queue)
            dropped, self._queue.dropped = self._queue.dropped, Counter()
            self._drain_pending = left > 0
        for holder, count in dropped.items():
            self._share_dropped[holder].inc(count)
        return left, dropped.total()
