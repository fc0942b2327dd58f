"""Persistent sessions: what is not lost during an outage, and the options in CONNECT."""

import logging
from pathlib import Path

import pytest

from hermes.settings.mqtt import MqttOptions
from tests.support.brokers import CONNECT, Peer, mosquitto, scripted
from tests.support.programs import wait_until
from tests.support.proxies import proxy
from tests.support.sites import TOPIC, site

pytestmark = pytest.mark.broker

PERSISTENT = MqttOptions(client_id="gateway1", clean_start=False, session_expiry_s=600, qos=1)


def test_a_persistent_session_delivers_what_was_published_meanwhile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each message once, in order; the log reports it."""
    caplog.set_level(logging.INFO)
    with mosquitto(tmp_path) as broker, proxy(broker.port) as between, site(between.port, options=PERSISTENT) as here:
        here.up()
        broker.publish(TOPIC, "0")  # QoS 0: with 1 it comes again if the cut loses its acknowledgement
        here.receives(b"0")
        between.refuse()
        between.cut()
        here.down("")
        broker.publish_lines(TOPIC, [f"{number}" for number in range(1, 101)], "-q", "1")
        between.accept()
        here.up()
        broker.publish(TOPIC, "101", "-q", "1")
        here.receives(*(b"%d" % number for number in range(102)))
    lines = [record.message for record in caplog.records if "back after" in record.message]
    assert lines[-1].endswith(
        "the broker stored what devices published meanwhile with QoS 1, as far as its queue allowed"
    )


def test_a_persistent_session_outlives_hermes(tmp_path: Path) -> None:
    """A restart loses no message of QoS 1; the trial of ``hermes check`` does not consume any."""
    with mosquitto(tmp_path) as broker:
        with site(broker.port, options=PERSISTENT) as here:
            here.up()
        broker.publish(TOPIC, "1", "-q", "1")
        with site(broker.port, options=PERSISTENT.for_a_trial()) as here:
            here.up()
        with site(broker.port, options=PERSISTENT) as here:
            here.receives(b"1")


def test_a_retained_value_that_changed_meanwhile_arrives_with_a_persistent_session_too(tmp_path: Path) -> None:
    """The broker does not queue it with QoS 0; a value that did not change is not delivered again."""
    with mosquitto(tmp_path) as broker, proxy(broker.port) as between, site(between.port, options=PERSISTENT) as here:
        here.up()
        broker.publish(TOPIC, "old", "-r")
        broker.publish(f"{TOPIC}/2", "same", "-r")
        here.receives(b'"old"', b'"same"')
        between.refuse()
        between.cut()
        here.down("")
        broker.publish(TOPIC, "new", "-r")
        between.accept()
        here.up()
        broker.publish(f"{TOPIC}/3", "last")
        wait_until(lambda: here.received.data[-1] == b'"last"')
        assert here.received.data == [b'"old"', b'"same"', b'"new"', b'"last"']


def test_a_session_that_the_broker_lost_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log does not claim that messages were queued."""
    caplog.set_level(logging.INFO)
    with mosquitto(tmp_path) as broker, site(broker.port, options=PERSISTENT) as here:
        here.up()
        wait_until(lambda: here.count("hermes_mqtt_connects_total") == 1)
        broker.stop()
        here.down("")
        broker.start()
        here.up()
    lines = [record.message for record in caplog.records if "back after" in record.message]
    assert "the broker had not stored the session" in lines[-1]


def test_a_message_of_qos_1_is_acknowledged() -> None:
    """By paho, after the bridge got it."""
    acknowledged: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.accept()
        packet_id, filters, _ = peer.read_subscribe(5, qos=1)
        assert filters
        peer.send(9, packet_id + b"\0\1")
        topic = TOPIC.encode()
        peer.send(3, len(topic).to_bytes(2, "big") + topic + b"\0\x07" + b"\0" + b"1", flags=0b0010)
        kind, body = peer.read()
        assert kind == 4
        acknowledged.append(body[:2])
        peer.until_closed()

    with scripted(script) as broker, site(broker.port, options=PERSISTENT) as here:
        here.receives(b"1")
        wait_until(lambda: acknowledged)
    assert acknowledged == [b"\0\x07"]


@pytest.mark.parametrize(
    ("options", "flags", "properties"),
    [
        (MqttOptions(), 0b10, b"\x27\0\x20\0\0"),
        (MqttOptions(receive_maximum=20, keepalive_s=7), 0b10, b"\x21\0\x14\x27\0\x20\0\0"),
        (PERSISTENT, 0b00, b"\x11\0\0\x02\x58\x27\0\x20\0\0"),
    ],
)
def test_the_options_are_in_connect(options: MqttOptions, flags: int, properties: bytes) -> None:
    """MQTT 5 §3.1.2: clean start, keepalive, session expiry, receive maximum, maximum packet size."""
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        kind, body = peer.read()
        assert kind == CONNECT
        seen.append(body)
        peer.until_closed()

    with scripted(script) as broker, site(broker.port, options=options):
        wait_until(lambda: seen)
    body = seen[0]
    assert body[7] == flags
    assert int.from_bytes(body[8:10], "big") == options.keepalive_s
    sent = body[11 : 11 + body[10]]
    assert sorted(_properties(sent)) == sorted(_properties(properties))
    if options.client_id is not None:
        assert body.endswith(options.client_id.encode())


def test_with_3_1_1_a_persistent_session_is_not_a_clean_session() -> None:
    """MQTT 3.1.1 §3.1.2.4; the broker decides how long it stores the session."""
    seen: list[bytes] = []

    def refuse(peer: Peer) -> None:
        peer.read_connect()
        peer.send(2, b"\0\1")
        peer.until_closed()

    def script(peer: Peer) -> None:
        seen.append(peer.read()[1])
        peer.until_closed()

    with scripted(refuse, script) as broker, site(broker.port, options=PERSISTENT):
        wait_until(lambda: seen)
    assert (seen[0][6], seen[0][7]) == (4, 0)


def _properties(raw: bytes) -> list[bytes]:
    """Return the properties of a CONNECT one by one; only those that Hermes sends."""
    sizes = {0x11: 5, 0x21: 3, 0x27: 5}
    found = []
    while raw:
        size = sizes[raw[0]]
        found.append(raw[:size])
        raw = raw[size:]
    return found
