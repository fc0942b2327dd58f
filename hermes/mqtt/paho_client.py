"""paho with two of its private methods replaced, because they cost most of its thread's time.

``_create_socket`` returns a buffered socket that the caller opened. ``_handle_publish`` passes a message of QoS 0,
which nearly all are, straight to the callback: paho makes a condition variable for each message and, with MQTT 5, two
dozen lists for the properties of each packet, and reads many properties in quadratic time. For a message of QoS 1 it
removes all properties but the subscription identifiers from the packet. paho handles everything else.
"""

from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from hermes.mqtt.net.buffered_socket import BufferedSocket
from hermes.mqtt.publish_properties import BLOCK_MAX_BYTES, encoded, subscription_ids, variable_byte_integer
from hermes.mqtt.reconnect import MqttVersion

_RETAIN_BIT = 0b0001  # of a PUBLISH packet's first byte; MQTT 3.1.1 §3.3.1, MQTT 5 §3.3.1

# The topic's bytes, the payload, whether it was retained, and the subscription identifiers
OnQos0Publish = Callable[[bytes, bytes, bool, Sequence[int]], None]


class FastPathClient(paho.Client):
    """A paho client for one connection.

    ``dial`` opens its socket. ``on_qos0_publish`` gets each message of QoS 0, ``on_message`` each of QoS 1.
    ``on_fault`` gets a text about the packet that ends the connection.
    """

    def __init__(
        self,
        client_id: str,
        *,
        version: MqttVersion,
        clean_session: bool | None,
        dial: Callable[[], Any],
        on_qos0_publish: OnQos0Publish,
        on_fault: Callable[[str], None],
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=clean_session,
            protocol=MQTTProtocolVersion(version),
            reconnect_on_failure=False,  # else paho answers a refusal with MQTT 3.1 by itself
        )
        self.broker_socket: BufferedSocket | None = None  # the last socket, also after paho has closed it
        self._dial = dial
        self._on_qos0_publish = on_qos0_publish
        self._on_fault = on_fault

    def _create_socket(self) -> Any:
        self.broker_socket = BufferedSocket(self._dial())
        return self.broker_socket

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
        self._on_qos0_publish(bytes(packet[2:topic_end]), bytes(packet[payload_begin:]), retained, identifiers)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _end(self, fault: str) -> MQTTErrorCode:
        self._on_fault(fault)
        return MQTTErrorCode.MQTT_ERR_PROTOCOL
