"""paho with two private methods replaced behaves as paho does."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from hermes.mqtt.net.buffered_socket import BufferedSocket
from hermes.mqtt.paho_client import ClientSetup, FastPathClient
from hermes.mqtt.reconnect import MqttVersion
from hermes.settings.mqtt import MqttOptions
from hermes.settings.urls.mqtt import MqttUrl
from tests.support.brokers import mosquitto
from tests.support.programs import wait_until

Message = tuple[bytes, bytes, bool]
SUBSCRIPTION_IDENTIFIER_5 = b"\x02\x0b\x05"


def publish(topic: bytes, payload: bytes, *, qos: int, retained: bool, properties: bytes) -> bytes:
    """A PUBLISH packet; ``properties`` begin with their length, and are empty for MQTT 3.1.1."""
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


Messages = list[Message]


@contextmanager
def connected(client: paho.Client, sock: BufferedSocket) -> Iterator[None]:
    """Make the client use this socket as its connection."""
    client._sock = sock
    try:
        yield
    finally:
        client._sock = None


def read(client: paho.Client, messages: Messages, data: bytes, turns: int) -> tuple[Messages, MQTTErrorCode]:
    """Let the client read these bytes. Return its messages and the result of its last read."""

    def on_message(_client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        messages.append((message._topic, bytes(message.payload), bool(message.retain)))

    client.on_message = on_message
    ours, theirs = socket.socketpair()
    with ours, theirs, connected(client, BufferedSocket(ours)):
        ours.setblocking(False)
        theirs.sendall(data)
        codes = [client.loop_read() for _ in range(turns)]
    return messages, codes[-1]


def fast_path_client(
    version: MqttVersion, messages: Messages, dial: Callable[[], object] = lambda: pytest.fail("it does not connect")
) -> FastPathClient:
    """A client that appends its messages of QoS 0 to this list."""
    setup = ClientSetup(
        client_id="ours",
        url=MqttUrl("127.0.0.1"),
        options=MqttOptions(),
        version=version,
        dial=dial,
        on_qos0_publish=lambda *message: messages.append(message[:3]),
        on_fault=lambda fault: None,
    )
    return FastPathClient(setup)


def read_both(version: MqttVersion, data: bytes, turns: int) -> list[tuple[Messages, MQTTErrorCode] | type[Exception]]:
    """What paho's own client and ours make of these bytes: messages and the last result, or the type of an error."""
    messages: Messages = []
    theirs = paho.Client(CallbackAPIVersion.VERSION2, "theirs", protocol=MQTTProtocolVersion(version))
    outcomes: list[tuple[Messages, MQTTErrorCode] | type[Exception]] = []
    for client, list_ in ((theirs, []), (fast_path_client(version, messages), messages)):
        try:
            outcomes.append(read(client, list_, data, turns))
        except Exception as error:  # noqa: BLE001 - whatever paho raises, ours must raise
            outcomes.append(type(error))
    return outcomes


PACKETS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=40), st.binary(max_size=300), st.sampled_from((0, 0, 0, 1)), st.booleans()
    ),
    max_size=8,
)


@pytest.mark.parametrize("version", MqttVersion)
@given(packets=PACKETS, identified=st.booleans())
def test_every_publish_is_read_as_paho_reads_it(
    version: MqttVersion, packets: list[tuple[bytes, bytes, int, bool]], identified: bool
) -> None:
    """Topics of any bytes, any payload, retained or not, of QoS 0 and 1, with and without properties."""
    properties = b""
    if version == MqttVersion.V5:
        properties = SUBSCRIPTION_IDENTIFIER_5 if identified else b"\0"
    data = b"".join(
        publish(topic, payload, qos=qos, retained=retained, properties=properties)
        for topic, payload, qos, retained in packets
    )
    theirs, ours = read_both(version, data, len(packets) + 1)
    assert ours == theirs
    assert isinstance(ours, tuple)
    assert ours[0] == [(topic, payload, retained) for topic, payload, _, retained in packets]


@pytest.mark.parametrize("version", MqttVersion)
@given(body=st.binary(max_size=12), flags=st.sampled_from((0, 1)))
def test_a_malformed_packet_ends_the_connection_as_in_paho(version: MqttVersion, body: bytes, flags: int) -> None:
    """The same messages and the same result."""
    theirs, ours = read_both(version, bytes((0x30 | flags, len(body))) + body, 1)
    assert ours == theirs


def test_the_client_replaces_only_four_names_of_paho() -> None:
    """Another name that both have would be used by both."""
    client = fast_path_client(MqttVersion.V5, [])
    ours = {name for kind in type(client).mro()[:-2] for name in vars(kind) if kind.__module__.startswith("hermes.")}
    ours |= vars(client).keys() - vars(paho.Client(CallbackAPIVersion.VERSION2)).keys()
    theirs = {*dir(paho.Client), *vars(paho.Client(CallbackAPIVersion.VERSION2))}
    common = {name for name in ours & theirs if not name.startswith("__")}
    assert common == {"_create_socket", "_handle_publish", "_send_pingreq", "_handle_pingresp"}


@pytest.mark.broker
def test_paho_calls_both_methods(tmp_path: Path) -> None:
    """With a real broker: the socket is buffered, and a message of QoS 0 does not become an object of paho's."""
    with mosquitto(tmp_path) as broker:
        messages: Messages = []
        client = fast_path_client(
            MqttVersion.V5, messages, dial=lambda: socket.create_connection(("127.0.0.1", broker.port))
        )
        client.on_message = lambda *_: pytest.fail("a message of QoS 0 became an object of paho's")
        client.connect("127.0.0.1", broker.port)
        assert isinstance(client.socket(), BufferedSocket)
        assert client.socket() is client.broker_socket
        client.loop_start()
        wait_until(client.is_connected, why="no connection")
        client.subscribe("t")
        client.publish("t", b"1")
        wait_until(lambda: messages, why="no message arrived")
        client.disconnect()
        client.loop_stop()
        assert messages == [(b"t", b"1", False)]
