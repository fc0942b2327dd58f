"""What sockets get of values and presence that changed while the link to the broker was away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes.mqtt import subscriptions
from hermes.testing import ClientSocket
from tests.support.brokers import Broker, mosquitto
from tests.support.gateways import Hermes, MakeHermes, eventually, token
from tests.support.proxies import Proxy, proxy

pytestmark = pytest.mark.broker

ACME = token(tenant_id="acme")
BASE = "tenants/acme/devices/d1"
LONG_S, SHORT_S = 3_600.0, 0.3  # without a retained message: never in a test, and soon


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A real broker."""
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def between(broker: Broker) -> Iterator[Proxy]:
    """A proxy before the broker, which can cut the link."""
    with proxy(broker.port) as running:
        yield running


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The wait after the last retained message, short unless a test changes it."""
    monkeypatch.setattr(subscriptions, "RETAINED_QUIET_S", SHORT_S)
    return monkeypatch


async def connected(make_hermes: MakeHermes, port: int, **settings: object) -> Hermes:
    """Return a gateway that is subscribed."""
    hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{port}", **settings)
    await eventually(lambda: hermes.gateway.link.ready)
    return hermes


async def cut(hermes: Hermes, between: Proxy) -> None:
    """Cut the link, and wait until Hermes knows it."""
    between.refuse()
    between.cut()
    await eventually(lambda: hermes.gateway.link.is_down)


async def restored(hermes: Hermes, between: Proxy) -> None:
    """Restore the link."""
    between.accept()
    await eventually(lambda: hermes.gateway.link.ready)


async def told(hermes: Hermes, path: str = "/ws/tenant/acme") -> list[dict[str, Any]]:
    """Return what a socket gets that opens now."""
    socket = await hermes.open(path, ACME)
    await socket.send({"action": "ping"})
    frames: list[dict[str, Any]] = []
    while not frames or frames[-1].get("action") != "pong":
        frames.append(await socket.receive())
    await socket.close()
    return frames[:-1]


async def next_of(socket: ClientSocket, **fields: object) -> dict[str, Any]:
    """Return the next frame with these fields."""
    while True:
        frame = await socket.receive()
        if all(frame.get(name, "absent") == value for name, value in fields.items()):
            return frame


def brief(frames: list[dict[str, Any]]) -> dict[str, tuple[object, bool]]:
    """Return the data and the mark of each series, and those of the presence."""
    return {
        frame.get("series", "presence"): (frame["online"] if "online" in frame else frame["data"], "stale" in frame)
        for frame in frames
        if "device_id" in frame
    }


@pytest.mark.gen_test
async def test_what_was_cleared_during_an_outage_is_stale_then_cleared(
    make_hermes: MakeHermes, broker: Broker, between: Proxy, quiet: pytest.MonkeyPatch
) -> None:
    """A value and a presence; open sockets are told, and later ones get neither as current."""
    for series, value in (("temp", "21"), ("kept", "5"), ("online", "true")):
        broker.publish(f"{BASE}/{series}", value, "-r")
    quiet.setattr(subscriptions, "RETAINED_QUIET_S", LONG_S)
    hermes = await connected(make_hermes, between.port)
    await eventually(lambda: len(hermes.gateway.last_values) == 3)
    assert brief(await told(hermes)) == {
        "temp": (21, False),
        "kept": (5, False),
        "online": (True, False),
        "presence": (True, False),
    }
    await cut(hermes, between)
    broker.publish(f"{BASE}/temp", "", "-r")
    broker.publish(f"{BASE}/online", "", "-r")
    assert brief(await told(hermes))["temp"] == (21, True)
    await restored(hermes, between)
    await eventually(lambda: hermes.gateway.metrics.mqtt_received._value.get() == 4)
    stale = brief(await told(hermes))
    assert stale == {"temp": (21, True), "kept": (5, False), "online": (True, True), "presence": (True, True)}
    socket = await hermes.open("/ws/tenant/acme?snapshot=0", ACME)
    quiet.setattr(subscriptions, "RETAINED_QUIET_S", SHORT_S)
    cleared = await next_of(socket, series="temp")
    assert (cleared["data"], cleared["cleared"]) == (None, True)
    assert cleared["timestamp"] is not None
    assert (await next_of(socket, series="online"))["cleared"] is True
    unknown = await next_of(socket, channel="status")
    assert (unknown["online"], unknown["device_id"]) == (None, "d1")
    assert brief(await told(hermes)) == {"kept": (5, False), "presence": (None, False)}
    broker.publish(f"{BASE}/online", "true")
    assert (await next_of(socket, channel="status"))["online"] is True


@pytest.mark.gen_test
async def test_a_socket_that_got_a_stale_value_learns_that_the_broker_has_it_still(
    make_hermes: MakeHermes, broker: Broker, between: Proxy, quiet: pytest.MonkeyPatch
) -> None:
    """It opened during the outage; a socket that was open before gets nothing that it has already."""
    broker.publish(f"{BASE}/temp", "21", "-r")
    broker.publish(f"{BASE}/online", "true", "-r")
    hermes = await connected(make_hermes, between.port)
    await eventually(lambda: len(hermes.gateway.last_values) == 2)
    await cut(hermes, between)
    socket = await hermes.open("/ws/tenant/acme", ACME)
    frames = [await socket.receive() for _ in range(4)]
    assert brief(frames) == {"temp": (21, True), "online": (True, True), "presence": (True, True)}
    between.accept()
    frames = [await socket.receive() for _ in range(4)]
    assert brief(frames) == {"temp": (21, False), "online": (True, False), "presence": (True, False)}
    assert not any("snapshot" in frame or "cleared" in frame for frame in frames)
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_a_live_value_stays_stale_until_the_device_speaks_and_its_presence_is_unknown(
    make_hermes: MakeHermes, broker: Broker, between: Proxy, quiet: pytest.MonkeyPatch
) -> None:
    """A last will that Hermes missed may have ended it; the broker never showed that it retains it."""
    hermes = await connected(make_hermes, between.port)
    socket = await hermes.open("/ws/tenant/acme", ACME)
    broker.publish(f"{BASE}/temp", "21")
    broker.publish(f"{BASE}/online", "true")
    await next_of(socket, channel="status", online=True)
    await cut(hermes, between)
    await restored(hermes, between)
    await next_of(socket, channel="status", online=None)
    assert brief(await told(hermes)) == {"temp": (21, True), "online": (True, True), "presence": (None, False)}
    broker.publish(f"{BASE}/temp", "21")
    await next_of(socket, series="temp")
    assert brief(await told(hermes))["temp"] == (21, False)


@pytest.mark.gen_test
async def test_a_broker_that_restarts_without_its_storage_clears_what_it_had_retained(
    make_hermes: MakeHermes, broker: Broker, quiet: pytest.MonkeyPatch
) -> None:
    """A device that comes back first keeps its value."""
    broker.publish(f"{BASE}/temp", "21", "-r")
    broker.publish(f"{BASE}/hum", "40", "-r")
    hermes = await connected(make_hermes, broker.port)
    await eventually(lambda: len(hermes.gateway.last_values) == 2)
    socket = await hermes.open("/ws/tenant/acme?snapshot=0", ACME)
    quiet.setattr(subscriptions, "RETAINED_QUIET_S", LONG_S)
    broker.stop()
    await next_of(socket, mqtt="down")
    broker.start()
    await next_of(socket, mqtt="up")
    broker.publish(f"{BASE}/hum", "40", "-r")
    await next_of(socket, series="hum", data=40)
    quiet.setattr(subscriptions, "RETAINED_QUIET_S", SHORT_S)
    assert (await next_of(socket, cleared=True))["series"] == "temp"
    assert brief(await told(hermes)) == {"hum": (40, False)}


@pytest.mark.slow
@pytest.mark.gen_test
async def test_with_a_persistent_session_the_retained_messages_come_again_too(
    make_hermes: MakeHermes, broker: Broker, between: Proxy, quiet: pytest.MonkeyPatch
) -> None:
    """Hermes subscribes again on each connection, also if the broker has stored the session."""
    for series in ("kept", "gone"):
        broker.publish(f"{BASE}/{series}", "1", "-r")
    session = {"mqtt_clean_start": "false", "mqtt_session_expiry_s": "60", "mqtt_client_id": "hermes-test"}
    hermes = await connected(make_hermes, between.port, mqtt_qos="1", **session)
    await eventually(lambda: len(hermes.gateway.last_values) == 2)
    socket = await hermes.open("/ws/tenant/acme?snapshot=0", ACME)
    await cut(hermes, between)
    broker.publish(f"{BASE}/gone", "", "-r")
    await restored(hermes, between)
    assert (await next_of(socket, cleared=True))["series"] == "gone"
    assert brief(await told(hermes)) == {"kept": (1, False)}


@pytest.mark.gen_test
async def test_on_demand_subscriptions_are_checked_too(
    make_hermes: MakeHermes, broker: Broker, between: Proxy, quiet: pytest.MonkeyPatch
) -> None:
    """Those that sockets need are made again after the outage."""
    for series in ("kept", "gone"):
        broker.publish(f"{BASE}/{series}", "1", "-r")
    hermes = await connected(make_hermes, between.port, mqtt_on_demand="true")
    socket = await hermes.open("/ws/tenant/acme", ACME)
    for _ in range(2):
        assert (await socket.receive())["data"] == 1
    await cut(hermes, between)
    broker.publish(f"{BASE}/gone", "", "-r")
    await restored(hermes, between)
    assert (await next_of(socket, cleared=True))["series"] == "gone"
    assert brief(await told(hermes)) == {"kept": (1, False)}


@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_outage_before_the_end_of_the_wait_begins_it_again(
    make_hermes: MakeHermes, broker: Broker, between: Proxy, quiet: pytest.MonkeyPatch
) -> None:
    """Nothing is removed by a connection that did not last; what comes back before counts."""
    for series in ("returns", "gone"):
        broker.publish(f"{BASE}/{series}", "1", "-r")
    quiet.setattr(subscriptions, "RETAINED_QUIET_S", LONG_S)
    hermes = await connected(make_hermes, between.port)
    await eventually(lambda: len(hermes.gateway.last_values) == 2)
    socket = await hermes.open("/ws/tenant/acme?snapshot=0", ACME)
    await cut(hermes, between)
    for series in ("returns", "gone"):
        broker.publish(f"{BASE}/{series}", "", "-r")
    for _ in range(3):
        await restored(hermes, between)
        await cut(hermes, between)
    broker.publish(f"{BASE}/returns", "1", "-r")
    quiet.setattr(subscriptions, "RETAINED_QUIET_S", SHORT_S)
    await restored(hermes, between)
    assert (await next_of(socket, cleared=True))["series"] == "gone"
    assert brief(await told(hermes)) == {"returns": (1, False)}


@pytest.mark.gen_test
async def test_after_a_reload_the_values_of_templates_that_are_gone_are_cleared(
    make_hermes: MakeHermes, broker: Broker, quiet: pytest.MonkeyPatch
) -> None:
    """With the presence that they reported; those of other templates stay, also if other settings of these change."""
    hermes = await connected(make_hermes, broker.port, topics=["hermes", "old/{device_id}/{series};tenant_id=acme"])
    socket = await hermes.open("/ws/tenant/acme", ACME)
    for topic, value in ((f"{BASE}/temp", "1"), ("old/d2/temp", "2"), ("old/d2/online", "true")):
        broker.publish(topic, value, "-r")
        await socket.receive()
    assert (await socket.receive())["online"] is True
    settings = hermes.gateway.settings.model_copy(update={"topics": ("hermes;online=state",)})
    await hermes.gateway.reload(settings)
    frames = [await socket.receive() for _ in range(3)]
    assert [(frame.get("series"), frame.get("cleared"), frame.get("online", "")) for frame in frames] == [
        ("temp", True, ""),
        ("online", True, ""),
        (None, None, None),
    ]
    assert {frame["device_id"] for frame in frames} == {"d2"}
    await eventually(lambda: hermes.gateway.metrics.mqtt_received._value.get() == 4)
    assert brief(await told(hermes)) == {"temp": (1, False)}
