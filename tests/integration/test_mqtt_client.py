"""The MQTT client with a broker: receiving, publishing and stopping."""

import logging
import subprocess
import threading
from pathlib import Path

import pytest

from hermes.backoff import Backoff
from hermes.metrics import Metrics
from hermes.mqtt import client as clients
from hermes.mqtt.client import MqttClient
from hermes.mqtt.connection import Connection
from hermes.settings.urls.mqtt import MqttUrl, parse_mqtt_url
from tests.support.brokers import Peer, mosquitto, scripted
from tests.support.programs import free_port, needs, wait_until
from tests.support.sites import TOPIC, site

pytestmark = pytest.mark.broker


def test_messages_arrive_over_mqtt_5(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And one line is logged on connect."""
    caplog.set_level(logging.INFO)
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        broker.publish(TOPIC, "21.4")
        broker.publish("somewhere/else", "1")
        broker.publish(TOPIC, b"\xff")
        broker.publish(TOPIC, b"")
        here.receives(b"21.4", b'"/w=="', b"null")
        assert not any(message.retained for message in here.received.messages)
        assert here.client.online
        assert here.metrics.registry.get_sample_value("hermes_mqtt_connects_total") == 1
        assert here.metrics.registry.get_sample_value("hermes_mqtt_connected") == 1
    assert [record.message for record in caplog.records] == [
        f"hermes-mqtt connected to mqtt://127.0.0.1:{broker.port}, MQTT 5"
    ]


def test_a_burst_arrives_whole_and_in_order(tmp_path: Path) -> None:
    """No message is lost between the socket and the loop."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        numbers = [f"{number}" for number in range(20_000)]
        broker.publish_lines(TOPIC, numbers)
        here.receives(*(number.encode() for number in numbers))


def test_a_payload_of_1_mib_arrives_and_a_larger_one_is_counted(tmp_path: Path) -> None:
    """The connection stays."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        broker.publish(TOPIC, b"x" * 1_048_576)
        broker.publish(TOPIC, b"x" * 1_048_577)
        broker.publish(TOPIC, b"x" * 3_000_000)  # above the packet size in CONNECT: the broker does not send it
        broker.publish(TOPIC, "1")
        here.receives(b'"' + b"x" * 1_048_576 + b'"', b"1")
        assert here.metrics.registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": "too_large"}) == 1
        assert here.link.ready


def test_a_topic_that_is_not_utf8_is_counted_and_the_connection_stays() -> None:
    """The next message arrives over the same connection."""

    def script(peer: Peer) -> None:
        version = peer.accept()
        peer.grant(version)
        peer.deliver(version, b"tenants/\xff/devices/d", b"1")
        peer.deliver(version, TOPIC.encode(), b"2")
        peer.until_closed()

    with scripted(script) as broker, site(broker.port) as here:
        here.receives(b"2")
        assert broker.connections == 1
        assert here.metrics.registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": "bad_topic"}) == 1


def test_credentials_are_used_and_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is logged as an error, without the password."""
    caplog.set_level(logging.DEBUG)
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    command = [needs("mosquitto_passwd"), "-b", str(passwords), "ana", "p@ss/wörd"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as broker:
        good = parse_mqtt_url(f"mqtt://ana:p%40ss%2Fw%C3%B6rd@127.0.0.1:{broker.port}")
        with site(good) as here:
            here.up()
        with site(parse_mqtt_url(f"mqtt://ana:secret@127.0.0.1:{broker.port}")) as here:
            here.down("refused the connection: Not authorized")
        with site(broker.port) as here:
            here.down("refused the connection: Not authorized")
    assert [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "secret" not in caplog.text
    assert "wörd" not in caplog.text


def test_publishing_needs_a_connection(tmp_path: Path) -> None:
    """Offline the message is refused; online it arrives."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        publisher = MqttClient(MqttUrl("127.0.0.1", broker.port), metrics=Metrics(), thread_name="test-publisher")
        assert not publisher.publish(TOPIC, b"lost")
        publisher.start()
        wait_until(lambda: publisher.online)
        assert publisher.publish(TOPIC, b"1")
        assert publisher.publish(TOPIC, b"", retain=True)
        here.receives(b"1", b"null")
        broker.stop()
        wait_until(lambda: not publisher.publish(TOPIC, b"lost"))
        publisher.stop()
        assert not publisher.publish(TOPIC, b"lost")
        assert here.metrics.registry.get_sample_value("hermes_mqtt_connects_total") == 1


@pytest.mark.parametrize("topic", ["", "a/+", "#"])
def test_publishing_on_a_wildcard_is_refused(topic: str) -> None:
    """MQTT-3.3.2-2."""
    publisher = MqttClient(MqttUrl("127.0.0.1"), metrics=Metrics())
    with pytest.raises(ValueError, match="not a topic to publish on"):
        publisher.publish(topic, b"1")
    publisher.stop()


def test_the_outbox_is_bounded() -> None:
    """If the broker does not read, messages are lost; memory does not grow."""
    frozen = threading.Event()
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        frozen.set()
        assert done.wait(60)

    with scripted(script) as broker:
        publisher = MqttClient(MqttUrl("127.0.0.1", broker.port), metrics=Metrics())
        publisher.start()
        assert frozen.wait(60)
        wait_until(lambda: publisher.online)
        wait_until(lambda: not all(publisher.publish(TOPIC, b"x" * 100_000) for _ in range(100)))
        assert len(publisher._outbox) <= clients.OUTBOX_MAX_MESSAGES
        publisher.stop()
        done.set()


def test_stopping_interrupts_every_wait_and_can_be_repeated(tmp_path: Path) -> None:
    """Connected, waiting for the next attempt, or never started."""
    never = MqttClient(MqttUrl("127.0.0.1"), metrics=Metrics())
    never.stop()
    waiting = MqttClient(
        MqttUrl("127.0.0.1", free_port()), metrics=Metrics(), backoff=Backoff(first_s=1_000, draw=lambda: 1.0)
    )
    waiting.start()
    wait_until(lambda: waiting._backoff._bound_s < 1_000)
    with mosquitto(tmp_path) as broker:
        connected = MqttClient(MqttUrl("127.0.0.1", broker.port), metrics=Metrics())
        connected.start()
        wait_until(lambda: connected.online)
        for client in (waiting, connected):
            client.stop()
            client.stop()
            assert not client._thread.is_alive()


def test_stopping_sends_disconnect() -> None:
    """So that the broker does not publish a last will."""
    last: list[int] = []

    def script(peer: Peer) -> None:
        peer.grant(peer.accept())
        last.append(peer.read()[0])

    with scripted(script) as broker, site(broker.port) as here:
        here.up()
    assert last == [14]


def test_stopping_has_a_timeout(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer blocks the thread, not Hermes."""
    monkeypatch.setattr(clients, "STOP_TIMEOUT_S", 0.05)
    entered, answer = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        entered.set()
        answer.wait(60)

    monkeypatch.setattr(Connection, "open", hang)
    client = MqttClient(MqttUrl("127.0.0.1", free_port()), metrics=Metrics())
    client.start()
    assert entered.wait(60)
    client.stop()
    assert "did not end" in caplog.records[0].message
    answer.set()
    client.stop()
    assert not client._thread.is_alive()
