"""Last values and presence, from devices over a real broker to sockets that are opened later."""

import asyncio
import contextlib
import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes.testing import ClientSocket
from tests.support.brokers import Broker, mosquitto
from tests.support.gateways import Hermes, MakeHermes, eventually, token
from tests.support.programs import needs
from tests.support.proxies import proxy

pytestmark = pytest.mark.broker

ACME = token(tenant_id="acme")
TOPIC = "tenants/acme/devices/d1"
COUNT, CHUNK = 900, 150  # values that are published while sockets open
SOCKETS_MAX = 12


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A real broker."""
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def mortal(broker: Broker) -> Iterator[subprocess.Popen[bytes]]:
    """A connected device with the last will "offline"."""
    with mortal_client(broker, f"{TOPIC}/online", "false") as client:
        yield client


@pytest.fixture
def mortal_bridge(broker: Broker) -> Iterator[subprocess.Popen[bytes]]:
    """A connected zigbee2mqtt with its last will."""
    with mortal_client(broker, "zigbee2mqtt/bridge/state", '{"state":"offline"}') as client:
        yield client


@contextlib.contextmanager
def mortal_client(broker: Broker, topic: str, payload: str) -> Iterator[subprocess.Popen[bytes]]:
    """A connected client with a retained last will."""
    broker.publish("hello", "1", "-r")
    will = ["--will-topic", topic, "--will-payload", payload, "--will-retain"]
    command = [needs("mosquitto_sub"), "-p", str(broker.port), "-t", "hello", *will]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"1\n", "it is not connected"
        yield client
        client.kill()


async def connected(make_hermes: MakeHermes, port: int, *topics: str) -> Hermes:
    """Return a server that is subscribed."""
    given = {"topics": list(topics)} if topics else {}
    hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{port}", **given)
    await eventually(lambda: hermes.gateway.link.ready)
    return hermes


def brief(frame: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that describe how a value is known."""
    return {key: frame[key] for key in ("data", "cleared", "retained", "snapshot") if key in frame}


async def wait_stored(hermes: Hermes, number: int) -> None:
    """Wait until this many values are stored."""
    await eventually(lambda: len(hermes.gateway.last_values) == number)


@pytest.mark.gen_test
async def test_a_socket_that_is_opened_later_gets_the_last_value_at_once(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """With the time at which Hermes received it."""
    hermes = await connected(make_hermes, broker.port)
    early = await hermes.open("/ws/tenant/acme", ACME)
    broker.publish_lines(f"{TOPIC}/temp", ["21", "22"])
    assert (await early.receive())["data"] == 21
    live = await early.receive()
    frame = await (await hermes.open("/ws/device/d1", ACME)).receive()
    assert brief(frame) == {"data": 22, "snapshot": True}
    assert frame["timestamp"] == live["timestamp"]


@pytest.mark.gen_test
async def test_retained_messages_of_the_broker_are_stored(make_hermes: MakeHermes, broker: Broker) -> None:
    """They are marked as retained, and have no time."""
    broker.publish(f"{TOPIC}/temp", "21", "-r")
    hermes = await connected(make_hermes, broker.port)
    await wait_stored(hermes, 1)
    frame = await (await hermes.open("/ws/tenant/acme", ACME)).receive()
    assert brief(frame) == {"data": 21, "retained": True, "snapshot": True}
    assert frame["timestamp"] is None


@pytest.mark.gen_test
async def test_a_reconnection_publishes_only_what_changed_meanwhile(make_hermes: MakeHermes, broker: Broker) -> None:
    """One of three retained values has changed; the others are not new, also the one with later values."""
    for series in ("same", "other", "followed"):
        broker.publish(f"{TOPIC}/{series}", "1", "-r")
    with proxy(broker.port) as between:
        hermes = await connected(make_hermes, between.port)
        await wait_stored(hermes, 3)
        socket = await hermes.open("/ws/tenant/acme?snapshot=0", ACME)
        broker.publish(f"{TOPIC}/followed", "2")
        assert (await socket.receive())["data"] == 2
        between.refuse()
        between.cut()
        assert (await socket.receive())["mqtt"] == "down"
        broker.publish(f"{TOPIC}/other", "5", "-r")
        between.accept()
        up = await socket.receive()
        frame = await socket.receive()
        if "mqtt" in frame:  # the broker may send retained messages before it grants the subscription (MQTT 5 §3.8.4)
            up, frame = frame, up
        assert up["mqtt"] == "up"
        assert (frame["series"], brief(frame), frame["timestamp"]) == ("other", {"data": 5, "retained": True}, None)
        await eventually(lambda: hermes.gateway.metrics.registry.get_sample_value("hermes_mqtt_received_total") == 7)
        await socket.expect_silence()
        late = await hermes.open("/ws/tenant/acme", ACME)
        values = {frame["series"]: frame["data"] for frame in [await late.receive() for _ in range(3)]}
        assert values == {"same": 1, "other": 5, "followed": 2}


@pytest.mark.gen_test
@pytest.mark.parametrize("retain", [True, False])
async def test_an_empty_payload_clears(make_hermes: MakeHermes, broker: Broker, retain: bool) -> None:
    """Open sockets get null, with a mark; later ones get nothing."""
    hermes = await connected(make_hermes, broker.port)
    broker.publish(f"{TOPIC}/temp", "21", "-r")
    await wait_stored(hermes, 1)
    socket = await hermes.open("/ws/tenant/acme", ACME)
    assert (await socket.receive())["data"] == 21
    broker.publish(f"{TOPIC}/temp", "", *(["-r"] if retain else []))
    frame = await socket.receive()
    assert brief(frame) == {"data": None, "cleared": True}
    assert len(hermes.gateway.last_values) == 0
    await (await hermes.open("/ws/tenant/acme", ACME)).expect_silence()


@pytest.mark.gen_test
async def test_null_is_a_value(make_hermes: MakeHermes, broker: Broker) -> None:
    """It is stored as any other, and its frame is not that of an empty payload."""
    hermes = await connected(make_hermes, broker.port)
    socket = await hermes.open("/ws/tenant/acme", ACME)
    broker.publish(f"{TOPIC}/temp", "null")
    assert brief(await socket.receive()) == {"data": None}
    late = await hermes.open("/ws/tenant/acme", ACME)
    assert brief(await late.receive()) == {"data": None, "snapshot": True}


@pytest.mark.gen_test
async def test_a_last_will_makes_a_device_offline(
    make_hermes: MakeHermes, broker: Broker, mortal: subprocess.Popen[bytes]
) -> None:
    """A device without connection: its last will arrives as data and as a status."""
    hermes = await connected(make_hermes, broker.port)
    socket = await hermes.open("/ws/device/d1", ACME)
    broker.publish(f"{TOPIC}/online", "true", "-r")
    assert (await socket.receive())["data"] is True
    online = await socket.receive()
    assert (online["channel"], online["online"], online["device_id"]) == ("status", True, "d1")
    mortal.kill()
    assert (await socket.receive())["data"] is False
    offline = await socket.receive()
    assert (offline["online"], offline["since"] >= online["since"]) == (False, True)
    late = await hermes.open("/ws/device/d1", ACME)
    assert brief(await late.receive()) == {"data": False, "snapshot": True}
    assert await late.receive() == offline


@pytest.mark.gen_test
async def test_retained_presence_has_no_time(make_hermes: MakeHermes, broker: Broker) -> None:
    """Its age is unknown. The same presence from the device itself is not new."""
    broker.publish("zigbee2mqtt/kitchen/lamp/availability", '{"state":"online"}', "-r")
    hermes = await connected(make_hermes, broker.port, "zigbee2mqtt;tenant_id=acme")
    await wait_stored(hermes, 1)
    socket = await hermes.open("/ws/device/kitchen%2Flamp", ACME)
    assert brief(await socket.receive()) == {"data": {"state": "online"}, "retained": True, "snapshot": True}
    assert await socket.receive() == {
        "channel": "status",
        "tenant_id": "acme",
        "device_id": "kitchen/lamp",
        "online": True,
        "since": None,
    }
    broker.publish("zigbee2mqtt/kitchen/lamp/availability", "online")
    assert (await socket.receive())["data"] == "online"
    broker.publish("zigbee2mqtt/kitchen/lamp/availability", "", "-r")
    assert (await socket.receive())["data"] is None
    assert (await socket.receive())["online"] is False, "a device without presence is offline"


@pytest.mark.gen_test
async def test_a_bridge_that_dies_makes_its_devices_offline(
    make_hermes: MakeHermes, broker: Broker, mortal_bridge: subprocess.Popen[bytes]
) -> None:
    """zigbee2mqtt's last will is on a topic of its own; the availability of the lamp stays retained as online."""
    broker.publish("zigbee2mqtt/lamp/availability", '{"state":"online"}', "-r")
    broker.publish("zigbee2mqtt/bridge/state", '{"state":"online"}', "-r")
    hermes = await connected(make_hermes, broker.port, "zigbee2mqtt;tenant_id=acme")
    socket = await hermes.open("/ws/tenant/acme?snapshot=0", ACME)
    await wait_stored(hermes, 1)
    mortal_bridge.kill()
    frame = await socket.receive()
    while "online" not in frame or frame["online"]:
        frame = await socket.receive()
    assert (frame["device_id"], frame["online"]) == ("lamp", False)
    late = await hermes.open("/ws/device/lamp", ACME)
    assert brief(await late.receive())["data"] == {"state": "online"}
    assert (await late.receive())["online"] is False
    broker.publish("zigbee2mqtt/bridge/state", '{"state":"online"}', "-r")
    assert (await socket.receive())["online"] is True
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_a_payload_with_another_tenant_than_its_topic_is_dropped(
    make_hermes: MakeHermes, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted, and logged once."""
    hermes = await connected(make_hermes, broker.port, "t/{tenant_id}/{device_id};tenant_id=/owner")
    socket = await hermes.open("/ws/tenant/acme", ACME)
    other = await hermes.open("/ws/tenant/globex", token(tenant_id="globex"))
    for owner in ("globex", "globex", "acme"):
        broker.publish("t/acme/d1", json.dumps({"owner": owner}))
    broker.publish("t/acme/d2", "7")
    frames = [await socket.receive(), await socket.receive()]
    assert [frame["data"] for frame in frames] == [{"owner": "acme"}, 7]
    await other.expect_silence()
    sample = hermes.gateway.metrics.registry.get_sample_value
    assert sample("hermes_mqtt_dropped_total", {"reason": "mismatch"}) == 2
    (line,) = [record.getMessage() for record in caplog.records if "mismatch" in record.getMessage()]
    assert "'globex'" in line
    caplog.clear()


@pytest.mark.gen_test
async def test_a_device_that_changes_its_tenant_belongs_to_the_new_one(make_hermes: MakeHermes, broker: Broker) -> None:
    """The old tenant still has the earlier value, with its time, and gets no more."""
    hermes = await connected(make_hermes, broker.port, "up/{device_id};tenant_id=/tenant")
    broker.publish("up/d1", '{"tenant":"acme","n":1}')
    await wait_stored(hermes, 1)
    old = await hermes.open("/ws/device/d1", ACME)
    assert (await old.receive())["data"]["n"] == 1
    broker.publish("up/d1", '{"tenant":"globex","n":2}')
    await wait_stored(hermes, 2)
    new = await hermes.open("/ws/device/d1", token(tenant_id="globex"))
    assert (await new.receive())["data"]["n"] == 2
    await old.expect_silence()


@pytest.mark.gen_test
async def test_nothing_is_lost_or_doubled_while_sockets_open_under_load(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """Each socket gets one value of the snapshot, if there was one, and every later value once."""
    hermes = await connected(make_hermes, broker.port)
    sockets: list[ClientSocket] = []
    for first in range(0, COUNT, CHUNK):
        lines = list(map(str, range(first, first + CHUNK)))
        publishing = asyncio.create_task(asyncio.to_thread(broker.publish_lines, f"{TOPIC}/n", lines))
        sockets.append(await hermes.open("/ws/tenant/acme", ACME))
        while len(sockets) < SOCKETS_MAX and not publishing.done():
            sockets.append(await hermes.open("/ws/tenant/acme", ACME))
        await publishing
    for socket in sockets:
        frames = [await socket.receive()]
        while frames[-1]["data"] != COUNT - 1:
            frames.append(await socket.receive())
        for before, frame in itertools.pairwise(frames):  # while a socket is not read yet it may skip values
            assert frame["data"] == before["data"] + 1 + frame.get("skipped", 0)
        assert not any("snapshot" in frame for frame in frames[1:])
        await socket.expect_silence()
