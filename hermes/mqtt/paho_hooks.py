"""Find out whether the installed paho calls the methods that Hermes replaces.

The probe runs each client class on a socket pair: it connects, gets CONNACK and two small PUBLISH packets, and must
deliver both messages and acknowledge the second. Another probe sends a ping. To compare signatures only would not do: a
method can change its meaning and keep its signature.
"""

import functools
import logging
import socket
from typing import Any

import paho.mqtt

from hermes.mqtt.paho_client import ClientSetup, DialedClient, FastPathClient, PlainClient
from hermes.mqtt.reconnect import MqttVersion
from hermes.settings.mqtt import MqttOptions
from hermes.settings.urls.mqtt import MqttUrl

logger = logging.getLogger(__name__)

# Subscription identifier 5, and a user property that FastPathClient removes (MQTT 5 §3.3.2.3)
_PROPERTIES = b"\x0b\x05" + b"\x26\0\1a\0\1b"
_PACKET_ID = b"\0\7"
_PUBACK = b"\x40\2" + _PACKET_ID
_PINGREQ, _PINGRESP = b"\xc0\0", b"\xd0\0"
_CLOSED_URL = MqttUrl("127.0.0.1", 1)  # for a paho that ignores `dial`: it is refused at once

_Message = tuple[str, bytes, bytes, bool, tuple[int, ...]]


@functools.cache
def client_class() -> type[PlainClient]:
    """Return the fastest class that works with the installed paho.

    Log one line if it is not the fastest of all.
    """
    if _works(FastPathClient):
        return FastPathClient
    found, own = (DialedClient, "messages") if _works(DialedClient) else (PlainClient, "messages and sockets")
    logger.warning(
        "paho-mqtt %s does not call the methods that Hermes replaces as expected: it handles %s with its own code, "
        "which is slower",
        paho.mqtt.__version__,
        own,
    )
    return found


@functools.cache
def can_ping() -> bool:
    """Return whether the client can send a ping and count the answer.

    Log one line if it cannot.
    """
    found = client_class()
    try:
        works = issubclass(found, DialedClient) and all(_pings(found, version) for version in MqttVersion)
    except Exception:  # a changed method may fail in any way
        logger.debug("the probe of the pings failed", exc_info=True)
        works = False
    if not works:
        logger.warning(
            "paho-mqtt %s does not send or report pings as expected: after an outage, values that the broker has no "
            "more are not removed, and stay marked as stale",
            paho.mqtt.__version__,
        )
    return works


def _pings(candidate: type[DialedClient], version: MqttVersion) -> bool:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        client = _client(candidate, version, ours, [])
        client.open()
        theirs.sendall(_connack(version))
        codes = [int(client.loop_read())]
        client.ping()
        sent = theirs.recv(1_024).endswith(_PINGREQ)
        counted = (client.pings_sent, client.pings_answered) == (1, 0)
        theirs.sendall(_PINGRESP)
        codes.append(int(client.loop_read()))
        return sent and counted and codes == [0, 0] and (client.pings_sent, client.pings_answered) == (1, 1)


def _works(candidate: type[DialedClient]) -> bool:
    try:
        return all(_delivers(candidate, version) for version in MqttVersion)
    except Exception:  # a changed method may fail in any way
        logger.debug("the probe of %s failed", candidate.__name__, exc_info=True)
        return False


def _delivers(candidate: type[DialedClient], version: MqttVersion) -> bool:
    """Return whether a client of this class gets both messages in the expected way."""
    received: list[_Message] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        client = _client(candidate, version, ours, received)
        client.open()
        theirs.sendall(_packets(version))
        codes = {int(client.loop_read()) for _ in range(3)}
        acknowledged = theirs.recv(1_024).endswith(_PUBACK)
        buffered = client.broker_socket is not None and client.socket() is client.broker_socket
    return buffered and acknowledged and codes == {0} and received == _expected(candidate, version)


def _client(
    candidate: type[DialedClient], version: MqttVersion, sock: socket.socket, received: list[_Message]
) -> DialedClient:
    def on_qos0_publish(topic: bytes, payload: bytes, retained: bool, identifiers: Any) -> None:
        received.append(("on_qos0_publish", topic, payload, retained, tuple(identifiers)))

    def on_message(_client: object, _userdata: object, message: Any) -> None:
        if candidate is FastPathClient and hasattr(message.properties, "UserProperty"):
            return  # the packet that FastPathClient has shortened was not used
        identifiers = tuple(getattr(message.properties, "SubscriptionIdentifier", ()))
        received.append(("on_message", message.topic.encode(), message.payload, message.retain, identifiers))

    setup = ClientSetup(
        client_id="probe",
        url=_CLOSED_URL,
        options=MqttOptions(),
        version=version,
        dial=lambda: sock,
        on_qos0_publish=on_qos0_publish,
        on_fault=lambda fault: None,
    )
    client = candidate(setup)
    client.on_message = on_message
    return client


def _packets(version: MqttVersion) -> bytes:
    """Return CONNACK, a retained PUBLISH of QoS 0 and one of QoS 1."""
    v5 = version == MqttVersion.V5
    properties = bytes((len(_PROPERTIES),)) + _PROPERTIES if v5 else b""
    qos0 = b"\0\1t" + properties + b"0"
    qos1 = b"\0\1t" + _PACKET_ID + properties + b"1"
    return _connack(version) + bytes((0x31, len(qos0))) + qos0 + bytes((0x32, len(qos1))) + qos1


def _connack(version: MqttVersion) -> bytes:
    return b"\x20\3\0\0\0" if version == MqttVersion.V5 else b"\x20\2\0\0"


def _expected(candidate: type[DialedClient], version: MqttVersion) -> list[_Message]:
    identifiers = (5,) if version == MqttVersion.V5 else ()
    first = "on_qos0_publish" if candidate is FastPathClient else "on_message"
    return [(first, b"t", b"0", True, identifiers), ("on_message", b"t", b"1", False, identifiers)]
