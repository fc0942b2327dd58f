"""The built programs with an inbox in PostgreSQL and with NATS, both by TLS: they bring the libraries for it."""

import asyncio
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from bench.contenders.postgres import PostgresServer, postgres_server
from tests.appliance.conftest import inside
from tests.support.certificates import LOOPBACK, Authority
from tests.support.gateways import SECRET, token
from tests.support.nats import NatsServer, nats_server
from tests.support.postgres import FAST, needs_postgres
from tests.support.programs import Program, free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.postgres]

TIMEOUT_S = 60.0  # reached only in a test that fails
NOBODY = "65534:65534"


@dataclass
class Site:
    """Servers that a certificate of ``authority`` proves, and another authority, of which they have none."""

    authority: Path
    strangers: Path
    postgres: PostgresServer
    nats: NatsServer

    def inbox(self, options: str) -> str:
        """Return the URL of the inbox with these options of libpq."""
        return f"{self.postgres.tcp_url('hermes')}?sslmode=verify-full&{options}"

    @property
    def nats_url(self) -> str:
        """The address of NATS with TLS."""
        return self.nats.url.replace("nats://", "tls://")


@dataclass
class Built:
    """A built program: how to run it, and where it finds the certificates."""

    launcher: tuple[str, ...]
    folder: str
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*self.launcher, *words],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env=self.environment,
        )

    def serve(self, *words: str) -> Program:
        """Start a node."""
        return Program(["serve", "--port", "0", "--mqtt-url", "off", *words], self.environment, launcher=self.launcher)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run PostgreSQL and NATS, which accept TLS."""
    needs_postgres()
    folder = tmp_path_factory.mktemp("site")
    authority, strangers = Authority(folder), Authority(folder, "strangers")
    signed = authority.sign("server", LOOPBACK)
    tls = f'tls {{ cert_file: "{signed.certificate}", key_file: "{signed.key}" }}'
    with ExitStack() as stack:
        nats = stack.enter_context(nats_server(folder, tls))
        postgres = stack.enter_context(postgres_server(free_port(), FAST))
        postgres.serve_tls(signed.certificate, signed.key)
        postgres.execute("CREATE DATABASE hermes")
        yield Site(authority.certificate, strangers.certificate, postgres, nats)


@pytest.fixture(scope="module")
def one_file(empty_root: Path, site: Site) -> Built:
    """The one-file program in a root folder of its own, run by a user; the CA is also one of the system there."""
    folder = empty_root / "ca"
    system = empty_root / "etc/ssl/certs"
    for each in (folder, system):
        each.mkdir(parents=True)
    for source in (site.authority, site.strangers):
        shutil.copy(source, folder / source.name)
    shutil.copy(site.authority, system / "ca-certificates.crt")
    for path in (*folder.rglob("*"), folder, *system.rglob("*"), *(empty_root / "etc").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    environment = {"HERMES_JWT_SECRET": SECRET, "XDG_STATE_HOME": "/tmp/state-engines"}
    return Built(inside(empty_root, NOBODY), "/ca", environment)


@pytest.fixture(scope="module")
def packaged(package: Path, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The program of the Debian package, which is that of the folder."""
    root = tmp_path_factory.mktemp("package")
    subprocess.run(["dpkg-deb", "--extract", str(package), str(root)], check=True)
    environment = {"HERMES_JWT_SECRET": SECRET, "XDG_STATE_HOME": str(root / "state")}
    return Built((str(root / "usr/bin/hermes"),), str(site.authority.parent), environment)


@pytest.fixture(scope="module")
def nodes(one_file: Built, packaged: Built, site: Site) -> Iterator[tuple[Program, Program]]:
    """Run both as nodes of one site; the tables are created by the first."""
    done = one_file.run(
        "inbox", "--inbox", site.inbox(f"sslrootcert={one_file.folder}/{site.authority.name}"), "migrate"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    running: list[Program] = []
    try:
        for name, built in (("file", one_file), ("package", packaged)):
            authority = f"{built.folder}/{site.authority.name}"
            flags = ["--nats-url", site.nats_url, "--nats-ca-file", authority, "--node-name", name]
            running.append(built.serve("--inbox", site.inbox(f"sslrootcert={authority}"), *flags))
        for each in running:
            wait_until(lambda url=each.url: is_ready(url))  # type: ignore[misc]
        yield running[0], running[1]
    finally:
        assert [each.end() for each in running] == [0] * len(running)


def is_ready(url: str) -> bool:
    """Return whether a node opens sockets: it has joined, and uses its inbox."""
    try:
        get(f"{url}/ready")
    except urllib.error.HTTPError as error:
        with error:
            return False
    return True


def get(url: str, **headers: str) -> Any:
    """Return the JSON at an address."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as response:
        return json.load(response)


def notify(program: Program, user: str) -> Any:
    """Send a notification; return the answer."""
    body = json.dumps({"user_id": user, "title": "Door", "message": "open"}).encode()
    request = urllib.request.Request(f"{program.url}/notify", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        return json.load(response)


def test_what_one_stores_the_other_reads(nodes: tuple[Program, Program]) -> None:
    """In both directions, from one database."""
    for number, (sender, reader) in enumerate((nodes, nodes[::-1])):
        user = f"reader-{number}"
        answer = notify(sender, user)
        assert answer["stored"], answer
        found = get(f"{reader.url}/inbox?since=0", Authorization=f"Bearer {token(user)}")
        assert [(frame["title"], frame["seq"]) for frame in found["frames"]] == [("Door", answer["seq"])]


def test_a_notification_reaches_the_socket_at_the_other_node(nodes: tuple[Program, Program]) -> None:
    """By NATS, which says that it was sent."""

    async def open_at(program: Program, user: str) -> WebSocketClientConnection:
        url = f"{program.url.replace('http', 'ws')}/ws/notifications?since=0&replay_end=1&token={token(user)}"
        socket = await websocket_connect(url)
        while "replay_end" not in str(await asyncio.wait_for(socket.read_message(), TIMEOUT_S)):
            pass
        return socket

    async def deliver(sender: Program, receiver: Program, user: str) -> None:
        socket = await open_at(receiver, user)
        async with asyncio.timeout(TIMEOUT_S):
            while not (await asyncio.to_thread(notify, sender, user))["sent"]:  # until NATS knows the user
                pass
        while "Door" not in str(await asyncio.wait_for(socket.read_message(), TIMEOUT_S)):
            pass
        socket.close()
        while await asyncio.wait_for(socket.read_message(), TIMEOUT_S) is not None:
            pass

    for number, (sender, receiver) in enumerate((nodes, nodes[::-1])):
        asyncio.run(deliver(sender, receiver, f"receiver-{number}"))


def test_the_certificates_of_the_system_are_used(one_file: Built, site: Site, nodes: tuple[Program, Program]) -> None:
    """With ``sslrootcert=system``, and by NATS without ``--nats-ca-file``."""
    done = one_file.run("inbox", "--inbox", site.inbox("sslrootcert=system"), "stats")
    assert done.returncode == 0, done.stdout + done.stderr
    done = one_file.run("check", "--port", "0", "--mqtt-url", "off", "--nats-url", site.nats_url)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("engine", ["postgres", "nats"])
def test_a_server_that_another_authority_has_signed_is_refused(
    one_file: Built, packaged: Built, site: Site, engine: str
) -> None:
    """At the start, with the reason."""
    for built in (one_file, packaged):
        stranger = f"{built.folder}/{site.strangers.name}"
        if engine == "postgres":
            flags = ["--inbox", site.inbox(f"sslrootcert={stranger}")]
        else:
            flags = ["--nats-url", site.nats_url, "--nats-ca-file", stranger, "--node-name", "stranger"]
        program = built.serve(*flags)
        program.wait_for("certificate verify failed|unable to get local issuer certificate")
        assert program.process.wait(TIMEOUT_S) == 2
        program.end()
