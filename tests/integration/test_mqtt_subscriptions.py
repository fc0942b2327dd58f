"""Subscriptions: each message arrives once, and a refused subscription is reported."""

import json
import logging
import threading
from functools import partial
from pathlib import Path

import pytest

from hermes.delivery.link_state import LinkState
from hermes.metrics import Metrics
from hermes.mqtt.client import MqttClient
from hermes.settings.urls.mqtt import MqttUrl
from tests.support.brokers import UNSUBSCRIBE, Peer, mosquitto, scripted
from tests.support.programs import wait_until
from tests.support.sites import FILTER, OVERLAPPING, TOPIC, on_demand_site, site

pytestmark = pytest.mark.broker


def test_retained_means_that_the_broker_has_stored_it(tmp_path: Path) -> None:
    """A live message that was published with the flag is not marked."""
    with mosquitto(tmp_path) as broker:
        broker.publish(TOPIC, "1", "-r")
        with site(broker.port) as here:
            here.up()
            here.receives(b"1")
            broker.publish(TOPIC, "2", "-r")
            here.receives(b"1", b"2")
            assert [message.retained for message in here.received.messages] == [True, False]
            assert here.received.messages[0].timestamp_ms is None


def test_thousands_of_retained_values_all_arrive(tmp_path: Path) -> None:
    """With QoS 0 the broker's queue of 1,000 messages is no limit."""
    with mosquitto(tmp_path) as broker:
        publisher = MqttClient(MqttUrl("127.0.0.1", broker.port), metrics=Metrics())
        publisher.start()
        wait_until(lambda: publisher.online)
        for number in range(3_000):
            wait_until(partial(publisher.publish, f"tenants/t/devices/{number}", b"1", retain=True))
        wait_until(lambda: not publisher._outbox and not publisher._connection._client.want_write())  # type: ignore[union-attr]
        publisher.stop()
        with site(broker.port) as here:
            wait_until(lambda: len(here.received.messages) == 3_000)


def test_overlapping_filters_deliver_each_message_once(tmp_path: Path) -> None:
    """The broker's copies are recognised by their identifiers, those of retained messages too."""
    with mosquitto(tmp_path) as broker:
        broker.publish("a/b", "0", "-r")
        with site(broker.port, *OVERLAPPING) as here:
            here.up()
            for topic, value in [("a/b", "1"), ("a/c", "2"), ("c/b", "3"), ("c/d", "4"), ("a/b", "5")]:
                broker.publish(topic, value)
            here.receives(b"0", b"1", b"2", b"3", b"5")
            assert [m.device_id for m in here.received.messages] == ["first", "first", "first", "second", "first"]
            # the second copy of the last message may still be on its way
            wait_until(lambda: here.count("hermes_mqtt_dropped_total", reason="duplicate_copy") == 3)
            assert len(here.received.messages) == 5


def test_it_is_up_only_after_the_subscriptions_are_granted() -> None:
    """CONNACK alone is not enough."""
    asked = threading.Event()
    grant = threading.Event()

    def script(peer: Peer) -> None:
        version = peer.accept()
        packet_id, filters, _ = peer.read_subscribe(version)
        assert filters == ["tenants/+/devices/+/#"]
        asked.set()
        assert grant.wait(60)
        peer.send(9, packet_id + b"\0\0")
        peer.until_closed()

    with scripted(script) as broker, site(broker.port) as here:
        assert asked.wait(60)
        assert not here.client.online
        assert here.link.state is LinkState.CONNECTING
        grant.set()
        here.up()


@pytest.mark.parametrize("code", [0x80, 0x87])
def test_a_refused_subscription_is_an_error_with_its_filter(code: int, caplog: pytest.LogCaptureFixture) -> None:
    """And it is retried; one line is logged for all attempts."""

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
    """So that ``/ready`` can show what is missing."""

    def refuse(peer: Peer) -> None:
        peer.grant(peer.accept(), 0x87)
        peer.until_closed()

    with scripted(refuse) as broker, site(broker.port) as here:
        here.down("subscription refused by the broker: tenants/+/devices/+/#")


@pytest.mark.parametrize("version", [4, 5])
def test_without_identifiers_disjoint_filters_are_subscribed_to(version: int) -> None:
    """Then no message arrives twice, but unneeded ones arrive."""
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
        here.receives(b"1", b"3")
    assert asked == [["+/+"]]


def test_each_filter_with_an_identifier_has_a_packet_of_its_own() -> None:
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
        here.receives(b"1", b"3")


def test_a_refusal_by_a_real_broker_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """mosquitto's dynamic security refuses in SUBACK; with an ACL file it grants everything and withholds messages."""
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


def test_on_demand_filters_follow_the_given_set(tmp_path: Path) -> None:
    """They are subscribed to while they are in it, and again after an outage."""
    acme, other, third = ("tenants/acme/#", "tenants/other/#", "tenants/third/#")
    with mosquitto(tmp_path) as broker, on_demand_site(broker.port) as here:

        def publish(tenant: str, value: str, *options: str) -> None:
            broker.publish(f"tenants/{tenant}/devices/d", f'"{value}"', *options)

        def arrives(value: str) -> None:
            wait_until(lambda: f'"{value}"'.encode() in here.received.data, why=f"{value} did not arrive")

        here.up()
        publish("acme", "before")
        publish("acme", "acme stored", "-r")
        publish("other", "other stored", "-r")
        here.client.set_filters(frozenset({acme}))
        arrives("acme stored")
        here.client.set_filters(frozenset({acme, other}))
        arrives("other stored")
        broker.stop()
        here.down("Connection refused")
        broker.start()
        here.up()
        publish("acme", "acme again", "-r")
        publish("other", "other again", "-r")
        arrives("acme again")
        arrives("other again")
        publish("third", "third stored", "-r")
        here.client.set_filters(frozenset({other, third}))  # UNSUBSCRIBE is sent before SUBSCRIBE
        arrives("third stored")
        publish("acme", "after", "-q", "1")
        publish("other", "last")
        arrives("last")
    assert b'"before"' not in here.received.data
    assert b'"after"' not in here.received.data


def test_many_on_demand_filters_are_sent_in_several_packets() -> None:
    """So are their UNSUBSCRIBE packets; no filter is sent twice."""
    asked: list[int] = []
    unsubscribed: list[int] = []

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
            unsubscribed.append(kind)
        peer.until_closed()

    with scripted(script) as broker, on_demand_site(broker.port) as here:
        here.up()
        here.client.set_filters(frozenset(f"tenants/{number}/#" for number in range(1_200)))
        wait_until(lambda: len(asked) == 3)
        here.client.set_filters(frozenset())
        wait_until(lambda: len(unsubscribed) == 3)
    assert asked == [500, 500, 200]
    assert unsubscribed == [UNSUBSCRIBE] * 3


def test_a_refused_on_demand_filter_is_an_error_and_the_connection_stays(caplog: pytest.LogCaptureFixture) -> None:
    """One tenant's topics must not affect those of the others."""

    def script(peer: Peer) -> None:
        version = peer.accept()
        peer.grant(version, 0x87)
        peer.deliver(version, TOPIC.encode(), b"1")
        peer.until_closed()

    with scripted(script) as broker, on_demand_site(broker.port) as here:
        here.up()
        here.client.set_filters(frozenset({"tenants/acme/#"}))
        here.receives(b"1")
        assert here.client.online
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "refused by the broker: tenants/acme/#" in record.message
