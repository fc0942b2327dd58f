"""A paho that no longer calls the replaced methods as expected: Hermes notices, logs it and still works."""

import inspect
import logging
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt
import pytest
from paho.mqtt import client as paho_client

from hermes.mqtt import subscriptions
from hermes.mqtt.paho_client import DialedClient, FastPathClient, PlainClient
from hermes.mqtt.paho_hooks import can_ping, client_class
from hermes.settings.mqtt import MqttOptions
from hermes.settings.tls import TlsOptions
from hermes.settings.urls.mqtt import parse_mqtt_url
from tests.support.brokers import mosquitto
from tests.support.certificates import LOOPBACK, Authority
from tests.support.programs import free_port, wait_until
from tests.support.sites import OVERLAPPING, TOPIC, site

Change = Callable[[str, str, str], None]


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Iterator[Change]:
    """Replace a text in the source of one of paho's methods, as a new version of paho would."""

    def replace(method: str, old: str, new: str) -> None:
        source = textwrap.dedent(inspect.getsource(getattr(paho_client.Client, method)))
        assert old in source
        names = dict(vars(paho_client))
        exec("from __future__ import annotations\n" + source.replace(old, new), names)
        monkeypatch.setattr(paho_client.Client, method, names[method])

    client_class.cache_clear()
    can_ping.cache_clear()
    yield replace
    client_class.cache_clear()
    can_ping.cache_clear()


def rename_publish(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """paho calls a method of another name for PUBLISH."""
    monkeypatch.setattr(paho_client.Client, "_handle_publish_packet", paho_client.Client._handle_publish, raising=False)
    change("_packet_handle", "self._handle_publish()", "self._handle_publish_packet()")


def give_publish_an_argument(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """paho calls the method with an argument."""
    monkeypatch.setattr(paho_client.Client, "_handle_publish", _with_argument(paho_client.Client._handle_publish))
    change("_packet_handle", "self._handle_publish()", "self._handle_publish(self._in_packet)")


def _with_argument(method: Callable[[paho_client.Client], int]) -> Callable[[paho_client.Client, object], int]:
    return lambda client, _packet: method(client)


def rename_packet(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """paho keeps the packet that it reads in an attribute of another name."""
    for method in ("__init__", "reconnect", "_packet_read", "_packet_handle", "_handle_publish", "_handle_connack"):
        change(method, "_in_packet", "_packet_in")
    for method in ("_handle_suback", "_handle_pingresp", "_handle_disconnect", "_handle_pubackcomp"):
        change(method, "_in_packet", "_packet_in")


def rename_socket(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """paho calls a method of another name for its socket."""
    monkeypatch.setattr(paho_client.Client, "_open_socket", paho_client.Client._create_socket, raising=False)
    change("reconnect", "self._create_socket()", "self._open_socket()")


def give_socket_an_argument(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """paho calls the method with an argument."""
    create = paho_client.Client._create_socket
    monkeypatch.setattr(paho_client.Client, "_create_socket", lambda client, _host: create(client))
    change("reconnect", "self._create_socket()", "self._create_socket(self._host)")


def rename_ping(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """paho has a method of another name for PINGREQ."""
    monkeypatch.setattr(paho_client.Client, "_send_ping", paho_client.Client._send_pingreq, raising=False)
    monkeypatch.delattr(paho_client.Client, "_send_pingreq")
    change("_check_keepalive", "self._send_pingreq()", "self._send_ping()")


def rename_pong(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """paho calls a method of another name for PINGRESP."""
    monkeypatch.setattr(paho_client.Client, "_handle_pong", paho_client.Client._handle_pingresp, raising=False)
    change("_packet_handle", "self._handle_pingresp()", "self._handle_pong()")


def test_the_installed_paho_calls_all_methods(caplog: pytest.LogCaptureFixture) -> None:
    """So that nothing is logged."""
    client_class.cache_clear()
    can_ping.cache_clear()
    assert client_class() is FastPathClient
    assert can_ping()
    assert caplog.records == []


@pytest.mark.broker
@pytest.mark.parametrize("alter", [rename_ping, rename_pong])
def test_with_a_paho_that_pings_in_another_way_the_link_stays_up_and_one_line_is_logged(
    alter: Callable[[Change, pytest.MonkeyPatch], None],
    tmp_path: Path,
    change: Change,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only the check of the retained messages is left out; the keep-alive works."""
    monkeypatch.setattr(subscriptions, "RETAINED_QUIET_S", 0.0)
    alter(change, monkeypatch)
    with mosquitto(tmp_path) as broker, site(broker.port, options=MqttOptions(keepalive_s=5)) as here:
        here.up()
        assert type(here.client._connection._client) is FastPathClient  # type: ignore[union-attr]
        broker.publish(TOPIC, "1")
        here.receives(b"1")
    lines = [record.message for record in caplog.records if "does not send or report pings" in record.message]
    assert len(lines) == 1
    assert "stay marked as stale" in lines[0]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("alter", "expected", "own"),
    [
        (rename_publish, DialedClient, "messages"),
        (give_publish_an_argument, DialedClient, "messages"),
        (rename_packet, DialedClient, "messages"),
        (rename_socket, PlainClient, "messages and sockets"),
        (give_socket_an_argument, PlainClient, "messages and sockets"),
    ],
)
def test_with_a_changed_paho_messages_arrive_and_one_line_is_logged(
    alter: Callable[[Change, pytest.MonkeyPatch], None],
    expected: type[PlainClient],
    own: str,
    tmp_path: Path,
    change: Change,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Retained, live and bad ones, copies of overlapping filters, and those of QoS 1; and again after an outage."""
    alter(change, monkeypatch)
    with mosquitto(tmp_path) as broker, site(broker.port, *OVERLAPPING, options=MqttOptions(qos=1)) as here:
        here.up()
        assert type(here.client._connection._client) is expected  # type: ignore[union-attr]
        broker.publish("a/b", "1", "-q", "1")
        broker.publish("a/c", "2")
        here.receives(b"1", b"2")
        wait_until(lambda: here.count("hermes_mqtt_dropped_total", reason="duplicate_copy") == 1)
        broker.stop()
        here.down("Connection refused")
        broker.start()
        here.up()
        broker.publish("a/b", "3", "-r")
        here.receives(b"1", b"2", b"3")
        wait_until(lambda: here.count("hermes_mqtt_dropped_total", reason="duplicate_copy") == 2)
    lines = [record for record in caplog.records if "does not call the methods" in record.message]
    assert [record.levelno for record in lines] == [logging.WARNING]
    assert lines[0].message.startswith(f"paho-mqtt {paho.mqtt.__version__} ")
    assert f"it handles {own} with its own code" in lines[0].message


@pytest.mark.broker
@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss", "unix"])
def test_paho_opens_every_kind_of_socket_itself(
    scheme: str, tmp_path: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS with the configured files, WebSockets with the path of the URL."""
    rename_socket(change, monkeypatch)
    authority = Authority(tmp_path)
    signed = authority.sign("broker", LOOPBACK)
    port = free_port()
    address = tmp_path / "mosquitto.sock" if scheme == "unix" else f"127.0.0.1:{port}"
    lines = [f"listener 0 {address}" if scheme == "unix" else f"listener {port} 127.0.0.1"]
    lines += ["protocol websockets"] if scheme.startswith("ws") else []
    lines += [f"certfile {signed.certificate}", f"keyfile {signed.key}"] if scheme in ("mqtts", "wss") else []
    url = parse_mqtt_url(f"{scheme}://{address}")
    options = MqttOptions(tls=TlsOptions(authority.certificate))
    with mosquitto(tmp_path, *lines) as broker, site(url, options=options) as here:
        here.up()
        assert type(here.client._connection._client) is PlainClient  # type: ignore[union-attr]
        broker.publish(TOPIC, "1")
        here.receives(b"1")
