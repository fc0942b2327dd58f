"""What the link asks the broker for: each message once, and nothing that is refused in silence."""

import contextlib
import json
import logging
import threading
from functools import partial
from pathlib import Path

import pytest

from hermes.delivery.link_state import LinkState
from hermes.metrics import Metrics
from hermes.mqtt.client import MqttClient
from hermes.settings.mqtt_url import MqttUrl
from tests.support.brokers import UNSUBSCRIBE, Broker, Peer, mosquitto, scripted
from tests.support.programs import wait_until
from tests.support.sites import FILTER, OVERLAPPING, TOPIC, Site, site, wanting


def test_retained_means_that_the_broker_had_kept_it(tmp_path: Path) -> None:
    """A live message published with the flag is news all the same."""
    with mosquitto(tmp_path) as broker:
        broker.publish(TOPIC, "1", "-r")
        with site(broker.port) as here:
            here.up()
            here.hears(b"1")
            broker.publish(TOPIC, "2", "-r")
            here.hears(b"1", b"2")
            assert [message.retained for message in here.heard.messages] == [True, False]
            assert here.heard.messages[0].timestamp_ms is None


def test_thousands_of_retained_values_all_arrive(tmp_path: Path) -> None:
    """QoS 0 is not cut at the broker's queue of 1,000."""
    with mosquitto(tmp_path) as broker:
        publisher = MqttClient(MqttUrl("127.0.0.1", broker.port), metrics=Metrics())
        publisher.start()
        wait_until(lambda: publisher.online)
        for number in range(3_000):
            wait_until(partial(publisher.publish, f"tenants/t/devices/{number}", b"1", retain=True))
        wait_until(lambda: not publisher._outbox)
        publisher.stop()
        with site(broker.port) as here:
            wait_until(lambda: len(here.heard.messages) == 3_000)


def test_overlapping_filters_deliver_each_message_once(tmp_path: Path) -> None:
    """The broker's copies are told apart by their identifiers, retained ones too."""
    with mosquitto(tmp_path) as broker:
        broker.publish("a/b", "0", "-r")
        with site(broker.port, *OVERLAPPING) as here:
            here.up()
            for topic, value in [("a/b", "1"), ("a/c", "2"), ("c/b", "3"), ("c/d", "4"), ("a/b", "5")]:
                broker.publish(topic, value)
            here.hears(b"0", b"1", b"2", b"3", b"5")
            assert [m.device_id for m in here.heard.messages] == ["first", "first", "first", "second", "first"]
            dropped = here.metrics.registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": "duplicate_copy"})
            assert dropped == 3


def test_it_is_up_only_after_the_subscriptions_are_granted() -> None:
    """CONNACK alone brings no data."""
    asked = threading.Event()
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        version = peer.accept()
        packet_id, filters, _ = peer.read_subscribe(version)
        assert filters == ["tenants/+/devices/+/#"]
        asked.set()
        assert go_on.wait(10)
        peer.send(9, packet_id + b"\0\0")
        peer.until_closed()

    with scripted(script) as broker, site(broker.port) as here:
        assert asked.wait(10)
        assert not here.client.online
        assert here.link.state is LinkState.CONNECTING
        go_on.set()
        here.up()


@pytest.mark.parametrize("code", [0x80, 0x87])
def test_a_refused_subscription_is_an_error_with_its_filter(code: int, caplog: pytest.LogCaptureFixture) -> None:
    """Not silence; and it is tried again."""

    def refuse(peer: Peer) -> None:
        peer.grant(peer.accept(), code)
        peer.until_closed()

    def grant(peer: Peer) -> None:
        peer.grant(peer.accept())
        peer.until_closed()

    with scripted(refuse, refuse, refuse, grant) as broker, site(broker.port) as here:
        here.up()
        assert broker.connections == 4
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "subscription refused by the broker: tenants/+/devices/+/#" in record.message


def test_a_refused_subscription_shows_on_the_link() -> None:
    """So that ``/ready`` can say what is missing."""

    def refuse(peer: Peer) -> None:
        peer.grant(peer.accept(), 0x87)
        peer.until_closed()

    with scripted(refuse) as broker, site(broker.port) as here:
        here.down("subscription refused by the broker: tenants/+/devices/+/#")


@pytest.mark.parametrize("version", [4, 5])
def test_without_identifiers_disjoint_filters_are_asked_for(version: int) -> None:
    """Then nothing arrives twice, though more arrives."""
    asked: list[list[str]] = []

    def refuse(peer: Peer) -> None:
        peer.read_connect()
        peer.send(2, b"\0\1")

    def speak(peer: Peer) -> None:
        spoken = peer.accept(b"\x29\0")  # Subscription Identifier Available: 0 (MQTT 5 §3.2.2.3.12)
        assert spoken == version
        packet_id, filters, properties = peer.read_subscribe(spoken)
        assert properties == b""
        asked.append(filters)
        peer.send(9, packet_id + (b"\0" if spoken == 5 else b"") + bytes(len(filters)))
        peer.deliver(spoken, b"a/b", b"1")
        peer.deliver(spoken, b"c/d", b"2")
        peer.deliver(spoken, b"c/b", b"3")
        peer.until_closed()

    scripts = (speak,) if version == 5 else (refuse, speak)
    with scripted(*scripts) as broker, site(broker.port, *OVERLAPPING) as here:
        here.hears(b"1", b"3")
    assert asked == [["+/+"]]


def test_identifiers_are_asked_for_one_filter_at_a_time() -> None:
    """An identifier holds for a whole SUBSCRIBE (MQTT 5 §3.8.2.1.2); a copy may carry several."""

    def script(peer: Peer) -> None:
        version = peer.accept()
        for identifier, expected in ((1, "a/+"), (2, "+/b")):
            packet_id, filters, properties = peer.read_subscribe(version)
            assert filters == [expected]
            assert properties == bytes([0x0B, identifier])
            peer.send(9, packet_id + b"\0\0")
        for properties, payload in ((b"\x0b\1\x0b\2", b"1"), (b"\x0b\2", b"2"), (b"", b"3")):
            peer.send(3, b"\0\3a/b" + bytes([len(properties)]) + properties + payload)
        peer.until_closed()

    with scripted(script) as broker, site(broker.port, *OVERLAPPING) as here:
        here.hears(b"1", b"3")


def test_a_real_broker_that_refuses_a_subscription_is_quoted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """mosquitto's dynamic security refuses in SUBACK; its access file grants everything and then filters in silence."""
    plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
    if plugin is None:
        pytest.skip("mosquitto's dynamic security is missing")
    rules = tmp_path / "security.json"
    rules.write_text(json.dumps({"defaultACLAccess": {"subscribe": False, "publishClientReceive": True}}))
    rules.chmod(0o600)
    with (
        mosquitto(tmp_path, f"plugin {plugin}", f"plugin_opt_config_file {rules}") as broker,
        site(broker.port) as here,
    ):
        here.down(f"subscription refused by the broker: {FILTER}; its access rules must allow it")
        assert not here.client.online
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_what_is_wanted_is_subscribed_to_while_it_is_wanted(tmp_path: Path) -> None:
    """Besides what the templates need, and again after a return."""
    mine = frozenset({"tenants/acme/#"})
    with mosquitto(tmp_path) as broker, wanting(broker.port) as here:
        here.up()
        broker.publish(TOPIC, "0")
        broker.publish("tenants/other/devices/d", "kept", "-r")
        here.client.set_filters(mine)
        wait_until(lambda: reaches(broker, here, "1"))
        here.client.set_filters(mine | {"tenants/other/#"})
        wait_until(lambda: b'"kept"' in here.heard.data)
        broker.stop()
        here.down("")
        broker.start()
        here.up()
        wait_until(lambda: reaches(broker, here, "2"))
        here.client.set_filters(frozenset({"tenants/other/#"}))
        wait_until(lambda: not reaches(broker, here, "3"))
    assert b"0" not in here.heard.data


def test_many_wanted_filters_are_asked_for_in_several_packets() -> None:
    """And taken back likewise; none is asked for twice."""
    asked: list[int] = []
    taken_back: list[int] = []

    def script(peer: Peer) -> None:
        version = peer.accept()
        for _ in range(3):
            packet_id, filters, _ = peer.read_subscribe(version)
            asked.append(len(filters))
            codes = b"\0" * len(filters)
            peer.socket.sendall(b"\x90" + bytes([0x80 | (3 + len(codes)) % 128, (3 + len(codes)) // 128]))
            peer.socket.sendall(packet_id + b"\0" + codes)
        for _ in range(3):
            kind, _body = peer.read()
            taken_back.append(kind)
        peer.until_closed()

    with scripted(script) as broker, wanting(broker.port) as here:
        here.up()
        here.client.set_filters(frozenset(f"tenants/{number}/#" for number in range(1_200)))
        wait_until(lambda: len(asked) == 3)
        here.client.set_filters(frozenset())
        wait_until(lambda: len(taken_back) == 3)
    assert asked == [500, 500, 200]
    assert taken_back == [UNSUBSCRIBE] * 3


def test_a_wanted_filter_that_is_refused_is_an_error_and_the_link_stays(caplog: pytest.LogCaptureFixture) -> None:
    """One tenant's topics must not cost the others theirs."""

    def script(peer: Peer) -> None:
        version = peer.accept()
        peer.grant(version, 0x87)
        peer.deliver(version, TOPIC.encode(), b"1")
        peer.until_closed()

    with scripted(script) as broker, wanting(broker.port) as here:
        here.up()
        here.client.set_filters(frozenset({"tenants/acme/#"}))
        here.hears(b"1")
        assert here.client.online
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "refused by the broker: tenants/acme/#" in record.message


def reaches(broker: Broker, here: Site, value: str) -> bool:
    """Whether this value, published now, is heard within a moment."""
    before = here.count("hermes_mqtt_received_total")
    broker.publish(TOPIC, value)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: here.count("hermes_mqtt_received_total") > before, 0.3)
    return here.count("hermes_mqtt_received_total") > before
