"""Subscribing only to what sockets watch, over a real broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import Broker, mosquitto
from tests.support.gateways import Hermes, MakeHermes, Socket, eventually, token
from tests.support.proxies import proxy

ACME = token(tenant_id="acme")
GLOBEX = token(tenant_id="globex")
ROOT = token(tenant_id="root", is_superuser=True)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A real broker that writes down who subscribes to what."""
    with mosquitto(tmp_path) as running:
        yield running


async def connected(make_hermes: MakeHermes, port: int, **given: object) -> Hermes:
    """A server that is connected, and subscribed to nothing yet."""
    options = {"mqtt_on_demand": "true", "mqtt_linger_s": "0.2"} | given
    hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{port}", **options)
    await eventually(lambda: hermes.gateway.link.ready)
    return hermes


def received(hermes: Hermes) -> float:
    """How many messages the broker has sent."""
    return hermes.gateway.metrics.registry.get_sample_value("hermes_mqtt_received_total") or 0.0


async def watches(broker: Broker, socket: Socket, topic: str) -> None:
    """The socket's subscription is there: it gets what the broker keeps on this topic."""
    broker.publish(topic, '"kept"', "-r")
    while (await socket.hear()).get("topic") != topic:
        pass


@pytest.mark.gen_test(timeout=15)
async def test_nothing_is_received_that_nobody_watches(make_hermes: MakeHermes, broker: Broker) -> None:
    """A tenant's socket brings that tenant's messages, a device's that device's."""
    hermes = await connected(make_hermes, broker.port)
    broker.publish("tenants/acme/devices/d1/temp", "1")
    tenant = await hermes.open("/ws/tenant/acme", ACME)
    device = await hermes.open("/ws/device/d2", GLOBEX)
    await watches(broker, tenant, "tenants/acme/devices/d1/ready")
    await watches(broker, device, "tenants/globex/devices/d2/ready")
    before = received(hermes)
    broker.publish("tenants/other/devices/d1/temp", "2")
    broker.publish("tenants/globex/devices/d1/temp", "3")
    broker.publish("tenants/acme/devices/d9/temp", "4")
    broker.publish("tenants/globex/devices/d2/temp", "5")
    assert (await tenant.hear())["data"] == 4
    assert (await device.hear())["data"] == 5
    assert received(hermes) - before == 2


@pytest.mark.gen_test(timeout=15)
async def test_a_newly_watched_tenant_gets_what_the_broker_kept_and_then_live(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """The kept value is marked so; what was not kept is not there."""
    broker.publish("tenants/acme/devices/d1/kept", "1", "-r")
    broker.publish("tenants/acme/devices/d1/lost", "2")
    hermes = await connected(make_hermes, broker.port)
    socket = await hermes.open("/ws/tenant/acme", ACME)
    frame = await socket.hear()
    assert (frame["series"], frame["retained"], frame["timestamp"]) == ("kept", True, None)
    broker.publish("tenants/acme/devices/d1/kept", "3")
    live = await socket.hear()
    assert (live["data"], "retained" in live) == (3, False)
    again = await (await hermes.open("/ws/device/d1", ACME)).hear()
    assert (again["data"], again["snapshot"]) == (3, True)


@pytest.mark.gen_test(timeout=15)
async def test_what_is_left_lingers_and_is_then_forgotten(make_hermes: MakeHermes, broker: Broker) -> None:
    """A page that comes back late sees nothing stale."""
    hermes = await connected(make_hermes, broker.port)
    socket = await hermes.open("/ws/tenant/acme", ACME)
    await watches(broker, socket, "tenants/acme/devices/d1/ready")
    broker.publish("tenants/acme/devices/d1/temp", "1")
    assert (await socket.hear())["data"] == 1
    assert len(hermes.gateway.last_values) == 2
    await socket.close()
    await eventually(lambda: len(hermes.gateway.last_values) == 0)
    other = await hermes.open("/ws/tenant/other", token(tenant_id="other"))
    await watches(broker, other, "tenants/other/devices/d1/ready")
    before = received(hermes)
    broker.publish("tenants/acme/devices/d1/temp", "2")
    broker.publish("tenants/other/devices/d1/temp", "3")
    assert (await other.hear())["data"] == 3
    assert received(hermes) - before == 1


@pytest.mark.gen_test(timeout=15)
async def test_each_message_comes_once_whoever_else_watches(make_hermes: MakeHermes, broker: Broker) -> None:
    """A device, its tenant, and a superuser who wants the id in every tenant."""
    hermes = await connected(make_hermes, broker.port)
    device = await hermes.open("/ws/device/d1", ACME)
    await watches(broker, device, "tenants/acme/devices/d1/a")
    tenant = await hermes.open("/ws/tenant/acme", ACME)
    await watches(broker, tenant, "tenants/acme/devices/d2/b")
    anywhere = await hermes.open("/ws/device/d1", ROOT)
    await watches(broker, anywhere, "tenants/globex/devices/d1/c")
    broker.publish_lines("tenants/acme/devices/d1/n", [str(number) for number in range(50)])
    for socket in (device, tenant, anywhere):
        data: list[int] = []
        while data[-1:] != [49]:
            frame = await socket.hear()
            if frame.get("series") == "n":
                data.append(frame["data"])
        assert data == list(range(50))
        await socket.silence()


@pytest.mark.gen_test(timeout=20)
async def test_what_is_watched_is_asked_for_again_after_an_outage(make_hermes: MakeHermes, broker: Broker) -> None:
    """And what nobody watches any more is not."""
    with proxy(broker.port) as between:
        hermes = await connected(make_hermes, between.port)
        socket = await hermes.open("/ws/tenant/acme", ACME)
        leaving = await hermes.open("/ws/tenant/globex", GLOBEX)
        await watches(broker, socket, "tenants/acme/devices/d1/ready")
        await watches(broker, leaving, "tenants/globex/devices/d1/ready")
        between.refuse()
        between.cut()
        assert (await socket.hear())["mqtt"] == "down"
        await leaving.connection.read_message()
        await leaving.close()
        await eventually(lambda: len(hermes.gateway.last_values) == 1)
        between.accept()
        assert (await socket.hear())["mqtt"] == "up"
        await watches(broker, socket, "tenants/acme/devices/d1/back")
        before = received(hermes)
        broker.publish("tenants/globex/devices/d1/temp", "1")
        broker.publish("tenants/acme/devices/d1/temp", "2")
        assert (await socket.hear())["data"] == 2
        assert received(hermes) - before == 1


@pytest.mark.gen_test(timeout=15)
async def test_a_tenant_that_only_the_payload_names_is_heard_too(make_hermes: MakeHermes, broker: Broker) -> None:
    """Its template is subscribed to as a whole."""
    hermes = await connected(make_hermes, broker.port, topics=["up/{device_id};tenant_id=/t"])
    socket = await hermes.open("/ws/tenant/acme", ACME)
    broker.publish("up/d1", '{"t":"acme"}', "-r")
    assert (await socket.hear())["data"] == {"t": "acme"}
    broker.publish("up/d2", '{"t":"globex"}')
    broker.publish("up/d3", '{"t":"acme","n":3}')
    assert (await socket.hear())["data"] == {"t": "acme", "n": 3}
