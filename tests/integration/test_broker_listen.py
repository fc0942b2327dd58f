"""The embedded broker with a listener for devices: each device publishes to its own topics and to nothing else."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from tornado.websocket import websocket_connect

from hermes.broker import mosquitto
from hermes.broker import supervisor as brokers
from hermes.broker.accounts import AccountsFile, parse_account
from hermes.broker.device_listener import NOTE_NAME, DeviceListener
from hermes.broker.supervisor import MosquittoProcess
from hermes.cli.check import check
from hermes.errors import BrokerUnavailable, ConfigError
from hermes.metrics import Metrics
from hermes.settings.broker import BrokerListen
from hermes.testing import gateway_settings
from tests.support.gateways import SECRET, token
from tests.support.programs import free_port, hermes, needs, wait_until

pytestmark = pytest.mark.broker

D1, D2 = "acme/d1", "acme/d2"
OWN = "tenants/acme/devices/d1"
OTHERS = "tenants/acme/devices/d2"
NO_SUBSCRIBERS, NOT_AUTHORIZED = 16, 135  # MQTT 5 §3.4.2.1


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "REFRESH_INTERVAL_S", 0.05)
    monkeypatch.setattr(brokers, "RELOAD_INTERVAL_S", 0.2)
    monkeypatch.setattr(brokers, "RELOAD_TIMEOUT_S", 5.0)


@dataclass
class Client:
    """A real MQTT 5 client in a thread of its own."""

    mqtt: paho.Client
    connects: list[int] = field(default_factory=list)
    disconnects: list[int] = field(default_factory=list)
    acknowledged: dict[int, int] = field(default_factory=dict)
    received: list[tuple[str, bytes, bool]] = field(default_factory=list)
    granted: list[int] = field(default_factory=list)

    def publish(self, topic: str, payload: str = "1", *, retain: bool = False) -> int:
        """The reason code of the broker's acknowledgement."""
        sent = self.mqtt.publish(topic, payload, qos=1, retain=retain)
        sent.wait_for_publish(60)
        return self.acknowledged[sent.mid]

    def subscribe(self, *filters: str) -> None:
        """Wait for the broker's answer to each."""
        before = len(self.granted)
        for text in filters:
            self.mqtt.subscribe(text, qos=1)
        wait_until(lambda: len(self.granted) == before + len(filters))


@contextlib.contextmanager
def client(
    port: int, user: str, password: str | None, *, client_id: str = "", will: str | None = None
) -> Iterator[Client]:
    """A client that has its CONNACK, whatever its code is. It does not reconnect."""
    mqtt = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    mqtt.username_pw_set(user, password)
    if will is not None:
        mqtt.will_set(will, b"gone", qos=1, retain=True)
    made = Client(mqtt)
    mqtt.on_connect = lambda _, __, ___, code, ____: made.connects.append(code.value)
    mqtt.on_disconnect = lambda _, __, ___, code, ____: made.disconnects.append(code.value)
    mqtt.on_publish = lambda _, __, number, code, ____: made.acknowledged.update({number: code.value})
    mqtt.on_subscribe = lambda _, __, ___, codes, ____: made.granted.extend(code.value for code in codes)
    mqtt.on_message = lambda _, __, message: made.received.append(
        (message.topic, bytes(message.payload), message.retain)
    )
    mqtt.connect("127.0.0.1", port)
    mqtt.loop_start()
    try:
        wait_until(lambda: made.connects, why="no CONNACK")
        yield made
    finally:
        mqtt.disconnect()
        mqtt.loop_stop()
        mqtt._reset_sockets()  # paho closes the socket pair of its thread only when the client is collected


def drop(one: Client) -> None:
    """Close its connection without a DISCONNECT, so that the broker publishes its will."""
    connection = one.mqtt.socket()
    assert isinstance(connection, socket.socket)
    connection.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: one.disconnects)


@dataclass
class Broker:
    """An embedded broker with a listener for devices, and its accounts."""

    process: MosquittoProcess
    accounts: AccountsFile
    port: int
    passwords: Mapping[str, str]

    async def add(self, name: str) -> str:
        """The password of a new device that the broker accepts already."""
        password = await asyncio.to_thread(self.accounts.add, parse_account(name))
        await until(lambda: accepts(self.port, name, password))
        return password

    @contextlib.contextmanager
    def device(self, name: str, **options: Any) -> Iterator[Client]:
        """A device that had its account at the start."""
        with client(self.port, parse_account(name).user, self.passwords[name], **options) as made:
            yield made

    @contextlib.contextmanager
    def own(self, *filters: str) -> Iterator[Client]:
        """A client with Hermes' own rights that subscribes to these filters."""
        url = self.process.url
        assert url.username is not None
        with client(url.port, url.username, url.password) as made:
            made.subscribe(*filters)
            yield made


def accepts(port: int, name: str, password: str, ca: Path | None = None) -> bool:
    """Whether the broker accepts this device."""
    tls = [] if ca is None else ["--cafile", str(ca)]
    return connect(port, "-u", parse_account(name).user, "-P", password, *tls) == 0


def connect(port: int, *words: str) -> int:
    """The exit code of mosquitto_pub: the broker's answer, or 1 if it had none."""
    command = [needs("mosquitto_pub"), "-V", "mqttv5", "-h", "127.0.0.1", "-p", str(port), "-t", "x", "-m", "1"]
    return subprocess.run([*command, *words], capture_output=True, timeout=60, check=False).returncode


@contextlib.asynccontextmanager
async def running(
    folder: Path, *, topics: tuple[str, ...] = ("hermes",), names: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[Broker]:
    """A running broker; these devices have an account from the start."""
    needs("mosquitto")
    accounts = AccountsFile(folder)
    passwords = {name: accounts.add(parse_account(name)) for name in names}
    listen = BrokerListen("127.0.0.1", free_port(), folder, **options)
    listener = DeviceListener(listen, topics=topics, metrics=Metrics())
    process = MosquittoProcess(metrics=Metrics(), port=free_port(), device_listener=listener)
    await process.start()
    try:
        yield Broker(process, accounts, listen.port, passwords)
    finally:
        await process.stop()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it on a loop of its own, on the main thread as Hermes does."""
    asyncio.run(asyncio.wait_for(scenario(), 120))


async def until(condition: Callable[[], object]) -> None:
    """Wait while the loop continues; the condition may block."""
    await asyncio.to_thread(wait_until, condition)


# -- what a device may do: one broker for all of these tests ----------------------------------------------------------

TOPICS = ("hermes", "t/{tenant_id}/{device_id...}", "tasmota", "owntracks")
HOSTILE = (  # t/acme/d1 is the topic of acme/d1, also for an account such as acme/d1/.. or a%2Fcme/d1
    *("acme/d1", "acme/d1/x", "acme/D1", "acme/d1.", "acme/..", "acme/d1/..", "acme/%2F", "acme%2Fd1/x", "a%2Fcme/d1"),
    *(
        "acme/$SYS",
        "$SYS/broker",
        "acme/hall 2/lamp: ö%u",
        "acme/hall 2",
        "t/acme/d1",
        "acme/%u",
        "acme/d1 user hermes",
    ),
)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with a few devices; its loop does not run during the tests, so it never reloads."""
    names = (*HOSTILE, "acme/d2", "default/hall/plug", "jane/phone", "acme/hall")
    with asyncio.Runner() as runner:
        context = running(tmp_path_factory.mktemp("broker"), topics=TOPICS, names=tuple(dict.fromkeys(names)))
        yield runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


def test_a_device_publishes_to_its_own_topics(broker: Broker) -> None:
    """Hermes receives them; retained values too."""
    with broker.own(f"{OWN}/#") as own, broker.device(D1) as device:
        assert device.publish(f"{OWN}/temp", "21") == 0
        assert device.publish(f"{OWN}/state", "on", retain=True) == 0
        wait_until(lambda: len(own.received) == 2)
        assert own.received[0] == (f"{OWN}/temp", b"21", False)
        with broker.own(f"{OWN}/#") as later:
            wait_until(lambda: later.received)
            assert later.received == [(f"{OWN}/state", b"on", True)]
        device.publish(f"{OWN}/state", "", retain=True)


def test_the_broker_accepts_only_the_right_password(broker: Broker) -> None:
    """On both listeners, and with other ways of authentication too."""
    password = broker.passwords[D1]
    other_way = ("-D", "connect", "authentication-method", "PLAIN")
    for port in (broker.port, broker.process.port):
        for user, word in ((D1, "wrong"), (D1, ""), ("hermes", password), ("", ""), (D2, password)):
            assert connect(port, "-u", user, "-P", word) == NOT_AUTHORIZED, (port, user)
            assert connect(port, "-u", user, "-P", word, *other_way) != 0, (port, user)
        assert connect(port) == NOT_AUTHORIZED
        assert connect(port, "-u", D1, "-P", password) == 0


@pytest.mark.parametrize(
    "topic",
    [
        f"{OTHERS}/temp",
        "tenants/globex/devices/d1/temp",
        "tenants/acme/devices",
        "tenants/acme/devices/D1/temp",
        "tenants/acme/devices/d1%2Ftemp",
        "tenants/acme/devices/../devices/d1/temp",
        "Tenants/acme/devices/d1/temp",
        "/tenants/acme/devices/d1/temp",
        "t/acme/d1/temp",
        "owntracks/jane/phone",
        "tele/d1/STATE",
        "x",
        "$SYS/broker/uptime",
        "$CONTROL/dynamic-security/v1",
        f"$share/g/{OWN}/temp",
        "/",
        OWN + "x",
    ],
)
def test_a_device_cannot_publish_elsewhere(broker: Broker, topic: str) -> None:
    """Neither a message, nor a retained one, nor an empty one that would clear it."""
    with broker.own("#", "$SYS/broker/uptime") as own, broker.device(D1) as device:
        own.received.clear()
        for payload, retain in (("1", False), ("1", True), ("", True)):
            assert device.publish(topic, payload, retain=retain) == NOT_AUTHORIZED
        assert device.publish(f"{OWN}/after") == 0
        wait_until(lambda: (f"{OWN}/after", b"1", False) in own.received)
        assert [each for each in own.received if each[0] == topic and each[1] in (b"", b"1")] == []
        assert device.disconnects == []


def test_ids_with_unusual_characters_give_only_their_own_topics(broker: Broker) -> None:
    """Each of them publishes to the topics of all; the broker allows one."""
    for name in HOSTILE:
        with broker.device(name) as device:
            allowed = [other for other in HOSTILE if device.publish(f"t/{other}") != NOT_AUTHORIZED]
            assert allowed == [name]
            for other in (f"t/{name}/", f"t/{name} ", f"t/{name}/x/y", f"t/{name.rpartition('/')[0]}", f"t//{name}"):
                assert device.publish(other) == NOT_AUTHORIZED, other


@pytest.mark.parametrize(
    ("name", "own", "others"),
    [
        (
            "default/hall/plug",
            ("tele/hall/plug/STATE", "stat/hall/plug/RESULT"),
            (
                "tele/hall/STATE",
                "tele/hall/plug",
                "tele/hall/plug/x/y",
                "cmnd/hall/plug/POWER",
                "tele/hall/plug2/STATE",
            ),
        ),
        (
            "jane/phone",
            ("owntracks/jane/phone", "owntracks/jane/phone/event"),
            ("owntracks/jane", "owntracks/jane/tablet", "owntracks/joe/phone", "owntracks/jane/phone/event/x"),
        ),
    ],
)
def test_a_device_of_a_preset_publishes_as_itself(
    broker: Broker, name: str, own: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """Device ids of several levels, and several filters for one device."""
    with broker.device(name) as device:
        assert {device.publish(topic) for topic in own} == {NO_SUBSCRIBERS}
        assert {device.publish(topic) for topic in others} == {NOT_AUTHORIZED}


def test_a_device_reads_nothing(broker: Broker) -> None:
    """Neither topics of others nor its own nor the broker's, live or retained, shared or not."""
    filters = ("#", "+/+/#", "$SYS/#", "$share/g/#", "$share/g/+/+/#", f"{OTHERS}/#", f"{OWN}/#", f"{OTHERS}/temp")
    with broker.own("#") as own, broker.device(D1) as spy, broker.device(D2) as device:
        device.publish(f"{OTHERS}/temp", "kept", retain=True)
        spy.subscribe(*filters)
        device.publish(f"{OTHERS}/temp", "21")
        own.publish(f"{OWN}/set", "1")
        spy.publish(f"{OWN}/temp", "own")
        wait_until(lambda: len(own.received) == 4)
        spy.publish(f"{OWN}/end")  # acknowledged after everything that the broker would have sent before
        assert spy.received == []
        device.publish(f"{OTHERS}/temp", "", retain=True)


def test_a_device_cannot_leave_a_will_elsewhere(broker: Broker) -> None:
    """Its own will is published."""
    with broker.own("#") as own:
        with broker.device(D1, will=f"{OTHERS}/online") as bad:
            if bad.connects[0] == 0:
                drop(bad)
        with broker.device(D1, will=f"{OWN}/online") as good:
            drop(good)
        wait_until(lambda: own.received)
        assert own.received == [(f"{OWN}/online", b"gone", False)]
    with broker.device(D1) as device:
        device.publish(f"{OWN}/online", "", retain=True)


def test_a_device_cannot_disconnect_another_by_its_client_id(broker: Broker) -> None:
    """Nor Hermes: the client id is the user name."""
    with broker.own("#") as own, broker.device(D1, client_id="d1") as victim:
        for name in ("d1", D1, "hermes", "hermes-simulator"):
            with broker.device(D2, client_id=name) as thief:
                assert thief.publish(f"{OTHERS}/x") == 0
        assert victim.publish(f"{OWN}/x") == 0
        assert (victim.disconnects, own.disconnects) == ([], [])


def test_a_packet_beyond_the_limit_ends_its_connection(broker: Broker) -> None:
    """The broker does not read it."""
    with broker.own("#") as own, broker.device(D1) as device:
        device.mqtt.publish(f"{OWN}/x", "x" * (mosquitto.PACKET_MAX_BYTES + 1))
        wait_until(lambda: device.disconnects)
        assert own.received == []


def test_a_device_of_no_template_may_publish_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The broker accepts it, and the log names it once."""

    async def scenario() -> None:
        async with running(tmp_path, names=("acme/hall/lamp",)) as broker:
            with broker.device("acme/hall/lamp") as device:
                assert device.publish("tenants/acme/devices/hall/lamp") == NOT_AUTHORIZED

    run(scenario)
    assert caplog.text.count("no template has a topic for acme/hall/lamp") == 1


# -- accounts that change ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_fast")
def test_accounts_come_and_go_while_others_stay_connected(tmp_path: Path) -> None:
    """The connection of a removed device ends; other connections are not affected."""

    async def scenario() -> None:
        async with running(tmp_path, names=(D1,)) as broker:
            pid = broker.process.pid
            with broker.own("#") as own, broker.device(D1) as stays:
                second = await broker.add(D2)
                with client(broker.port, D2, second) as goes:
                    assert goes.connects == [0]
                    broker.accounts.remove(parse_account(D2))
                    await until(lambda: goes.disconnects)
                assert not await asyncio.to_thread(accepts, broker.port, D2, second)
                assert await asyncio.to_thread(stays.publish, f"{OWN}/x") == 0
                assert await asyncio.to_thread(stays.publish, f"{OTHERS}/x") == NOT_AUTHORIZED
                assert (stays.disconnects, own.disconnects, broker.process.pid) == ([], [], pid)

    run(scenario)


@pytest.mark.slow
@pytest.mark.usefixtures("_fast")
def test_two_hundred_devices_added_by_two_commands_at_once(tmp_path: Path) -> None:
    """All are accepted, and each is confined."""

    async def scenario() -> None:
        async with running(tmp_path) as broker:
            passwords: dict[str, str] = {}

            def add(numbers: range) -> None:
                for number in numbers:
                    name = f"acme/n{number}"
                    passwords[name] = AccountsFile(tmp_path).add(parse_account(name))

            await asyncio.gather(asyncio.to_thread(add, range(100)), asyncio.to_thread(add, range(100, 200)))
            assert len(passwords) == 200
            await until(lambda: all(accepts(broker.port, name, passwords[name]) for name in ("acme/n99", "acme/n199")))
            with broker.own("#") as own:
                for number in range(0, 200, 50):
                    with client(broker.port, f"acme/n{number}", passwords[f"acme/n{number}"]) as device:
                        assert device.publish(f"tenants/acme/devices/n{number}/x") == 0
                        assert device.publish(f"tenants/acme/devices/n{number + 1}/x") == NOT_AUTHORIZED
                wait_until(lambda: len(own.received) == 4)

    run(scenario)


@pytest.mark.usefixtures("_fast")
def test_a_killed_broker_restarts_with_the_same_accounts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also with an account that was added meanwhile."""

    async def scenario() -> None:
        async with running(tmp_path, names=(D1,)) as broker:
            pid = broker.process.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            second = broker.accounts.add(parse_account(D2))
            await until(lambda: broker.process.pid not in (None, pid) and not brokers._is_free(broker.port))
            await until(lambda: accepts(broker.port, D2, second))
            assert await asyncio.to_thread(accepts, broker.port, D1, broker.passwords[D1])
            with broker.own("#") as own:
                assert own.connects == [0]

    run(scenario)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "the embedded broker ended with status -9; restarting it in 0.5 s"
    ]


@pytest.mark.usefixtures("_fast")
def test_a_broken_accounts_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and a corrected file is read again."""

    async def scenario() -> None:
        async with running(tmp_path, names=(D1,)) as broker:
            whole = broker.accounts.path.read_text()
            broker.accounts.path.write_text("nonsense\n")
            await until(lambda: "accounts or certificate unchanged" in caplog.text)
            assert await asyncio.to_thread(accepts, broker.port, D1, broker.passwords[D1])
            broker.accounts.path.write_text(whole)
            await broker.add(D2)

    run(scenario)
    assert caplog.text.count("accounts or certificate unchanged") == 1


@pytest.mark.usefixtures("_fast")
def test_a_broker_that_lost_its_rules_is_killed_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It would allow everything to everyone; the next one has the rules again."""

    async def scenario() -> None:
        async with running(tmp_path, names=(D1,)) as broker:
            pid = broker.process.pid
            assert pid is not None
            broker.process._files["rules"].write(b"nonsense\n")
            os.kill(pid, signal.SIGHUP)
            await until(lambda: broker.process.pid not in (None, pid) and not brokers._is_free(broker.port))
            with broker.device(D1) as device:
                assert device.publish(f"{OTHERS}/x") == NOT_AUTHORIZED
                assert device.publish(f"{OWN}/x") == NO_SUBSCRIBERS

    run(scenario)
    assert "could not read its access rules" in caplog.text


class CountingLock(asyncio.Lock):
    """Counts how often the process has looked for changes."""

    taken = 0

    async def acquire(self) -> Literal[True]:
        """Count, then acquire."""
        self.taken += 1
        return await super().acquire()


@pytest.mark.usefixtures("_fast")
def test_a_frozen_broker_is_not_written_to_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be in the middle of a reload; later changes are applied when it continues."""
    monkeypatch.setattr(brokers, "RELOAD_TIMEOUT_S", 600.0)
    refreshes: list[bool] = []

    async def scenario() -> None:
        async with running(tmp_path) as broker:
            pid = broker.process.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            try:
                first = broker.accounts.add(parse_account(D1))
                await until(lambda: broker.process._reload_after_s > 0)
                content = os.pread(broker.process._files["passwords"].descriptor, 100_000, 0)
                assert b"acme/d1:" in content
                second = broker.accounts.add(parse_account(D2))
                with monkeypatch.context() as patch:
                    patch.setattr(broker.process._listener, "refresh", lambda: refreshes.append(True))
                    patch.setattr(broker.process, "_changing", lock := CountingLock())
                    await until(lambda: lock.taken >= 3)
                assert refreshes == []
                assert os.pread(broker.process._files["passwords"].descriptor, 100_000, 0) == content
            finally:
                os.kill(pid, signal.SIGCONT)
            await until(lambda: accepts(broker.port, D2, second))
            assert await asyncio.to_thread(accepts, broker.port, D1, first)

    run(scenario)


@pytest.mark.usefixtures("_fast")
def test_a_device_that_fills_the_memory_is_disconnected_and_hermes_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retained values of ever new topics: the memory of the broker is bounded."""
    monkeypatch.setattr(mosquitto, "MEMORY_MAX_BYTES", 20_000_000)

    async def scenario() -> None:
        async with running(tmp_path, names=(D1,)) as broker:

            def work() -> None:
                with broker.own("x") as own, broker.device(D1) as device:
                    for number in range(60):
                        device.mqtt.publish(f"{OWN}/{number}", "x" * 500_000, qos=1, retain=True)
                    wait_until(lambda: device.disconnects)
                    assert own.publish("y") == NO_SUBSCRIBERS
                    assert own.disconnects == []

            await asyncio.to_thread(work)
            status = await asyncio.to_thread(Path(f"/proc/{broker.process.pid}/status").read_text)
            assert int(status.split("VmRSS:")[1].split()[0]) < 60_000  # KiB

    run(scenario)


# -- TLS ----------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [needs("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.mark.usefixtures("_fast")
def test_a_renewed_certificate_applies_to_new_connections(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Open connections stay; half a renewal changes nothing. The memory files are readable to the child alone."""
    cert, key = certificate(tmp_path, "first")
    old = tmp_path / "old.pem"
    old.write_bytes(cert.read_bytes())
    new_cert, new_key = certificate(tmp_path, "second")

    async def scenario() -> None:
        async with running(tmp_path / "state", names=(D1,), cert_file=cert, key_file=key) as broker:
            password = broker.passwords[D1]
            modes = {os.fstat(file.descriptor).st_mode & 0o777 for file in broker.process._files.values()}
            assert modes == {0o400}
            assert await asyncio.to_thread(accepts, broker.port, D1, password, old)
            with broker.own("#") as own:
                new_cert.replace(cert)
                await until(lambda: "do not match" in caplog.text)
                assert await asyncio.to_thread(accepts, broker.port, D1, password, old)
                new_key.replace(key)
                await until(lambda: accepts(broker.port, D1, password, cert))
                assert not await asyncio.to_thread(accepts, broker.port, D1, password, old)
                assert own.disconnects == []
            assert not await asyncio.to_thread(accepts, broker.port, D1, password)  # without TLS

    run(scenario)
    assert "clear text" not in caplog.text


# -- the start ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["missing", "no pair"])
def test_a_certificate_that_cannot_be_used_is_reported_at_start(tmp_path: Path, broken: str) -> None:
    """With the names of the files."""
    cert, key = certificate(tmp_path, "first")
    if broken == "missing":
        key.unlink()
    else:
        key = certificate(tmp_path, "second")[1]

    async def scenario() -> None:
        with pytest.raises(BrokerUnavailable, match=r"first\.pem"):
            async with running(tmp_path / "state", cert_file=cert, key_file=key):
                pass

    run(scenario)


def test_a_folder_that_cannot_be_used_is_reported_at_start(tmp_path: Path) -> None:
    """With what to do, not at the first device."""
    (tmp_path / "file").touch()

    async def scenario() -> None:
        with pytest.raises(BrokerUnavailable, match=r"file/broker.*--broker-state-dir"):
            async with running(tmp_path / "file" / "broker"):
                pass

    run(scenario)


def test_an_address_that_is_in_use_or_not_of_this_machine_is_named(tmp_path: Path) -> None:
    """Before mosquitto is started."""

    async def scenario() -> None:
        for address in ("192.0.2.1", "2001:db8::1"):
            listen = BrokerListen(address, free_port(), tmp_path)
            listener = DeviceListener(listen, topics=("hermes",), metrics=Metrics())
            with pytest.raises(BrokerUnavailable, match=r"cannot listen on .*; see --broker-listen"):
                await MosquittoProcess(metrics=Metrics(), port=free_port(), device_listener=listener).start()

    needs("mosquitto")
    run(scenario)


def test_a_note_that_cannot_be_written_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As on a full disk: only `hermes device` reads it."""
    (tmp_path / NOTE_NAME).mkdir()

    async def scenario() -> None:
        async with running(tmp_path, names=(D1,)) as broker:
            assert await asyncio.to_thread(accepts, broker.port, D1, broker.passwords[D1])

    run(scenario)
    assert caplog.text.count(f"cannot write {tmp_path / NOTE_NAME}: Is a directory") == 1


def test_without_tls_beyond_loopback_a_warning_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Passwords cross the network as clear text."""
    assert not BrokerListen("127.0.0.1", 1, tmp_path).reveals_passwords
    far = BrokerListen("0.0.0.0", 1883, tmp_path)
    assert far.reveals_passwords
    assert not BrokerListen("0.0.0.0", 1883, tmp_path, tmp_path, tmp_path).reveals_passwords
    brokers._announce(far)
    assert "cross the network of 0.0.0.0:1883 as clear text" in caplog.text


# -- the whole ----------------------------------------------------------------------------------------------------


def test_a_device_that_was_just_added_reaches_a_browser(tmp_path: Path) -> None:
    """Hermes as a program, `hermes device add`, and the printed command; simulated devices publish as well."""
    needs("mosquitto")
    port = free_port()
    state = {"XDG_STATE_HOME": str(tmp_path), "HERMES_JWT_SECRET": SECRET, "STATE_DIRECTORY": ""}
    with hermes("serve", "--dev", "--port", "0", "--broker-listen", f"127.0.0.1:{port}", **state) as server:
        server.wait_for("Ctrl-C stops it")
        assert "device add acme/mine" in "".join(server.output)
        with hermes("device", "add", "acme/boiler", **state) as command:
            shown = command.wait_for(r"(?s)\n  (mkdir .*?)\n  (-P \S+)\n  (mosquitto_pub .*?'\{.*?\}')\n")
        store, password_line, line = shown.groups()
        home = os.environ | {"HOME": str(tmp_path)}
        subprocess.run(store, shell=True, input=password_line, text=True, env=home, check=True, timeout=60)

        async def scenario() -> None:
            url = f"{server.url.replace('http', 'ws')}/ws/tenant/acme?token={token(tenant_id='acme')}"
            browser = await websocket_connect(url)
            seen: set[str] = set()
            data = None
            while data is None or len(seen) < 3:
                publish = partial(subprocess.run, line, shell=True, capture_output=True, timeout=60, check=False)
                await asyncio.to_thread(publish, env=home)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        while (frame := await browser.read_message()) is not None:
                            message = json.loads(frame)
                            seen.add(message.get("device_id", ""))
                            data = message.get("data") if message.get("device_id") == "boiler" else data
            assert data == {"value": 21.5}
            browser.close()
            while await browser.read_message() is not None:  # until the connection has ended
                pass

        asyncio.run(asyncio.wait_for(scenario(), 120))


def test_the_settings_name_the_listener(tmp_path: Path) -> None:
    """By default the broker has no listener for devices."""
    given = gateway_settings(mqtt_url="embedded", broker_listen="[::1]:8883", broker_state_dir=str(tmp_path))
    assert given.device_listener == BrokerListen("::1", 8_883, tmp_path)
    assert gateway_settings().device_listener is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"broker_listen": "0.0.0.0:1883"}, "give --mqtt-url embedded"),
        ({"broker_listen": "1883", "mqtt_url": "embedded"}, "--broker-listen .*is not an address and a port"),
        (
            {"broker_listen": "127.0.0.1:1", "mqtt_url": "embedded", "broker_cert_file": "/c"},
            "belong together: give both",
        ),
        ({"broker_cert_file": "/c", "broker_key_file": "/k"}, "are for --broker-listen ADDRESS:PORT"),
        ({"broker_state_dir": "state"}, "is not an absolute path"),
        (
            {"broker_listen": "127.0.0.1:1", "mqtt_url": "embedded", "topics": "hermes,chirpstack"},
            "--broker-listen: template 'appl.* reads tenant_id from the payload, .* or write 'application/.*home'",
        ),
        (
            {"broker_listen": "127.0.0.1:1", "dev": "true", "topics": ["a/{tenant_id};device_id=/id"]},
            "reads device_id from the payload",
        ),
        (
            {"broker_listen": "127.0.0.1:1", "mqtt_url": "embedded", "topics": "ttn"},
            r"\(preset ttn\) has {tenant_id} in a part of a level, .* or write 'v3/{tenant_id}/devices/{device_id}/",
        ),
        (
            {
                "broker_listen": "127.0.0.1:1",
                "mqtt_url": "embedded",
                "topics": "hermes,tenants/{tenant_id}/{device_id...}",
            },
            r"the filters of templates 'tenants/.*' \(preset hermes\) and 'tenants/.*' overlap, .*"
            r" write only one of them, or 'one/.*' and 'two/.*'; or use an external broker",
        ),
    ],
)
def test_settings_that_cannot_be_combined_with_a_listener_are_refused(given: dict[str, Any], reason: str) -> None:
    """At start, with what to write."""
    with pytest.raises(ConfigError, match=reason):
        gateway_settings(**({"mqtt_url": None} | given))


def test_check_reports_problems_of_the_listener(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the number of accounts; it writes nothing."""
    needs("mosquitto")

    def checked(**given: object) -> tuple[int, str]:
        settings = gateway_settings(
            mqtt_url="embedded", broker_listen=f"0.0.0.0:{free_port()}", broker_state_dir=str(tmp_path), **given
        )
        return asyncio.run(check(settings)), capsys.readouterr().out

    assert checked()[0] == 0
    assert list(tmp_path.iterdir()) == []
    AccountsFile(tmp_path).add(parse_account(D1))
    code, text = checked()
    assert code == 0
    assert f"ok      1 device accounts in {tmp_path}; devices connect to 0.0.0.0:" in text
    assert "warn    the passwords and data of devices cross the network of 0.0.0.0:" in text
    AccountsFile(tmp_path).path.write_text("nonsense")
    code, text = checked(broker_cert_file=str(tmp_path / "c"), broker_key_file=str(tmp_path / "k"))
    assert code == 1
    assert f"FAIL    cannot read {tmp_path / 'c'}" in text
    assert "cross the network" not in text
    code, text = checked()
    assert "line 1: 'nonsense' is not the user name of a device; fix or delete it" in text
