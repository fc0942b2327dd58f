"""The devices' door: paho-mqtt in a thread of our own.

The thread connects, subscribes, reads, and hands everything to the bridge. It drives paho through the calls meant
for a foreign event loop (``loop_read``, ``loop_write``, ``loop_misc``) and waits with `selectors`, because paho's own
thread waits with ``select()``: with more than 1,024 files open that never reconnects, and says nothing.

Each attempt is a new paho client: nothing of a broken connection can live on in the next one.

Messages are subscribed to with QoS 0. A broker keeps a bounded queue per client for QoS 1 and 2 and drops silently
what does not fit (mosquitto: beyond 1,000 messages; of 5,000 retained topics QoS 1 delivered 1,020, QoS 0 all), and
an acknowledged message would still be lost with the browser that was to see it.
"""

import logging
import secrets
import selectors
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from hermes.metrics import Metrics
from hermes.mqtt.backoff import Backoff
from hermes.mqtt.bridge import Bridge
from hermes.mqtt.complaints import Complaints
from hermes.mqtt.quick_paho import QuickPaho
from hermes.mqtt.versions import BrokerRefused, Lost, MqttVersion, NoAnswer, Versions, WrongVersion
from hermes.mqtt.waker import Waker
from hermes.mqtt_url import MqttUrl
from hermes.topics import TopicMap

logger = logging.getLogger(__name__)

KEEPALIVE_S = 30  # a broker that vanished without a word is noticed within twice this
TCP_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0  # for CONNACK and SUBACK each: some brokers accept and say nothing
STOP_TIMEOUT_S = 8.0  # the longest wait that does not end at once is TCP_TIMEOUT_S
MISC_INTERVAL_S = 1.0  # paho's keepalive wants to be looked at now and then
PACKET_MAX_BYTES = 2 * 1_048_576  # MQTT 5 §3.1.2.11.4: the broker keeps larger packets to itself
BATCH_MAX_MESSAGES = 500  # then the loop is woken, however much there is still to read
BATCH_MAX_BYTES = 1_048_576
OUTBOX_MAX_MESSAGES = 1_000

UNSUPPORTED_VERSION = (0x01, 0x84)  # as 3.1.1 says it, as 5 says it


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho forgets it, and the broker would wait for as long as we keep it."""

    def do_handshake(self, block: bool = False) -> None:
        """As its base class."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class _Publication(NamedTuple):
    """A message on its way out."""

    topic: str
    payload: bytes
    retain: bool


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
        bridge: Bridge | None = None,
        topics: TopicMap | None = None,
        thread_name: str = "hermes-mqtt",
        client_id: str | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._metrics = metrics
        self._bridge = bridge
        self._topics = topics
        self._client_id = client_id or f"hermes{secrets.token_hex(6)}"  # MQTT-3.1.3-5: 23 letters and digits at most
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._versions = Versions()
        self._complaints = Complaints(clock)
        self._outbox: deque[_Publication] = deque()
        self._online = False
        self._stopping = threading.Event()
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    @property
    def online(self) -> bool:
        """Connected, and every subscription granted."""
        return self._online

    def start(self) -> None:
        """Begin to connect, in a thread of its own. To be called once."""
        self._thread.start()

    def stop(self) -> None:
        """Disconnect and end the thread; harmless if it has ended or never began.

        Blocks for a few milliseconds, and for at most `STOP_TIMEOUT_S` where a connection attempt hangs: on the
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
            return False
        self._outbox.append(_Publication(topic, payload, retain))
        self._waker.wake()
        return True

    def _run(self) -> None:
        """The thread: attempt after attempt until it is stopped."""
        if self._bridge is not None:
            self._bridge.connecting(f"connecting to {self._url}")
        while not self._stopping.is_set():
            reason = self._attempt()
            if self._stopping.is_set():
                break
            if self._bridge is not None:
                self._bridge.down(reason)
            if not self._versions.retry_at_once:
                self._stopping.wait(self._backoff.wait_s())

    def _attempt(self) -> str:
        """One connection, from its beginning to its end. Returns why it ended."""
        connection: _Connection | None = None
        lost: Exception | None = None
        try:
            connection = self._connection()
            connection.open()
            connection.serve(self._stopping, on_ready=self._ready)
        except Exception as error:  # noqa: BLE001 - the thread's door: it outlives whatever ends a connection
            lost = error
        was_online, self._online = self._online, False
        self._outbox.clear()
        if connection is not None:
            connection.close()
        self._versions.learn(lost, connected=connection is not None and connection.connected)
        if lost is not None and not self._stopping.is_set():
            self._log_loss(lost, was_online=was_online)
        return _reason(lost)

    def _connection(self) -> "_Connection":
        return _Connection(
            self._url,
            version=self._versions.current,
            client_id=self._client_id,
            topics=self._topics,
            bridge=self._bridge,
            outbox=self._outbox,
            waker=self._waker,
            clock=self._clock,
        )

    def _ready(self) -> None:
        self._online = True
        self._backoff.reset()
        self._complaints.clear()
        logger.info("%s connected to %s, MQTT %s", self._thread.name, self._url, self._versions.current)
        if self._bridge is not None:
            self._metrics.mqtt_connects.inc()
            self._bridge.up()

    def _log_loss(self, lost: Exception, *, was_online: bool) -> None:
        """Say why, once for a connection that had worked, and now and then for tries that fail alike."""
        reason = _reason(lost)
        ours = None if isinstance(lost, Lost | OSError) else lost  # only our own errors are worth a traceback
        level = logging.ERROR if ours or isinstance(lost, BrokerRefused) else logging.WARNING
        if was_online:
            logger.log(level, "%s lost %s: %s", self._thread.name, self._url, reason, exc_info=ours)
        elif (tries := self._complaints.due(reason)) is not None:
            text = "%s cannot connect to %s: %s (tries since the last such line: %d)"
            logger.log(level, text, self._thread.name, self._url, reason, tries, exc_info=ours)


class _Connection:
    """One attempt: a paho client, its socket, and what it still waits for. Used by the thread alone."""

    def __init__(
        self,
        url: MqttUrl,
        *,
        version: MqttVersion,
        client_id: str,
        topics: TopicMap | None,
        bridge: Bridge | None,
        outbox: deque[_Publication],
        waker: Waker,
        clock: Callable[[], float],
    ) -> None:
        self.connected = False
        self._url = url
        self._version = version
        self._topics = topics
        self._bridge = bridge
        self._outbox = outbox
        self._waker = waker
        self._clock = clock
        self._lost: Lost | None = None
        self._granted: dict[int, tuple[str, ...]] | None = None  # packet id → its filters, until SUBACK
        self._deadline_s = 0.0
        self._batch_messages = 0
        self._batch_bytes = 0
        self._selector = selectors.DefaultSelector()
        self._client = self._paho_client(client_id)

    def _paho_client(self, client_id: str) -> QuickPaho:
        client = QuickPaho(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion(self._version),
            reconnect_on_failure=False,  # else it answers a refusal with MQTT 3.1 by itself
        )
        client.connect_timeout = TCP_TIMEOUT_S
        if self._url.tls:
            context = ssl.create_default_context()
            context.sslsocket_class = _TlsSocket
            client.tls_set_context(context)
        if self._url.username is not None:
            client.username_pw_set(self._url.username, self._url.password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        if self._bridge is not None:
            client.on_plain_message = self._take
            client.on_message = self._on_message
        return client

    def open(self) -> None:
        """Connect the socket and send CONNECT. Raises OSError; may block for `TCP_TIMEOUT_S` per address."""
        self._deadline_s = self._clock() + TCP_TIMEOUT_S + ANSWER_TIMEOUT_S
        if self._version == MqttVersion.V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = PACKET_MAX_BYTES
            self._client.connect(self._url.host, self._url.port, KEEPALIVE_S, clean_start=True, properties=properties)
        else:
            self._client.connect(self._url.host, self._url.port, KEEPALIVE_S)
        self._deadline_s = self._clock() + ANSWER_TIMEOUT_S

    def serve(self, stopping: threading.Event, on_ready: Callable[[], None]) -> None:
        """Read and write until stopped. Raises `Lost` when the connection ends otherwise.

        ``on_ready`` is called once, when everything asked for has been granted.
        """
        ready = False
        unread = False
        misc_s = self._clock()
        self._selector.register(self._waker.receiver, selectors.EVENT_READ)
        registered: Any = None
        while not stopping.is_set():
            sock = self._live_socket()
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
            if registered != events:
                (self._selector.register if registered is None else self._selector.modify)(sock, events)
                registered = events
            for key, _ in self._selector.select(0 if unread else MISC_INTERVAL_S):
                if key.fileobj is self._waker.receiver:
                    self._waker.rest()
            if self._client.want_write():
                self._client.loop_write()
            unread = self._read_batch()
            if not ready and self._lost is None and self._granted == {}:
                ready = True
                on_ready()
            self._send_outbox()
            now_s = self._clock()
            if now_s - misc_s >= MISC_INTERVAL_S:
                misc_s = now_s
                self._client.loop_misc()
            if not ready and now_s >= self._deadline_s:
                raise Lost(self._unanswered())

    def close(self) -> None:
        """End it, with a DISCONNECT where that can still be sent. Never raises."""
        self._selector.close()
        try:
            self._client.disconnect()
        except (OSError, ValueError, RuntimeError):
            logger.debug("no DISCONNECT could be sent", exc_info=True)
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _live_socket(self) -> Any:
        """Paho's socket. Raises `Lost` where paho has given it up."""
        sock = self._client.socket()
        if self._lost is not None:
            raise self._lost
        if sock is None:
            raise Lost("the connection was lost") if self.connected else NoAnswer(_CLOSED_UNANSWERED)
        return sock

    def _read_batch(self) -> bool:
        """Read until nothing is left or the batch is full, then wake the loop once. True where more may be left."""
        self._batch_messages = self._batch_bytes = 0
        seen = -1
        full = False
        while seen != self._batch_messages and not full:
            seen = self._batch_messages
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
            full = self._batch_messages >= BATCH_MAX_MESSAGES or self._batch_bytes >= BATCH_MAX_BYTES
        if self._bridge is not None and self._batch_messages:
            self._bridge.wake()
        sock: Any = self._client.socket()
        return full or (sock is not None and sock.pending() > 0)

    def _send_outbox(self) -> None:
        """Give paho what others want to publish, once it has sent the last of it."""
        while self._outbox and self.connected and not self._client.want_write():
            topic, payload, retain = self._outbox.popleft()
            self._client.publish(topic, payload, retain=retain)

    def _unanswered(self) -> str:
        if self._granted is None:
            return f"the broker did not answer in {ANSWER_TIMEOUT_S:.0f} s"
        filters = ", ".join(text for filters in self._granted.values() for text in filters)
        return f"the broker did not grant the subscription in {ANSWER_TIMEOUT_S:.0f} s: {filters}"

    def _on_connect(
        self, _client: object, _userdata: object, _flags: object, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.value in UNSUPPORTED_VERSION:
            self._lost = WrongVersion(f"the broker does not speak MQTT {self._version}")
        elif code.is_failure:
            self._lost = BrokerRefused(f"the broker refused the connection: {code.getName()}")
        else:
            self.connected = True
            self._deadline_s = self._clock() + ANSWER_TIMEOUT_S
            self._granted = {}
            if self._topics is not None:
                self._subscribe(self._topics, properties)

    def _subscribe(self, topics: TopicMap, properties: Properties | None) -> None:
        if not topics.overlapping:
            self._ask(topics.filters)
        elif self._version != MqttVersion.V5 or not _knows_identifiers(properties):
            self._ask(topics.disjoint_filters)
        else:
            for identifier, topic_filter in enumerate(topics.filters, start=1):
                self._ask([topic_filter], identifier)  # an identifier holds for a whole packet (§3.8.2.1.2)

    def _ask(self, filters: Sequence[str], identifier: int | None = None) -> None:
        """Send SUBSCRIBE, QoS 0, without *retain as published*: then ``retain`` means that the broker had kept it."""
        properties: Properties | None = None
        if identifier is not None:
            properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
            properties.SubscriptionIdentifier = identifier
        options: Any = SubscribeOptions(qos=0) if self._version == MqttVersion.V5 else 0
        _, packet_id = self._client.subscribe([(text, options) for text in filters], properties=properties)
        if packet_id is not None and self._granted is not None:
            self._granted[packet_id] = tuple(filters)

    def _on_subscribe(
        self, _client: object, _userdata: object, packet_id: int, codes: Sequence[ReasonCode], _properties: object
    ) -> None:
        filters = self._granted.pop(packet_id, ()) if self._granted else ()
        refused = [text for text, code in zip(filters, codes, strict=False) if code.is_failure]
        if refused:
            self._lost = BrokerRefused(f"subscription refused by the broker: {', '.join(refused)}")
        elif len(codes) < len(filters):
            self._lost = Lost("the broker's SUBACK is too short")

    def _on_disconnect(
        self, _client: object, _userdata: object, flags: Any, code: ReasonCode, _properties: object
    ) -> None:
        if self._lost is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self._lost = Lost(f"the broker ended the connection: {code.getName()}")
        elif self.connected:
            silent = code.getName() == "Keep alive timeout"
            self._lost = Lost("the broker fell silent" if silent else "the connection was lost")
        else:
            self._lost = NoAnswer(_CLOSED_UNANSWERED)

    def _on_message(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        """One of those that `QuickPaho` left to paho."""
        try:
            topic = message.topic
        except UnicodeDecodeError as error:
            self._take(error.object, bytes(message.payload), message.retain)
        else:
            identifiers = getattr(message.properties, "SubscriptionIdentifier", ())
            self._take(topic.encode(), bytes(message.payload), message.retain, identifiers)

    def _take(self, topic: bytes, payload: bytes, retained: bool, subscription_ids: Sequence[int] = ()) -> None:
        """Hand one message to the bridge, and nothing else."""
        self._batch_messages += 1
        self._batch_bytes += len(payload)
        assert self._bridge is not None
        try:
            self._bridge.put(topic.decode(), payload, retained=retained, subscription_ids=subscription_ids)
        except UnicodeDecodeError:
            self._bridge.put_bad_topic(topic)


_CLOSED_UNANSWERED = "the broker closed the connection without an answer"


def _knows_identifiers(properties: Properties | None) -> bool:
    """Whether the CONNACK allows subscription identifiers; without a word it does (MQTT 5 §3.2.2.3.12)."""
    return bool(getattr(properties, "SubscriptionIdentifierAvailable", 1))


def _reason(lost: Exception | None) -> str:
    """Why a connection ended, for people. The URL and its password are not in it."""
    if lost is None:
        return "stopped"
    if isinstance(lost, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted: {lost.verify_message}"
    if isinstance(lost, TimeoutError):
        return "the broker cannot be reached: timed out"
    if isinstance(lost, OSError):
        return f"the broker cannot be reached: {lost.strerror or lost}"
    return str(lost) or type(lost).__name__
