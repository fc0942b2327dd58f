"""The embedded broker open to real devices: each may publish to its own topics, and nothing else, whatever it tries."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from tornado.websocket import websocket_connect

from hermes.broker import mosquitto
from hermes.broker import supervisor as brokers
from hermes.broker.accounts import AccountsFile, parse_account
from hermes.broker.device_listener import NOTE_NAME, DeviceListener
from hermes.broker.mosquitto import UNREADABLE
from hermes.broker.supervisor import MosquittoProcess
from hermes.cli.check import check
from hermes.errors import BrokerUnavailable, ConfigError
from hermes.metrics import Metrics
from hermes.settings.broker import BrokerListen, parse_listen
from tests.support.gateways import SECRET, make_settings, token
from tests.support.programs import free_port, hermes, needs, wait_until

D1, D2 = "acme/d1", "acme/d2"
OWN = "tenants/acme/devices/d1"
OTHERS = "tenants/acme/devices/d2"
NO_SUBSCRIBERS, NOT_AUTHORIZED = 16, 135  # MQTT 5 §3.4.2.1


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "LOOK_INTERVAL_S", 0.05)
    monkeypatch.setattr(brokers, "RELOAD_INTERVAL_S", 0.2)
    monkeypatch.setattr(brokers, "RELOAD_TIMEOUT_S", 5.0)


@dataclass
class Client:
    """A real MQTT 5 client in a thread of its own."""

    mqtt: paho.Client
    connects: list[int] = field(default_factory=list)
    disconnects: list[int] = field(default_factory=list)
    acknowledged: dict[int, int] = field(default_factory=dict)
    heard: list[tuple[str, bytes, bool]] = field(default_factory=list)
    granted: list[int] = field(default_factory=list)

    def publish(self, topic: str, payload: str = "1", *, retain: bool = False) -> int:
        """The reason code of the broker's acknowledgement."""
        number = self.mqtt.publish(topic, payload, qos=1, retain=retain).mid
        wait_until(lambda: number in self.acknowledged, why=f"no answer for {topic}")
        return self.acknowledged[number]

    def subscribe(self, *filters: str) -> None:
        """Wait for the broker's answer to each."""
        before = len(self.granted)
        for text in filters:
            self.mqtt.subscribe(text, qos=1)
        wait_until(lambda: len(self.granted) == before + len(filters))


@contextlib.contextmanager
def client(
    port: int,
    user: str,
    password: str | None,
    *,
    client_id: str = "",
    will: str | None = None,
) -> Iterator[Client]:
    """A client that has its CONNACK, whatever that says."""
    mqtt = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
    mqtt.username_pw_set(user, password)
    mqtt.reconnect_delay_set(30, 30)
    if will is not None:
        mqtt.will_set(will, b"gone", qos=1, retain=True)
    made = Client(mqtt)
    mqtt.on_connect = lambda _, __, ___, code, ____: made.connects.append(code.value)
    mqtt.on_disconnect = lambda _, __, ___, code, ____: made.disconnects.append(code.value)
    mqtt.on_publish = lambda _, __, number, code, ____: made.acknowledged.update({number: code.value})
    mqtt.on_subscribe = lambda _, __, ___, codes, ____: made.granted.extend(code.value for code in codes)
    mqtt.on_message = lambda _, __, message: made.heard.append((message.topic, bytes(message.payload), message.retain))
    mqtt.connect("127.0.0.1", port)
    mqtt.loop_start()
    try:
        wait_until(lambda: made.connects, why="no CONNACK")
        yield made
    finally:
        mqtt.disconnect()
        mqtt.loop_stop()


def cut(one: Client) -> None:
    """End its connection without a goodbye, so that its will is sent; it stays away."""
    connection = one.mqtt.socket()
    assert isinstance(connection, socket.socket)
    connection.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: one.disconnects)


@dataclass
class Gateway:
    """A broker with a door, and its accounts."""

    broker: MosquittoProcess
    accounts: AccountsFile
    port: int

    async def add(self, name: str) -> str:
        """The password of a new device that is let in already."""
        password = await asyncio.to_thread(self.accounts.add, parse_account(name))
        await asyncio.to_thread(wait_until, lambda: lets_in(self.port, name, password), 20)
        return password

    @contextlib.contextmanager
    def own(self, *filters: str) -> Iterator[Client]:
        """A client with Hermes' own rights; it hears these filters."""
        url = self.broker.url
        assert url.username is not None
        with client(url.port, url.username, url.password) as made:
            made.subscribe(*(filters or ("#",)))
            yield made


def lets_in(port: int, name: str, password: str, ca: Path | None = None) -> bool:
    """Whether the broker accepts this device."""
    tls = [] if ca is None else ["--cafile", str(ca)]
    return connect(port, "-u", parse_account(name).user, "-P", password, *tls) == 0


def connect(port: int, *words: str) -> int:
    """The exit code of mosquitto_pub: the broker's answer, or 1 where it had none."""
    command = [needs("mosquitto_pub"), "-V", "mqttv5", "-h", "127.0.0.1", "-p", str(port), "-t", "x", "-m", "1"]
    return subprocess.run([*command, *words], capture_output=True, timeout=10, check=False).returncode


@contextlib.asynccontextmanager
async def gateway(folder: Path, *, topics: tuple[str, ...] = ("hermes",), **options: Any) -> AsyncIterator[Gateway]:
    """A running one."""
    needs("mosquitto")
    listen = BrokerListen("127.0.0.1", free_port(), folder, **options)
    door = DeviceListener(listen, topics=topics, metrics=Metrics())
    broker = MosquittoProcess(metrics=Metrics(), port=free_port(), door=door)
    await broker.start()
    try:
        yield Gateway(broker, AccountsFile(folder), listen.port)
    finally:
        await broker.stop()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it on a loop of its own, on the main thread as Hermes does."""
    asyncio.run(asyncio.wait_for(scenario(), 60))


async def aside(work: Callable[[], None]) -> None:
    """Do blocking work while the loop goes on."""
    await asyncio.to_thread(work)


def test_a_device_publishes_to_its_own_topics(tmp_path: Path) -> None:
    """With its password, and Hermes hears it; a retained value too."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            password = await gate.add(D1)

            def work() -> None:
                with gate.own() as own, client(gate.port, D1, password) as device:
                    assert device.publish(f"{OWN}/temp", "21") == 0
                    assert device.publish(f"{OWN}/state", "on", retain=True) == 0
                    wait_until(lambda: len(own.heard) == 2)
                    assert own.heard[0] == (f"{OWN}/temp", b"21", False)
                with gate.own() as later:
                    wait_until(lambda: later.heard)
                    assert later.heard == [(f"{OWN}/state", b"on", True)]

            await aside(work)

    run(scenario)


def test_nobody_is_let_in_without_the_right_password(tmp_path: Path) -> None:
    """On neither listener, nor by another way of saying who one is."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            password = await gate.add(D1)
            other_way = ("-D", "connect", "authentication-method", "PLAIN")

            def work() -> None:
                for port in (gate.port, gate.broker.port):
                    for user, word in ((D1, "wrong"), (D1, ""), ("hermes", password), ("", ""), (D2, password)):
                        assert connect(port, "-u", user, "-P", word) == NOT_AUTHORIZED, (port, user)
                        assert connect(port, "-u", user, "-P", word, *other_way) != 0, (port, user)
                    assert connect(port) == NOT_AUTHORIZED
                    assert connect(port, "-u", D1, "-P", password) == 0

            await aside(work)

    run(scenario)


@pytest.mark.parametrize(
    "topic",
    [
        f"{OTHERS}/temp",
        "tenants/globex/devices/d1/temp",
        "tenants/acme/devices",
        "x",
        "$SYS/broker/uptime",
        "/",
        OWN + "x",
    ],
)
def test_a_device_cannot_publish_elsewhere(tmp_path: Path, topic: str) -> None:
    """Neither a message, nor a retained one, nor an empty one that would clear it."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            password = await gate.add(D1)

            def work() -> None:
                with gate.own("#", "$SYS/broker/uptime") as own, client(gate.port, D1, password) as device:
                    own.heard.clear()
                    for payload, retain in (("1", False), ("1", True), ("", True)):
                        assert device.publish(topic, payload, retain=retain) == NOT_AUTHORIZED
                    assert device.publish(f"{OWN}/after") == 0
                    wait_until(lambda: (f"{OWN}/after", b"1", False) in own.heard)
                    assert [heard for heard in own.heard if heard[0] == topic and heard[1] in (b"", b"1")] == []
                    assert device.disconnects == []

            await aside(work)

    run(scenario)


def test_a_device_reads_nothing(tmp_path: Path) -> None:
    """Not others' topics, not its own, not the broker's, live or retained, shared or not."""
    filters = ("#", "+/+/#", "$SYS/#", "$share/g/#", "$share/g/+/+/#", f"{OTHERS}/#", f"{OWN}/#", f"{OTHERS}/temp")

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            first, second = await gate.add(D1), await gate.add(D2)

            def work() -> None:
                with gate.own() as own, client(gate.port, D1, first) as spy, client(gate.port, D2, second) as device:
                    device.publish(f"{OTHERS}/temp", "kept", retain=True)
                    spy.subscribe(*filters)
                    device.publish(f"{OTHERS}/temp", "21")
                    own.publish(f"{OWN}/set", "1")
                    spy.publish(f"{OWN}/temp", "own")
                    wait_until(lambda: len(own.heard) == 4)
                    spy.publish(f"{OWN}/end")  # answered after whatever would have been sent before
                    assert spy.heard == []

            await aside(work)

    run(scenario)


def test_a_device_cannot_leave_a_will_elsewhere(tmp_path: Path) -> None:
    """Its own is sent."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            password = await gate.add(D1)

            def work() -> None:
                with gate.own() as own:
                    with client(gate.port, D1, password, will=f"{OTHERS}/online") as bad:
                        if bad.connects[0] == 0:
                            cut(bad)
                    with client(gate.port, D1, password, will=f"{OWN}/online") as good:
                        cut(good)
                    wait_until(lambda: own.heard)
                    assert own.heard == [(f"{OWN}/online", b"gone", False)]

            await aside(work)

    run(scenario)


def test_a_device_cannot_push_another_off_by_its_client_id(tmp_path: Path) -> None:
    """Nor Hermes: the user's name is the client id."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            first, second = await gate.add(D1), await gate.add(D2)

            def work() -> None:
                with gate.own() as own, client(gate.port, D1, first, client_id="d1") as victim:
                    for name in ("d1", D1, "hermes", "hermes-simulator"):
                        with client(gate.port, D2, second, client_id=name) as thief:
                            assert thief.publish(f"{OTHERS}/x") == 0
                    assert victim.publish(f"{OWN}/x") == 0
                    assert (victim.disconnects, own.disconnects) == ([], [])

            await aside(work)

    run(scenario)


def test_accounts_come_and_go_while_others_stay_connected(tmp_path: Path) -> None:
    """A removed device's connection ends; the others never notice."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            first = await gate.add(D1)
            pid = gate.broker.pid
            with gate.own() as own, client(gate.port, D1, first) as stays:
                second = await gate.add(D2)
                with client(gate.port, D2, second) as goes:
                    assert goes.connects == [0]
                    gate.accounts.remove(parse_account(D2))
                    await asyncio.to_thread(wait_until, lambda: goes.disconnects)
                assert not await asyncio.to_thread(lets_in, gate.port, D2, second)
                assert await asyncio.to_thread(stays.publish, f"{OWN}/x") == 0
                assert await asyncio.to_thread(stays.publish, f"{OTHERS}/x") == NOT_AUTHORIZED
                assert (stays.disconnects, own.disconnects, gate.broker.pid) == ([], [], pid)

    run(scenario)


def test_two_hundred_devices(tmp_path: Path) -> None:
    """Made by two at once, all let in, and each confined."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            passwords: dict[str, str] = {}

            def add(numbers: range) -> None:
                for number in numbers:
                    name = f"acme/n{number}"
                    passwords[name] = AccountsFile(tmp_path).add(parse_account(name))

            await asyncio.gather(asyncio.to_thread(add, range(100)), asyncio.to_thread(add, range(100, 200)))
            assert len(passwords) == 200

            def work() -> None:
                wait_until(lambda: all(lets_in(gate.port, name, passwords[name]) for name in ("acme/n99", "acme/n199")))
                with gate.own() as own:
                    for number in range(0, 200, 10):
                        with client(gate.port, f"acme/n{number}", passwords[f"acme/n{number}"]) as device:
                            assert device.publish(f"tenants/acme/devices/n{number}/x") == 0
                            assert device.publish(f"tenants/acme/devices/n{number + 1}/x") == NOT_AUTHORIZED
                    wait_until(lambda: len(own.heard) == 20)

            await aside(work)

    run(scenario)


def test_a_killed_broker_comes_back_with_the_same_accounts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also with those that were made while it was away."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            first = await gate.add(D1)
            pid = gate.broker.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            second = gate.accounts.add(parse_account(D2))
            await asyncio.to_thread(
                wait_until, lambda: gate.broker.pid not in (None, pid) and not brokers._is_free(gate.port), 20
            )
            await asyncio.to_thread(wait_until, lambda: lets_in(gate.port, D2, second), 20)
            assert await asyncio.to_thread(lets_in, gate.port, D1, first)
            with gate.own() as own:
                assert own.connects == [0]

    run(scenario)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "the embedded broker ended with status -9; restarting it in 0.5 s"
    ]


def test_a_broken_accounts_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and mended by mending it."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            password = await gate.add(D1)
            whole = gate.accounts.path.read_text()
            gate.accounts.path.write_text("nonsense\n")
            await asyncio.to_thread(wait_until, lambda: "stays as it was" in caplog.text)
            assert await asyncio.to_thread(lets_in, gate.port, D1, password)
            gate.accounts.path.write_text(whole)
            await gate.add(D2)

    run(scenario)
    assert caplog.text.count("stays as it was") == 1


def test_a_device_of_no_template_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is let in and may publish nothing."""
    password = AccountsFile(tmp_path).add(parse_account("acme/hall/lamp"))

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:

            def work() -> None:
                with client(gate.port, "acme/hall/lamp", password) as device:
                    assert device.publish("tenants/acme/devices/hall/lamp") == NOT_AUTHORIZED

            await aside(work)

    run(scenario)
    assert caplog.text.count("no template has a topic for acme/hall/lamp") == 1


def test_ids_with_spaces_and_other_signs_hold_only_their_own_topics(tmp_path: Path) -> None:
    """The broker trims its lines, and ours mean what they say."""

    async def scenario() -> None:
        async with gateway(tmp_path, topics=("t/{tenant_id}/{device_id...}",)) as gate:
            name = "acme/hall 2/lamp: ö%u"
            account = parse_account(name)
            password = await gate.add(name)

            def work() -> None:
                with gate.own() as own, client(gate.port, account.user, password) as device:
                    assert device.publish(f"t/{name}") == 0
                    for other in ("t/acme/hall", "t/acme/hall 2", "t/acme/hall 2/lamp: ö", f"t/{name} ", "t/acme/x"):
                        assert device.publish(other) == NOT_AUTHORIZED
                    wait_until(lambda: own.heard)
                    assert [topic for topic, _, _ in own.heard] == [f"t/{name}"]

            await aside(work)

    run(scenario)


def test_a_broker_that_lost_its_rules_is_ended_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It would let everyone do everything; the next one has them again."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            password = await gate.add(D1)
            pid = gate.broker.pid
            assert pid is not None
            gate.broker._files["rules"].write(b"nonsense\n")
            os.kill(pid, signal.SIGHUP)
            await asyncio.to_thread(
                wait_until, lambda: gate.broker.pid not in (None, pid) and not brokers._is_free(gate.port), 20
            )

            def work() -> None:
                with client(gate.port, D1, password) as device:
                    assert device.publish(f"{OTHERS}/x") == NOT_AUTHORIZED
                    assert device.publish(f"{OWN}/x") == NO_SUBSCRIBERS

            await aside(work)

    run(scenario)
    assert "could not read its access rules" in caplog.text


def test_what_a_stranger_says_never_ends_the_broker() -> None:
    """The broker quotes strangers in its log."""
    assert UNREADABLE.match('Error: Invalid line in acl_file "/proc/self/fd/9": nonsense.')
    assert not UNREADABLE.match('Invalid protocol "Error: acl_file" in CONNECT from 10.0.0.1.')


def test_a_frozen_broker_is_not_written_to_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be in the middle of its files; what came meanwhile is told once it goes on."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            pid = gate.broker.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            try:
                first = gate.accounts.add(parse_account(D1))
                await asyncio.to_thread(wait_until, lambda: gate.broker._reload_after_s > 0)
                content = os.pread(gate.broker._files["passwords"].descriptor, 100_000, 0)
                second = gate.accounts.add(parse_account(D2))
                until_s = time.monotonic() + 0.5
                await asyncio.to_thread(wait_until, lambda: time.monotonic() > until_s)
                assert os.pread(gate.broker._files["passwords"].descriptor, 100_000, 0) == content
                assert b"acme/d1:" in content
            finally:
                os.kill(pid, signal.SIGCONT)
            await asyncio.to_thread(wait_until, lambda: lets_in(gate.port, D2, second), 20)
            assert await asyncio.to_thread(lets_in, gate.port, D1, first)

    run(scenario)


def test_a_device_that_keeps_too_much_is_stopped_and_hermes_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retained values of ever new topics: the broker's memory is bounded."""
    monkeypatch.setattr(mosquitto, "MEMORY_MAX_BYTES", 20_000_000)

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            password = await gate.add(D1)

            def work() -> None:
                with gate.own("x") as own, client(gate.port, D1, password) as device:
                    for number in range(60):
                        device.mqtt.publish(f"{OWN}/{number}", "x" * 500_000, qos=1, retain=True)
                    wait_until(lambda: device.disconnects)
                    assert own.publish("y") == NO_SUBSCRIBERS
                    assert own.disconnects == []

            await aside(work)
            status = await asyncio.to_thread(Path(f"/proc/{gate.broker.pid}/status").read_text)
            assert int(status.split("VmRSS:")[1].split()[0]) < 60_000  # KiB

    run(scenario)


def test_a_packet_beyond_all_bounds_ends_its_connection(tmp_path: Path) -> None:
    """Before it is read."""

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            password = await gate.add(D1)

            def work() -> None:
                with gate.own() as own, client(gate.port, D1, password) as device:
                    device.mqtt.publish(f"{OWN}/x", "x" * (mosquitto.PACKET_MAX_BYTES + 1))
                    wait_until(lambda: device.disconnects)
                    assert own.heard == []

            await aside(work)

    run(scenario)


# -- TLS ----------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [needs("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True, timeout=20)
    return cert, key


def test_devices_speak_tls_and_a_renewed_certificate_holds_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Those who are connected stay; half a renewal changes nothing."""
    cert, key = certificate(tmp_path, "first")
    old = tmp_path / "old.pem"
    old.write_bytes(cert.read_bytes())
    new_cert, new_key = certificate(tmp_path, "second")

    async def scenario() -> None:
        async with gateway(tmp_path / "state", cert_file=cert, key_file=key) as gate:
            password = gate.accounts.add(parse_account(D1))
            await asyncio.to_thread(wait_until, lambda: lets_in(gate.port, D1, password, old), 20)
            with gate.own() as own:
                new_cert.replace(cert)
                await asyncio.to_thread(wait_until, lambda: "do not match" in caplog.text)
                assert await asyncio.to_thread(lets_in, gate.port, D1, password, old)
                new_key.replace(key)
                await asyncio.to_thread(wait_until, lambda: lets_in(gate.port, D1, password, cert), 20)
                assert not await asyncio.to_thread(lets_in, gate.port, D1, password, old)
                assert own.disconnects == []
            assert not await asyncio.to_thread(lets_in, gate.port, D1, password)  # without TLS

    run(scenario)
    assert "clear text" not in caplog.text


def test_the_private_key_is_the_childs_alone(tmp_path: Path) -> None:
    """Not even readable by its group, and not by those whom the state folder is open to."""
    cert, key = certificate(tmp_path, "first")

    async def scenario() -> None:
        async with gateway(tmp_path / "state", cert_file=cert, key_file=key) as gate:
            for file in gate.broker._files.values():
                assert os.fstat(file.descriptor).st_mode & 0o777 == 0o400

    run(scenario)


@pytest.mark.parametrize("broken", ["missing", "no pair"])
def test_a_certificate_that_cannot_be_used_is_said_at_the_start(tmp_path: Path, broken: str) -> None:
    """With the files' names."""
    cert, key = certificate(tmp_path, "first")
    if broken == "missing":
        key.unlink()
    else:
        key = certificate(tmp_path, "second")[1]

    async def scenario() -> None:
        with pytest.raises(BrokerUnavailable, match=r"first\.pem"):
            async with gateway(tmp_path / "state", cert_file=cert, key_file=key):
                pass

    run(scenario)


# -- the start ----------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_used_says_what_to_mend(tmp_path: Path) -> None:
    """At the start, not at the first device."""
    (tmp_path / "file").touch()

    async def scenario() -> None:
        with pytest.raises(BrokerUnavailable, match=r"file/broker.*--broker-state-dir"):
            async with gateway(tmp_path / "file" / "broker"):
                pass

    run(scenario)


def test_an_address_that_is_taken_or_not_here_is_named(tmp_path: Path) -> None:
    """Before mosquitto is started."""

    async def scenario() -> None:
        for address in ("192.0.2.1", "2001:db8::1"):
            listen = BrokerListen(address, free_port(), tmp_path)
            door = DeviceListener(listen, topics=("hermes",), metrics=Metrics())
            with pytest.raises(BrokerUnavailable, match=r"cannot listen on .*; see --broker-listen"):
                await MosquittoProcess(metrics=Metrics(), port=free_port(), door=door).start()

    needs("mosquitto")
    run(scenario)


def test_a_note_that_cannot_be_written_keeps_nobody_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As on a full disk: it is there for the command's comfort only."""
    password = AccountsFile(tmp_path).add(parse_account(D1))
    (tmp_path / NOTE_NAME).mkdir()

    async def scenario() -> None:
        async with gateway(tmp_path) as gate:
            assert await asyncio.to_thread(lets_in, gate.port, D1, password)

    run(scenario)
    assert caplog.text.count(f"cannot write {tmp_path / NOTE_NAME}: Is a directory") == 1


def test_a_certificate_is_judged_as_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be renewed in that moment."""
    cert, key = certificate(tmp_path, "first")
    pair = cert.read_bytes(), key.read_bytes()
    read = Path.read_bytes

    def renewed_then(path: Path) -> bytes:
        content = read(path)
        path.write_text("half of the next one")
        return content

    monkeypatch.setattr(Path, "read_bytes", renewed_then)
    listen = BrokerListen("127.0.0.1", 1, tmp_path, cert, key)
    assert listen.certificate() == pair
    with pytest.raises(ValueError, match="do not match"):
        listen.certificate()


def test_without_tls_beyond_loopback_it_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Passwords cross the network as clear text."""
    listen = BrokerListen("127.0.0.1", 1, tmp_path)
    assert not listen.reveals_passwords
    far = BrokerListen("0.0.0.0", 1883, tmp_path)
    assert far.reveals_passwords
    assert not BrokerListen("0.0.0.0", 1883, tmp_path, tmp_path, tmp_path).reveals_passwords
    brokers._announce(DeviceListener(far, topics=("hermes",), metrics=Metrics()))
    assert "cross the network of 0.0.0.0:1883 as clear text" in caplog.text


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("0.0.0.0:8883", ("0.0.0.0", 8883)), ("[::]:1", ("::", 1)), ("[::1]:65535", ("::1", 65_535))],
)
def test_addresses_that_can_be_listened_on(text: str, parsed: tuple[str, int]) -> None:
    """An IPv6 one in brackets."""
    assert parse_listen(text) == parsed
    assert str(BrokerListen(*parsed, Path("/"))) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "1883", ":1883", "localhost:1883", "::1:1883", "[127.0.0.1]:1", "[fe80::1%eth0]:1", "[fe80::1%\nx]:1"),
        *("1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:", "1.2.3.4:1e3", "1.2.3.4:9999999999", "1.2.3.4:١", "1.2.3.4\n:1"),
    ],
)
def test_addresses_that_cannot(text: str) -> None:
    """With what to write."""
    with pytest.raises(ValueError, match=r"write 0\.0\.0\.0:8883"):
        parse_listen(text)


# -- the whole ----------------------------------------------------------------------------------------------------


def test_a_device_that_was_just_added_reaches_a_browser(tmp_path: Path) -> None:
    """Hermes as a program, the command beside it, mosquitto_pub with the printed line; the simulated devices too."""
    needs("mosquitto")
    port = free_port()
    state = {"XDG_STATE_HOME": str(tmp_path), "HERMES_JWT_SECRET": SECRET, "STATE_DIRECTORY": ""}
    with hermes("serve", "--dev", "--port", "0", "--broker-listen", f"127.0.0.1:{port}", **state) as server:
        server.wait_for("Ctrl-C stops it")
        assert "device add acme/mine" in "".join(server.output)
        with hermes("device", "add", "acme/boiler", **state) as command:
            line = command.wait_for(r"mosquitto_pub .*")[0]
            command.wait_for(r"'\{.*\}'")

        async def scenario() -> None:
            url = f"{server.url.replace('http', 'ws')}/ws/tenant/acme?token={token(tenant_id='acme')}"
            browser = await websocket_connect(url)
            seen: set[str] = set()
            data = None
            while data is None or len(seen) < 3:
                await asyncio.to_thread(subprocess.run, line, shell=True, capture_output=True, timeout=10, check=False)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        while (frame := await browser.read_message()) is not None:
                            message = json.loads(frame)
                            seen.add(message.get("device_id", ""))
                            data = message.get("data") if message.get("device_id") == "boiler" else data
            assert data == {"value": 21.5}
            browser.close()

        asyncio.run(asyncio.wait_for(scenario(), 40))


def test_the_settings_name_the_listener(tmp_path: Path) -> None:
    """Without one, the broker is Hermes' alone."""
    given = make_settings(mqtt_url="embedded", broker_listen="[::1]:8883", broker_state_dir=str(tmp_path))
    assert given.device_listener == BrokerListen("::1", 8_883, tmp_path)
    assert make_settings().device_listener is None


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
def test_settings_that_cannot_let_devices_in_are_refused(given: dict[str, Any], reason: str) -> None:
    """At the start, with what to write."""
    with pytest.raises(ConfigError, match=reason):
        make_settings(**({"mqtt_url": None} | given))


def test_check_says_what_keeps_devices_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And how many there are; it writes nothing."""
    needs("mosquitto")

    def checked(**given: object) -> tuple[int, str]:
        settings = make_settings(
            mqtt_url="embedded", broker_listen=f"0.0.0.0:{free_port()}", broker_state_dir=str(tmp_path), **given
        )
        return asyncio.run(check(settings)), capsys.readouterr().out

    assert checked()[0] == 0
    assert list(tmp_path.iterdir()) == []
    AccountsFile(tmp_path).add(parse_account(D1))
    code, text = checked()
    assert code == 0
    assert f"ok      1 device accounts in {tmp_path}; devices connect to 0.0.0.0:" in text
    assert "warn    devices' passwords and data cross the network of 0.0.0.0:" in text
    AccountsFile(tmp_path).path.write_text("nonsense")
    code, text = checked(broker_cert_file=str(tmp_path / "c"), broker_key_file=str(tmp_path / "k"))
    assert code == 1
    assert f"FAIL    cannot read {tmp_path / 'c'}" in text
    assert "warn" not in text
    code, text = checked()
    assert "line 1: 'nonsense' is no device's user name; mend or delete it" in text
