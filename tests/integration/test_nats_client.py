"""The client of NATS on real servers: subscriptions, outages, TLS, credentials, limits."""

import asyncio
import base64
import binascii
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hermes.cluster.nats import client as client_module
from hermes.cluster.nats import connection as connection_module
from hermes.cluster.nats.client import NatsClient
from hermes.cluster.nats.protocol import MESSAGE_MAX_BYTES, NO_RESPONDERS, NatsMessage
from hermes.errors import ConfigError
from hermes.metrics import Metrics
from hermes.net import resolver
from hermes.net.resolver import Resolver
from hermes.settings.cluster.creds_file import read_user_key
from hermes.settings.tls import TlsOptions
from hermes.settings.urls.nats import parse_nats_url
from tests.support.certificates import LOOPBACK, Authority
from tests.support.gateways import eventually
from tests.support.nats import nats_server, nats_servers
from tests.support.outages import end_handshake, hanging_resolver
from tests.support.programs import free_port

pytestmark = pytest.mark.broker


@contextlib.asynccontextmanager
async def client(*urls: str, **given: Any) -> AsyncIterator[NatsClient]:
    """Run a client."""
    running = NatsClient([parse_nats_url(url) for url in urls], name="test", metrics=Metrics(), **given)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()


def collect(running: NatsClient, subject: str) -> list[NatsMessage]:
    """Subscribe, and return the list of what arrives."""
    found: list[NatsMessage] = []
    running.subscribe(subject, found.append)
    return found


@pytest.mark.gen_test
async def test_messages_requests_and_no_responders(tmp_path: Path) -> None:
    """A client does not get what it publishes itself, and its own subscription is no responder."""
    with nats_server(tmp_path) as server:
        async with client(server.url) as one, client(server.url) as other:
            got, replies = collect(one, "a.b"), collect(other, "reply.*")
            own = collect(other, "mine")
            assert await one.flush()
            assert other.publish("a.b", b"hello\r\n", reply="reply.1")
            assert other.publish("nobody", b"", reply="reply.2")
            assert other.publish("mine", b"", reply="reply.3")
            assert await other.flush()
            assert [(reply.subject, reply.status) for reply in replies] == [
                ("reply.2", NO_RESPONDERS),
                ("reply.3", NO_RESPONDERS),
            ]
            await eventually(lambda: got)
            assert (got[0].data, got[0].reply, own) == (b"hello\r\n", "reply.1", [])
            sid = one.subscribe("c", got.append)
            one.unsubscribe(sid)
            assert await one.flush()
            other.publish("c", b"")
            other.publish("a.b", b"last")
            await eventually(lambda: len(got) == 2)
            assert got[1].data == b"last"


@pytest.mark.gen_test
async def test_subscriptions_return_after_an_outage(tmp_path: Path) -> None:
    """Also those that were made or ended meanwhile; nothing can be sent meanwhile."""
    states: list[str] = []
    with nats_server(tmp_path) as server:
        async with client(
            server.url,
            on_connected=lambda: states.append("connected"),
            on_lost=lambda: states.append("lost"),
        ) as running:
            kept = collect(running, "kept")
            ended = running.subscribe("ended", kept.append)
            assert await running.flush()
            server.stop()
            await eventually(lambda: "lost" in states)
            assert not running.is_connected
            assert not running.publish("kept", b"")
            assert not await running.flush()
            assert running.problem
            running.unsubscribe(ended)
            new = collect(running, "new")
            server.start()
            await eventually(lambda: states == ["connected", "lost", "connected"])
            async with client(server.url) as other:
                for subject in ("ended", "kept", "new"):
                    other.publish(subject, subject.encode())
                await eventually(lambda: kept and new)
            assert [message.subject for message in (*kept, *new)] == ["kept", "new"]


@pytest.mark.gen_test
async def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not answer pings; another one is used."""
    from hermes.cluster.nats import client as module

    monkeypatch.setattr(module, "PING_INTERVAL_S", 0.1)
    with nats_servers(tmp_path, 2) as servers:
        async with client(*(server.url for server in servers)) as running:
            used = next(server for server in servers if running._servers[0].port == server.port)
            used.send_signal(signal.SIGSTOP)
            try:
                await eventually(lambda: running.is_connected and running._servers[0].port != used.port)
            finally:
                used.send_signal(signal.SIGCONT)


@pytest.mark.gen_test
async def test_a_client_leaves_a_server_in_lame_duck_mode(tmp_path: Path) -> None:
    """It moves to another one before that server ends."""
    with nats_servers(tmp_path, 2) as servers:
        async with client(*(server.url for server in servers)) as running:
            got = collect(running, "a")
            used = next(server for server in servers if running._servers[0].port == server.port)
            used.send_signal(signal.SIGUSR2)
            await eventually(lambda: running.is_connected and running._servers[0].port != used.port)
            other = next(server for server in servers if server is not used)
            async with client(other.url) as sender:
                sender.publish("a", b"x")
                await eventually(lambda: got)


@pytest.mark.gen_test
async def test_tls_is_required_where_the_url_says_so(tmp_path: Path) -> None:
    """The certificate must be for the host, and of a CA that is trusted; a password is sent to no other server."""
    authority = Authority(tmp_path)
    signed = authority.sign("nats", LOOPBACK)
    strangers = Authority(tmp_path, "strangers")
    lines = f'tls {{ cert_file: "{signed.certificate}", key_file: "{signed.key}" }}'
    trust = TlsOptions(ca_file=authority.certificate).context
    with nats_server(tmp_path, lines) as server:
        url = server.url.replace("nats://", "tls://")
        async with client(url, tls=trust) as one, client(url, tls=trust) as other:
            got = collect(one, "a")
            assert await one.flush()
            other.publish("a", b"x" * 100_000)
            await eventually(lambda: got)
        with pytest.raises(ConfigError, match="requires TLS: write tls://"):
            async with client(server.url):
                pass
        with pytest.raises(ConfigError, match="TLS failed"):
            async with client(url, tls=TlsOptions(ca_file=strangers.certificate).context):
                pass
        with pytest.raises(ConfigError, match="TLS failed"):
            async with client(url.replace("127.0.0.1", "localhost"), tls=trust):
                pass
    with nats_server(tmp_path) as server, pytest.raises(ConfigError, match="offers no TLS"):
        async with client(server.url.replace("nats://", "tls://"), tls=trust):
            pass


@pytest.mark.parametrize("ending", ["reset", "closed", "cut", "alert", pytest.param("silent", marks=pytest.mark.slow)])
@pytest.mark.gen_test
async def test_a_handshake_that_is_cut_off_is_tried_again(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a person must change ends the start: a server that is restarted, or a line, is none of that."""
    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT_S", 0.5 if ending == "silent" else 30.0)
    monkeypatch.setattr(client_module, "START_TIMEOUT_S", 30.0)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.9.1","headers":true,"tls_required":true,"max_payload":1000}\r\n')
        await reader.read(1)  # of the client's hello
        end_handshake(writer, ending)
        if ending == "silent":
            await reader.read()
        writer.close()

    port = free_port()
    server = await _serve(handle, port)
    try:
        async with client(f"tls://127.0.0.1:{port}") as running:
            assert not running.is_connected
            assert f"tls://127.0.0.1:{port}" in running.problem
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.gen_test
async def test_a_client_certificate_that_is_missing_needs_a_person(tmp_path: Path) -> None:
    """With TLS 1.3 the server says so after the handshake."""
    authority = Authority(tmp_path)
    signed = authority.sign("nats", LOOPBACK)
    lines = (
        f'tls {{ cert_file: "{signed.certificate}", key_file: "{signed.key}", '
        f'ca_file: "{authority.certificate}", verify: true }}'
    )
    trust = TlsOptions(ca_file=authority.certificate).context
    with nats_server(tmp_path, lines) as server, pytest.raises(ConfigError, match="CERTIFICATE"):
        async with client(server.url.replace("nats://", "tls://"), tls=trust):
            pass


@pytest.mark.gen_test
async def test_a_resolver_that_does_not_answer_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread asks, however often the client tries; the threads of other work are free."""
    may_answer, asked = hanging_resolver(monkeypatch)
    monkeypatch.setattr(resolver, "RESOLVE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(client_module, "MAX_DELAY_S", 0.05)
    attempts: list[str] = []
    addresses = Resolver.addresses

    async def counted(self: Resolver, host: str, port: int) -> list[str]:
        attempts.append(host)
        return await addresses(self, host, port)

    monkeypatch.setattr(Resolver, "addresses", counted)
    try:
        async with client("nats://nats.test:4222") as running:
            assert "nats.test is not resolved" in running.problem
            await eventually(lambda: len(attempts) > 3)
            assert asked == ["nats.test"]
            assert await asyncio.to_thread(int) == 0
    finally:
        may_answer.set()


@pytest.mark.gen_test
async def test_a_message_that_is_too_large_ends_no_connection(tmp_path: Path) -> None:
    """A server may accept 64 MiB of a stranger, and say so; the nodes send no more than 8."""
    with nats_server(tmp_path, "max_payload: 67108864", "max_pending: 268435456") as server:
        async with client(server.url) as running:
            got = collect(running, "a")
            assert await running.flush()
            assert running._connection is not None
            assert running._connection.max_payload == MESSAGE_MAX_BYTES
            assert not running.publish("a", bytes(MESSAGE_MAX_BYTES + 1))
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for size in (MESSAGE_MAX_BYTES + 1, 3 * MESSAGE_MAX_BYTES, 3):
                writer.write(b"PUB a %d\r\n%b\r\n" % (size, b"x" * size))
            await eventually(lambda: len(got) == 3)
            assert [message.data for message in got] == [b"", b"", b"xxx"]
            assert running.connects == 1
            writer.close()


# -- creds files -------------------------------------------------------------------------------------------------------

OPERATOR, ACCOUNT, USER = 14 << 3, 0, 20 << 3


def _base32(data: bytes) -> str:
    return base64.b32encode(data + binascii.crc_hqx(data, 0).to_bytes(2, "little")).decode().rstrip("=")


class Nkey:
    """A key pair in the form of NATS."""

    def __init__(self, kind: int) -> None:
        self._key = Ed25519PrivateKey.generate()
        raw = self._key.private_bytes_raw()
        self.seed = _base32(bytes([18 << 3 | kind >> 5, (kind & 31) << 3]) + raw)
        self.public = _base32(bytes([kind]) + self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, subject: "Nkey", name: str, claims: dict[str, object]) -> str:
        """Return a JWT about another key."""
        header = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {"jti": name, "iat": 1, "iss": self.public, "name": name, "sub": subject.public, "nats": claims}
        text = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, body)
        )
        signature = base64.urlsafe_b64encode(self._key.sign(text.encode())).decode().rstrip("=")
        return f"{text}.{signature}"


@pytest.mark.gen_test
async def test_a_creds_file_authenticates(tmp_path: Path) -> None:
    """On a server with accounts as JWTs; the key of another account is refused."""
    operator, account, user, stranger = Nkey(OPERATOR), Nkey(ACCOUNT), Nkey(USER), Nkey(ACCOUNT)
    limits = {"subs": -1, "data": -1, "payload": -1}
    account_limits = limits | {"conn": -1, "leaf": -1, "imports": -1, "exports": -1, "wildcards": True}
    jwts = {
        "operator": operator.sign(operator, "O", {"type": "operator", "version": 2}),
        "account": operator.sign(account, "A", {"limits": account_limits, "type": "account", "version": 2}),
        "user": account.sign(user, "U", {**limits, "type": "user", "version": 2}),
        "other": stranger.sign(user, "U", {**limits, "type": "user", "version": 2}),
    }
    for name in ("user", "other"):
        (tmp_path / f"{name}.creds").write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwts[name]}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )
    (tmp_path / "operator.jwt").write_text(jwts["operator"])
    lines = (
        f'operator: "{tmp_path / "operator.jwt"}"',
        "resolver: MEMORY",
        f'resolver_preload: {{ {account.public}: "{jwts["account"]}" }}',
    )
    with nats_server(tmp_path, *lines) as server:
        async with client(server.url, user_key=lambda: read_user_key(tmp_path / "user.creds")) as running:
            assert await running.flush()
        with pytest.raises(ConfigError, match="refuses this client: Authorization Violation"):
            async with client(server.url, user_key=lambda: read_user_key(tmp_path / "other.creds")):
                pass
        with pytest.raises(ConfigError, match="missing"):
            async with client(server.url, user_key=lambda: read_user_key(tmp_path / "missing.creds")):
                pass


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_too_large_messages_are_refused_here(tmp_path: Path) -> None:
    """The server would close the connection."""
    with nats_server(tmp_path, "max_payload: 1000") as server:
        async with client(server.url) as running:
            assert running.publish("a", b"x" * 1_000)
            assert not running.publish("a", b"x" * 1_001)
            assert await running.flush()


@pytest.mark.gen_test
async def test_what_waits_for_a_server_that_does_not_read_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages are refused; a subscription that cannot be sent ends the connection, and is made again later."""
    monkeypatch.setattr(connection_module, "PENDING_MAX_BYTES", 1_000_000)
    with nats_server(tmp_path) as server:
        async with client(server.url) as running:
            server.send_signal(signal.SIGSTOP)
            sent = 0
            while running.publish("a", b"x" * 100_000):
                sent += 1
                await asyncio.sleep(0)
                assert sent < 10_000
            got = collect(running, "late")
            await eventually(lambda: not running.is_connected)
            server.send_signal(signal.SIGCONT)
            await eventually(lambda: running.is_connected)
            async with client(server.url) as other:
                other.publish("late", b"")
                await eventually(lambda: got)


async def _serve(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any], port: int) -> asyncio.Server:
    return await asyncio.start_server(handle, "127.0.0.1", port)


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b'INFO {"version":"2.1.9","max_payload":1048576}\r\n', "2.1.9: use 2.2 or newer"),
        (b'INFO {"version":"2.9.1","headers":false}\r\n', "use 2.2 or newer"),
    ],
)
@pytest.mark.gen_test
async def test_a_server_that_is_too_old_is_refused(greeting: bytes, words: str) -> None:
    """The text says which version is needed."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()
        writer.close()

    port = free_port()
    server = await _serve(handle, port)
    try:
        with pytest.raises(ConfigError, match=words):
            async with client(f"nats://127.0.0.1:{port}"):
                pass
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.gen_test
async def test_something_else_at_the_port_is_no_server() -> None:
    """It is reported, and tried again."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    port = free_port()
    server = await _serve(handle, port)
    try:
        async with client(f"nats://127.0.0.1:{port}") as running:
            assert "not a NATS server" in running.problem
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("injected", [b"MSG hermes.nodes 1 4\r\nevil\r\n", b"MSG hermes.nodes 1 2000\r\n{"])
@pytest.mark.gen_test
async def test_nothing_before_tls_is_a_message(injected: bytes) -> None:
    """Whoever can change the traffic could put one before the handshake, or its beginning."""
    hellos: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.9.1","headers":true,"tls_required":true,"max_payload":1000}\r\n' + injected)
        hellos.append(await reader.read(1))
        writer.close()

    port = free_port()
    server = await _serve(handle, port)
    running = NatsClient([parse_nats_url(f"tls://127.0.0.1:{port}")], name="test", metrics=Metrics())
    got = collect(running, "hermes.nodes")
    try:
        with contextlib.suppress(ConfigError):
            await running.start()
        await eventually(lambda: hellos)
        assert (got, set(hellos)) == ([], {b""})
    finally:
        await running.stop()
        server.close()
        await server.wait_closed()


@pytest.mark.gen_test
async def test_an_info_of_something_else_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """No traceback, and another attempt."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.9.1","headers":true,"max_payload":"much"}\r\n')
        await reader.read()
        writer.close()

    port = free_port()
    server = await _serve(handle, port)
    try:
        async with client(f"nats://127.0.0.1:{port}") as running:
            assert "max_payload" in running.problem
        assert not [record for record in caplog.records if record.exc_info]
    finally:
        server.close()
        await server.wait_closed()


INFO = b'INFO {"version":"2.9.1","headers":true,"max_payload":1000000}\r\n'


@contextlib.asynccontextmanager
async def stand_in(*pings: int, delay_s: float = 0.0, pause_s: float = 0.0) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve on a port; give its URL and the lines that it gets.

    It answers the pings with these numbers of each connection, all without a number, each after a delay. It reads
    nothing for a time after the first one.
    """
    lines: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(INFO)
        number = 0
        while line := await reader.readline():
            lines.append(line)
            if line == b"PING\r\n":
                number += 1
                if not pings or number in pings:
                    asyncio.get_running_loop().call_later(delay_s, writer.write, b"PONG\r\n")
                if number == 1:
                    await asyncio.sleep(pause_s)

    port = free_port()
    server = await _serve(handle, port)
    try:
        yield f"nats://127.0.0.1:{port}", lines
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


@pytest.mark.gen_test
async def test_a_server_that_hangs_while_a_client_subscribes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has accepted CONNECT, and answers nothing more."""
    from hermes.cluster.nats import client as module

    monkeypatch.setattr(module, "RESUBSCRIBE_MAX_S", 0.2, raising=False)
    async with stand_in(1) as (url, lines), client(url) as running:
        await eventually(lambda: sum(line.startswith(b"CONNECT") for line in lines) > 2)
        assert "no answer" in running.problem


@pytest.mark.gen_test
async def test_many_pings_at_once_are_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is answered, a little later."""
    monkeypatch.setattr(client_module, "PING_INTERVAL_S", 0.2)
    monkeypatch.setattr(client_module, "SILENT_PINGS", 100)
    async with stand_in(delay_s=0.05) as (url, lines), client(url) as running:
        for _ in range(20):
            assert all(await asyncio.gather(*[running.flush() for _ in range(150)]))
        assert sum(line.startswith(b"CONNECT") for line in lines) == 1


@pytest.mark.gen_test
async def test_more_subscriptions_than_may_wait_are_all_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for a server that reads slowly."""
    monkeypatch.setattr(connection_module, "PENDING_MAX_BYTES", 1_000_000)
    async with stand_in(pause_s=0.3) as (url, lines):
        running = NatsClient([parse_nats_url(url)], name="test", metrics=Metrics())
        for number in range(40_000):
            running.subscribe(f"{'x' * 200}.{number}", lambda _: None)
        try:
            await running.start()
            await eventually(lambda: running.is_connected and not running.problem)
            assert sum(line.startswith(b"SUB") for line in lines) == 40_000
        finally:
            await running.stop()


@pytest.mark.gen_test
async def test_servers_that_fail_alternately_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each has one line, however often it is tried."""
    tried: list[str] = []

    def count() -> None:
        tried.append("")

    first, second = free_port(), free_port()
    async with client(f"nats://127.0.0.1:{first}", f"nats://127.0.0.1:{second}", user_key=count):
        await eventually(lambda: len(tried) > 5)
    assert len([record for record in caplog.records if record.name.endswith("nats.client")]) == 2


@pytest.mark.gen_test
async def test_a_limit_of_subscriptions_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once: the server goes on without the subscriptions, of which there may be one for each user."""
    with nats_server(tmp_path, "max_subscriptions: 2") as server:
        async with client(server.url) as running:
            for number in range(4):
                collect(running, f"a.{number}")
            assert await running.flush()
            assert "maximum subscriptions exceeded" in running.refusal.lower()
            assert running.is_connected
            for number in range(20):
                running._note_refusal(f"Permissions Violation for Subscription to {number}")
            assert running.refusal.endswith("19")
    assert caplog.text.count("NATS refuses a subject") == 1
    caplog.clear()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_refused_subject_is_tried_again_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A new connection does not forget the refusal: only the subject itself does, when the server takes it."""
    monkeypatch.setattr(client_module, "RENEWED_AFTER_S", 0.2)
    monkeypatch.setattr(client_module, "PUBLISHES_AGAIN_S", 0.1)
    monkeypatch.setattr(client_module, "PING_INTERVAL_S", 5.0)

    def lines(subjects: str) -> str:
        user = f'{{user: h, password: "p", permissions: {{publish: [{subjects}]}}}}'
        return f"authorization {{ users: [ {user} ] }}"

    with nats_server(tmp_path, lines('"nodes"')) as server:
        async with client(server.url.replace("//", "//h:p@")) as running:
            monkeypatch.setattr(client_module, "PING_INTERVAL_S", 0.5)
            monkeypatch.setattr(client_module, "SILENT_PINGS", 100)  # a slow server is not a silent one
            for connects, wait_s in ((1, 0.2), (2, 0.4), (3, 0.8)):
                while not (running.is_connected and running.connects == connects):
                    await asyncio.sleep(0.02)
                assert (connects == 1) is (running.refusal == "")
                running.publish("user.1", b"")
                assert await running.flush()
                assert "user.1" in running.refusal
                assert running._renewed_after_s == wait_s
            server.reload(lines('"nodes", "user.*"'))
            await eventually(lambda: running.is_connected and running.connects > 3)
            assert "user.1" in running.refusal
            running.publish("user.1", b"")
            assert await running.flush()
            await eventually(lambda: not running.refusal)
            assert running._renewed_after_s == 0.2
            assert running.is_connected
    caplog.clear()
