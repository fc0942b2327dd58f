"""Sparkplug over a real broker: an edge node sends its births on request, and dies without DISCONNECT."""

import contextlib
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload
from tests.support.brokers import TIMEOUT_S, mosquitto
from tests.support.edge_nodes import bd_seq, message, metric
from tests.support.gateways import MakeHermes, eventually, token

pytestmark = pytest.mark.broker

NODE = "spBv1.0/plant/{}/edge1"
PUMP = f"{NODE}/pump"


@contextlib.contextmanager
def connected(client: paho.Client, port: int, subscription: str) -> Iterator[None]:
    """Run a client that is subscribed; end it without DISCONNECT, so that the broker publishes its last will."""
    granted: queue.Queue[object] = queue.Queue()
    client.on_subscribe = lambda *_: granted.put(None)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        client.subscribe(subscription)
        granted.get(timeout=TIMEOUT_S)
        yield
    finally:
        client.loop_stop()
        client._reset_sockets()  # paho closes the socket pair of its thread only when the client is collected


class EdgeNode:
    """A simulated edge node with one pump. It sends its births only on request."""

    def __init__(self) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.will_set(NODE.format("NDEATH"), message(bd_seq(3)))
        self.client.on_message = self.on_command
        self.seq = 41

    def publish(self, topic: str, *metrics: Payload.Metric) -> None:
        """Publish with the next sequence number."""
        self.seq = 0 if topic == NODE.format("NBIRTH") else (self.seq + 1) % 256
        self.client.publish(topic, message(*metrics, seq=self.seq))

    def on_command(self, _client: paho.Client, _userdata: object, received: paho.MQTTMessage) -> None:
        """Obey ``Node Control/Rebirth``."""
        (command,) = Payload.FromString(bytes(received.payload)).metrics
        if command.name == "Node Control/Rebirth" and command.boolean_value:
            self.publish(NODE.format("NBIRTH"), bd_seq(3), metric("uptime", "Int64", alias=1, long_value=9))
            self.publish(PUMP.format("DBIRTH"), metric("speed", "Int16", alias=2, int_value=0))
            self.publish(PUMP.format("DDATA"), metric(alias=2, int_value=2**32 - 7))


@pytest.mark.gen_test
async def test_an_edge_node_is_read_although_its_births_were_missed(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Hermes starts later, and requests its births. Its last will is also the death of the pump."""
    node = EdgeNode()
    with mosquitto(tmp_path) as broker:
        hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{broker.port}", topics=["sparkplug"])
        await eventually(lambda: hermes.gateway.link.ready)
        socket = await hermes.open("/ws/tenant/plant", token(tenant_id="plant"))
        with connected(node.client, broker.port, NODE.format("NCMD")):
            node.publish(PUMP.format("DDATA"), metric(alias=2, int_value=5))
            frames = [_brief(await socket.receive()) for _ in range(5)]
        frames += [_brief(await socket.receive()) for _ in range(2)]
        late = await hermes.open("/ws/device/pump", token(tenant_id="plant"))
        value, status = await late.receive(), await late.receive()
    assert frames == [
        ("edge1", True),
        ("edge1 uptime", 9),
        ("pump", True),
        ("pump speed", 0),
        ("pump speed", -7),
        ("edge1", False),
        ("pump", False),
    ]
    assert (_brief(value), value["snapshot"], _brief(status)) == (("pump speed", -7), True, ("pump", False))
    sample = hermes.gateway.metrics.registry.get_sample_value
    assert sample("hermes_sparkplug_rebirth_requests_total") == 1
    assert sample("hermes_sparkplug_gaps_total") == 0


def _brief(frame: dict[str, Any]) -> tuple[str, object]:
    if frame["channel"] == "status":
        return frame["device_id"], frame["online"]
    return f"{frame['device_id']} {frame['series']}", frame["data"]["value"]
