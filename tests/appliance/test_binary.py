"""The one-file program does the main job in a root folder that has nothing but libc, ld.so and zlib."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from paho.mqtt import publish
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hermes import __version__
from tests.appliance.conftest import inside
from tests.support.programs import Program, accepts, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.broker]

TIMEOUT_S = 60.0  # reached only in a test that fails


@pytest.fixture(scope="module", params=["65534:65534", "0:0"], ids=["nobody", "root"])
def running(empty_root: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    """Run `./hermes serve --dev`, once as a user and once as root; then its broker runs as `nobody`."""
    environment = {"XDG_STATE_HOME": f"/tmp/state-{request.param[0]}", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    program = Program(["serve", "--dev", "--port", "0"], environment, launcher=inside(empty_root, request.param))
    try:
        assert program.url
        program.wait_for("Ctrl-C stops it")
        yield program
    finally:
        assert program.end() == 0
        assert not list((empty_root / "tmp").glob("_MEI*")), "the program leaves its files in /tmp"


def dev_facts(program: Program) -> tuple[str, str, int]:
    """Return API key, the token of ana (user 123, tenant acme) and the broker's port, from the banner."""
    shown = "".join(program.output)
    key = re.findall(r"X-API-Key: (\w+)", shown)[0]
    token = re.findall(r"ana \(.*\)\n\s+(\S+)", shown)[0]
    port = re.findall(r"mosquitto_pub (?:-h \S+ )?-p (\d+)", shown)[0]
    return key, token, int(port)


def test_the_console_page_and_its_files_are_served(running: Program) -> None:
    """Templates and static files are in the program."""
    for path in ("/", "/static/hermes-client.js", "/static/console/console.css"):
        with urllib.request.urlopen(running.url + path, timeout=TIMEOUT_S) as response:
            assert response.status == 200
            assert response.read()


async def close(socket: WebSocketClientConnection) -> None:
    """Close a socket, and wait until both ends are closed."""
    socket.close()
    while await asyncio.wait_for(socket.read_message(), TIMEOUT_S) is not None:
        pass


def test_a_notification_reaches_its_socket(running: Program) -> None:
    """From POST /notify."""
    key, token, _ = dev_facts(running)

    def post() -> None:
        body = json.dumps({"user_id": "123", "title": "Door", "message": "open", "type": "info"}).encode()
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{running.url}/notify", body, headers), timeout=TIMEOUT_S
        ) as response:
            assert json.load(response)["sent"] is True

    async def receive() -> None:
        socket = await websocket_connect(f"{running.url.replace('http', 'ws')}/ws/notifications?token={token}")
        await asyncio.to_thread(post)
        while "Door" not in str(await asyncio.wait_for(socket.read_message(), TIMEOUT_S)):
            pass
        await close(socket)

    asyncio.run(receive())


def test_an_mqtt_message_reaches_its_socket(running: Program) -> None:
    """Through the bundled broker."""
    _, token, port = dev_facts(running)

    async def receive() -> None:
        socket = await websocket_connect(f"{running.url.replace('http', 'ws')}/ws/device/mine?token={token}")
        topic, payload = "tenants/acme/devices/mine/temp", '{"value": 21.75}'
        await asyncio.to_thread(publish.single, topic, payload, retain=True, hostname="127.0.0.1", port=port)
        while "21.75" not in str(await asyncio.wait_for(socket.read_message(), TIMEOUT_S)):
            pass
        await close(socket)

    asyncio.run(receive())


def test_a_killed_program_leaves_no_process(empty_root: Path) -> None:
    """Neither Hermes, which is a child of the process that unpacks it, nor the broker."""
    environment = {"XDG_STATE_HOME": "/tmp/state-killed"}
    words = ["serve", "--dev", "--port", "0"]
    program = Program(words, environment, launcher=inside(empty_root, "65534:65534"))
    port = urlsplit(program.url).port
    program.wait_for("Ctrl-C stops it")
    _, _, broker_port = dev_facts(program)
    assert port is not None
    program.end(signal.SIGKILL)
    wait_until(lambda: not accepts(port) and not accepts(broker_port))
    for folder in (empty_root / "tmp").glob("_MEI*"):
        shutil.rmtree(folder)


def run(root: Path, *words: str) -> str:
    """Return the output of a command in the root folder, run by a user."""
    environment = {"XDG_STATE_HOME": "/tmp/state-commands"}
    done = subprocess.run(
        [*inside(root, "65534:65534"), *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_check_finds_the_bundled_broker(empty_root: Path) -> None:
    """And no problem."""
    shown = run(empty_root, "check", "--dev", "--port", "0")
    assert re.search(r"ok +mosquitto \S+ at /tmp/_MEI\w+/broker/mosquitto", shown)
    assert "ready to serve" in shown


def test_device_add_prints_a_password(empty_root: Path) -> None:
    """For an account in the given folder."""
    assert "password " in run(empty_root, "device", "--broker-state-dir", "/tmp/broker", "add", "acme/climate-01")
    assert run(empty_root, "device", "--broker-state-dir", "/tmp/broker", "list") == "acme/climate-01\n"


def test_version_licenses_and_sbom_name_what_is_bundled(empty_root: Path) -> None:
    """The broker with its Debian revision, OpenSSL, Python and its packages."""
    first, *others = run(empty_root, "--version").splitlines()
    assert first == f"hermes {__version__}"
    assert any(re.fullmatch(r"mosquitto \S+-\S+ \(bundled\)", line) for line in others)
    assert {"commit", "Python", "SQLite", "OpenSSL", "libpq"} <= {line.split()[0] for line in others}
    licences = run(empty_root, "licenses")
    for text in (
        "GNU LESSER GENERAL PUBLIC",
        "Eclipse Distribution License",
        "PYTHON SOFTWARE FOUNDATION LICENSE",
        "Bootloader Exception",
    ):
        assert text in licences, text
    document = json.loads(run(empty_root, "sbom"))
    names = {component["name"] for component in document["components"]}
    assert {"mosquitto", "libssl3", "libsqlite3-0", "python", "tornado", "cbor2", "protobuf", "websockets"} <= names
    assert {"psycopg", "postgresql", "openssl", "krb5", "openldap"} <= names, "the libraries of psycopg"
