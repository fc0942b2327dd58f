"""``hermes serve`` as a service: what it reports to the service manager, and SIGHUP."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hermes.backoff import Backoff
from hermes.metrics import Metrics
from hermes.mqtt.client import MqttClient
from hermes.mqtt.connection import Connection
from hermes.settings.urls.mqtt import MqttUrl
from tests.support.brokers import mosquitto
from tests.support.gateways import SECRET, TIMEOUT_S
from tests.support.paths import CHECKOUT
from tests.support.programs import Program, free_port, needs, wait_until
from tests.support.sites import TOPIC, site

OLD, NEW = "the-old-key-of-the-tests", "the-new-key-of-the-tests"


class Manager:
    """The socket of a service manager, with all messages so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.02)

    def wait_for(self, text: str, after: int = 0) -> int:
        """Wait for a message with this text after so many others; return its number."""

        def found() -> bool:
            with suppress(TimeoutError):
                self.messages.append(self._socket.recv(4_096).decode())
            return any(text in message for message in self.messages[after:])

        wait_until(found, TIMEOUT_S, why=f"no {text!r} in {self.messages}")
        return next(n for n, message in enumerate(self.messages) if n >= after and text in message) + 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@contextmanager
def served(folder: Path, *flags: str, **environment: str) -> Iterator[tuple[Program, Manager]]:
    """Run ``hermes serve`` as a service with one API key in a file."""
    (folder / "keys").touch(mode=0o600)
    (folder / "keys").write_text(f"{OLD}\n")
    manager = Manager(folder / "notify")
    arguments = ["serve", "--port", "0", "--api-key-file", str(folder / "keys"), *flags]
    given = {"HERMES_JWT_SECRET": SECRET, "NOTIFY_SOCKET": str(manager.path)} | environment
    program = Program(arguments, given, stdin=subprocess.DEVNULL, start_new_session=True)  # no terminal
    try:
        yield program, manager
    finally:
        program.end()
        manager.close()


def reload(program: Program, manager: Manager, after: int) -> int:
    """Send SIGHUP and wait until it is handled; return the number of messages."""
    program.process.send_signal(signal.SIGHUP)
    return manager.wait_for("READY=1", manager.wait_for("RELOADING=1", after))


def status(program: Program, key: str) -> int:
    """Return the HTTP status of ``/notify`` with this key."""
    body = json.dumps({"user_id": "1", "title": "t", "message": "m"}).encode()
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    request = urllib.request.Request(f"{program.url}/notify", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_start_watchdog_and_stop_are_reported(tmp_path: Path) -> None:
    """``READY=1`` when it listens, ``STOPPING=1`` before sockets are closed."""
    with served(tmp_path, "--mqtt-url", "off", WATCHDOG_USEC="300000") as (program, manager):
        ready = manager.wait_for("READY=1")
        assert f"STATUS={program.url}; MQTT off" in manager.messages[ready - 1]
        assert status(program, OLD) == 200
        manager.wait_for("WATCHDOG=1", manager.wait_for("WATCHDOG=1", ready))
        program.process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert program.process.wait(TIMEOUT_S) == 0


def test_a_broker_that_is_away_stops_neither_start_nor_watchdog(tmp_path: Path) -> None:
    """The status says what is missing."""
    url = f"mqtt://127.0.0.1:{free_port()}"
    with served(tmp_path, "--mqtt-url", url, WATCHDOG_USEC="300000") as (program, manager):
        manager.wait_for("READY=1")
        down = manager.wait_for("MQTT down; ")
        for _ in range(3):
            down = manager.wait_for("WATCHDOG=1", down)
        assert program.process.poll() is None


def test_sighup_reads_the_api_keys_again(tmp_path: Path) -> None:
    """With a wrong file nothing changes, and the log says why."""
    with served(tmp_path, "--mqtt-url", "off") as (program, manager):
        ready = manager.wait_for("READY=1")
        assert (status(program, OLD), status(program, NEW)) == (200, 401)
        (tmp_path / "keys").write_text(f"{NEW}\n")
        ready = reload(program, manager, ready)
        assert (status(program, OLD), status(program, NEW)) == (401, 200)
        (tmp_path / "keys").unlink()
        program.process.send_signal(signal.SIGHUP)
        manager.wait_for("READY=1", ready)
        program.wait_for("reload: nothing is changed")
        assert (status(program, OLD), status(program, NEW)) == (401, 200)
    assert NEW not in "".join(program.errors)


@pytest.mark.slow
def test_sighup_writes_one_line(tmp_path: Path) -> None:
    """What has changed, also in the secret of the same file; and what needs a restart."""
    secret, config = tmp_path / "secret", tmp_path / "hermes.toml"
    secret.write_text(SECRET)
    config.write_text(f'jwt_secret_file = "{secret}"\nping_interval_s = 25\n')
    with served(tmp_path, "--mqtt-url", "off", "--config", str(config), HERMES_JWT_SECRET="") as (program, manager):
        ready = manager.wait_for("READY=1")
        reload(program, manager, ready)
        program.wait_for("reload: nothing has changed\n")
        secret.write_text(SECRET[::-1])
        config.write_text(f'jwt_secret_file = "{secret}"\nping_interval_s = 30\nsnapshot_max_values = 7\n')
        reload(program, manager, len(manager.messages))
        program.wait_for(
            "reload: changed --jwt-secret-file, --ping-interval-s; a restart is needed for --snapshot-max-values\n"
        )
        assert SECRET[::-1] not in "".join(program.errors)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('port = 1\ntopics = ["a/{tenant', "is not TOML"),
        pytest.param('topics = ["a/{tenant_id}"]\nlog_level = "debug"\n', "--topic", marks=pytest.mark.slow),
        ('jwt_secret_file = "SECRET"\nlog_level = "debug"\n', "shorter than 32 bytes"),
    ],
)
def test_a_half_written_file_changes_nothing_and_one_line_says_why(tmp_path: Path, text: str, words: str) -> None:
    """The TOML file, one of its values, a secret."""
    secret, config = tmp_path / "secret", tmp_path / "hermes.toml"
    secret.write_text(SECRET)
    whole = f'jwt_secret_file = "{secret}"\n'
    config.write_text(whole)
    with served(tmp_path, "--mqtt-url", "off", "--config", str(config), HERMES_JWT_SECRET="") as (program, manager):
        ready = manager.wait_for("READY=1")
        config.write_text(text.replace("SECRET", str(secret)))
        if "SECRET" in text:
            secret.write_text(SECRET[:8])
        (tmp_path / "keys").write_text(f"{NEW}\n")
        reload(program, manager, ready)
        program.wait_for(f"reload: nothing is changed: .*{words}")
        assert "".join(program.errors).count("reload: ") == 1
        assert (status(program, OLD), status(program, NEW)) == (200, 401)


@pytest.mark.broker
def test_sighup_reads_the_topics_again_and_sockets_stay_open(tmp_path: Path) -> None:
    """A device of the new template is heard over the same socket."""
    config = tmp_path / "hermes.toml"
    config.write_text('topics = ["a/{tenant_id}/{device_id}"]\n')
    with mosquitto(tmp_path) as broker:
        flags = ("--mqtt-url", f"mqtt://127.0.0.1:{broker.port}", "--config", str(config))
        with served(tmp_path, *flags) as (program, manager):
            ready = manager.wait_for("MQTT up")
            listen = Program(["listen", "tenant/acme", "--url", program.url], {"HERMES_TOKEN": signed()})
            try:
                program.wait_for("/ws/tenant: open")
                broker.publish("a/acme/d1", "1")
                listen.wait_for('"device_id":"d1"')
                config.write_text('topics = ["b/{tenant_id}/{device_id}"]\n')
                program.process.send_signal(signal.SIGHUP)
                manager.wait_for("MQTT up", manager.wait_for("RELOADING=1", ready))
                wait_until(lambda: _ready(program))
                broker.publish("a/acme/d3", "1")
                broker.publish("b/acme/d2", "1")
                listen.wait_for('"device_id":"d2"')
                assert '"d3"' not in "".join(listen.output)
                assert "".join(program.errors).count("/ws/tenant: open") == 1
            finally:
                listen.end()


@pytest.mark.slow
@pytest.mark.broker
def test_sighup_with_on_demand_keeps_what_open_sockets_watch(tmp_path: Path) -> None:
    """The new link subscribes to the devices of sockets that were open before."""
    config = tmp_path / "hermes.toml"
    config.write_text('topics = ["a/{tenant_id}/{device_id}"]\nmqtt_on_demand = true\nmqtt_linger_s = 1\n')
    with mosquitto(tmp_path) as broker:
        flags = ("--mqtt-url", f"mqtt://127.0.0.1:{broker.port}", "--config", str(config))
        with served(tmp_path, *flags) as (program, manager):
            manager.wait_for("MQTT up")
            listen = Program(["listen", "device/d1", "--url", program.url], {"HERMES_TOKEN": signed()})
            try:
                program.wait_for("/ws/device: open")
                ready = len(manager.messages)
                config.write_text(config.read_text().replace("a/", "b/"))
                reload(program, manager, ready)
                wait_until(lambda: _ready(program))

                def arrives() -> bool:
                    broker.publish("b/acme/d1", "1")
                    return '"device_id":"d1"' in "".join(listen.output)

                wait_until(arrives)
            finally:
                listen.end()
            program.wait_for("/ws/device: closed")
            assert "Traceback" not in "".join(program.errors)


@pytest.mark.broker
def test_sighup_with_topics_that_do_not_fit_changes_nothing(tmp_path: Path) -> None:
    """On demand, topics must not overlap, also if the new file no longer asks for it: that needs a restart."""
    config = tmp_path / "hermes.toml"
    config.write_text('topics = ["a/{tenant_id}/{device_id}"]\nmqtt_on_demand = true\n')
    with mosquitto(tmp_path) as broker:
        flags = ("--mqtt-url", f"mqtt://127.0.0.1:{broker.port}", "--config", str(config))
        with served(tmp_path, *flags) as (program, manager):
            ready = manager.wait_for("MQTT up")
            config.write_text('topics = ["a/{tenant_id}/{device_id}", "a/x/{device_id...};tenant_id=q"]\n')
            ready = reload(program, manager, ready)
            program.wait_for("reload: nothing is changed")
            assert _ready(program)
            config.write_text('topics = ["b/{tenant_id}/{device_id}"]\nmqtt_on_demand = true\n')
            reload(program, manager, ready)
            program.wait_for("reload: changed --topic")


@pytest.mark.slow
def test_sighup_with_a_file_of_another_name(tmp_path: Path) -> None:
    """The old one may be gone."""
    config = tmp_path / "hermes.toml"
    (tmp_path / "keys-1").touch(mode=0o600)
    (tmp_path / "keys-1").write_text(f"{OLD}\n")
    config.write_text(f'api_key_file = "{tmp_path}/keys-1"\nlog_level = "info"\n')
    manager = Manager(tmp_path / "notify")
    program = Program(
        ["serve", "--port", "0", "--mqtt-url", "off", "--config", str(config)],
        {"HERMES_JWT_SECRET": SECRET, "NOTIFY_SOCKET": str(manager.path)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ready = manager.wait_for("READY=1")
        (tmp_path / "keys-1").rename(tmp_path / "keys-2")
        (tmp_path / "keys-2").write_text(f"{NEW}\n")
        config.write_text(f'api_key_file = "{tmp_path}/keys-2"\nlog_level = "debug"\n')
        reload(program, manager, ready)
        assert (status(program, OLD), status(program, NEW)) == (401, 200)
        assert "restart is needed" not in "".join(program.errors)
    finally:
        program.end()
        manager.close()


def signed() -> str:
    """Return a token of the tenant acme."""
    command = [sys.executable, "-m", "hermes", "token", "--user", "1", "--username", "u", "--tenant", "acme"]
    return subprocess.check_output(command, text=True, env=os.environ | {"HERMES_JWT_SECRET": SECRET}).strip()


def _ready(program: Program) -> bool:
    try:
        with urllib.request.urlopen(f"{program.url}/ready", timeout=TIMEOUT_S) as response:
            return int(response.status) == 200
    except urllib.error.HTTPError:
        return False


def test_sighup_of_a_closed_terminal_stops_it_as_sigterm_does() -> None:
    """A program without a terminal would keep the port. A terminal may send the signal more than once."""
    with in_a_terminal() as program:
        program.wait_for("listening on")
        program.process.send_signal(signal.SIGHUP)
        program.wait_for("stopping")
        with suppress(ProcessLookupError):
            program.process.send_signal(signal.SIGHUP)
        assert program.process.wait(TIMEOUT_S) == 0
        assert "reload" not in "".join(program.errors)


def test_under_nohup_sighup_does_not_stop_it() -> None:
    """It was started to outlive its terminal, so it reads the settings again."""
    with in_a_terminal(needs("env"), "--ignore-signal=HUP") as program:
        program.wait_for("listening on")
        program.process.send_signal(signal.SIGHUP)
        program.wait_for("reload: nothing has changed")
        assert program.end() == 0


@contextmanager
def in_a_terminal(*launcher: str) -> Iterator[Program]:
    """Run ``hermes serve`` with a controlling terminal of its own."""
    master, slave = pty.openpty()
    command = ["serve", "--port", "0", "--mqtt-url", "off"]
    # the tests may run under nohup, which ignores the signal
    first = launcher or (needs("env"), "--default-signal=HUP")
    whole = (needs("setsid"), "--ctty", "--wait", *first, sys.executable, "-m", "hermes")
    program = Program(command, {"HERMES_JWT_SECRET": SECRET}, launcher=whole, stdin=slave, cwd=CHECKOUT)
    os.close(slave)
    try:
        yield program
    finally:
        program.end()
        os.close(master)


def turns_of(client: MqttClient) -> int:
    """Return how often the thread has turned with this connection."""
    return 0 if client._connection is None else client._connection.turns


@pytest.mark.broker
def test_a_stuck_mqtt_thread_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that works, connects or waits does."""
    stuck, release = threading.Event(), threading.Event()
    with mosquitto(tmp_path) as broker, site(broker.port) as here:
        here.up()
        for _ in range(3):
            assert here.client.answers()
            wait_until(lambda: here.client._asked is not None)
            wait_until(lambda: turns_of(here.client) > (here.client._asked or (None, 0))[1])
        original = Connection._send_waiting

        def send_waiting(connection: Connection) -> None:
            stuck.set()
            release.wait(TIMEOUT_S)
            original(connection)

        monkeypatch.setattr(Connection, "_send_waiting", send_waiting)
        broker.publish(TOPIC, "1")
        assert stuck.wait(TIMEOUT_S)
        here.client.answers()  # the question
        assert not here.client.answers()
        release.set()
        wait_until(here.client.answers)
        broker.stop()
        wait_until(lambda: not here.client.online)
        for _ in range(3):
            assert here.client.answers(), "it waits for the broker"


def test_a_thread_that_has_ended_does_not_answer() -> None:
    """Nothing would reconnect."""
    url = MqttUrl(tls=False, host="127.0.0.1", port=free_port())
    client = MqttClient(url, metrics=Metrics(), backoff=Backoff(first_s=0.01, max_s=0.01))
    client.start()
    assert client.answers()
    client.stop()
    assert not client.answers()
