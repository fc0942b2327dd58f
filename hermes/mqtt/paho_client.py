"""Replace two private methods of paho that use most of its thread's time.

``_create_socket`` returns a buffered socket that the caller opened. ``_handle_publish`` passes a message of QoS 0,
which nearly all are, straight to the callback: paho makes a condition variable for each message and, with MQTT 5, two
dozen lists for the properties of each packet, and reads many properties in quadratic time. For a message of QoS 1 it
removes all properties but the subscription identifiers from the packet. paho handles everything else.

``_send_pingreq`` and ``_handle_pingresp`` are extended by counters: paho reports neither, and sends a ping only when
its keep-alive needs one.

`hermes.mqtt.paho_hooks` finds out which of the classes below works with the installed paho.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hermes import log
from hermes.mqtt.failures import RefusedByBroker
from hermes.mqtt.net.buffered_socket import BufferedSocket
from hermes.mqtt.net.dial import TCP_TIMEOUT_S, tls_context
from hermes.mqtt.publish_properties import BLOCK_MAX_BYTES, encoded, subscription_ids, variable_byte_integer
from hermes.mqtt.reconnect import MqttVersion
from hermes.settings.mqtt import MqttOptions
from hermes.settings.urls.mqtt import MqttUrl

PACKET_MAX_BYTES = 2 * 1_048_576  # MQTT 5 §3.1.2.11.4: the broker does not send larger packets

_RETAIN_BIT = 0b0001  # of a PUBLISH packet's first byte; MQTT 3.1.1 §3.3.1, MQTT 5 §3.3.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSetup:
    """What a client connects to, and the functions that it calls.

    ``dial`` returns a connected socket. ``on_qos0_publish`` gets the topic's bytes, the payload, whether it was
    retained, and the subscription identifiers. ``on_fault`` gets a text about the packet that ends the connection.
    """

    client_id: str
    url: MqttUrl
    options: MqttOptions
    version: MqttVersion
    dial: Callable[[], Any]
    on_qos0_publish: Callable[[bytes, bytes, bool, Sequence[int]], None]
    on_fault: Callable[[str], None]


class PlainClient(paho.Client):
    """paho as its documentation describes it, for one connection.

    It opens its socket itself, and ``on_message`` gets every message: no function of ``setup`` is called. The
    constructor raises `ConnectionFailure` if the file of a certificate or of the password cannot be used.
    """

    opens_socket: ClassVar[bool] = True

    def __init__(self, setup: ClientSetup) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            setup.client_id,
            clean_session=None if setup.version == MqttVersion.V5 else setup.options.clean_start,
            protocol=MQTTProtocolVersion(setup.version),
            transport=setup.url.transport if self.opens_socket else "tcp",
            reconnect_on_failure=False,  # else paho answers a refusal with MQTT 3.1 by itself
        )
        self.setup = setup
        self.pings_sent = self.pings_answered = 0
        self.broker_socket: BufferedSocket | None = None  # the last socket, also after paho has closed it
        _set_credentials(self, setup)
        if self.opens_socket:
            _configure_socket(self, setup)

    def open(self) -> None:
        """Connect and send CONNECT. Raises OSError, or what ``dial`` raises."""
        url, options = self.setup.url, self.setup.options
        v5: dict[str, Any] = {}
        if self.setup.version == MqttVersion.V5:
            v5 = {"clean_start": options.clean_start, "properties": _connect_properties(options)}
        address = (url.path, 1) if url.transport == "unix" else (url.host, url.port)
        self.connect(*address, options.keepalive_s, **v5)

    def ping(self) -> None:
        """Send PINGREQ, also if the keep-alive does not need it yet."""
        self._send_pingreq()

    def _send_pingreq(self) -> MQTTErrorCode:
        self.pings_sent += 1
        return super()._send_pingreq()

    def _handle_pingresp(self) -> MQTTErrorCode:
        self.pings_answered += 1
        return super()._handle_pingresp()


class DialedClient(PlainClient):
    """paho over a `BufferedSocket` that ``dial`` opens."""

    opens_socket = False

    def _create_socket(self) -> Any:
        self.broker_socket = BufferedSocket(self.setup.dial())
        return self.broker_socket


class FastPathClient(DialedClient):
    """Client that also passes messages of QoS 0 to ``on_qos0_publish``.

    ``on_message`` gets those of QoS 1.
    """

    def _handle_publish(self) -> MQTTErrorCode:
        packet: bytearray = self._in_packet["packet"]
        first_byte: int = self._in_packet["command"]
        qos = first_byte >> 1 & 0b11
        topic_end = 2 + int.from_bytes(packet[:2], "big")
        header_end = topic_end + 2 * (qos > 0)  # a packet identifier
        if qos > 1 or topic_end == 2 or header_end > len(packet):
            return self._end("a PUBLISH of QoS 2, without a topic, or truncated")
        if self._protocol != MQTTProtocolVersion.MQTTv5:
            return super()._handle_publish() if qos else self._deliver(topic_end, topic_end, ())
        try:
            size, begin = variable_byte_integer(packet, header_end)
            payload_begin = begin + size
            identifiers = subscription_ids(packet[begin:payload_begin]) if 0 < size <= BLOCK_MAX_BYTES else ()
        except ValueError as error:
            return self._end(f"a malformed PUBLISH: {error}")
        if payload_begin > len(packet):
            return self._end("a malformed PUBLISH: its properties are truncated")
        if not qos:
            return self._deliver(topic_end, payload_begin, identifiers)
        block = b"".join(b"\x0b" + encoded(identifier) for identifier in identifiers)
        self._in_packet["packet"] = packet[:header_end] + encoded(len(block)) + block + packet[payload_begin:]
        return super()._handle_publish()

    def _deliver(self, topic_end: int, payload_begin: int, identifiers: Sequence[int]) -> MQTTErrorCode:
        packet: bytearray = self._in_packet["packet"]
        retained = bool(self._in_packet["command"] & _RETAIN_BIT)
        self.setup.on_qos0_publish(bytes(packet[2:topic_end]), bytes(packet[payload_begin:]), retained, identifiers)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _end(self, fault: str) -> MQTTErrorCode:
        self.setup.on_fault(fault)
        return MQTTErrorCode.MQTT_ERR_PROTOCOL


def _set_credentials(client: paho.Client, setup: ClientSetup) -> None:
    username = setup.options.username if setup.options.username is not None else setup.url.username
    if username is not None:
        password = _password(setup.options)
        client.username_pw_set(username, setup.url.password if password is None else password)


def _password(options: MqttOptions) -> str | None:
    try:
        password = options.current_password()
    except OSError as error:
        raise RefusedByBroker(f"cannot read {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise RefusedByBroker(str(error)) from None
    if password is not None:
        log.mask((password,))  # it may have changed since the start
    return password


def _configure_socket(client: paho.Client, setup: ClientSetup) -> None:
    client.connect_timeout = TCP_TIMEOUT_S
    if setup.url.tls:
        client.tls_set_context(tls_context(setup.options.tls))
    if setup.url.transport == "websockets":
        client.ws_set_options(path=setup.url.path)


def _connect_properties(options: MqttOptions) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = PACKET_MAX_BYTES
    if options.session_expiry_s:
        properties.SessionExpiryInterval = options.session_expiry_s
    if options.receive_maximum is not None:
        properties.ReceiveMaximum = options.receive_maximum
    return properties
