"""TLS and the other ways to reach a broker: trust, client certificates, and the reasons of failures."""

import gc
import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from hermes.metrics import Metrics
from hermes.mqtt.client import MqttClient
from hermes.mqtt.net import dial as dialling
from hermes.settings.mqtt import MqttOptions
from hermes.settings.tls import TlsOptions
from hermes.settings.urls.mqtt import MqttUrl, parse_mqtt_url
from tests.support.brokers import Peer, mosquitto, scripted
from tests.support.certificates import LOOPBACK, Authority, Signed
from tests.support.programs import free_port, wait_until
from tests.support.sites import TOPIC, Site, quick, site

pytestmark = pytest.mark.broker

BURST = 3_000


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The CA that the tests trust."""
    return Authority(tmp_path)


def tls_lines(signed: Signed) -> tuple[str, str]:
    """Return a listener's lines for this certificate."""
    return f"certfile {signed.certificate}", f"keyfile {signed.key}"


def tls_url(port: int) -> MqttUrl:
    """Return the URL of the broker at this port, over TLS."""
    return MqttUrl("127.0.0.1", port, tls=True)


def trusting(authority: Authority, shown: Signed | None = None, *alpn: str) -> MqttOptions:
    """Return options that trust this CA and, if given, present a certificate."""
    if shown is None:
        return MqttOptions(tls=TlsOptions(authority.certificate, alpn=alpn))
    return MqttOptions(tls=TlsOptions(authority.certificate, shown.certificate, shown.key, alpn))


def carries_a_burst(here: Site, url: MqttUrl, options: MqttOptions, large_bytes: int = 300_000) -> None:
    """Send a burst and a large payload in both directions: no byte stays in a buffer."""
    publisher = MqttClient(url, metrics=Metrics(), options=options, backoff=quick())
    publisher.start()
    here.up()
    wait_until(lambda: publisher.online)
    large = b"x" * large_bytes
    wait_until(partial(publisher.publish, TOPIC, large))
    for number in range(BURST):
        wait_until(partial(publisher.publish, TOPIC, b"%d" % number))
    here.receives(b'"' + large + b'"', *(b"%d" % number for number in range(BURST)))
    publisher.stop()


def test_mqtts_carries_a_burst(tmp_path: Path, authority: Authority) -> None:
    """With a certificate of the CA in ``--mqtt-ca-file``."""
    with mosquitto(tmp_path, *tls_lines(authority.sign("broker", LOOPBACK))) as broker:
        url, options = tls_url(broker.port), trusting(authority)
        with site(url, options=options) as here:
            carries_a_burst(here, url, options)


def test_without_a_file_the_systems_cas_are_trusted(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE changes them for this test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with (
        mosquitto(tmp_path, *tls_lines(authority.sign("broker", LOOPBACK))) as broker,
        site(tls_url(broker.port)) as here,
    ):
        here.up()


def test_an_unknown_ca_is_explained(tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """With one error line; no socket stays open."""
    signed = Authority(tmp_path, "another authority").sign("broker", LOOPBACK)
    with mosquitto(tmp_path, *tls_lines(signed)) as broker:
        with site(tls_url(broker.port), options=trusting(authority)) as here:
            here.down("certificate is not trusted: unable to get local issuer certificate; set --mqtt-ca-file to")
        assert not [thing for thing in gc.get_objects() if isinstance(thing, ssl.SSLSocket) and thing.fileno() != -1]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_an_expired_certificate_is_explained(tmp_path: Path, authority: Authority) -> None:
    """The reason says what to renew."""
    signed = authority.sign("broker", LOOPBACK, days=-1)
    with (
        mosquitto(tmp_path, *tls_lines(signed)) as broker,
        site(tls_url(broker.port), options=trusting(authority)) as here,
    ):
        here.down("certificate has expired; renew the broker's certificate")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (x509.DNSName("elsewhere.example"), "IP address mismatch"),
        (x509.IPAddress(ipaddress.ip_address("127.0.0.2")), "IP address mismatch"),
    ],
)
def test_a_certificate_of_another_host_is_explained(
    tmp_path: Path, authority: Authority, name: x509.GeneralName, text: str
) -> None:
    """The host name is always checked."""
    with (
        mosquitto(tmp_path, *tls_lines(authority.sign("broker", name))) as broker,
        site(tls_url(broker.port), options=trusting(authority)) as here,
    ):
        here.down(text)
        assert "use an address or name in --mqtt-url that the certificate has" in here.link.missing[0]


def test_a_host_name_that_the_certificate_lacks_is_explained(tmp_path: Path, authority: Authority) -> None:
    """A name as well as an address."""
    signed = authority.sign("broker", x509.DNSName("elsewhere.example"))
    with (
        mosquitto(tmp_path, *tls_lines(signed)) as broker,
        site(MqttUrl("localhost", broker.port, tls=True), options=trusting(authority)) as here,
    ):
        here.down("Hostname mismatch, certificate is not valid for 'localhost'; use a name in --mqtt-url")


def test_a_broker_that_requires_a_certificate_gets_ours(tmp_path: Path, authority: Authority) -> None:
    """Without it, or with a wrong one, the reason is explained: in TLS 1.3 after the handshake, in 1.2 during it."""
    lines = (
        *tls_lines(authority.sign("broker", LOOPBACK)),
        f"cafile {authority.certificate}",
        "require_certificate true",
    )
    stranger = Authority(tmp_path, "strange authority").sign("stranger")
    for version in ("tlsv1.3", "tlsv1.2"):
        with mosquitto(tmp_path, *lines, f"tls_version {version}") as broker:
            url = tls_url(broker.port)
            with site(url, options=trusting(authority, authority.sign("hermes"))) as here:
                here.up()
            with site(url, options=trusting(authority)) as here:
                here.down("--mqtt-cert-file")
            with site(url, options=trusting(authority, stranger)) as here:
                here.down("the broker does not accept our certificate: check --mqtt-cert-file")


def test_a_renewed_certificate_is_used_from_the_next_connection_on(tmp_path: Path, authority: Authority) -> None:
    """Without a restart."""
    lines = tls_lines(authority.sign("broker", LOOPBACK))
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(Authority(tmp_path, "old authority").certificate.read_bytes())
    with (
        mosquitto(tmp_path, *lines) as broker,
        site(tls_url(broker.port), options=MqttOptions(tls=TlsOptions(trusted))) as here,
    ):
        here.down("not trusted")
        trusted.write_bytes(authority.certificate.read_bytes())
        here.up()
        trusted.unlink()
        broker.stop()
        broker.start()
        here.down("cannot read")


def test_plain_mqtt_to_a_tls_port_is_explained(tmp_path: Path, authority: Authority) -> None:
    """Not as *closed without an answer*."""

    def alert(peer: Peer) -> None:
        peer.read_connect()
        peer.socket.sendall(b"\x15\x03\x01\x00\x02\x02\x46")  # OpenSSL's alert (RFC 8446 §6)
        peer.until_closed()

    with scripted(alert) as broker, site(broker.port) as here:
        here.down("the server at this address uses TLS: use mqtts:// for mqtt://")


def test_tls_to_a_plain_port_is_explained(tmp_path: Path) -> None:
    """mosquitto closes the connection; other servers answer in their own protocol."""

    def answer(peer: Peer) -> None:
        peer.socket.recv(10_000)
        peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with mosquitto(tmp_path) as broker, site(tls_url(broker.port)) as here:
        here.down("closed the connection during the TLS handshake: does this port use TLS?")
    with scripted(answer) as other, site(tls_url(other.port)) as here:
        here.down("does not use TLS: use mqtt:// for mqtts://")


def test_mqtt_to_an_http_port_is_explained() -> None:
    """For example if ws:// was meant."""

    def answer(peer: Peer) -> None:
        peer.read_connect()
        peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.until_closed()

    with scripted(answer) as broker, site(broker.port) as here:
        here.down("the server at this address uses HTTP: use ws:// for mqtt://")


def test_an_alpn_protocol_is_offered(authority: Authority) -> None:
    """Some brokers serve MQTT on port 443 to clients that offer its name."""
    signed = authority.sign("broker", LOOPBACK)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed.certificate, signed.key)
    context.set_alpn_protocols(["mqtt"])
    chosen: list[str | None] = []

    def script(peer: Peer) -> None:
        with context.wrap_socket(peer.socket, server_side=True) as secured:
            chosen.append(secured.selected_alpn_protocol())
            encrypted = Peer(secured)
            encrypted.grant(encrypted.accept())
            encrypted.until_closed()

    with scripted(script) as broker, site(tls_url(broker.port), options=trusting(authority, None, "x", "mqtt")) as here:
        here.up()
    assert chosen == ["mqtt"]


def test_tls_is_1_2_or_later_and_names_are_checked(authority: Authority) -> None:
    """No setting changes that."""
    context = TlsOptions(authority.certificate).context()
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A listening socket; nothing is sent to its clients."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield listener


@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
def test_a_handshake_without_an_answer_times_out(
    scheme: str, silent_server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time of ours, not of the server's."""
    monkeypatch.setattr(dialling, "HANDSHAKES_TIMEOUT_S", 0.1)
    with site(parse_mqtt_url(f"{scheme}://127.0.0.1:{silent_server.getsockname()[1]}")) as here:
        here.down("timed out")


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts", "wss"])
def test_stopping_interrupts_a_handshake(
    scheme: str, silent_server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop does not wait for the handshake's timeout."""
    monkeypatch.setattr(dialling, "HANDSHAKES_TIMEOUT_S", 1_000.0)
    port = silent_server.getsockname()[1]
    client = MqttClient(parse_mqtt_url(f"{scheme}://127.0.0.1:{port}"), metrics=Metrics())
    client.start()
    connection, _ = silent_server.accept()
    with connection:
        client.stop()
    assert not client._thread.is_alive()


def test_an_unreachable_address_leaves_time_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name has two addresses, and the first drops all packets."""
    monkeypatch.setattr(dialling, "TCP_TIMEOUT_S", 0.6)
    with socket.socket() as full, mosquitto(tmp_path) as broker:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()), socket.socket() as waiting:
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())  # the backlog is full: the next connection is not answered
            addresses = [full.getsockname(), ("127.0.0.1", broker.port)]
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            with site(MqttUrl("two.example", broker.port)) as here:
                here.up()


def test_a_broker_can_be_a_unix_socket(tmp_path: Path) -> None:
    """A missing one is explained."""
    path = tmp_path / "mosquitto.sock"
    with mosquitto(tmp_path, f"listener 0 {path}") as broker:
        url = parse_mqtt_url(f"unix://{path}")
        wait_until(path.exists)
        with site(url) as here:
            carries_a_burst(here, url, MqttOptions())
            broker.stop()
            path.unlink(missing_ok=True)
            here.down("the broker cannot be reached: No such file or directory")


def test_websockets_carry_a_burst(tmp_path: Path) -> None:
    """With a real broker's listener."""
    port = free_port()
    with mosquitto(tmp_path, f"listener {port} 127.0.0.1", "protocol websockets"):
        url = parse_mqtt_url(f"ws://127.0.0.1:{port}/mqtt")
        with site(url) as here:
            carries_a_burst(here, url, MqttOptions(), 1_000)  # mosquitto 2.0.11 hangs on larger ones, without TLS


def test_websockets_over_tls_carry_a_burst(tmp_path: Path, authority: Authority) -> None:
    """TCP, TLS and WebSocket together."""
    port = free_port()
    lines = tls_lines(authority.sign("broker", LOOPBACK))
    with mosquitto(tmp_path, f"listener {port} 127.0.0.1", "protocol websockets", *lines):
        url, options = parse_mqtt_url(f"wss://127.0.0.1:{port}"), trusting(authority)
        with site(url, options=options) as here:
            carries_a_burst(here, url, options)
