"""TLS of Hermes' own: the same HTTP and the same sockets, over https and wss."""

import asyncio
import logging
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from hermes.errors import ConfigError
from hermes.metrics import Metrics
from hermes.settings.load import load_settings
from hermes.settings.tls import ServerCertificate
from hermes.web.tls.certificate import CurrentCertificate, load_certificate
from tests.support.certificates import LOOPBACK, Authority, Signed
from tests.support.gateways import KEY, SECRET, TIMEOUT_S, MakeHermes, eventually, token
from tests.support.http_connections import get, response
from tests.support.programs import needs
from tests.support.raw_socket import TEXT, client_frame
from tests.support.tls_sites import TlsSite, tls_site

pytestmark = pytest.mark.usefixtures("complaints")

JSON = {"Content-Type": "application/json", "X-API-Key": KEY}
NOTICE = '{"user_id":"123","title":"New alert","message":"Sensor X is hot"}'
MEBIBYTE = 1_048_576


# -- requests and sockets -----------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("parser", ["httptools", "tornado"])
async def test_requests_and_sockets_work_over_tls(make_hermes: MakeHermes, tmp_path: Path, parser: str) -> None:
    """With both parsers; the certificate is checked by the client."""
    site = await tls_site(make_hermes, tmp_path, http_parser=parser)
    assert site.hermes.url.startswith("https://127.0.0.1:")
    health = await site.request("/health")
    assert (health.code, health.body) == (200, b'{"status":"ok"}')
    assert "Strict-Transport-Security" not in health.headers
    opened = await site.open("/ws/notifications", token())
    answer = await site.request("/notify", method="POST", body=NOTICE, headers=JSON)
    assert b'"sent":true' in answer.body
    assert (await opened.receive())["title"] == "New alert"
    await opened.send({"action": "ping", "n": 1})
    assert await opened.receive() == {"action": "pong", "n": 1}
    assert site.handshakes["done"] >= 3


@pytest.mark.gen_test
async def test_a_frame_in_the_same_record_as_the_handshake_is_read(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """A client may send it before it has the answer."""
    site = await tls_site(make_hermes, tmp_path)
    raw = await site.connect()
    lines = (
        f"GET /ws/notifications?token={token()} HTTP/1.1",
        f"Host: 127.0.0.1:{site.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "",
        "",
    )
    frames = client_frame(TEXT, b'{"action":"ping","n":1}') + client_frame(TEXT, b'{"action":"ping","n":2}')
    await raw.send_bytes("\r\n".join(lines).encode() + frames)
    assert b" 101 " in await asyncio.wait_for(raw.reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)
    assert [await raw.text(), await raw.text()] == ['{"n":1,"action":"pong"}', '{"n":2,"action":"pong"}']


@pytest.mark.gen_test
async def test_large_bodies_and_answers_arrive_whole(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Also a client that sends all its requests before it reads: the kernel takes its answers in parts."""
    site = await tls_site(make_hermes, tmp_path)
    element = NOTICE.replace("hot", "hot " * 250)
    array = f"[{','.join([element] * 900)}]"
    answer = await site.request("/notify", method="POST", body=array, headers=JSON)
    assert answer.code == 200
    assert answer.body.count(b'"success"') == 901
    module = (await site.request("/static/hermes-client.js")).body
    raw = await site.connect()
    raw.pause()
    count = 60
    await raw.send_bytes(get("/static/hermes-client.js") * count)
    raw.resume()
    for _ in range(count):
        assert (await response(raw)).body == module


@pytest.mark.gen_test
async def test_a_socket_is_told_why_it_is_closed(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """A wrong token, a message that is too long, and the end of Hermes."""
    site = await tls_site(make_hermes, tmp_path)
    refused = await site.open("/ws/notifications", token(secret=SECRET[::-1]))
    code, reason = await refused.wait_closed()
    assert code == 1008
    assert (reason or "").startswith("token_invalid")
    long = await site.open("/ws/notifications", token())
    await long.send("x" * (MEBIBYTE // 2))
    assert await long.wait_closed() == (1009, "message_too_big")
    stopped = await site.open("/ws/notifications", token())
    stopping = asyncio.ensure_future(site.hermes.gateway.stop())
    code, reason = await stopped.wait_closed()
    assert (code, (reason or "").partition(";")[0]) == (1001, "stopping")
    await stopping


@pytest.mark.gen_test
async def test_a_slow_socket_gets_every_notification(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """What the kernel does not take waits in the outbox, in order."""
    site = await tls_site(make_hermes, tmp_path, outbox_max_bytes=16 * MEBIBYTE, outbox_max_messages=10_000)
    raw = await site.connect()
    await raw.send_bytes(
        get(f"/ws/notifications?token={token()}", "Upgrade: websocket", "Connection: Upgrade")[:-2]
        + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await asyncio.wait_for(raw.reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)
    raw.pause()
    (session,) = site.hermes.gateway.hub.sessions
    sent = 0
    while not session.waiting:
        for _ in range(20):
            sent += 1
            await site.hermes.gateway.notify(user_id="123", title=str(sent), message="x" * 16_000)
    raw.resume()
    for number in range(1, sent + 1):
        assert f'"title":"{number}"' in await raw.text()


# -- what is not TLS ----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("parser", ["httptools", "tornado"])
@pytest.mark.parametrize(
    "plain",
    [
        get("/"),
        get("/ws/notifications", "Upgrade: websocket", "Connection: Upgrade"),
        get("/notify", f"Content-Length: {MEBIBYTE // 2}", method="POST") + b"x" * (MEBIBYTE // 2),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_a_plain_request_gets_400_that_names_https(
    make_hermes: MakeHermes, tmp_path: Path, parser: str, plain: bytes
) -> None:
    """Also if its body has not been read; the connection ends after it."""
    site = await tls_site(make_hermes, tmp_path, http_parser=parser)
    raw = await site.connect(plain=True)
    await raw.send_bytes(plain)
    answer = await response(raw)
    assert (answer.status, answer.error, answer.headers["Connection"]) == (400, "https_required", "close")
    assert "https://" in answer.json["error"]["message"]
    assert await asyncio.wait_for(raw.reader.read(), TIMEOUT_S) == b""
    assert site.handshakes == {"plain": 1}
    raw.writer.close()
    await eventually(lambda: not len(site.connections))


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", "left"),
        (b"\x16\x03\x01", "left"),
        (b"\0\0\0\0\0\0\0\0\0", "not_tls"),
        (b"\x16\x03\x01\x40\x00\x01\x02\x00\x00", "not_tls"),  # a ClientHello of 128 KiB
        (b"\x16\x03\x01\x00\x01\x01\x16\x03\x01", "not_tls"),  # divided into records of one byte
        (b"\x16\x03\x01\x02\x00\x02\x00\x01\xfc", "not_tls"),  # a ServerHello
        (b"\x16\x03\x01\x00\x09\x01\x00\x00\x05\x03\x03\0\0\0", "failed"),  # too short for a ClientHello
    ],
)
async def test_a_beginning_that_is_no_hello_ends_the_connection(
    make_hermes: MakeHermes, tmp_path: Path, data: bytes, outcome: str
) -> None:
    """Before OpenSSL has allocated anything for it; the log has no error."""
    site = await tls_site(make_hermes, tmp_path)
    raw = await site.connect(plain=True)
    await raw.send_bytes(data)
    if outcome == "left":
        raw.writer.close()
    else:
        await raw.ended()
    await eventually(lambda: site.handshakes == {outcome: 1})
    assert not len(site.connections)


@pytest.mark.gen_test
async def test_old_versions_of_tls_are_refused(
    make_hermes: MakeHermes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only 1.2 and 1.3 are spoken; the log says what the client lacks."""
    caplog.set_level(logging.INFO)
    site = await tls_site(make_hermes, tmp_path)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = site.context
        context.minimum_version = context.maximum_version = version
        raw = await site.connect(tls=context)
        await raw.send_bytes(get())
        assert (await response(raw)).status == 200
    old = site.context
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        await site.connect(tls=old)
    await eventually(lambda: site.handshakes.get("failed"))
    assert "the client does not support TLS 1.2 or later" in caplog.text


@pytest.mark.gen_test
async def test_a_client_that_does_not_trust_the_certificate_is_explained(
    make_hermes: MakeHermes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line of the log for many such clients."""
    caplog.set_level(logging.INFO)
    site = await tls_site(make_hermes, tmp_path)

    def connect() -> None:
        address = ("127.0.0.1", site.port)
        with socket.create_connection(address) as tcp, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(tcp, server_hostname="127.0.0.1")

    for _ in range(3):
        await asyncio.to_thread(connect)
    await eventually(lambda: site.handshakes.get("failed") == 3)
    assert caplog.text.count("the client does not trust the certificate of --tls-cert") == 1


@pytest.mark.gen_test
async def test_a_client_cannot_choose_an_expensive_key_exchange(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """With the groups of OpenSSL's own list, one of ffdhe8192 takes 124 ms of CPU, before the client is known."""
    site = await tls_site(make_hermes, tmp_path)
    openssl = needs("openssl")
    for groups, works in (("ffdhe8192", False), ("ffdhe2048", False), ("P-521", False), ("X25519:P-256", True)):
        command = [openssl, "s_client", "-connect", f"127.0.0.1:{site.port}", "-groups", groups, "-brief"]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        assert (b"CONNECTION ESTABLISHED" in errors) is works, (groups, errors)


# -- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_with_a_port_for_tls_plain_http_stays_on_loopback(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Both serve the same sockets; HSTS is only said over TLS."""
    site = await tls_site(make_hermes, tmp_path, host="0.0.0.0", tls_port=0, hsts_max_age_s=3_600)
    tls_url, plain_url = site.hermes.gateway._server.urls
    assert tls_url.startswith("https://0.0.0.0:")
    assert plain_url.startswith("http://127.0.0.1:")
    plain_port = int(plain_url.rpartition(":")[2])
    raw = await site.connect()
    await raw.send_bytes(get())
    encrypted = await response(raw)
    assert encrypted.headers["Strict-Transport-Security"] == "max-age=3600"
    reader, writer = await asyncio.open_connection("127.0.0.1", plain_port)
    writer.write(get())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)
    assert head.startswith(b"HTTP/1.1 200")
    assert b"Strict-Transport-Security" not in head
    writer.close()


def test_the_rule_that_no_key_means_loopback_only_counts_every_listener(tmp_path: Path) -> None:
    """TLS protects the way, not ``/notify``."""
    signed = Authority(tmp_path).sign("gateway", LOOPBACK)
    tls = {"jwt_secret": SECRET, "mqtt_url": "off", "tls_cert": signed.certificate, "tls_key": signed.key}
    for more in ({}, {"tls_port": 8443}):
        load_settings(tls | more)
        with pytest.raises(ConfigError, match="can be reached from other machines, so /notify needs a key"):
            load_settings(tls | more | {"host": "0.0.0.0"})


# -- the certificate ----------------------------------------------------------------------------------------------


def renew(site: TlsSite, *, days: int = 1) -> Signed:
    """Replace the files by a new certificate and its key."""
    return site.authority.sign("gateway", LOOPBACK, days=days)


async def presented(site: TlsSite) -> bytes:
    """Return the certificate that a new connection gets."""
    raw = await site.connect()
    certificate = raw.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    raw.writer.close()
    assert isinstance(certificate, bytes)
    return certificate


@pytest.mark.gen_test
async def test_a_renewed_certificate_is_used_when_the_files_are_looked_at(
    make_hermes: MakeHermes, tmp_path: Path, complaints: list[logging.LogRecord]
) -> None:
    """Open sockets go on; one half of the pair changes nothing but writes one line."""
    site = await tls_site(make_hermes, tmp_path)
    certificate = site.hermes.gateway._certificate
    assert certificate is not None
    first = await presented(site)
    opened = await site.open("/ws/notifications", token())
    key = site.signed.key.read_bytes()
    renew(site)
    new_key = site.signed.key.read_bytes()
    site.signed.key.write_bytes(key)
    for _ in range(2):
        certificate.look()
    (record,) = complaints
    assert "new connections still get the previous certificate" in record.getMessage()
    assert "do not match" in record.getMessage()
    complaints.clear()
    assert await presented(site) == first
    site.signed.key.write_bytes(new_key)
    certificate.look()
    assert await presented(site) != first
    await opened.expect_silence()


def test_the_end_of_the_certificate_is_a_metric_and_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once a day while it is near."""
    authority = Authority(tmp_path)
    metrics, now = Metrics(), [0.0]

    def current(days: int) -> CurrentCertificate:
        signed = authority.sign("gateway", LOOPBACK, days=days)
        loaded = load_certificate(ServerCertificate(signed.certificate, signed.key))
        return CurrentCertificate(loaded, metrics=metrics, clock=lambda: now[0])

    current(100)
    expires_s = metrics.registry.get_sample_value("hermes_certificate_expiry_timestamp_seconds", {"certificate": "tls"})
    assert expires_s is not None
    now[0] = expires_s - 15 * 86_400
    certificate = current(100)
    assert caplog.messages == []
    for days, words in ((13, "expires in 13 days"), (-1, "has expired")):
        now[0] = expires_s - days * 86_400
        certificate.look()
        certificate.look()
        assert words in caplog.messages[-1]
    assert len(caplog.messages) == 2


def test_a_pair_that_does_not_match_ends_the_start_with_2(tmp_path: Path) -> None:
    """As does a key that cannot be read."""
    authority = Authority(tmp_path)
    one, other = authority.sign("one", LOOPBACK), authority.sign("other", LOOPBACK)
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    for flags, words in (
        (["--tls-cert", str(one.certificate), "--tls-key", str(other.key)], "do not match"),
        (["--tls-cert", str(one.certificate), "--tls-key", str(tmp_path / "absent")], "cannot read"),
    ):
        command = [sys.executable, "-m", "hermes", "serve", "--mqtt-url", "off", "--jwt-secret-file", str(secret)]
        done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 2, (flags, done.stderr)
        assert words in done.stderr
        assert "Traceback" not in done.stderr
