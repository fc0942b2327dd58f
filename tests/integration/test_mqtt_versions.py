"""Which version of MQTT the client uses with a broker."""

import pytest

from tests.support.brokers import Peer, scripted
from tests.support.programs import wait_until
from tests.support.sites import TOPIC, site


@pytest.mark.parametrize("code", [0x01, 0x84])
def test_with_a_broker_without_mqtt_5_the_client_uses_3_1_1(code: int) -> None:
    """At once, and again after the connection was lost."""
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
        wait_until(lambda: len(here.received.messages) >= 2)
    assert versions[:3] == [5, 4, 4]


def test_after_two_connects_without_an_answer_the_client_uses_3_1_1() -> None:
    """Old brokers close the connection instead of refusing; if 3.1.1 fails too, 5 is tried again."""
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
