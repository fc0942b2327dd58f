"""The devices' door: the link to the broker, in a thread of its own, that always comes back.

The thread connects, subscribes, reads, and hands everything to the bridge; when a connection ends, for whatever reason,
it says why, waits a little, and makes a new one.

Messages are subscribed to with QoS 0 unless a kept session is asked for. A broker keeps a bounded queue per client for
QoS 1 and 2 and drops silently what does not fit (mosquitto: beyond 1,000 messages; of 5,000 retained topics QoS 1
delivered 1,020, QoS 0 all), and an acknowledged message would still be lost with the browser that was to see it.
"""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable

from hermes.backoff import Backoff
from hermes.log_throttle import LogThrottle
from hermes.metrics import Metrics
from hermes.mqtt import failures
from hermes.mqtt.bridge import Bridge
from hermes.mqtt.connection import Connection, Publication
from hermes.mqtt.failures import RefusedByBroker
from hermes.mqtt.net.waker import Waker
from hermes.mqtt.reconnect import Downtime, VersionNegotiator
from hermes.settings.mqtt import MqttOptions
from hermes.settings.mqtt_url import MqttUrl
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 8.0  # only a name server can hold the thread up; all other waits are interrupted
OUTBOX_MAX_MESSAGES = 1_000
# A connection that ends sooner is no success: else two clients of one id would send each other away for ever, four
# times a second. (mosquitto 2.0.11 gives the one it sends away no reason.)
SETTLED_S = 1.0
FLAPS_TOLD = 3  # one by one; after that they are one complaint
LOG_INTERVAL_S = 600.0  # between lines about one failure: among the last lines of a log, and does not fill it


class MqttClient:
    """A link to one broker that comes back by itself.

    With ``bridge`` and ``topics`` it subscribes and hands over what arrives; without, it only publishes.
    ``backoff`` and ``clock`` (monotonic seconds) are for tests.
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
        # MQTT 5 §3.1.3.1: 23 letters and digits is what every broker takes
        self._client_id = self._options.client_id or f"hermes{secrets.token_hex(6)}"
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._versions = VersionNegotiator()
        self._log_throttle = LogThrottle(LOG_INTERVAL_S, clock=clock)
        self._outage = Downtime(metrics, clock)
        self._outbox: deque[Publication] = deque()
        self._wanted: frozenset[str] = frozenset()
        self._connection: Connection | None = None
        self._online = False
        self._ready_s = 0.0
        self._flaps = 0  # connections in a row that ended as soon as they were ready
        self._stopping = threading.Event()
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    @property
    def online(self) -> bool:
        """Connected, and every subscription of the templates granted."""
        return self._online

    def start(self) -> None:
        """Begin to connect, in a thread of its own. To be called once."""
        self._thread.start()

    def stop(self) -> None:
        """Disconnect and end the thread; harmless if it has ended or never began.

        Blocks for a few milliseconds, and for at most `STOP_TIMEOUT_S` where a name server does not answer: on the
        event loop, ``await asyncio.to_thread(client.stop)``.
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
        """Send with QoS 0, from any thread. False where it is offline or too much is waiting: the message is lost.

        Raises ValueError where the topic is empty or holds a wildcard.
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
        """Be subscribed to these as well as to the templates', from now on and after each return; from any thread.

        They replace what was wanted before. One that the broker refuses is an error in the log, and the link stays.
        """
        self._wanted = filters
        self._waker.wake()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Attempt after attempt until it is stopped."""
        if self._bridge is not None:
            self._bridge.connecting(f"connecting to {self._url}")
        while not self._stopping.is_set():
            lost = self._attempt()
            if self._stopping.is_set():
                break
            if self._bridge is not None:
                heard_s = self._clock() if self._connection is None else self._connection.heard_s
                self._bridge.down(failures.reason(lost), silent_s=self._clock() - heard_s)
            if not self._versions.retry_at_once:
                self._stopping.wait(self._backoff.wait_s(cheap=self._flaps > 0 or failures.is_local(lost)))

    def _attempt(self) -> Exception | None:
        """One connection, from its beginning to its end. Returns why it ended."""
        connection: Connection | None = None
        lost: Exception | None = None
        try:
            connection = self._connection = self._new_connection()
            connection.open(self._stopping)
            connection.serve(self._stopping, on_ready=self._ready)
        except Exception as error:  # noqa: BLE001 - the thread's door: it outlives whatever ends a connection
            lost = error
        was_online, self._online = self._online, False
        self._metrics.mqtt_publish_lost.inc(len(self._outbox))
        self._outbox.clear()
        if connection is not None:
            connection.close()
        self._versions.record(lost, connected=connection is not None and connection.connected)
        if lost is not None and not self._stopping.is_set():
            self._note_loss(lost, connection if was_online else None)
        return lost

    def _new_connection(self) -> Connection:
        return Connection(
            self._url,
            options=self._options,
            version=self._versions.current,
            client_id=self._client_id,
            topics=self._topics,
            bridge=self._bridge,
            outbox=self._outbox,
            wanted=lambda: self._wanted,
            waker=self._waker,
            clock=self._clock,
        )

    def _ready(self) -> None:
        self._online = True
        self._ready_s = self._clock()
        if self._flaps == 0:
            self._log_throttle.clear()
        lost_s = self._outage.end() if self._bridge is not None else None
        back = "" if lost_s is None else f": back after {lost_s:.1f} s; {self._what_is_lost()}"
        level = logging.INFO if self._flaps < FLAPS_TOLD else logging.DEBUG
        logger.log(level, "%s connected to %s, MQTT %s%s", self._thread.name, self._url, self._versions.current, back)
        if self._bridge is not None:
            self._metrics.mqtt_connects.inc()
            self._bridge.up()

    def _what_is_lost(self) -> str:
        if self._connection is not None and self._connection.session_present:
            return "the broker kept what devices published meanwhile with QoS 1, as far as its queue goes"
        if not self._options.clean_start:
            return "the broker had not kept the session; what devices published meanwhile without retain is lost"
        return "what devices published meanwhile without retain is lost"

    def _note_loss(self, lost: Exception, worked: Connection | None) -> None:
        """Count it, and say why: once for a connection that had worked, now and then for tries that fail alike."""
        if worked is None:
            self._outage.go_on()
        else:
            self._note_outage(lost, worked)
        reason = failures.reason(lost)
        flapping = self._flaps >= FLAPS_TOLD
        if flapping and self._options.client_id is not None:
            reason += "; does another client use the same --mqtt-client-id?"
        tries = self._log_throttle.allow(reason)
        if tries or (worked is not None and not flapping):
            self._complain(lost, reason, "cannot connect to" if worked is None else "lost", tries or 1)

    def _note_outage(self, lost: Exception, worked: Connection) -> None:
        if self._clock() - self._ready_s >= SETTLED_S and not isinstance(lost, RefusedByBroker):
            self._flaps = 0
            self._backoff.reset()
        else:
            self._flaps += 1
        if self._bridge is not None:
            self._outage.begin(worked.heard_s)

    def _complain(self, lost: Exception, reason: str, what: str, tries: int) -> None:
        ours = None if failures.is_expected(lost) else lost  # only our own errors are worth a traceback
        level = logging.ERROR if ours or failures.is_permanent(lost) else logging.WARNING
        again = f" ({tries} times since the last such line)" if tries > 1 else ""
        logger.log(level, "%s %s %s: %s%s", self._thread.name, what, self._url, reason, again, exc_info=ours)
