"""The devices' door: paho, with two of its private methods replaced, because they cost most of its thread's time.

``_create_socket`` gives it a socket that `hermes.mqtt.net.dial` opened and that reads ahead. ``_handle_publish`` takes
what nearly all packets are, QoS 0, straight to the callback: paho makes a condition variable for each message and, with
MQTT 5, two dozen lists for each packet's properties, and reads many of them in quadratic time. Of QoS 1 it gets the
packet without all properties but the subscription identifiers. All else is left to paho. This is why setup.cfg has an
upper bound on paho, and why tests look whether both are still asked and agree with what they replace.
"""

from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from hermes.mqtt.net.buffered_socket import BufferedSocket
from hermes.mqtt.publish_properties import BLOCK_MAX_BYTES, encoded, subscription_ids, variable_byte_integer

_RETAIN_BIT = 0b0001  # of a PUBLISH packet's first byte; MQTT 3.1.1 §3.3.1, MQTT 5 §3.3.1


class FastPathClient(paho.Client):
    """``on_qos0_publish`` gets the bytes of topic and payload, whether it was retained, and the subscription
    identifiers, of each message of QoS 0; ``on_message`` gets those of QoS 1. ``on_fault`` gets words for what ends the
    connection. ``dial`` opens its sockets; without it, paho does.
    """

    on_qos0_publish: Callable[[bytes, bytes, bool, Sequence[int]], None] | None = None
    on_fault: Callable[[str], None] | None = None
    dial: Callable[[], Any] | None = None
    broker_socket: BufferedSocket | None = None  # the last socket, also after paho has forgotten it

    def _create_socket(self) -> Any:
        self.broker_socket = BufferedSocket(super()._create_socket() if self.dial is None else self.dial())
        return self.broker_socket

    def _handle_publish(self) -> MQTTErrorCode:
        if self.on_qos0_publish is None:
            return super()._handle_publish()
        packet: bytearray = self._in_packet["packet"]
        first_byte: int = self._in_packet["command"]
        qos = first_byte >> 1 & 0b11
        topic_end = 2 + int.from_bytes(packet[:2], "big")
        header_end = topic_end + 2 * (qos > 0)  # a packet identifier
        if qos > 1 or topic_end == 2 or header_end > len(packet):
            return self._fault("a PUBLISH of QoS 2, of no topic, or cut off")
        if self._protocol != MQTTProtocolVersion.MQTTv5:
            return super()._handle_publish() if qos else self._hand_over(topic_end, topic_end, ())
        try:
            size, begin = variable_byte_integer(packet, header_end)
            payload_begin = begin + size
            identifiers = subscription_ids(packet[begin:payload_begin]) if 0 < size <= BLOCK_MAX_BYTES else ()
        except ValueError as error:
            return self._fault(f"a malformed PUBLISH: {error}")
        if payload_begin > len(packet):
            return self._fault("a malformed PUBLISH: its properties are cut off")
        if not qos:
            return self._hand_over(topic_end, payload_begin, identifiers)
        block = b"".join(b"\x0b" + encoded(identifier) for identifier in identifiers)
        self._in_packet["packet"] = packet[:header_end] + encoded(len(block)) + block + packet[payload_begin:]
        return super()._handle_publish()

    def _hand_over(self, topic_end: int, payload_begin: int, identifiers: Sequence[int]) -> MQTTErrorCode:
        assert self.on_qos0_publish is not None
        packet: bytearray = self._in_packet["packet"]
        retained = bool(self._in_packet["command"] & _RETAIN_BIT)
        self.on_qos0_publish(bytes(packet[2:topic_end]), bytes(packet[payload_begin:]), retained, identifiers)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _fault(self, words: str) -> MQTTErrorCode:
        if self.on_fault is not None:
            self.on_fault(words)
        return MQTTErrorCode.MQTT_ERR_PROTOCOL
