"""Sparkplug over a real broker: an edge node is asked for its births, gives them, and dies without a goodbye."""

import contextlib
import json
import queue
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from hermes.delivery.messages import DeviceMessage
from hermes.mqtt.sparkplug_b_pb2 import Payload
from tests.brokers import TIMEOUT_S, mosquitto
from tests.edge_nodes import Reader, bd_seq, message, metric

NODE = "spBv1.0/plant/{}/edge1"
PUMP = f"{NODE}/pump"


@contextlib.contextmanager
def connected(client: paho.Client, port: int, subscription: str) -> Iterator[None]:
    """A client that runs, and is subscribed."""
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


class EdgeNode:
    """A simulated edge node with one pump. It gives births when it is asked, and only then."""

    def __init__(self) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.will_set(NODE.format("NDEATH"), message(bd_seq(3)))
        self.client.on_message = self.commanded
        self.seq = 41

    def say(self, topic: str, *metrics: Payload.Metric) -> None:
        """Publish with the next sequence number."""
        self.seq = 0 if topic == NODE.format("NBIRTH") else (self.seq + 1) % 256
        self.client.publish(topic, message(*metrics, seq=self.seq))

    def commanded(self, _client: paho.Client, _userdata: object, arrived: paho.MQTTMessage) -> None:
        """Obey ``Node Control/Rebirth``."""
        (order,) = Payload.FromString(bytes(arrived.payload)).metrics
        if order.name == "Node Control/Rebirth" and order.boolean_value:
            self.say(NODE.format("NBIRTH"), bd_seq(3), metric("uptime", "Int64", alias=1, long_value=9))
            self.say(PUMP.format("DBIRTH"), metric("speed", "Int16", alias=2, int_value=0))
            self.say(PUMP.format("DDATA"), metric(alias=2, int_value=2**32 - 7))


def test_an_edge_node_is_understood_though_its_births_were_missed(tmp_path: Path) -> None:
    """Hermes comes later than it; it is asked, born, told, and its death by the broker's word takes the pump along."""
    arrivals: queue.Queue[paho.MQTTMessage] = queue.Queue()
    told: list[tuple[str, object]] = []
    hermes = paho.Client(CallbackAPIVersion.VERSION2)
    hermes.on_message = lambda _client, _userdata, arrived: arrivals.put(arrived)
    reader = Reader()
    node = EdgeNode()

    def read_until(last: tuple[str, object]) -> None:
        while last not in told:
            arrived = arrivals.get(timeout=TIMEOUT_S)
            asked = len(reader.asked)
            for each in reader.read(arrived.topic, bytes(arrived.payload), retained=arrived.retain):
                if isinstance(each, DeviceMessage):
                    told.append((f"{each.device_id} {each.series}", json.loads(each.data)["value"]))
                else:
                    told.append((each.device_id, each.online))
            for topic, request in zip(reader.asked[asked:], reader.requests[asked:], strict=True):
                hermes.publish(topic, request)

    with mosquitto(tmp_path) as broker, connected(hermes, broker.port, "spBv1.0/#"):
        with connected(node.client, broker.port, NODE.format("NCMD")):
            node.say(PUMP.format("DDATA"), metric(alias=2, int_value=5))
            read_until(("edge1/pump speed", -7))
            connection = node.client.socket()
            assert connection is not None
        connection.close()  # without DISCONNECT: the broker publishes the will
        read_until(("edge1/pump", False))
    assert told == [
        ("edge1", True),
        ("edge1 uptime", 9),
        ("edge1/pump", True),
        ("edge1/pump speed", 0),
        ("edge1/pump speed", -7),
        ("edge1", False),
        ("edge1/pump", False),
    ]
    assert reader.asked == [NODE.format("NCMD")]
    assert reader.count("gaps_total") == 0
