"""One connection to the broker, from dialling to its end.

Each connection has a new paho client, so that no state of a failed connection is left in the next.
"""

import logging
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from paho.mqtt import client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from hermes.mqtt import failures
from hermes.mqtt.failures import CLOSED_UNANSWERED, ConnectionFailure, NoConnack, WrongVersion
from hermes.mqtt.net.buffered_socket import UnacceptableData
from hermes.mqtt.net.deadline import Deadline
from hermes.mqtt.net.dial import dial
from hermes.mqtt.net.selector_loop import SelectorLoop
from hermes.mqtt.net.waker import Waker
from hermes.mqtt.paho_client import ClientSetup, PlainClient
from hermes.mqtt.paho_hooks import can_ping, client_class
from hermes.mqtt.reconnect import MqttVersion
from hermes.mqtt.subscriptions import RetainedMessages, Subscriptions
from hermes.settings.mqtt import MqttOptions
from hermes.settings.urls.mqtt import MqttUrl
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0  # for CONNACK and SUBACK each: some brokers accept a connection and send nothing
MISC_INTERVAL_S = 1.0  # how often paho checks its keep-alive


class Publication(NamedTuple):
    """A message to publish."""

    topic: str
    payload: bytes
    retain: bool


class MessageSink(Protocol):
    """Takes what a connection receives: the `Bridge`, or a test of the settings."""

    def put(self, topic: str, payload: bytes, *, retained: bool, subscription_ids: Sequence[int]) -> None:
        """Take a message."""

    def put_bad_topic(self, topic: bytes) -> None:
        """Take a message with a topic that is not UTF-8."""

    def wake(self) -> None:
        """Record the end of a batch."""


class Connection:
    """One connection attempt: a paho client, its socket and its subscriptions.

    It is used by one thread. ``on_demand_filters`` returns the filters to subscribe to besides those of the templates.
    ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        url: MqttUrl,
        *,
        options: MqttOptions,
        version: MqttVersion,
        client_id: str,
        topics: TopicMap | None,
        bridge: MessageSink | None,
        outbox: deque[Publication],
        on_demand_filters: Callable[[], frozenset[str]],
        waker: Waker,
        stopping: threading.Event,
        clock: Callable[[], float],
    ) -> None:
        self.connected = False
        self.turns = 0  # of `serve`, while it runs
        self.session_present = False  # the broker has stored the session
        self._url = url
        self._options = options
        self._version = version
        self._topics = topics
        self._bridge = bridge
        self._outbox = outbox
        self._on_demand_filters = on_demand_filters
        self._stopping = stopping
        self._clock = clock
        self._deadline = Deadline(waker=waker, stopping=stopping, clock=clock)
        self._failure: ConnectionFailure | None = None
        self._ready = False
        self._answer_due_s = 0.0
        self._client = self._make_client(client_id)
        self._subscriptions = Subscriptions(self._client, version=version, qos=options.qos)
        self._retained_messages = RetainedMessages(self._client, qos=options.qos, clock=clock)
        self._loop = SelectorLoop(
            self._client,
            waker=waker,
            misc_interval_s=min(MISC_INTERVAL_S, options.keepalive_s / 10),
            on_batch=self._wake_bridge,
            clock=clock,
        )

    @property
    def last_read_s(self) -> float:
        """When the broker's last bytes arrived."""
        return self._loop.last_read_s

    def open(self) -> None:
        """Dial and send CONNECT. Raises OSError, or `ConnectionFailure`."""
        self._client.open()
        self._answer_due_s = self._clock() + ANSWER_TIMEOUT_S

    def serve(self, on_ready: Callable[[], None], on_retained_sent: Callable[[], None] | None = None) -> None:
        """Read and write until the client is stopped.

        ``on_ready`` is called once, when the broker has granted every subscription of the templates;
        ``on_retained_sent`` when it has sent all retained messages for them. Raises `ConnectionFailure` or OSError if
        the connection ends.
        """
        while not self._stopping.is_set():
            self.turns += 1
            self._loop.run_once(self._open_socket())
            if not self._ready and self._failure is None and self.connected and not self._subscriptions.pending:
                self._ready = True
                on_ready()
                if on_retained_sent is not None and can_ping():
                    self._retained_messages.begin()
            if self.connected:
                self._send_waiting()
            if on_retained_sent is not None and self._retained_messages.complete():
                on_retained_sent()
            if not self._ready and self._clock() >= self._answer_due_s:
                raise ConnectionFailure(self._unanswered())

    def close(self) -> None:
        """Close the socket, after a DISCONNECT if that can still be sent. Never raises."""
        self._loop.close()
        try:
            self._client.disconnect()
        except (OSError, ValueError, RuntimeError):
            logger.debug("DISCONNECT could not be sent", exc_info=True)
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _make_client(self, client_id: str) -> PlainClient:
        setup = ClientSetup(
            client_id=client_id,
            url=self._url,
            options=self._options,
            version=self._version,
            dial=self._dial,
            on_qos0_publish=self._put,
            on_fault=self._on_fault,
        )
        client = client_class()(setup)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _dial(self) -> Any:
        return dial(self._url, self._options.tls, self._deadline)

    def _open_socket(self) -> Any:
        """Return paho's socket.

        Raises `ConnectionFailure`, or the socket's own error, if the connection has ended.
        """
        broker_socket = self._client.broker_socket
        if not self.connected and broker_socket is not None:
            failures.check_protocol(broker_socket.first_bytes)
        sock = self._client.socket()
        if sock is not None and self._failure is None:
            return sock
        error = None if broker_socket is None else broker_socket.failure
        if isinstance(error, UnacceptableData):
            raise ConnectionFailure(str(error))
        if isinstance(error, ssl.SSLError):
            raise error
        raise self._failure or self._closed()

    def _closed(self) -> ConnectionFailure:
        return ConnectionFailure("the connection was lost") if self.connected else NoConnack(CLOSED_UNANSWERED)

    def _send_waiting(self) -> None:
        """Update the on-demand subscriptions and publish from the outbox.

        Messages are published while paho has nothing left to send.
        """
        self._subscriptions.set_on_demand(self._on_demand_filters())
        while self._outbox and not self._client.want_write():
            topic, payload, retain = self._outbox.popleft()
            self._client.publish(topic, payload, retain=retain)

    def _unanswered(self) -> str:
        if not self.connected:
            return f"the broker did not answer in {ANSWER_TIMEOUT_S:.0f} s"
        filters = ", ".join(self._subscriptions.pending)
        return f"the broker did not grant the subscription in {ANSWER_TIMEOUT_S:.0f} s: {filters}"

    # -- callbacks of paho --------------------------------------------------------------------------------------------

    def _on_connect(
        self, _client: object, _userdata: object, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.value in failures.UNSUPPORTED_VERSION:
            self._failure = WrongVersion(f"the broker does not support MQTT {self._version}")
        elif code.is_failure:
            self._failure = _reason_code_failure("the broker refused the connection", code)
        else:
            self.connected = True
            self.session_present = bool(flags.session_present)
            self._answer_due_s = self._clock() + ANSWER_TIMEOUT_S
            if self._topics is not None:
                self._subscriptions.subscribe(self._topics, properties)

    def _on_subscribe(
        self, _client: object, _userdata: object, packet_id: int, codes: Sequence[ReasonCode], _properties: object
    ) -> None:
        self._failure = self._failure or self._subscriptions.on_suback(packet_id, codes)

    def _on_disconnect(
        self, _client: object, _userdata: object, flags: Any, code: ReasonCode, _properties: object
    ) -> None:
        if self._failure is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self._failure = _reason_code_failure("the broker ended the connection", code)
        elif self.connected and code.getName() == "Keep alive timeout":
            self._failure = ConnectionFailure("the broker stopped answering")
        else:
            self._failure = self._closed()

    def _on_fault(self, fault: str) -> None:
        self._failure = self._failure or ConnectionFailure(f"the broker sent {fault}")

    def _on_message(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        """Handle a message that paho decoded.

        paho acknowledges it afterwards if it has QoS 1.
        """
        try:
            topic = message.topic.encode()
        except UnicodeDecodeError as error:
            topic = error.object
        identifiers = getattr(message.properties, "SubscriptionIdentifier", ())
        self._put(topic, bytes(message.payload), message.retain, identifiers)

    def _put(self, topic: bytes, payload: bytes, retained: bool, subscription_ids: Sequence[int]) -> None:
        """Pass one message to the bridge."""
        if self._bridge is None:
            return
        self._loop.count_message(len(payload))
        self._retained_messages.count(retained)
        try:
            self._bridge.put(topic.decode(), payload, retained=retained, subscription_ids=subscription_ids)
        except UnicodeDecodeError:
            self._bridge.put_bad_topic(topic)

    def _wake_bridge(self) -> None:
        if self._bridge is not None:
            self._bridge.wake()


def _reason_code_failure(event: str, code: ReasonCode) -> ConnectionFailure:
    return failures.reason_code_failure(event, code.value, code.getName())
