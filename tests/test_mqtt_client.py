"""The link to the broker: what it delivers, how it is lost, and that it always comes back."""

import asyncio
import contextlib
import datetime
import gc
import ipaddress
import logging
import os
import resource
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hermes.link import Link, LinkState
from hermes.metrics import Metrics
from hermes.mqtt import client as clients
from hermes.mqtt.backoff import Backoff
from hermes.mqtt.bridge import Bridge
from hermes.mqtt.client import MqttClient
from hermes.mqtt.complaints import Complaints
from hermes.mqtt.versions import BrokerRefused, MqttVersion, NoAnswer, Versions, WrongVersion
from hermes.mqtt_url import MqttUrl, parse_mqtt_url
from hermes.topics import TopicMap
from tests.brokers import Heard, Peer, mosquitto, scripted
from tests.conftest import needs
from tests.programs import free_port, wait_until

TOPIC = "tenants/acme/devices/d1/temp"
OVERLAPPING = ("a/{tenant_id};device_id=first", "{tenant_id}/b;device_id=second")


def quick() -> Backoff:
    """Waits of some milliseconds, always the longest."""
    return Backoff(first_s=0.01, max_s=0.05, draw=lambda: 1.0)


class Site:
    """A client with its bridge, and the loop that the bridge leads to, running in a thread."""

    def __init__(self, url: MqttUrl, templates: tuple[str, ...] = ("hermes",)) -> None:
        self.heard = Heard()
        self.link = Link()
        self.metrics = Metrics()
        self.loop = asyncio.new_event_loop()
        self.topics = TopicMap(templates)
        self.bridge = Bridge(
            topics=self.topics,
            publish=self.heard,
            flush=lambda: None,
            link=self.link,
            metrics=self.metrics,
            loop=self.loop,
        )
        self.client = MqttClient(url, metrics=self.metrics, bridge=self.bridge, topics=self.topics, backoff=quick())
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")

    def start(self) -> None:
        """Start both threads."""
        self._thread.start()
        self.client.start()

    def stop(self) -> None:
        """Stop both threads."""
        self.client.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def up(self) -> None:
        """Wait until the link is up."""
        wait_until(lambda: self.link.state is LinkState.UP)

    def down(self, words: str) -> None:
        """Wait until the link is down for this reason."""
        wait_until(lambda: self.link.state is LinkState.DOWN and words in self.link.missing[0])

    def hears(self, *data: bytes) -> None:
        """Wait for exactly these values."""
        wait_until(lambda: len(self.heard.messages) >= len(data))
        assert self.heard.data == list(data)


@contextlib.contextmanager
def site(url: MqttUrl | int, *templates: str) -> Iterator[Site]:
    """A running client of the broker at this URL, or at this port."""
    running = Site(url if isinstance(url, MqttUrl) else MqttUrl("127.0.0.1", url), templates or ("hermes",))
    running.start()
    try:
        yield running
    finally:
        running.stop()


def test_messages_arrive_over_mqtt_5(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line says so on connect."""
    caplog.set_level(logging.INFO)
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        broker.publish(TOPIC, "21.4")
        broker.publish("somewhere/else", "1")
        broker.publish(TOPIC, b"\xff")
        broker.publish(TOPIC, b"")
        here.hears(b"21.4", b'"/w=="', b"null")
        assert not any(message.retained for message in here.heard.messages)
        assert here.client.online
        assert here.metrics.registry.get_sample_value("hermes_mqtt_connects_total") == 1
        assert here.metrics.registry.get_sample_value("hermes_mqtt_connected") == 1
    assert [record.message for record in caplog.records] == [
        f"hermes-mqtt connected to mqtt://127.0.0.1:{broker.port}, MQTT 5"
    ]


def test_a_burst_arrives_whole_and_in_order(tmp_path: Path) -> None:
    """Nothing is lost between the socket and the loop."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        numbers = [f"{number}" for number in range(20_000)]
        broker.publish_lines(TOPIC, numbers)
        here.hears(*(number.encode() for number in numbers))
        assert here.metrics.mqtt_batches._value.get() < 10_000


def test_a_payload_of_1_mib_arrives_and_a_larger_one_is_counted(tmp_path: Path) -> None:
    """The link survives both."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        broker.publish(TOPIC, b"x" * 1_048_576)
        broker.publish(TOPIC, b"x" * 1_048_577)
        broker.publish(TOPIC, b"x" * 3_000_000)  # beyond the packet size asked for: the broker keeps it
        broker.publish(TOPIC, "1")
        here.hears(b'"' + b"x" * 1_048_576 + b'"', b"1")
        assert here.metrics.registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": "too_large"}) == 1
        assert here.link.ready


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


def test_the_link_comes_back_after_the_broker_died(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And asks again for what it wants; one line on the loss, one for all the tries that fail alike."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        broker.stop()
        here.down("Connection refused")
        assert not here.client.online
        assert not here.link.ready
        down_since_ms = here.link.since_ms
        tries = here.client._backoff
        wait_until(lambda: tries._bound_s == 0.05)
        assert here.link.since_ms == down_since_ms
        broker.start()
        here.up()
        broker.publish(TOPIC, "1")
        here.hears(b"1")
        assert here.metrics.registry.get_sample_value("hermes_mqtt_connects_total") == 2
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2
    assert "lost mqtt://" in lines[0]
    assert "Connection refused" in lines[1]


def test_a_frozen_broker_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket stays open and nothing comes any more."""
    monkeypatch.setattr(clients, "KEEPALIVE_S", 1)
    monkeypatch.setattr(clients, "ANSWER_TIMEOUT_S", 0.3)
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        broker.freeze()
        wait_until(lambda: here.link.state is LinkState.DOWN)
        here.down("did not answer in 0 s")
        broker.stop()
        broker.start()
        here.up()


def test_it_works_with_more_than_1024_open_files(tmp_path: Path) -> None:
    """``select()`` would fail on such descriptors, paho's own thread in silence."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2_000:
        pytest.skip("the limit of open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000), hard))
    files: list[int] = []
    try:
        with mosquitto(tmp_path) as broker:
            files += [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
            with site(broker.port) as here:
                here.up()
                broker.stop()
                here.down("refused")
                broker.start()
                here.up()
                broker.publish(TOPIC, "1")
                here.hears(b"1")
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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
    versions = Versions()
    versions.learn(None, connected=True)
    for _ in range(5):
        versions.learn(NoAnswer("closed"), connected=False)
    versions.learn(ConnectionRefusedError(), connected=False)
    versions.learn(BrokerRefused("credentials"), connected=False)
    seen = [(versions.current, versions.retry_at_once)]
    for _ in range(2):
        versions.learn(WrongVersion("no"), connected=False)
        seen.append((versions.current, versions.retry_at_once))
    assert seen == [(MqttVersion.V5, False), (MqttVersion.V311, True), (MqttVersion.V5, False)]


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


def test_a_broker_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection, and that is all; or it answers CONNECT and never SUBSCRIBE."""
    monkeypatch.setattr(clients, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(clients, "MISC_INTERVAL_S", 0.05)
    reasons: list[str] = []

    def silent(peer: Peer) -> None:
        peer.until_closed()

    def half(peer: Peer) -> None:
        peer.accept()
        peer.until_closed()

    def speak(peer: Peer) -> None:
        reasons.extend(here.link.missing)
        peer.grant(peer.accept())
        peer.until_closed()

    with scripted(silent, half, speak) as broker, site(broker.port) as here:
        here.up()
    assert reasons == ["the broker did not grant the subscription in 0 s: tenants/+/devices/+/#"]


def test_a_broker_that_ends_the_connection_is_quoted() -> None:
    """MQTT 5 §3.14: DISCONNECT with a reason."""

    def script(peer: Peer) -> None:
        peer.grant(peer.accept())
        peer.send(14, b"\x8e\0")
        peer.until_closed()

    with scripted(script) as broker, site(broker.port) as here:
        here.down("the broker ended the connection: Session taken over")


def test_rubbish_from_the_broker_ends_the_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    """Not the thread."""

    def rubbish(peer: Peer) -> None:
        peer.grant(peer.accept())
        peer.socket.sendall(b"\xf0\xff\xff\xff\xff\xff\xff")
        peer.until_closed()

    def short(peer: Peer) -> None:
        peer.grant(peer.accept())
        peer.send(3, b"\0\x50a")
        peer.until_closed()

    def few(peer: Peer) -> None:
        version = peer.accept()
        packet_id, _, _ = peer.read_subscribe(version)
        peer.send(9, packet_id + b"\0")
        peer.until_closed()

    def speak(peer: Peer) -> None:
        peer.grant(peer.accept())
        peer.deliver(5, TOPIC.encode(), b"1")
        peer.until_closed()

    with scripted(rubbish, short, few, speak) as broker, site(broker.port) as here:
        here.hears(b"1")
    assert not [record for record in caplog.records if record.exc_info]


def test_a_topic_that_is_not_utf8_is_counted_and_the_link_stays() -> None:
    """The next message arrives over the same connection."""

    def script(peer: Peer) -> None:
        version = peer.accept()
        peer.grant(version)
        peer.deliver(version, b"tenants/\xff/devices/d", b"1")
        peer.deliver(version, TOPIC.encode(), b"2")
        peer.until_closed()

    with scripted(script) as broker, site(broker.port) as here:
        here.hears(b"2")
        assert broker.connections == 1
        assert here.metrics.registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": "bad_topic"}) == 1


def test_an_error_of_ours_never_ends_the_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback is logged, the connection is made anew."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        put = here.bridge.put
        failed = threading.Event()

        def fail_once(*arguments: Any, **options: Any) -> None:
            if failed.is_set():
                put(*arguments, **options)
            else:
                failed.set()
                raise RuntimeError("made to fail")

        monkeypatch.setattr(here.bridge, "put", fail_once)
        broker.publish(TOPIC, "1")
        assert failed.wait(10)
        wait_until(lambda: here.metrics.registry.get_sample_value("hermes_mqtt_connects_total") == 2)
        here.up()
        broker.publish(TOPIC, "2")
        here.hears(b"2")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "made to fail" in str(record.exc_info[1])


def test_an_error_before_the_connection_never_ends_the_thread(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For instance a host name that cannot be encoded."""
    with site(MqttUrl("x" * 70 + ".example")) as here:
        here.down("label")
    assert caplog.records[0].exc_info is not None
    assert len(caplog.records) == 1


def test_repeated_failures_are_logged_once_a_minute() -> None:
    """The first at once, then with the number of tries; another reason at once."""
    now_s = 100.0
    complaints = Complaints(lambda: now_s)
    assert complaints.due("refused") == 1
    for _ in range(9):
        now_s += 6
        assert complaints.due("refused") is None
    now_s += 6
    assert complaints.due("refused") == 10
    assert complaints.due("timed out") == 1
    complaints.clear()
    assert complaints.due("timed out") == 1


def test_the_back_off_doubles_to_its_bound_with_full_jitter() -> None:
    """1 s to 30 s, anything from nothing to the bound, anew after success."""
    drawn = 1.0
    backoff = Backoff(draw=lambda: drawn)
    assert [backoff.wait_s() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    drawn = 0.25
    assert backoff.wait_s() == 7.5
    backoff.reset()
    assert backoff.wait_s() == 0.25
    assert all(0 <= Backoff().wait_s() <= 1 for _ in range(100))


def test_credentials_are_used_and_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is an error that names no password."""
    caplog.set_level(logging.DEBUG)
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    command = [needs("mosquitto_passwd"), "-b", str(passwords), "ana", "p@ss/wörd"]
    subprocess.run(command, check=True, capture_output=True, timeout=10)
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves the socket to the GC
def test_mqtts_refuses_an_unknown_certificate(tmp_path: Path) -> None:
    """And says so."""
    certificate, key = _certificate(tmp_path)
    with mosquitto(tmp_path, f"certfile {certificate}", f"keyfile {key}") as broker:
        with site(MqttUrl("127.0.0.1", broker.port, tls=True)) as here:
            here.down("the broker's certificate is not trusted: self-signed certificate")
        # a raised error keeps the frames of the attempt: its socket must be closed, not only forgotten
        assert not [thing for thing in gc.get_objects() if isinstance(thing, ssl.SSLSocket) and thing.fileno() != -1]


def test_mqtts_carries_a_burst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What TLS has read ahead is not left lying."""
    certificate, key = _certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mosquitto(tmp_path, f"certfile {certificate}", f"keyfile {key}") as broker:
        url = MqttUrl("127.0.0.1", broker.port, tls=True)
        publisher = MqttClient(url, metrics=Metrics(), backoff=quick())
        publisher.start()
        with site(url) as here:
            here.up()
            wait_until(lambda: publisher.online)
            for number in range(3_000):
                wait_until(partial(publisher.publish, TOPIC, b"%d" % number))
            here.hears(*(b"%d" % number for number in range(3_000)))
        publisher.stop()


def test_publishing_needs_a_link(tmp_path: Path) -> None:
    """Offline it says no; online the message arrives."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        publisher = MqttClient(MqttUrl("127.0.0.1", broker.port), metrics=Metrics(), thread_name="test-publisher")
        assert not publisher.publish(TOPIC, b"lost")
        publisher.start()
        wait_until(lambda: publisher.online)
        assert publisher.publish(TOPIC, b"1")
        assert publisher.publish(TOPIC, b"", retain=True)
        here.hears(b"1", b"null")
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


def test_what_waits_to_be_published_is_bounded() -> None:
    """A broker that does not read costs messages, not memory."""
    frozen = threading.Event()
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        frozen.set()
        assert done.wait(20)

    with scripted(script) as broker:
        publisher = MqttClient(MqttUrl("127.0.0.1", broker.port), metrics=Metrics())
        publisher.start()
        assert frozen.wait(10)
        wait_until(lambda: publisher.online)
        wait_until(lambda: not all(publisher.publish(TOPIC, b"x" * 100_000) for _ in range(100)))
        assert len(publisher._outbox) <= clients.OUTBOX_MAX_MESSAGES
        publisher.stop()
        done.set()


def test_stopping_is_quick_and_can_be_repeated(tmp_path: Path) -> None:
    """Connected, waiting for the next try, or never started."""
    never = MqttClient(MqttUrl("127.0.0.1"), metrics=Metrics())
    never.stop()
    waiting = MqttClient(
        MqttUrl("127.0.0.1", free_port()), metrics=Metrics(), backoff=Backoff(first_s=1_000, draw=lambda: 1.0)
    )
    waiting.start()
    wait_until(lambda: waiting._backoff._bound_s > 1_000 or waiting._backoff._bound_s == 30)
    with mosquitto(tmp_path) as broker:
        connected = MqttClient(MqttUrl("127.0.0.1", broker.port), metrics=Metrics())
        connected.start()
        wait_until(lambda: connected.online)
        for client in (waiting, connected):
            client.stop()
            client.stop()
            assert not client._thread.is_alive()


def test_stopping_says_goodbye_to_the_broker() -> None:
    """So that it does not publish a last will."""
    last: list[int] = []

    def script(peer: Peer) -> None:
        peer.grant(peer.accept())
        last.append(peer.read()[0])

    with scripted(script) as broker, site(broker.port) as here:
        here.up()
    assert last == [14]


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("mqtt://broker", MqttUrl("broker", 1883), "mqtt://broker:1883"),
        ("mqtt://broker:1884/", MqttUrl("broker", 1884), "mqtt://broker:1884"),
        ("mqtts://broker", MqttUrl("broker", 8883, tls=True), "mqtts://broker:8883"),
        ("mqtt://[::1]", MqttUrl("::1", 1883), "mqtt://[::1]:1883"),
        ("mqtt://ana@broker", MqttUrl("broker", username="ana"), "mqtt://ana@broker:1883"),
        ("mqtt://a%40b:p%3Aw%2F@h", MqttUrl("h", username="a@b", password="p:w/"), "mqtt://a%40b@h:1883"),
    ],
)
def test_a_broker_url_is_read(text: str, url: MqttUrl, shown: str) -> None:
    """Whose str and repr never show the password."""
    assert parse_mqtt_url(text) == url
    assert str(url) == shown
    assert "p:w/" not in repr(url)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with neither"),
        ("broker", "begins with neither"),
        ("broker:1883", "begins with neither"),
        ("http://broker", "begins with neither"),
        ("mqtt:broker", "begins with neither"),
        ("mqtt://", "no host"),
        ("mqtt://:1883", "no host"),
        ("mqtt://bro ker", "white space"),
        ("mqtt://broker:0", "port is 0"),
        ("mqtt://broker:70000", "cannot be read"),
        ("mqtt://broker:x", "cannot be read"),
        ("mqtt://[::1", "cannot be read"),
        ("mqtt://broker/topic", "%2F"),
        ("mqtt://broker?x=1", "something after"),
        ("mqtt://ana:se#cret@broker", "%23"),
        ("mqtt://:secret@broker", "no user"),
    ],
)
def test_a_broker_url_that_cannot_work_is_refused(text: str, words: str) -> None:
    """With what to write, and without the text, for a password may be in it."""
    with pytest.raises(ValueError, match=words) as caught:
        parse_mqtt_url(text)
    assert "secret" not in str(caught.value)


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test broker")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "stopped"),
        (TimeoutError("timed out"), "the broker cannot be reached: timed out"),
        (OSError(24, "Too many open files"), "the broker cannot be reached: Too many open files"),
        (OSError("odd"), "the broker cannot be reached: odd"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_every_end_of_a_connection_has_words(error: Exception | None, words: str) -> None:
    """For the console and the log."""
    assert clients._reason(error) == words


def test_a_lack_of_files_never_ends_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even before there is a connection."""
    connection = MqttClient._connection
    calls = 0

    def fail_once(client: MqttClient) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(24, "Too many open files")
        return connection(client)

    monkeypatch.setattr(MqttClient, "_connection", fail_once)
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
    assert calls == 2


def test_stopping_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer holds the thread up, not Hermes."""
    monkeypatch.setattr(clients, "STOP_TIMEOUT_S", 0.05)
    entered, go_on = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        entered.set()
        go_on.wait(10)

    monkeypatch.setattr(clients._Connection, "open", hang)
    client = MqttClient(MqttUrl("127.0.0.1", free_port()), metrics=Metrics())
    client.start()
    assert entered.wait(10)
    client.stop()
    assert "did not end" in caplog.records[0].message
    go_on.set()
    client.stop()
    assert not client._thread.is_alive()
