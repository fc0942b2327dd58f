"""paho with two of its private methods replaced, because they cost most of its thread's time.

``_create_socket`` returns a buffered socket that the caller opened. ``_handle_publish`` passes a message of QoS 0,
which nearly all are, straight to the callback: paho makes a condition variable for each message and, with MQTT 5, two
dozen lists for the properties of each packet, and reads many properties in quadratic time. For a message of QoS 1 it
removes all properties but the subscription identifiers from the packet. paho handles everything else.

`hermes.mqtt.paho_hooks` finds out which of the classes below works with the installed paho.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from hermes.mqtt.net.buffered_socket import BufferedSocket
from hermes.mqtt.net.dial import TCP_TIMEOUT_S, tls_context
from hermes.mqtt.publish_properties import BLOCK_MAX_BYTES, encoded, subscription_ids, variable_byte_integer
from hermes.mqtt.reconnect import MqttVersion
from hermes.settings.mqtt_url import MqttUrl
from hermes.settings.tls import TlsOptions

_RETAIN_BIT = 0b0001  # of a PUBLISH packet's first byte; MQTT 3.1.1 §3.3.1, MQTT 5 §3.3.1


@dataclass(frozen=True, slots=True)
class ClientHooks:
    """The functions that a client calls.

    ``dial`` returns a connected socket. ``on_qos0_publish`` gets the topic's bytes, the payload, whether it was
    retained, and the subscription identifiers. ``on_fault`` gets a text about the packet that ends the connection.
    """

    dial: Callable[[], Any]
    on_qos0_publish: Callable[[bytes, bytes, bool, Sequence[int]], None]
    on_fault: Callable[[str], None]


class PlainClient(paho.Client):
    """paho as its documentation describes it, for one connection.

    It opens its socket itself, and ``on_message`` gets every message: the hooks are not called. Raises
    `ConnectionFailure` if a certificate file cannot be used.
    """

    opens_socket: ClassVar[bool] = True

    def __init__(
        self,
        client_id: str,
        *,
        url: MqttUrl,
        tls: TlsOptions,
        version: MqttVersion,
        clean_session: bool | None,
        hooks: ClientHooks,
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=clean_session,
            protocol=MQTTProtocolVersion(version),
            transport=url.transport if self.opens_socket else "tcp",
            reconnect_on_failure=False,  # else paho answers a refusal with MQTT 3.1 by itself
        )
        self.broker_socket: BufferedSocket | None = None  # the last socket, also after paho has closed it
        self._hooks = hooks
        if self.opens_socket:
            self._configure_socket(url, tls)

    def _configure_socket(self, url: MqttUrl, tls: TlsOptions) -> None:
        self.connect_timeout = TCP_TIMEOUT_S
        if url.tls:
            self.tls_set_context(tls_context(tls))
        if url.transport == "websockets":
            self.ws_set_options(path=url.path)


class DialedClient(PlainClient):
    """paho over a `BufferedSocket` that ``dial`` opens."""

    opens_socket = False

    def _create_socket(self) -> Any:
        self.broker_socket = BufferedSocket(self._hooks.dial())
        return self.broker_socket


class FastPathClient(DialedClient):
    """paho that also passes messages of QoS 0 to ``on_qos0_publish``; ``on_message`` gets those of QoS 1."""

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
        self._hooks.on_qos0_publish(bytes(packet[2:topic_end]), bytes(packet[payload_begin:]), retained, identifiers)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _end(self, fault: str) -> MQTTErrorCode:
        self._hooks.on_fault(fault)
        return MQTTErrorCode.MQTT_ERR_PROTOCOL
