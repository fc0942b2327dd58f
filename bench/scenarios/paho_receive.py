"""How fast the MQTT thread receives, against paho's own thread in the same run."""

import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.figures import Figure, Mark
from bench.load.flood import CHUNK_MESSAGES
from bench.processes import BenchError, accepts, free_port, running
from hermes.metrics import Metrics
from hermes.mqtt.bridge import Bridge
from hermes.mqtt.client import MqttClient
from hermes.settings.urls.mqtt import MqttUrl
from hermes.topics.topic_map import TopicMap

PATIENCE_S = 60.0


class _Count:
    """Counts messages, and times them from the first to the last. In a `Bridge`'s place: no loop takes a turn."""

    def __init__(self, messages: int) -> None:
        self.done = threading.Event()
        self._left = messages
        self._messages = messages
        self._began_s = 0.0
        self._ended_s = 0.0

    def put(self, topic: str, payload: bytes, *, retained: bool, subscription_ids: Sequence[int]) -> None:
        """One message."""
        if self._left == self._messages:
            self._began_s = time.perf_counter()
        self._left -= 1
        if not self._left:
            self._ended_s = time.perf_counter()
            self.done.set()

    def wake(self) -> None:
        """The batch's end."""

    def connecting(self, missing: str) -> None:
        """As a bridge's."""

    def up(self) -> None:
        """As a bridge's."""

    def retained_sent(self) -> None:
        """As a bridge's."""

    def down(self, reason: str) -> None:
        """As a bridge's."""

    @property
    def per_s(self) -> float:
        """Messages a second. Raises `BenchError` if they do not all come."""
        if not self.done.wait(PATIENCE_S):
            raise BenchError(f"{self._left} messages did not arrive")
        return self._messages / (self._ended_s - self._began_s)


@dataclass(frozen=True, slots=True)
class PahoReceive:
    """``messages`` of 160 bytes, as fast as they are read, to each in turn, ``rounds`` times."""

    summary: ClassVar[str] = "200,000 messages as fast as they are read, by Hermes' thread and by paho's"
    messages: int = 200_000
    rounds: int = 3

    def run(self) -> list[Figure]:
        """Messages a second, the best round of each."""
        port = free_port()
        messages = self.messages // CHUNK_MESSAGES * CHUNK_MESSAGES
        ours: list[float] = []
        theirs: list[float] = []
        with tempfile.TemporaryDirectory(prefix="hermes-bench-flood-") as folder:
            command = [sys.executable, "-m", "bench.load.flood", str(port), str(messages)]
            with running(command, output=Path(folder, "output")) as child:
                child.wait_until(lambda: accepts(port), "the flood does not listen")
                for _ in range(self.rounds):
                    theirs.append(_paho_per_s(port, messages))
                    ours.append(_hermes_per_s(port, messages))
        return [
            Figure("Hermes' thread", "received", max(ours), "messages/s"),
            Figure("paho's loop_start", "received", max(theirs), "messages/s"),
            Figure("Hermes / paho", "received", max(ours) / max(theirs), "", Mark(at_least=1.5)),
        ]


def _hermes_per_s(port: int, messages: int) -> float:
    count = _Count(messages)
    client = MqttClient(
        MqttUrl("127.0.0.1", port), metrics=Metrics(), bridge=cast(Bridge, count), topics=TopicMap(("hermes",))
    )
    client.start()
    try:
        return count.per_s
    finally:
        client.stop()


def _paho_per_s(port: int, messages: int) -> float:
    """As its documentation shows: a callback with topic and payload, in its own thread."""
    count = _Count(messages)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)

    def on_message(_client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        count.put(message.topic, bytes(message.payload), retained=message.retain, subscription_ids=())

    def on_connect(client: paho.Client, *_: object) -> None:
        client.subscribe("#")

    client.on_connect = on_connect
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        return count.per_s
    finally:
        client.disconnect()
        client.loop_stop()
