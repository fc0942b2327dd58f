"""The devices' door: paho, with two of its private methods replaced, because they cost most of its thread's time.

``_create_socket`` gives it a socket that `hermes.mqtt.dial` opened and that reads ahead. ``_handle_publish`` takes the
packet that nearly all are, QoS 0 and without MQTT 5 properties, straight to the callback: paho makes a condition
variable for each message and, with MQTT 5, two dozen lists for each packet's properties. All else is left to paho. This
is why setup.cfg has an upper bound on paho, and why tests look whether both are still asked and agree with what they
replace.
"""

from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from hermes.mqtt.read_ahead import ReadAhead

_QOS_BITS = 0b0110  # of a PUBLISH packet's first byte; MQTT 3.1.1 §3.3.1, MQTT 5 §3.3.1
_RETAIN_BIT = 0b0001


class QuickPaho(paho.Client):
    """``on_plain_message`` gets the bytes of topic and payload, and whether it was retained, of each message of
    QoS 0 without properties; ``on_message`` gets the others. ``dial`` opens its sockets; without it, paho does.
    """

    on_plain_message: Callable[[bytes, bytes, bool], None] | None = None
    dial: Callable[[], Any] | None = None
    wire: ReadAhead | None = None  # the last socket, also after paho has forgotten it

    def _create_socket(self) -> Any:
        self.wire = ReadAhead(super()._create_socket() if self.dial is None else self.dial())
        return self.wire

    def _handle_publish(self) -> MQTTErrorCode:
        packet: bytearray = self._in_packet["packet"]
        first_byte: int = self._in_packet["command"]
        topic_end = 2 + int.from_bytes(packet[:2], "big")
        payload_begin = topic_end
        plain = not first_byte & _QOS_BITS and 2 < topic_end <= len(packet)
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            plain = plain and packet[topic_end : topic_end + 1] == b"\0"  # the length of its properties
            payload_begin += 1
        if self.on_plain_message is None or not plain:
            return super()._handle_publish()
        self.on_plain_message(bytes(packet[2:topic_end]), bytes(packet[payload_begin:]), bool(first_byte & _RETAIN_BIT))
        return MQTTErrorCode.MQTT_ERR_SUCCESS
