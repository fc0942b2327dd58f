"""Hermes as a program: it starts, stops in order, and leaves nothing behind."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from hermes.errors import BrokerUnavailable, HermesError
from hermes.server import FILES_RESERVED, listen
from tests.support.gateways import MakeHermes, eventually, token
from tests.support.paths import CHECKOUT
from tests.support.programs import Program, accepts, hermes, wait_until

DEV = ("serve", "--dev", "--port", "0")
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")


def children(pid: int) -> list[int]:
    """The process's own children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def broker_of(program: Program) -> int:
    """The pid of its mosquitto."""
    program.wait_for("Ctrl-C stops it")
    (child,) = [pid for pid in children(program.process.pid) if "mosquitto" in Path(f"/proc/{pid}/comm").read_text()]
    return child


def get(url: str) -> dict[str, object]:
    """A JSON answer, whatever its status."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            value = json.load(response)
    except urllib.error.HTTPError as error:
        value = json.load(error)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(tmp_path: Path, number: int) -> None:
    """Exit code 0, its broker gone, no traceback, no port held."""
    with hermes(*DEV, XDG_STATE_HOME=str(tmp_path)) as program:
        broker = broker_of(program)
        port = int(program.url.rpartition(":")[2])
        assert program.end(number) == 0
    assert not alive(broker)
    assert not accepts(port)
    assert "Traceback" not in "".join(program.errors)
    assert not [line for line in program.errors if " ERROR " in line]


def test_the_broker_ends_with_a_killed_hermes(tmp_path: Path) -> None:
    """SIGKILL leaves no time to tidy up: the kernel does it."""
    with hermes(*DEV, XDG_STATE_HOME=str(tmp_path)) as program:
        broker = broker_of(program)
        program.end(signal.SIGKILL)
        wait_until(lambda: not alive(broker), 5)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_broker_ends_with_a_killed_hermes_of_a_plain_user() -> None:
    """From a copy that nobody may read; mosquitto then runs as that user."""
    with tempfile.TemporaryDirectory(prefix="hermes-test-") as folder:
        launcher, environment = _for_nobody(Path(folder))
        program = Program(list(DEV), environment, launcher=launcher, cwd=folder)
        try:
            broker = broker_of(program)
            assert Path(f"/proc/{broker}").owner() == "nobody"
            program.end(signal.SIGKILL)
            wait_until(lambda: not alive(broker), 5)
        finally:
            program.end(signal.SIGKILL)


def _for_nobody(folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """How to start a copy of Hermes and of its packages as the user nobody, and with which variables."""
    checkout = CHECKOUT
    (packages,) = {path for path in sys.path if path.endswith("site-packages")}
    names = [str(checkout / name) for name in ("hermes", "templates", "static")]
    subprocess.run(["cp", "-r", *names, packages, str(folder)], check=True)
    (folder / "state").mkdir()
    subprocess.run(["chmod", "-R", "a+rwX", str(folder)], check=True)
    environment = {
        "XDG_STATE_HOME": str(folder / "state"),
        "HOME": str(folder),
        "PYTHONPATH": f"{folder}:{folder}/site-packages",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    version = f"python3.{sys.version_info.minor}"
    for interpreter in (str(Path(sys.executable).resolve()), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        launcher = (*AS_NOBODY, interpreter)
        probe = [*launcher, "-c", "import os, sys, hermes.server; assert os.access(sys.executable, os.X_OK)"]
        if subprocess.run(probe, capture_output=True, cwd="/", env=environment, check=False).returncode == 0:
            return (*launcher, "-m", "hermes"), environment
    pytest.skip(f"no {version} here that a plain user may run")


def test_a_killed_broker_comes_back_and_the_link_heals(tmp_path: Path) -> None:
    """On the same port, with devices' data."""
    with hermes(*DEV, XDG_STATE_HOME=str(tmp_path)) as program:
        broker = broker_of(program)
        url = program.url
        wait_until(lambda: get(f"{url}/ready")["ready"])
        os.kill(broker, signal.SIGKILL)
        wait_until(lambda: not get(f"{url}/ready")["ready"])
        wait_until(lambda: get(f"{url}/ready")["ready"], 15)
        assert broker_of(program) != broker
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as response:
            assert "hermes_broker_restarts_total 1.0" in response.read().decode()


def test_without_mosquitto_dev_goes_on_without_devices(tmp_path: Path) -> None:
    """It says the one line to run, on the terminal and on /ready."""
    code = (
        "import sys; from hermes.broker import mosquitto; mosquitto.EXTRA_PATH = ''; "
        "from hermes.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    environment = {"XDG_STATE_HOME": str(tmp_path), "PATH": "/nowhere"}
    program = Program(list(DEV), environment, launcher=(sys.executable, "-c", code))
    try:
        program.wait_for("Ctrl-C stops it")
        assert "apt-get install mosquitto" in "".join(program.output)
        answer = get(f"{program.url}/ready")
        assert (answer["ready"], answer["mqtt"]) == (False, "down")
        assert "apt-get install mosquitto" in str(answer["missing"])
    finally:
        assert program.end() == 0


@pytest.mark.gen_test
async def test_without_dev_a_missing_mosquitto_is_a_fault(
    make_hermes: MakeHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked for the embedded broker gets it or a refusal, and the port is free again."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("hermes.broker.mosquitto.EXTRA_PATH", "/nowhere")
    with pytest.raises(BrokerUnavailable):
        await make_hermes(mqtt_url="embedded", port="0")


@pytest.mark.gen_test
async def test_stopping_says_goodbye_to_every_socket(make_hermes: MakeHermes) -> None:
    """1001, each with its own time to return; what was taken before arrives first."""
    hermes = await make_hermes()
    sockets = [await hermes.open("/ws/notifications", token()) for _ in range(5)]
    assert (await hermes.notify({"user_id": "123", "title": "last", "message": ""}))["sent"]
    await hermes.gateway.stop()
    waits = set()
    for socket in sockets:
        assert (await socket.hear())["title"] == "last"
        code, reason = await socket.closed()
        match = re.fullmatch(r"stopping;retry_ms=(\d+)", reason or "")
        assert code == 1001
        assert match
        waits.add(int(match[1]))
    assert all(1_000 <= wait <= 2_000 for wait in waits)
    assert len(waits) > 1


@pytest.mark.gen_test(timeout=10)
async def test_stopping_does_not_wait_for_a_socket_that_never_answers(make_hermes: MakeHermes) -> None:
    """Longer than the drain timeout."""
    hermes = await make_hermes(drain_timeout_s="0.3")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(hermes.url.rpartition(":")[2]))
    writer.write(
        f"GET /ws/notifications?token={token()} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    await eventually(lambda: hermes.gateway.hub.sessions)
    started_s = time.monotonic()
    await hermes.gateway.stop()
    assert time.monotonic() - started_s < 2
    assert b"stopping" in await reader.read()
    writer.close()


@pytest.mark.gen_test
async def test_a_socket_asked_for_while_stopping_is_sent_away(make_hermes: MakeHermes) -> None:
    """With 1001 and a time to return, although its connection was accepted before."""
    hermes = await make_hermes()
    hermes.gateway.socket_limit.stopping = True
    code, reason = await (await hermes.open("/ws/notifications", token())).closed()
    assert code == 1001
    assert re.fullmatch(r"stopping;retry_ms=\d+", reason or "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Tornado forgets its socket
def test_what_cannot_be_listened_on_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Privileged ports and addresses that are not ours."""
    with pytest.raises(HermesError, match=r"cannot listen on 192\.0\.2\.1 port 0"):
        listen("192.0.2.1", 0)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hermes.server.bind_sockets", refuse)
    with pytest.raises(HermesError, match="only root may listen on port 80"):
        listen("127.0.0.1", 80)


def test_the_socket_limit_follows_the_file_limit() -> None:
    """``hermes serve`` raises the soft limit to the hard one; a program that embeds Hermes keeps its own."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512)); from hermes import server; "
    code += "print(server.sockets_by_file_limit()); server.raise_file_limit(); print(server.sockets_by_file_limit())"
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert shown.split() == [str(256 - FILES_RESERVED), str(512 - FILES_RESERVED)]


@pytest.mark.gen_test
async def test_it_can_listen_on_ipv6(make_hermes: MakeHermes) -> None:
    """With an address that a browser understands."""
    hermes = await make_hermes(host="::1")
    assert re.fullmatch(r"http://\[::1\]:\d+", hermes.url)
    assert (await hermes.request("/health")).code == 200


@pytest.mark.gen_test
async def test_dev_fills_the_console_in_for_this_machine_only(make_hermes: MakeHermes) -> None:
    """Under another name, as by DNS rebinding, the page has no tokens."""
    hermes = await make_hermes(dev="true")
    page = (await hermes.request("/")).body.decode()
    assert '"api_key":"a key of the tests"' in page
    assert page.count('"token":"eyJ') == 3
    foreign = (await hermes.request("/", headers={"Host": "rebound.example"})).body.decode()
    assert '"dev":null' in foreign
    assert "eyJ" not in foreign
    plain = await make_hermes()
    assert "eyJ" not in (await plain.request("/")).body.decode()


@pytest.mark.gen_test(timeout=10)
async def test_dev_simulates_twenty_devices_of_two_tenants(make_hermes: MakeHermes) -> None:
    """Their data comes through the broker."""
    hermes = await make_hermes(dev="true", mqtt_url="embedded")
    await eventually(lambda: hermes.gateway.link.ready)
    assert len(hermes.gateway.device_ids) >= 20
    for tenant in ("acme", "globex"):
        socket = await hermes.open(f"/ws/tenant/{tenant}", token(tenant_id=tenant))
        assert (await socket.hear())["tenant_id"] == tenant
