"""On-demand subscriptions, with a real broker: Hermes subscribes only to data that a socket receives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.testing import ClientSocket
from tests.support.brokers import Broker, mosquitto
from tests.support.gateways import Hermes, MakeHermes, eventually, token
from tests.support.proxies import proxy

ACME = token(tenant_id="acme")
GLOBEX = token(tenant_id="globex")
ROOT = token(tenant_id="root", is_superuser=True)

pytestmark = pytest.mark.broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Run a real broker."""
    with mosquitto(tmp_path) as running:
        yield running


async def connected(make_hermes: MakeHermes, port: int, **given: object) -> Hermes:
    """Start a gateway; return it when it is connected, without any subscription."""
    options = {"mqtt_on_demand": "true", "mqtt_linger_s": "0.2"} | given
    hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{port}", **options)
    await eventually(lambda: hermes.gateway.link.ready)
    return hermes


def received(hermes: Hermes) -> float:
    """Return how many messages the broker has sent to the gateway."""
    return hermes.gateway.metrics.registry.get_sample_value("hermes_mqtt_received_total") or 0.0


async def subscribed(broker: Broker, socket: ClientSocket, topic: str) -> None:
    """Wait until the broker has the subscription: the socket receives a retained message of this topic."""
    broker.publish(topic, '"retained"', "-r")
    while (await socket.receive()).get("topic") != topic:
        pass


@pytest.mark.gen_test
async def test_only_data_that_a_socket_receives_is_subscribed_to(make_hermes: MakeHermes, broker: Broker) -> None:
    """A socket of a tenant subscribes to its messages, a socket of a device to those of the device."""
    hermes = await connected(make_hermes, broker.port)
    broker.publish("tenants/acme/devices/d1/temp", "1")
    tenant = await hermes.open("/ws/tenant/acme", ACME)
    device = await hermes.open("/ws/device/d2", GLOBEX)
    await subscribed(broker, tenant, "tenants/acme/devices/d1/ready")
    await subscribed(broker, device, "tenants/globex/devices/d2/ready")
    before = received(hermes)
    broker.publish("tenants/other/devices/d1/temp", "2")
    broker.publish("tenants/globex/devices/d1/temp", "3")
    broker.publish("tenants/acme/devices/d9/temp", "4")
    broker.publish("tenants/globex/devices/d2/temp", "5")
    assert (await tenant.receive())["data"] == 4
    assert (await device.receive())["data"] == 5
    assert received(hermes) - before == 2


@pytest.mark.gen_test
async def test_a_new_subscription_brings_retained_values_and_then_live_ones(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """The frame of a retained value has ``retained``; a value that was not retained is lost."""
    broker.publish("tenants/acme/devices/d1/retained", "1", "-r")
    broker.publish("tenants/acme/devices/d1/lost", "2")
    hermes = await connected(make_hermes, broker.port)
    socket = await hermes.open("/ws/tenant/acme", ACME)
    frame = await socket.receive()
    assert (frame["series"], frame["retained"], frame["timestamp"]) == ("retained", True, None)
    broker.publish("tenants/acme/devices/d1/retained", "3")
    live = await socket.receive()
    assert (live["data"], "retained" in live) == (3, False)
    again = await (await hermes.open("/ws/device/d1", ACME)).receive()
    assert (again["data"], again["snapshot"]) == (3, True)


@pytest.mark.gen_test
async def test_an_unused_subscription_is_cancelled_and_its_last_values_are_evicted(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """After the linger time; a socket that opens later gets no stale values."""
    hermes = await connected(make_hermes, broker.port)
    socket = await hermes.open("/ws/tenant/acme", ACME)
    await subscribed(broker, socket, "tenants/acme/devices/d1/ready")
    broker.publish("tenants/acme/devices/d1/temp", "1")
    assert (await socket.receive())["data"] == 1
    assert len(hermes.gateway.last_values) == 2
    await socket.close()
    await eventually(lambda: len(hermes.gateway.last_values) == 0)
    other = await hermes.open("/ws/tenant/other", token(tenant_id="other"))
    await subscribed(broker, other, "tenants/other/devices/d1/ready")
    before = received(hermes)
    broker.publish("tenants/acme/devices/d1/temp", "2")
    broker.publish("tenants/other/devices/d1/temp", "3")
    assert (await other.receive())["data"] == 3
    assert received(hermes) - before == 1


@pytest.mark.gen_test
async def test_each_message_arrives_once_with_overlapping_subscriptions(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """Of a device, its tenant, and a superuser who receives the device of every tenant."""
    hermes = await connected(make_hermes, broker.port)
    device = await hermes.open("/ws/device/d1", ACME)
    await subscribed(broker, device, "tenants/acme/devices/d1/a")
    tenant = await hermes.open("/ws/tenant/acme", ACME)
    await subscribed(broker, tenant, "tenants/acme/devices/d2/b")
    anywhere = await hermes.open("/ws/device/d1", ROOT)
    await subscribed(broker, anywhere, "tenants/globex/devices/d1/c")
    broker.publish_lines("tenants/acme/devices/d1/n", [str(number) for number in range(50)])
    for socket in (device, tenant, anywhere):
        data: list[int] = []
        while data[-1:] != [49]:
            frame = await socket.receive()
            if frame.get("series") == "n":
                data.append(frame["data"])
        assert data == list(range(50))
        await socket.expect_silence()


@pytest.mark.gen_test
async def test_after_an_outage_it_subscribes_again(make_hermes: MakeHermes, broker: Broker) -> None:
    """Only to data that a socket still receives."""
    with proxy(broker.port) as between:
        hermes = await connected(make_hermes, between.port)
        socket = await hermes.open("/ws/tenant/acme", ACME)
        leaving = await hermes.open("/ws/tenant/globex", GLOBEX)
        await subscribed(broker, socket, "tenants/acme/devices/d1/ready")
        await subscribed(broker, leaving, "tenants/globex/devices/d1/ready")
        between.refuse()
        between.cut()
        assert (await socket.receive())["mqtt"] == "down"
        await leaving.connection.read_message()
        await leaving.close()
        await eventually(lambda: len(hermes.gateway.last_values) == 1)
        between.accept()
        assert (await socket.receive())["mqtt"] == "up"
        await subscribed(broker, socket, "tenants/acme/devices/d1/back")
        before = received(hermes)
        broker.publish("tenants/globex/devices/d1/temp", "1")
        broker.publish("tenants/acme/devices/d1/temp", "2")
        assert (await socket.receive())["data"] == 2
        assert received(hermes) - before == 1


@pytest.mark.gen_test
async def test_a_template_with_the_tenant_in_the_payload_is_subscribed_to_as_a_whole(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """The topic does not have the tenant, so each socket of a tenant needs all of its messages."""
    hermes = await connected(make_hermes, broker.port, topics=["up/{device_id};tenant_id=/t"])
    socket = await hermes.open("/ws/tenant/acme", ACME)
    broker.publish("up/d1", '{"t":"acme"}', "-r")
    assert (await socket.receive())["data"] == {"t": "acme"}
    broker.publish("up/d2", '{"t":"globex"}')
    broker.publish("up/d3", '{"t":"acme","n":3}')
    assert (await socket.receive())["data"] == {"t": "acme", "n": 3}
