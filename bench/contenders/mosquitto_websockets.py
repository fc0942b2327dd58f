"""mosquitto's own WebSocket listener: what a browser would get from the broker without Hermes."""

import contextlib
from collections.abc import Iterator

from bench.contenders import DATA, Broadcaster, line
from bench.contenders.broker import broker
from bench.load.swarm import MqttSource

TOPIC = "bench"


@contextlib.contextmanager
def mosquitto_websockets() -> Iterator[Broadcaster]:
    """Start it, stop it at the end. The sockets carry MQTT; messages come to the plain listener."""
    with broker(websockets=True) as program:
        source = MqttSource(program.port, [TOPIC], line(DATA))
        yield Broadcaster("mosquitto", program.child, program.websockets_port, source, subscription=TOPIC)
