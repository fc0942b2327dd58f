"""Start and stop of ``hermes serve`` and of a gateway: in order, without remains."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from hermes.errors import BrokerUnavailable, HermesError
from hermes.server import FILES_RESERVED, listen
from tests.support.children import child_named
from tests.support.gateways import TIMEOUT_S, MakeHermes, eventually, token
from tests.support.paths import CHECKOUT
from tests.support.programs import Program, accepts, hermes, metric, wait_until

DEV = ("serve", "--dev", "--port", "0")
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")


def alive(pid: int) -> bool:
    """Return True if the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def broker_of(program: Program) -> int:
    """Return the pid of the program's mosquitto."""
    program.wait_for("Ctrl-C stops it")
    return child_named(program.process.pid, "mosquitto")


def get(url: str) -> dict[str, object]:
    """Return the JSON of a response with any status."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            value = json.load(response)
    except urllib.error.HTTPError as error:
        value = json.load(error)
    assert isinstance(value, dict)
    return value


@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(tmp_path: Path, number: int) -> None:
    """Exit code 0, its broker stopped, no traceback, the port free."""
    with hermes(*DEV, XDG_STATE_HOME=str(tmp_path)) as program:
        broker = broker_of(program)
        port = int(program.url.rpartition(":")[2])
        assert program.end(number) == 0
    assert not alive(broker)
    assert not accepts(port)
    assert "Traceback" not in "".join(program.errors)
    assert not [line for line in program.errors if " ERROR " in line]


@pytest.mark.broker
def test_the_broker_ends_with_a_killed_hermes(tmp_path: Path) -> None:
    """After SIGKILL the kernel ends the broker."""
    with hermes(*DEV, XDG_STATE_HOME=str(tmp_path)) as program:
        broker = broker_of(program)
        program.end(signal.SIGKILL)
        wait_until(lambda: not alive(broker), 5)


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_broker_ends_with_a_killed_hermes_of_a_plain_user() -> None:
    """Hermes and mosquitto run as the user ``nobody``, from a copy that this user may read."""
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
    """Copy Hermes and its packages; return the launcher and the environment for the user ``nobody``."""
    sources = [CHECKOUT / name for name in ("hermes", "templates", "static")]
    subprocess.run(["cp", "-r", "--preserve=timestamps", *sources, folder], check=True)
    (folder / "packages").mkdir()
    subprocess.run(["cp", "-r", "--preserve=timestamps", *_imported_packages(), folder / "packages"], check=True)
    (folder / "state").mkdir()
    subprocess.run(["chmod", "-R", "a+rwX", str(folder)], check=True)
    environment = {
        "XDG_STATE_HOME": str(folder / "state"),
        "HOME": str(folder),
        "PYTHONPATH": f"{folder}:{folder}/packages",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    version = f"python3.{sys.version_info.minor}"
    for interpreter in (str(Path(sys.executable).resolve()), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        launcher = (*AS_NOBODY, interpreter)
        probe = [*launcher, "-c", "import os, sys, hermes.gateway; assert os.access(sys.executable, os.X_OK)"]
        if subprocess.run(probe, capture_output=True, cwd="/", env=environment, check=False).returncode == 0:
            return (*launcher, "-m", "hermes"), environment
    pytest.skip(f"this machine has no {version} that a plain user may run")


def _imported_packages() -> list[Path]:
    """Return the folders and files of site-packages that Hermes imports: a few of the many that are installed."""
    code = "import sys, hermes.cli.main, hermes.gateway; print(*{name.partition('.')[0] for name in sys.modules})"
    names = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    (packages,) = {path for path in sys.path if path.endswith("site-packages")}
    return [path for path in Path(packages).iterdir() if path.name.partition(".")[0] in names]


@pytest.mark.broker
def test_a_killed_broker_is_restarted_and_the_link_reconnects(tmp_path: Path) -> None:
    """The new broker has the same address; the restart is counted."""
    with hermes(*DEV, XDG_STATE_HOME=str(tmp_path)) as program:
        broker = broker_of(program)
        url = program.url
        wait_until(lambda: get(f"{url}/ready")["ready"])
        os.kill(broker, signal.SIGKILL)
        wait_until(lambda: metric(program, "hermes_mqtt_connects_total") == 2)
        wait_until(lambda: get(f"{url}/ready")["ready"])
        assert broker_of(program) != broker
        assert metric(program, "hermes_broker_restarts_total") == 1


def test_without_mosquitto_dev_continues_without_devices(tmp_path: Path) -> None:
    """The terminal and ``/ready`` show the command that installs mosquitto."""
    code = (
        "import sys; from hermes.broker import mosquitto; mosquitto.EXTRA_PATH = ''; "
        "from hermes.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    environment = {"XDG_STATE_HOME": str(tmp_path), "PATH": "/nowhere"}
    program = Program(list(DEV), environment, launcher=(sys.executable, "-c", code))
    try:
        program.wait_for("Ctrl-C stops it")
        assert "apt-get install mosquitto" in "".join(program.output)
        ready = get(f"{program.url}/ready")
        assert (ready["ready"], ready["mqtt"]) == (False, "down")
        assert "apt-get install mosquitto" in str(ready["missing"])
    finally:
        assert program.end() == 0


@pytest.mark.gen_test
async def test_without_dev_a_missing_mosquitto_is_an_error(
    make_hermes: MakeHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded broker was configured, so the gateway does not start without it."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("hermes.broker.mosquitto.EXTRA_PATH", "/nowhere")
    with pytest.raises(BrokerUnavailable):
        await make_hermes(mqtt_url="embedded", port="0")


@pytest.mark.gen_test
async def test_stopping_closes_every_socket_with_1001(make_hermes: MakeHermes) -> None:
    """Each with its own time to reconnect; notifications that were sent before arrive first."""
    hermes = await make_hermes()
    sockets = [await hermes.open("/ws/notifications", token()) for _ in range(5)]
    assert (await hermes.notify({"user_id": "123", "title": "last", "message": ""}))["sent"]
    await hermes.gateway.stop()
    waits = set()
    for socket in sockets:
        assert (await socket.receive())["title"] == "last"
        code, reason = await socket.wait_closed()
        match = re.fullmatch(r"stopping;retry_ms=(\d+)", reason or "")
        assert code == 1001
        assert match
        waits.add(int(match[1]))
    assert all(1_000 <= wait <= 2_000 for wait in waits)
    assert len(waits) > 1


@pytest.mark.gen_test
async def test_stopping_does_not_wait_for_a_socket_that_never_responds(make_hermes: MakeHermes) -> None:
    """Its client gets the close frame, does not respond, and the gateway stops."""
    hermes = await make_hermes(drain_timeout_s="0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(hermes.url.rpartition(":")[2]))
    writer.write(
        f"GET /ws/notifications?token={token()} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    await eventually(lambda: hermes.gateway.hub.sessions)
    await hermes.gateway.stop()
    await reader.readuntil(b"stopping")
    writer.close()


@pytest.mark.gen_test
async def test_a_socket_that_opens_while_stopping_is_rejected(make_hermes: MakeHermes) -> None:
    """With 1001 and a time to reconnect, although its connection was accepted before."""
    hermes = await make_hermes()
    hermes.gateway.admission.stopping = True
    code, reason = await (await hermes.open("/ws/notifications", token())).wait_closed()
    assert code == 1001
    assert re.fullmatch(r"stopping;retry_ms=\d+", reason or "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Tornado does not close its socket
def test_an_address_that_cannot_be_used_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example a privileged port, or an address of another machine."""
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
    assert shown.split() == [str(192 - FILES_RESERVED), str(384 - FILES_RESERVED)]


@pytest.mark.gen_test
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_all_addresses_of_ipv6_are_also_those_of_ipv4(make_hermes: MakeHermes, address: str) -> None:
    """``--host ::``; the port is the same."""
    hermes = await make_hermes(host="::")
    port = int(hermes.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), TIMEOUT_S)).startswith(b"HTTP/1.1 200 OK")
    writer.close()


@pytest.mark.gen_test
async def test_it_can_listen_on_ipv6(make_hermes: MakeHermes) -> None:
    """Its URL is one that a browser can open."""
    hermes = await make_hermes(host="::1")
    assert re.fullmatch(r"http://\[::1\]:\d+", hermes.url)
    assert (await hermes.request("/health")).code == 200


@pytest.mark.gen_test
async def test_dev_fills_in_the_console_for_this_machine_only(make_hermes: MakeHermes) -> None:
    """The page has no secret under another host name (DNS rebinding), through a proxy, and without ``--dev``."""
    hermes = await make_hermes(dev="true")
    page = (await hermes.request("/")).body.decode()
    assert '"api_key":"a-key-of-the-tests"' in page
    assert page.count('"token":"eyJ') == 3
    assert 'id="dev-banner"' not in page
    for headers in (
        {"Host": "rebound.example"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Via": "1.1 ngrok"},
        {"CF-Connecting-IP": "127.0.0.1"},
        {"X-Ingress-Path": "/api/hassio_ingress/x"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
    ):
        foreign = (await hermes.request("/", headers=headers)).body.decode()
        assert '"dev":null' in foreign, headers
        assert "eyJ" not in foreign
        assert "a key of the tests" not in foreign
        assert 'id="dev-banner"' in foreign, "the page says why it is empty"
    plain = await make_hermes()
    page = (await plain.request("/", headers={"Host": "rebound.example"})).body.decode()
    assert "eyJ" not in page
    assert 'id="dev-banner"' not in page


@pytest.mark.gen_test
async def test_a_proxy_that_speaks_http_1_0_gets_no_secrets_of_dev(make_hermes: MakeHermes) -> None:
    """As nginx does that is told nothing else; its Host is a loopback address, too."""
    hermes = await make_hermes(dev="true")
    port = int(hermes.url.rpartition(":")[2])
    for host in (f"Host: 127.0.0.1:{port}\r\n", ""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET / HTTP/1.0\r\n{host}\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), TIMEOUT_S)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"eyJ" not in answer
        assert b"a key of the tests" not in answer
        writer.close()


@pytest.mark.broker
@pytest.mark.gen_test
async def test_dev_simulates_twenty_devices_of_two_tenants(make_hermes: MakeHermes) -> None:
    """Their data arrives through the broker."""
    hermes = await make_hermes(dev="true", mqtt_url="embedded")
    await eventually(lambda: hermes.gateway.link.ready)
    assert len(hermes.gateway.device_ids) >= 20
    for tenant in ("acme", "globex"):
        socket = await hermes.open(f"/ws/tenant/{tenant}", token(tenant_id=tenant))
        assert (await socket.receive())["tenant_id"] == tenant
