"""paho with two private methods replaced behaves as paho does."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from hermes.mqtt.net.buffered_socket import READ_BYTES, BufferedSocket
from hermes.mqtt.paho_client import FastPathClient
from tests.support.brokers import mosquitto
from tests.support.programs import wait_until

Message = tuple[bytes, bytes, bool]
VERSIONS = (MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5)
SUBSCRIPTION_IDENTIFIER_5 = b"\x02\x0b\x05"


def publish(topic: bytes, payload: bytes, *, qos: int, retained: bool, properties: bytes) -> bytes:
    """A PUBLISH packet; ``properties`` with their length before them, empty for MQTT 3.1.1."""
    packet_id = b"\0\1" if qos else b""
    body = struct.pack("!H", len(topic)) + topic + packet_id + properties + payload
    return bytes((0x30 | qos << 1 | retained,)) + remaining_length(len(body)) + body


def remaining_length(number: int) -> bytes:
    """MQTT 3.1.1 §2.2.3."""
    encoded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        encoded.append(digit | (128 if number else 0))
        if not number:
            return bytes(encoded)


@contextmanager
def connected(client: paho.Client) -> Iterator[socket.socket]:
    """The other end of a connection that the client believes to have."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        client._sock = BufferedSocket(theirs)
        yield ours
        client._sock = None


def read(client: paho.Client, data: bytes, turns: int) -> tuple[list[Message], MQTTErrorCode]:
    """What it makes of these bytes: its messages, and what its last read answered."""
    messages: list[Message] = []

    def on_message(_client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        messages.append((message._topic, bytes(message.payload), bool(message.retain)))

    client.on_message = on_message
    if isinstance(client, FastPathClient):
        client.on_qos0_publish = lambda *message: messages.append(message[:3])
    with connected(client) as wire:
        wire.sendall(data)
        codes = [client.loop_read() for _ in range(turns)]
    return messages, codes[-1]


def clients(version: MQTTProtocolVersion) -> tuple[paho.Client, FastPathClient]:
    """paho's own and ours."""
    ours = FastPathClient(CallbackAPIVersion.VERSION2, "ours", protocol=version)
    return paho.Client(CallbackAPIVersion.VERSION2, "theirs", protocol=version), ours


PACKETS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=40), st.binary(max_size=300), st.sampled_from((0, 0, 0, 1)), st.booleans()
    ),
    max_size=8,
)


@pytest.mark.parametrize("version", VERSIONS)
@given(packets=PACKETS, identified=st.booleans())
def test_whatever_is_published_is_heard_as_paho_hears_it(
    version: MQTTProtocolVersion, packets: list[tuple[bytes, bytes, int, bool]], identified: bool
) -> None:
    """Topics of any bytes, any payload, retained or not, of QoS 0 and 1, with and without properties."""
    properties = b""
    if version == MQTTProtocolVersion.MQTTv5:
        properties = SUBSCRIPTION_IDENTIFIER_5 if identified else b"\0"
    data = b"".join(
        publish(topic, payload, qos=qos, retained=retained, properties=properties)
        for topic, payload, qos, retained in packets
    )
    theirs, ours = (read(client, data, len(packets) + 1) for client in clients(version))
    assert ours == theirs
    assert ours[0] == [(topic, payload, retained) for topic, payload, _, retained in packets]


@pytest.mark.parametrize("version", VERSIONS)
@given(body=st.binary(max_size=12), flags=st.sampled_from((0, 1)))
def test_malformed_packets_are_left_to_paho(version: MQTTProtocolVersion, body: bytes, flags: int) -> None:
    """The same answer, the same messages."""
    packet = bytes((0x30 | flags, len(body))) + body
    outcomes: list[object] = []
    for client in clients(version):
        try:
            outcomes.append(read(client, packet, 1))
        except Exception as error:  # noqa: BLE001 - whatever paho raises, ours must
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


def test_paho_still_asks_for_both(tmp_path: Path) -> None:
    """Against a real broker: the socket reads ahead, and plain messages come without paho's own object."""
    with mosquitto(tmp_path) as broker:
        client = FastPathClient(CallbackAPIVersion.VERSION2, "ours", protocol=MQTTProtocolVersion.MQTTv5)
        plain: list[Message] = []
        client.on_qos0_publish = lambda *message: plain.append(message[:3])
        client.on_message = lambda *_: pytest.fail("a plain message came with paho's object")
        client.connect("127.0.0.1", broker.port)
        assert isinstance(client.socket(), BufferedSocket)
        client.loop_start()
        wait_until(client.is_connected, why="no connection")
        client.subscribe("t")
        client.publish("t", b"1")
        wait_until(lambda: plain, why="nothing was heard")
        client.disconnect()
        client.loop_stop()
        assert plain == [(b"t", b"1", False)]


class TestReadAhead:
    """A socket whose small reads are served from one large one."""

    def test_bytes_come_in_order_whatever_is_asked(self) -> None:
        """Small pieces, larger ones, and more than there are."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            sock = BufferedSocket(theirs)
            ours.sendall(bytes(range(200)))
            pieces = [sock.recv(1), sock.recv(3), sock.recv(100), sock.recv(500)]
            assert b"".join(pieces) == bytes(range(200))
            assert [len(piece) for piece in pieces] == [1, 3, 100, 96]

    def test_it_says_what_a_selector_cannot_know(self) -> None:
        """That bytes are at hand."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            sock = BufferedSocket(theirs)
            assert sock.pending() == 0
            ours.sendall(b"ab")
            assert sock.recv(1) == b"a"
            assert sock.pending() == 1
            assert sock.recv(1) == b"b"
            assert sock.pending() == 0

    def test_no_bytes_and_the_end_are_the_sockets_own(self) -> None:
        """BlockingIOError, then nothing."""
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            sock = BufferedSocket(theirs)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
            ours.close()
            assert sock.recv(1) == b""
            assert sock.fileno() == theirs.fileno()

    def test_a_large_read_is_one_read(self) -> None:
        """More than it would read by itself."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * READ_BYTES)
            ours.sendall(b"x" * (READ_BYTES + 10))
            assert len(BufferedSocket(theirs).recv(READ_BYTES + 10)) == READ_BYTES + 10
