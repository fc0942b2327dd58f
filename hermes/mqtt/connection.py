"""The devices' door: one connection to the broker, from the dialling to its end.

The thread drives paho through the calls meant for a foreign event loop (``loop_read``, ``loop_write``, ``loop_misc``)
and waits with `selectors`, because paho's own thread waits with ``select()``: with more than 1,024 files open that
never reconnects, and says nothing.

Each connection is a new paho client: nothing of a broken one can live on in the next.
"""

import logging
import selectors
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from hermes.mqtt.bridge import Bridge
from hermes.mqtt.failures import CLOSED_UNANSWERED, ConnectionFailure, NoConnack, RefusedByBroker, WrongVersion
from hermes.mqtt.net.buffered_socket import OversizedPacket
from hermes.mqtt.net.deadline import Deadline
from hermes.mqtt.net.dial import dial
from hermes.mqtt.net.waker import Waker
from hermes.mqtt.paho_client import FastPathClient
from hermes.mqtt.reconnect import MqttVersion
from hermes.mqtt.subscriptions import Subscriptions
from hermes.settings.mqtt import MqttOptions
from hermes.settings.mqtt_url import MqttUrl
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0  # for CONNACK and SUBACK each: some brokers accept and say nothing
MISC_INTERVAL_S = 1.0  # paho's keepalive wants to be looked at now and then
PACKET_MAX_BYTES = 2 * 1_048_576  # MQTT 5 §3.1.2.11.4: the broker keeps larger packets to itself
BATCH_MAX_MESSAGES = 500  # then the loop is woken, however much there is still to read
BATCH_MAX_BYTES = 1_048_576

UNSUPPORTED_VERSION = (0x01, 0x84)  # as 3.1.1 says it, as 5 says it
# MQTT 5 §3.2.2.2 and §3.14.2.1; paho translates the codes of 3.1.1
_BAD_IDENTIFIER, _BAD_PASSWORD, _NOT_AUTHORIZED, _BANNED, _TAKEN_OVER = 0x85, 0x86, 0x87, 0x8A, 0x8E
_CREDENTIALS = "look at user and password (--mqtt-username, --mqtt-password-file) and at the broker's access rules"
_MEND = {
    _BAD_IDENTIFIER: "look at --mqtt-client-id",
    _BAD_PASSWORD: _CREDENTIALS,
    _NOT_AUTHORIZED: _CREDENTIALS,
    _BANNED: _CREDENTIALS,
    _TAKEN_OVER: "give each client a --mqtt-client-id of its own",
}
_TLS_ALERT, _HTTP = b"\x15\x03", b"HTTP/"


class Publication(NamedTuple):
    """A message on its way out."""

    topic: str
    payload: bytes
    retain: bool


class Connection:
    """One attempt: a paho client, its socket, and what it still waits for. Used by the thread alone.

    ``wanted`` gives the filters to subscribe to besides those of the templates.
    """

    def __init__(
        self,
        url: MqttUrl,
        *,
        options: MqttOptions,
        version: MqttVersion,
        client_id: str,
        topics: TopicMap | None,
        bridge: Bridge | None,
        outbox: deque[Publication],
        wanted: Callable[[], frozenset[str]],
        waker: Waker,
        clock: Callable[[], float],
    ) -> None:
        self.connected = False
        self.session_present = False  # the broker had kept the session
        self.heard_s = clock()  # when the broker last said something
        self._url = url
        self._options = options
        self._version = version
        self._topics = topics
        self._bridge = bridge
        self._outbox = outbox
        self._wanted = wanted
        self._waker = waker
        self._clock = clock
        self._lost: ConnectionFailure | None = None
        self._deadline_s = 0.0
        self._misc_s = clock()
        self._misc_interval_s = min(MISC_INTERVAL_S, options.keepalive_s / 10)
        self._batch_messages = 0
        self._batch_bytes = 0
        self._selector = selectors.DefaultSelector()
        self._client = self._paho_client(client_id)
        self._subscriptions = Subscriptions(self._client, version=version, qos=options.qos)

    def _paho_client(self, client_id: str) -> FastPathClient:
        v5 = self._version == MqttVersion.V5
        client = FastPathClient(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if v5 else self._options.clean_start,
            protocol=MQTTProtocolVersion(self._version),
            reconnect_on_failure=False,  # else it answers a refusal with MQTT 3.1 by itself
        )
        username = self._options.username if self._options.username is not None else self._url.username
        if username is not None:
            password = self._options.password if self._options.password is not None else self._url.password
            client.username_pw_set(username, password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        if self._bridge is not None:
            client.on_qos0_publish = self._take
            client.on_fault = self._on_fault
            client.on_message = self._on_message
        return client

    def open(self, stopping: threading.Event) -> None:
        """Dial, and send CONNECT. Raises OSError, or `ConnectionFailure`."""
        deadline = Deadline(waker=self._waker, stopping=stopping, clock=self._clock)
        self._client.dial = lambda: dial(self._url, self._options.tls, deadline)
        address = self._url.host or "unix", self._url.port or 1  # paho looks at them, and no further
        if self._version == MqttVersion.V5:
            self._client.connect(
                *address,
                self._options.keepalive_s,
                clean_start=self._options.clean_start,
                properties=self._connect_properties(),
            )
        else:
            self._client.connect(*address, self._options.keepalive_s)
        self._deadline_s = self._clock() + ANSWER_TIMEOUT_S

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = PACKET_MAX_BYTES
        if self._options.session_expiry_s:
            properties.SessionExpiryInterval = self._options.session_expiry_s
        if self._options.receive_maximum is not None:
            properties.ReceiveMaximum = self._options.receive_maximum
        return properties

    def serve(self, stopping: threading.Event, on_ready: Callable[[], None]) -> None:
        """Read and write until stopped. Raises `ConnectionFailure`, or OSError, when the connection ends otherwise.

        ``on_ready`` is called once, when everything that the templates need has been granted.
        """
        ready = False
        unread = False
        self._selector.register(self._waker.receiver, selectors.EVENT_READ)
        registered: Any = None
        while not stopping.is_set():
            sock = self._live_socket()
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
            if registered != events:
                (self._selector.register if registered is None else self._selector.modify)(sock, events)
                registered = events
            self._wait(sock, 0 if unread else self._misc_interval_s)
            if self._client.want_write():
                self._client.loop_write()
            unread = self._read_batch()
            if not ready and self._lost is None and self.connected and not self._subscriptions.awaited:
                ready = True
                on_ready()
            self._say_what_is_new()
            self._look_at_the_clock(ready)

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
        """Paho's socket. Raises `ConnectionFailure`, or what the socket raised, where it is of no use any more."""
        if not self.connected:
            self._check_language()
        sock = self._client.socket()
        if sock is not None and self._lost is None:
            return sock
        broker_socket = self._client.broker_socket
        if broker_socket is not None and isinstance(broker_socket.fault, OversizedPacket):
            raise ConnectionFailure(str(broker_socket.fault))
        if broker_socket is not None and isinstance(broker_socket.fault, ssl.SSLError):
            raise broker_socket.fault
        if self._lost is not None:
            raise self._lost
        raise ConnectionFailure("the connection was lost") if self.connected else NoConnack(CLOSED_UNANSWERED)

    def _check_language(self) -> None:
        """Raises `RefusedByBroker` where something else than MQTT was answered; paho would wait for the rest of it."""
        beginning = b"" if self._client.broker_socket is None else self._client.broker_socket.beginning
        if beginning.startswith(_TLS_ALERT):
            raise RefusedByBroker("what answers there speaks TLS: write mqtts:// for mqtt://, or wss:// for ws://")
        if beginning.startswith(_HTTP):
            raise RefusedByBroker("what answers there speaks HTTP: write ws:// for mqtt://, or another port")

    def _wait(self, sock: Any, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            if key.fileobj is self._waker.receiver:
                self._waker.rest()
            elif key.fileobj is sock and events & selectors.EVENT_READ:
                self.heard_s = self._clock()

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

    def _say_what_is_new(self) -> None:
        """Give paho what others want to publish, once it has sent the last of it, and what they want to hear."""
        if not self.connected:
            return
        self._subscriptions.follow(self._wanted())
        while self._outbox and not self._client.want_write():
            topic, payload, retain = self._outbox.popleft()
            self._client.publish(topic, payload, retain=retain)

    def _look_at_the_clock(self, ready: bool) -> None:
        now_s = self._clock()
        if now_s - self._misc_s >= self._misc_interval_s:
            self._misc_s = now_s
            self._client.loop_misc()
        if not ready and now_s >= self._deadline_s:
            raise ConnectionFailure(self._unanswered())

    def _unanswered(self) -> str:
        if not self.connected:
            return f"the broker did not answer in {ANSWER_TIMEOUT_S:.0f} s"
        filters = ", ".join(self._subscriptions.awaited)
        return f"the broker did not grant the subscription in {ANSWER_TIMEOUT_S:.0f} s: {filters}"

    # -- what paho calls ----------------------------------------------------------------------------------------------

    def _on_connect(
        self, _client: object, _userdata: object, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.value in UNSUPPORTED_VERSION:
            self._lost = WrongVersion(f"the broker does not speak MQTT {self._version}")
        elif code.is_failure:
            self._lost = _refusal("the broker refused the connection", code)
        else:
            self.connected = True
            self.session_present = bool(flags.session_present)
            self._deadline_s = self._clock() + ANSWER_TIMEOUT_S
            if self._topics is not None:
                self._subscriptions.ask(self._topics, properties)

    def _on_subscribe(
        self, _client: object, _userdata: object, packet_id: int, codes: Sequence[ReasonCode], _properties: object
    ) -> None:
        self._lost = self._lost or self._subscriptions.answered(packet_id, codes)

    def _on_disconnect(
        self, _client: object, _userdata: object, flags: Any, code: ReasonCode, _properties: object
    ) -> None:
        if self._lost is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self._lost = _refusal("the broker ended the connection", code)
        elif self.connected:
            silent = code.getName() == "Keep alive timeout"
            self._lost = ConnectionFailure("the broker fell silent" if silent else "the connection was lost")
        else:
            self._lost = NoConnack(CLOSED_UNANSWERED)

    def _on_fault(self, words: str) -> None:
        self._lost = self._lost or ConnectionFailure(f"the broker sent {words}")

    def _on_message(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        """One of those that `FastPathClient` left to paho, which acknowledges it when this returns, if it has QoS 1."""
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


def _refusal(what: str, code: ReasonCode) -> ConnectionFailure:
    """A broker's word: about something to be mended, or about itself."""
    mend = _MEND.get(code.value)
    return (
        ConnectionFailure(f"{what}: {code.getName()}")
        if mend is None
        else RefusedByBroker(f"{what}: {code.getName()}; {mend}")
    )
