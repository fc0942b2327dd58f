"""An MQTT client that runs in its own thread and reconnects automatically.

The thread connects, subscribes, reads, and passes every message to the bridge. When a connection ends, for whatever
reason, it logs the reason, waits, and opens a new one.

Subscriptions have QoS 0 unless a persistent session is configured. A broker has a bounded queue per client for QoS 1
and 2, and drops without notice what does not fit (mosquitto: beyond 1,000 messages; of 5,000 retained topics QoS 1
delivered 1,020, QoS 0 all). And an acknowledged message would still be lost with the browser that it is for.
"""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable

from hermes.backoff import Backoff
from hermes.log import LogThrottle
from hermes.metrics import Metrics
from hermes.mqtt import failures
from hermes.mqtt.bridge import Bridge
from hermes.mqtt.connection import Connection, Publication
from hermes.mqtt.failures import RefusedByBroker
from hermes.mqtt.net.waker import Waker
from hermes.mqtt.paho_hooks import can_ping, client_class
from hermes.mqtt.reconnect import Downtime, VersionNegotiator
from hermes.settings.mqtt import MqttOptions
from hermes.settings.urls.mqtt import MqttUrl
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 8.0  # only a name server can delay the thread so long; all other waits are interrupted
OUTBOX_MAX_MESSAGES = 1_000
# A connection that ends sooner is a flap, not a success: else two clients of one id would disconnect each other without
# end, four times a second. (mosquitto 2.0.11 gives the disconnected client no reason.)
STABLE_S = 1.0
FLAPS_LOGGED = 3  # one by one; later ones are throttled
LOG_INTERVAL_S = 600.0  # between lines about one failure: among the last lines of a log, and does not fill it


class MqttClient:
    """A connection to one broker that is restored automatically.

    With ``bridge`` and ``topics`` it subscribes and passes messages on; without them it only publishes. ``backoff`` and
    ``clock`` (monotonic seconds) are for tests.
    """

    def __init__(
        self,
        url: MqttUrl,
        *,
        metrics: Metrics,
        options: MqttOptions | None = None,
        bridge: Bridge | None = None,
        topics: TopicMap | None = None,
        thread_name: str = "hermes-mqtt",
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._options = options or MqttOptions()
        self._metrics = metrics
        self._bridge = bridge
        self._topics = topics
        # MQTT 5 §3.1.3.1: every broker accepts 23 letters and digits
        self._client_id = self._options.client_id or f"hermes{secrets.token_hex(6)}"
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._versions = VersionNegotiator()
        self._log_throttle = LogThrottle(LOG_INTERVAL_S, clock=clock)
        self._downtime = Downtime(metrics, clock)
        self._outbox: deque[Publication] = deque()
        self._on_demand_filters: frozenset[str] = frozenset()
        self._connection: Connection | None = None
        self._asked: tuple[Connection, int] | None = None
        self._online = False
        self._ready_s = 0.0
        self._flaps = 0  # connections in a row that ended within STABLE_S
        self._stopping = threading.Event()
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    @property
    def online(self) -> bool:
        """Whether the client is connected and all template subscriptions are granted."""
        return self._online

    def start(self) -> None:
        """Start the thread, which connects. To be called once."""
        client_class()  # the first start probes paho
        if self._bridge is not None:
            can_ping()
        self._thread.start()

    def stop(self) -> None:
        """Disconnect and end the thread; harmless if it has ended or was never started.

        Blocks for a few milliseconds, and for at most `STOP_TIMEOUT_S` if a name server does not answer: on the event
        loop, ``await asyncio.to_thread(client.stop)``.
        """
        self._stopping.set()
        self._waker.wake()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)
            if self._thread.is_alive():
                logger.warning("the thread %s did not end in %s s", self._thread.name, STOP_TIMEOUT_S)
                return
        self._waker.close()

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> bool:
        """Send a message with QoS 0; any thread may call this.

        Return False, and count the message as lost, if it cannot be queued: the client is offline, or
        `OUTBOX_MAX_MESSAGES` are queued. Raises ValueError if the topic is empty or contains a wildcard.
        """
        if not topic or "+" in topic or "#" in topic:
            raise ValueError(f"{topic!r} is not a topic to publish on")
        if not self._online or len(self._outbox) >= OUTBOX_MAX_MESSAGES:
            self._metrics.mqtt_publish_lost.inc()
            return False
        self._outbox.append(Publication(topic, payload, retain))
        self._waker.wake()
        return True

    def set_filters(self, filters: frozenset[str]) -> None:
        """Subscribe to exactly these filters besides those of the templates.

        They apply now and after each reconnect. Any thread may call this. If the broker refuses a filter, an error is
        logged and the connection stays open.
        """
        self._on_demand_filters = filters
        self._waker.wake()

    def answers(self) -> bool:
        """Wake the thread, and return whether it has answered the previous call.

        To be called every few seconds, after `start`. A thread that connects, or waits before the next attempt, need
        not answer: the reason may be a broker or a name server.
        """
        connection = self._connection
        asked, self._asked = self._asked, None
        if connection is not None and connection.turns:
            self._asked = (connection, connection.turns)
        self._waker.wake()
        return self._thread.is_alive() and (asked is None or asked != self._asked)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Make attempt after attempt until the client is stopped."""
        if self._bridge is not None:
            self._bridge.connecting(f"connecting to {self._url}")
        while not self._stopping.is_set():
            failure = self._attempt()
            if self._stopping.is_set():
                break
            if self._bridge is not None:
                last_read_s = self._clock() if self._connection is None else self._connection.last_read_s
                self._bridge.down(failures.reason(failure), silent_s=self._clock() - last_read_s)
            if not self._versions.retry_at_once:
                short = self._flaps > 0 or failures.is_local(failure)
                self._stopping.wait(self._backoff.next_delay_s(short=short))

    def _attempt(self) -> Exception | None:
        """Run one connection from its start to its end. Return why it ended."""
        connection: Connection | None = None
        failure: Exception | None = None
        try:
            connection = self._connection = self._new_connection()
            connection.open()
            connection.serve(
                on_ready=self._on_ready,
                on_retained_sent=None if self._bridge is None else self._bridge.retained_sent,
            )
        except Exception as error:  # noqa: BLE001 - the thread's top: it outlives whatever ends a connection
            failure = error
        was_online, self._online = self._online, False
        self._metrics.mqtt_publish_lost.inc(len(self._outbox))
        self._outbox.clear()
        if connection is not None:
            connection.turns = 0
            connection.close()
        self._versions.record(failure, connected=connection is not None and connection.connected)
        if failure is not None and not self._stopping.is_set():
            self._on_failure(failure, connection if was_online else None)
        return failure

    def _new_connection(self) -> Connection:
        return Connection(
            self._url,
            options=self._options,
            version=self._versions.current,
            client_id=self._client_id,
            topics=self._topics,
            bridge=self._bridge,
            outbox=self._outbox,
            on_demand_filters=lambda: self._on_demand_filters,
            waker=self._waker,
            stopping=self._stopping,
            clock=self._clock,
        )

    def _on_ready(self) -> None:
        self._online = True
        self._ready_s = self._clock()
        if self._flaps == 0:
            self._log_throttle.clear()
        down_s = self._downtime.end() if self._bridge is not None else None
        back = "" if down_s is None else f": back after {down_s:.1f} s; {self._loss()}"
        level = logging.INFO if self._flaps < FLAPS_LOGGED else logging.DEBUG
        logger.log(level, "%s connected to %s, MQTT %s%s", self._thread.name, self._url, self._versions.current, back)
        if self._bridge is not None:
            self._metrics.mqtt_connects.inc()
            self._bridge.up()

    def _loss(self) -> str:
        """Return which messages of the outage are lost, for the log."""
        if self._connection is not None and self._connection.session_present:
            return "the broker stored what devices published meanwhile with QoS 1, as far as its queue allowed"
        if not self._options.clean_start:
            return "the broker had not stored the session; what devices published meanwhile without retain is lost"
        return "what devices published meanwhile without retain is lost"

    def _on_failure(self, failure: Exception, online: Connection | None) -> None:
        """Count and log the failure; ``online`` is the connection if it was online.

        Each loss of such a connection is logged; attempts that fail for one reason, and flaps, are throttled.
        """
        if online is None:
            self._downtime.update()
        else:
            self._count_outage(failure, online)
        reason = failures.reason(failure)
        flapping = self._flaps >= FLAPS_LOGGED
        if flapping and self._options.client_id is not None:
            reason += "; does another client use the same --mqtt-client-id?"
        times = self._log_throttle.allow(reason)
        if times or (online is not None and not flapping):
            self._log_failure(failure, reason, "cannot connect to" if online is None else "lost", times)

    def _count_outage(self, failure: Exception, online: Connection) -> None:
        if self._clock() - self._ready_s >= STABLE_S and not isinstance(failure, RefusedByBroker):
            self._flaps = 0
            self._backoff.reset()
        else:
            self._flaps += 1
        if self._bridge is not None:
            self._downtime.start(online.last_read_s)

    def _log_failure(self, failure: Exception, reason: str, event: str, times: int) -> None:
        error = None if failures.is_expected(failure) else failure  # only our own errors need a traceback
        level = logging.ERROR if error or failures.is_permanent(failure) else logging.WARNING
        repeated = f" ({times} times since the last such line)" if times > 1 else ""
        logger.log(level, "%s %s %s: %s%s", self._thread.name, event, self._url, reason, repeated, exc_info=error)
