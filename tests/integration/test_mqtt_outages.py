"""Outages: however the broker, the network or Hermes fails, the reason is reported and the link is restored."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hermes.mqtt import connection as connections
from hermes.mqtt.client import MqttClient
from hermes.settings.mqtt import MqttOptions
from hermes.settings.urls.mqtt import MqttUrl
from tests.support.brokers import Peer, mosquitto, scripted
from tests.support.programs import needs, wait_until
from tests.support.proxies import proxy
from tests.support.sites import TOPIC, site

pytestmark = pytest.mark.broker


def test_the_link_is_restored_after_the_broker_was_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With its subscriptions; one line on the loss, one for all attempts that fail for one reason."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        broker.stop()
        here.down("Connection refused")
        assert not here.client.online
        assert not here.link.ready
        down_since_ms = here.link.since_ms
        backoff = here.client._backoff
        wait_until(lambda: backoff._bound_s == 0.05)
        assert here.link.since_ms == down_since_ms
        broker.start()
        here.up()
        broker.publish(TOPIC, "1")
        here.receives(b"1")
        assert here.metrics.registry.get_sample_value("hermes_mqtt_connects_total") == 2
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2
    assert "lost mqtt://" in lines[0]
    assert "Connection refused" in lines[1]


def test_a_broker_that_does_not_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it accepts a connection and sends nothing, and if it answers CONNECT but not SUBSCRIBE."""
    monkeypatch.setattr(connections, "MISC_INTERVAL_S", 0.02)
    now_s = 0.0

    def clock() -> float:
        return now_s

    def expire(peer: Peer) -> None:
        """Advance the clock until the client closes the connection."""
        nonlocal now_s
        peer.socket.settimeout(0.02)
        kind = -1
        while kind != 0:
            now_s += connections.ANSWER_TIMEOUT_S
            with contextlib.suppress(TimeoutError):
                kind, _ = peer.read()

    def silent(peer: Peer) -> None:
        peer.read_connect()
        expire(peer)

    def without_suback(peer: Peer) -> None:
        here.down("the broker did not answer in 10 s")
        peer.read_subscribe(peer.accept())
        expire(peer)

    def answering(peer: Peer) -> None:
        here.down("the broker did not grant the subscription in 10 s: tenants/+/devices/+/#")
        peer.grant(peer.accept())
        peer.until_closed()

    with scripted(silent, without_suback, answering) as broker, site(broker.port, clock=clock) as here:
        here.up()


def test_the_brokers_reason_for_ending_the_connection_is_reported() -> None:
    """MQTT 5 §3.14: DISCONNECT with a reason."""

    def script(peer: Peer) -> None:
        peer.grant(peer.accept())
        peer.send(14, b"\x8e\0")
        peer.until_closed()

    with scripted(script) as broker, site(broker.port) as here:
        here.down("the broker ended the connection: Session taken over")


def test_malformed_packets_end_the_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    """Not the thread."""

    def malformed(peer: Peer) -> None:
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

    with scripted(malformed, short, few, speak) as broker, site(broker.port) as here:
        here.receives(b"1")
    assert not [record for record in caplog.records if record.exc_info]


def test_an_error_in_hermes_never_ends_the_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback is logged, and a new connection is opened."""
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        put = here.bridge.put
        failed = threading.Event()

        def fail_once(*arguments: Any, **options: Any) -> None:
            if failed.is_set():
                put(*arguments, **options)
            else:
                failed.set()
                raise RuntimeError("injected")

        monkeypatch.setattr(here.bridge, "put", fail_once)
        broker.publish(TOPIC, "1")
        assert failed.wait(60)
        wait_until(lambda: here.metrics.registry.get_sample_value("hermes_mqtt_connects_total") == 2)
        here.up()
        broker.publish(TOPIC, "2")
        here.receives(b"2")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "injected" in str(record.exc_info[1])


def test_an_error_before_the_connection_never_ends_the_thread(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For instance a host name that cannot be encoded."""
    with site(MqttUrl("x" * 70 + ".example")) as here:
        here.down("label")
    assert caplog.records[0].exc_info is not None
    assert len(caplog.records) == 1


def test_a_lack_of_file_descriptors_never_ends_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it occurs before there is a connection."""
    connection = MqttClient._new_connection
    calls = 0

    def fail_once(client: MqttClient) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(24, "Too many open files")
        return connection(client)

    monkeypatch.setattr(MqttClient, "_new_connection", fail_once)
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
    assert calls == 2


SHORT = MqttOptions(keepalive_s=1)


def test_a_frozen_broker_is_detected_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGSTOP leaves its sockets open, and it sends nothing until SIGCONT."""
    monkeypatch.setattr(connections, "ANSWER_TIMEOUT_S", 0.3)
    with mosquitto(tmp_path) as broker, site(broker.port, options=SHORT) as here:
        here.up()
        broker.freeze()
        here.down("did not answer in 0 s")
        broker.thaw()
        here.up()
        broker.publish(TOPIC, "1")
        here.receives(b"1")


@pytest.mark.slow
def test_a_half_open_connection_is_detected(tmp_path: Path) -> None:
    """The network drops everything, and neither side gets an error."""
    with mosquitto(tmp_path) as broker, proxy(broker.port) as between, site(between.port, options=SHORT) as here:
        here.up()
        between.hold()
        here.down("stopped answering")
        detected_ms = time.time() * 1_000
        assert here.link.changed_ms <= detected_ms - 900, "down since the last bytes, not since that was detected"
        assert here.count("hermes_mqtt_outage_seconds_total") > 0.9
        between.forward()
        here.up()
        broker.publish(TOPIC, "1")
        here.receives(b"1")


def test_a_name_that_does_not_resolve_yet_is_looked_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway may boot before its name server."""
    resolves = threading.Event()
    real = socket.getaddrinfo

    def resolve(host: str, *more: Any, **options: Any) -> Any:
        if host == "broker.site" and not resolves.is_set():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1" if host == "broker.site" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with mosquitto(tmp_path) as broker, site(MqttUrl("broker.site", broker.port)) as here:
        here.down("the broker's name cannot be resolved: Name or service not known")
        resolves.set()
        here.up()
    assert len(caplog.records) == 1


def test_refused_credentials_are_one_error_and_are_retried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The error says what to check; after the broker is corrected, Hermes connects without a restart."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    options = MqttOptions(username="hermes", password="a password")
    with (
        mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as broker,
        site(broker.port, options=options) as here,
    ):
        here.down("refused the connection: Not authorized; check user and password (--mqtt-username")
        backoff = here.client._backoff
        wait_until(lambda: backoff._bound_s == 0.05)
        command = [needs("mosquitto_passwd"), "-b", str(passwords), "hermes", "a password"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        broker.reload()
        here.up()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "a password" not in record.message


def test_a_password_that_changes_at_the_broker_and_in_the_file_needs_no_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read for each connection, and masked in the log as the one of the start."""
    passwords, file = tmp_path / "passwords", tmp_path / "password"
    passwords.touch(mode=0o600)
    command = [needs("mosquitto_passwd"), "-b", str(passwords), "hermes"]

    def change(password: str) -> None:
        subprocess.run([*command, password], check=True, capture_output=True, timeout=60)
        file.touch(mode=0o600)
        file.write_text(f"{password}\n")

    change("the old one")
    options = MqttOptions(username="hermes", password_file=file)
    with (
        mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as broker,
        site(broker.port, options=options) as here,
    ):
        here.up()
        broker.stop()
        here.down("")
        change("the new one")
        broker.start()
        here.up()
        broker.stop()
        file.write_text("")
        here.down(f"{file} is empty; write the password into it")
        file.unlink()
        here.down(f"cannot read {file}: No such file or directory")
        change("the third one")
        broker.start()
        here.up()
    assert "one" not in caplog.text.replace("connect", "")


MANY_FILES = """
import os, resource, sys
from tests.support.programs import wait_until
from tests.support.sites import site
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_096), hard))
files = [os.open(os.devnull, os.O_RDONLY) for _ in range(2_100)]
with site(int(sys.argv[1])) as here:
    here.up()
    print("up", flush=True)
    wait_until(lambda: here.count("hermes_mqtt_connects_total") == 2)
    print("up again", flush=True)
    wait_until(lambda: here.received.data == [b"1"])
    print("received", flush=True)
"""


def test_it_works_with_more_than_2000_open_files(tmp_path: Path) -> None:
    """``select()`` fails for such descriptors, and paho's own thread reports nothing."""
    with mosquitto(tmp_path) as broker:
        command = [sys.executable, "-c", MANY_FILES, str(broker.port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            try:
                assert program.stdout.readline() == "up\n"
                broker.stop()
                broker.start()
                assert program.stdout.readline() == "up again\n"
                broker.publish(TOPIC, "1")
                assert program.stdout.readline() == "received\n"
                assert program.wait(60) == 0
            finally:
                program.kill()


@pytest.mark.slow
def test_a_flood_does_not_end_the_connection(tmp_path: Path) -> None:
    """Pings are sent meanwhile, and all messages arrive."""
    with mosquitto(tmp_path) as broker, site(broker.port, options=MqttOptions(keepalive_s=3)) as here:
        here.up()
        for _ in range(3):
            broker.publish_lines(TOPIC, [f"{number}" for number in range(20_000)])
        wait_until(lambda: len(here.received.messages) == 60_000)
        assert here.count("hermes_mqtt_connects_total") == 1


@pytest.mark.parametrize("cuts", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_cut_connections_leak_nothing(cuts: int, tmp_path: Path) -> None:
    """No file descriptor, no thread; the subscription is restored each time."""
    with mosquitto(tmp_path) as broker, proxy(broker.port) as between, site(between.port) as here:
        here.up()
        files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        for cut in range(1, cuts + 1):
            between.cut()
            wait_until(lambda cut=cut: here.count("hermes_mqtt_connects_total") == cut + 1)  # type: ignore[misc]
        here.up()
        broker.publish(TOPIC, "1")
        here.receives(b"1")
        assert here.count("hermes_mqtt_outages_total") == cuts
        wait_until(lambda: between.connections == 1)
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= files)
        wait_until(lambda: threading.active_count() <= threads)


def test_an_outage_is_counted_while_it_lasts_and_logged_at_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the messages that are lost."""
    caplog.set_level(logging.INFO)
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        assert here.count("hermes_mqtt_outages_total") == 0
        assert here.count("hermes_mqtt_outage_seconds_total") == 0
        broker.stop()
        wait_until(lambda: here.count("hermes_mqtt_outage_seconds_total") > 0.2)
        assert here.count("hermes_mqtt_outages_total") == 1
        assert not here.client.publish(TOPIC, b"lost")
        assert here.count("hermes_mqtt_publish_lost_total") == 1
        broker.start()
        here.up()
        seconds = here.count("hermes_mqtt_outage_seconds_total")
    last = caplog.records[-1].message
    assert last.endswith(f"MQTT 5: back after {seconds:.1f} s; what devices published meanwhile without retain is lost")


def test_two_clients_of_one_client_id_are_logged_once_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They disconnect each other, at growing intervals, and the log is not filled with it.

    On a clock that stands still no connection is stable, however slow the machine is.
    """
    options = MqttOptions(client_id="hermes-1")

    def stopped() -> float:
        return 0.0

    with mosquitto(tmp_path) as broker, site(broker.port, options=options, clock=stopped) as first:
        first.up()
        with site(broker.port, options=options, clock=stopped) as second:
            wait_until(lambda: min(each.count("hermes_mqtt_outages_total") for each in (first, second)) >= 6)
            assert first.client._backoff._bound_s == second.client._backoff._bound_s == 0.05
    lines = [record.message for record in caplog.records]
    hints = [line for line in lines if "does another client use the same --mqtt-client-id?" in line]
    assert len(hints) == 2
    assert len(lines) == 6
