"""The properties of a PUBLISH: read as paho reads them, in linear time."""

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hermes.mqtt.net.buffered_socket import PACKET_MAX_BYTES
from hermes.mqtt.publish_properties import encoded, subscription_ids, variable_byte_integer
from tests.support.brokers import CONNECT, PUBLISH, Peer, mosquitto, scripted
from tests.support.sites import site

TOPIC = "tenants/acme/devices/d1/temp"
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
PROPERTIES: dict[str, st.SearchStrategy[Any]] = {
    "PayloadFormatIndicator": st.integers(0, 1),
    "MessageExpiryInterval": st.integers(0, 2**32 - 1),
    "ContentType": TEXT,
    "ResponseTopic": TEXT,
    "CorrelationData": st.binary(max_size=20),
    "TopicAlias": st.integers(1, 65_535),
    "UserProperty": st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5),
    "SubscriptionIdentifier": st.lists(st.integers(1, 2**28 - 1), min_size=1, max_size=5),
}


@given(given=st.fixed_dictionaries({}, optional=PROPERTIES))
def test_identifiers_are_found_among_all_other_properties(given: dict[str, Any]) -> None:
    """As paho encodes them."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for name, value in given.items():
        for each in value if isinstance(value, list) else [value]:
            setattr(properties, name, each)
    packed: bytes = properties.pack()  # type: ignore[no-untyped-call]
    size, begin = variable_byte_integer(packed, 0)
    assert begin + size == len(packed)
    assert sorted(subscription_ids(packed[begin:])) == sorted(given.get("SubscriptionIdentifier", []))


@given(number=st.integers(0, 2**28 - 1))
def test_integers_are_written_as_they_are_read(number: int) -> None:
    """MQTT 5 section 1.5.5."""
    assert variable_byte_integer(b"x" + encoded(number) + b"y", 1) == (number, 1 + len(encoded(number)))


@given(block=st.binary(max_size=60))
def test_any_bytes_are_identifiers_or_an_error(block: bytes) -> None:
    """Never another exception than ValueError."""
    try:
        found = subscription_ids(block)
    except ValueError:
        return
    assert all(number < 2**28 for number in found)


@pytest.mark.parametrize("block", [b"\x7f\0", b"\x26\0\1a\0\2b", b"\x01", b"\x0b\x80\x80\x80\x80\1", b"\x0b"])
def test_malformed_blocks_are_errors(block: bytes) -> None:
    """Unknown properties, and truncated ones."""
    with pytest.raises(ValueError, match=r"property|integer"):
        subscription_ids(block)


def _publish(properties: bytes, payload: bytes, *, flags: int = 0) -> bytes:
    topic = TOPIC.encode()
    packet_id = b"\0\1" if flags & 0b0110 else b""
    body = len(topic).to_bytes(2, "big") + topic + packet_id + encoded(len(properties)) + properties + payload
    return bytes([PUBLISH << 4 | flags]) + encoded(len(body)) + body


@pytest.mark.broker
def test_a_packet_full_of_properties_does_not_block_the_thread(tmp_path: Path) -> None:
    """A broker passes on what a device sends: 400,000 empty user properties, for which paho needs minutes."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        with socket.create_connection(("127.0.0.1", broker.port)) as device:
            device.sendall(bytes([CONNECT << 4, 15]) + b"\0\4MQTT\5\2\0\x3c\0\0\2ab")
            device.recv(100)
            device.sendall(_publish(b"\x26\0\0\0\0" * 400_000, b"1") + _publish(b"", b"2"))
            here.receives(b"1", b"2")


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (_publish(b"", b"1", flags=0b0100), "QoS 2"),
        (_publish(b"\x7f", b"1"), "malformed PUBLISH"),
        (_publish(b"\x26\0\1a", b""), "malformed PUBLISH"),
        (bytes([PUBLISH << 4]) + encoded(PACKET_MAX_BYTES + 10) + b"\0\1t\0", "a packet of 16,7"),
    ],
)
def test_a_packet_that_a_broker_must_not_send_ends_the_connection(
    packet: bytes, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With its reason, and without work for it; the link is restored."""

    def faulty(peer: Peer) -> None:
        version = peer.accept()
        peer.grant(version)
        peer.socket.sendall(packet)
        peer.until_closed()

    def correct(peer: Peer) -> None:
        version = peer.accept()
        peer.grant(version)
        peer.deliver(version, TOPIC.encode(), b"1")
        peer.until_closed()

    with scripted(faulty, correct) as broker, site(broker.port) as here:
        here.receives(b"1")
        here.up()
    assert broker.connections == 2
    assert text in caplog.text
