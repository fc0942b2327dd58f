"""Which version of MQTT the link speaks to a broker."""

import pytest

from hermes.mqtt.failures import NoConnack, RefusedByBroker, WrongVersion
from hermes.mqtt.reconnect import MqttVersion, VersionNegotiator
from tests.support.brokers import Peer, scripted
from tests.support.programs import wait_until
from tests.support.sites import TOPIC, site


@pytest.mark.parametrize("code", [0x01, 0x84])
def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(code: int) -> None:
    """At once, and again after a loss."""
    versions: list[int] = []

    def refuse(peer: Peer) -> None:
        versions.append(peer.read_connect())
        peer.send(2, bytes([0, code]) + (b"\0" if code == 0x84 else b""))
        peer.until_closed()

    def speak(peer: Peer) -> None:
        version = peer.accept()
        versions.append(version)
        assert peer.grant(version)
        peer.deliver(version, TOPIC.encode(), b"1")

    with scripted(refuse, speak, speak) as broker, site(broker.port) as here:
        wait_until(lambda: len(here.heard.messages) >= 2)
    assert versions[:3] == [5, 4, 4]


def test_a_broker_that_closes_twice_without_an_answer_is_spoken_to_in_3_1_1() -> None:
    """Old ones do not know how to refuse; where 3.1.1 fails too, 5 gets its next chance."""
    versions: list[int] = []

    def close(peer: Peer) -> None:
        versions.append(peer.read_connect())

    def speak(peer: Peer) -> None:
        versions.append(peer.accept())
        peer.grant(versions[-1])
        peer.until_closed()

    with scripted(close, close, close, close, speak) as broker, site(broker.port) as here:
        here.up()
    assert versions == [5, 5, 4, 4, 5]


def test_versions_are_remembered() -> None:
    """What has worked is not given up for a broker that restarts, but for one that says no."""
    versions = VersionNegotiator()
    versions.record(None, connected=True)
    for _ in range(5):
        versions.record(NoConnack("closed"), connected=False)
    versions.record(ConnectionRefusedError(), connected=False)
    versions.record(RefusedByBroker("credentials"), connected=False)
    seen = [(versions.current, versions.retry_at_once)]
    for _ in range(2):
        versions.record(WrongVersion("no"), connected=False)
        seen.append((versions.current, versions.retry_at_once))
    assert seen == [(MqttVersion.V5, False), (MqttVersion.V311, True), (MqttVersion.V5, False)]
