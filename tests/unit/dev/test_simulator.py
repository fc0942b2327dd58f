"""The simulated devices of ``--dev``: topics of the preset, plausible values, a steady stream."""

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from hermes.delivery.link_state import MqttLinkState
from hermes.dev.simulator import SimulatedDevices
from hermes.ingest.payload import decode
from hermes.metrics import Metrics
from hermes.mqtt.bridge import Bridge
from hermes.mqtt.client import MqttClient
from hermes.settings.urls.mqtt import MqttUrl
from hermes.topics.topic_map import TopicMap
from tests.support.brokers import Received, mosquitto
from tests.support.gateways import eventually
from tests.support.ingests import make_ingest

TOPICS = TopicMap(["hermes"])
TIMEOUT_S = 60.0  # reached only in a test that fails


class Collector:
    """Collect what the devices publish."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []

    def __call__(self, topic: str, payload: bytes) -> bool:
        self.messages.append((topic, payload))
        return True


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on a new event loop, with a time limit."""
    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT_S))


def some_messages(count: int, seed: int | None = 1) -> list[tuple[str, bytes]]:
    """Return the first messages of devices with a short interval."""
    collector = Collector()

    async def scenario() -> None:
        devices = SimulatedDevices(collector, interval_s=0.001, seed=seed)
        devices.start()
        await eventually(lambda: len(collector.messages) >= count)
        await devices.stop()

    run(scenario)
    return collector.messages[:count]


def test_at_least_twenty_devices_of_two_tenants_publish() -> None:
    """On topics of the ``hermes`` preset, each of several series."""
    devices = SimulatedDevices(lambda topic, payload: True)
    assert sum(len(ids) for ids in devices.device_ids.values()) >= 20
    series_of: dict[tuple[str, str], set[str]] = {}
    for topic, _ in some_messages(200):
        match = TOPICS.match(topic)
        assert match is not None
        found = match.resolve(None)
        assert found is not None
        series_of.setdefault((found[0], found[1]), set()).add(found[2])
    assert set(series_of) == {(tenant, device) for tenant, ids in devices.device_ids.items() for device in ids}
    assert all(len(series) >= 2 for series in series_of.values())


def test_values_are_json_objects_or_text() -> None:
    """As real devices send them, units included."""
    decoded = [decode(payload) for _, payload in some_messages(500)]
    assert {payload.encoding for payload in decoded} == {"", "text"}
    for payload in decoded:
        if payload.encoding == "":
            value = json.loads(payload.data)
            assert "state" in value or set(value) == {"value", "unit"}


def test_values_drift_within_their_bounds() -> None:
    """Consecutive values are close to each other."""
    topic = "tenants/acme/devices/climate-01/temp"
    values = [json.loads(payload)["value"] for name, payload in some_messages(1_000) if name == topic]
    assert len(values) > 10
    assert all(17 <= value <= 26 for value in values)
    assert all(abs(after - before) <= 1 for before, after in itertools.pairwise(values))


def test_the_same_seed_gives_the_same_messages() -> None:
    """Another seed gives others."""
    assert some_messages(100, seed=7) == some_messages(100, seed=7)
    assert some_messages(100, seed=7) != some_messages(100, seed=8)


def test_they_publish_spread_over_the_interval() -> None:
    """Not all of them at once."""
    collector = Collector()

    async def scenario() -> None:
        devices = SimulatedDevices(collector, interval_s=0.24)
        loop = asyncio.get_running_loop()
        devices.start()
        await eventually(lambda: collector.messages)
        begun_s = loop.time()
        await eventually(lambda: len(collector.messages) >= 24)
        assert loop.time() - begun_s > 0.15
        await devices.stop()

    run(scenario)


def test_stopping_ends_the_task_and_can_be_repeated() -> None:
    """Also before the start."""
    collector = Collector()

    async def scenario() -> None:
        devices = SimulatedDevices(collector, interval_s=0.001)
        await devices.stop()
        devices.start()
        await eventually(lambda: collector.messages)
        await devices.stop()
        await devices.stop()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "hermes-simulated-devices"]

    run(scenario)


def test_a_failure_to_publish_does_not_end_them(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback; a message that is not sent is not an error."""
    calls = 0

    def publish(topic: str, payload: bytes) -> bool:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("made to fail")
        return False

    async def scenario() -> None:
        devices = SimulatedDevices(publish, interval_s=0.001)
        devices.start()
        await eventually(lambda: calls > 5)
        await devices.stop()

    run(scenario)
    (record,) = caplog.records
    assert record.exc_info is not None


def test_they_publish_through_a_real_broker(tmp_path: Path) -> None:
    """Published by one client, received by another, mapped to their tenants."""

    async def scenario() -> None:
        with mosquitto(tmp_path) as broker:
            url = MqttUrl("127.0.0.1", broker.port)
            received, metrics, link = Received(), Metrics(), MqttLinkState()
            loop = asyncio.get_running_loop()
            ingest = make_ingest(TOPICS, metrics=metrics, publish=received)
            bridge = Bridge(ingest=ingest, flush=lambda: None, link=link, metrics=metrics, loop=loop)
            listener = MqttClient(url, metrics=metrics, bridge=bridge, topics=TOPICS)
            publisher = MqttClient(url, metrics=metrics, thread_name="hermes-simulated")
            devices = SimulatedDevices(publisher.publish, interval_s=0.05)
            listener.start()
            publisher.start()
            await eventually(lambda: link.ready and publisher.online)
            devices.start()
            await eventually(lambda: {message.tenant_id for message in received.messages} == {"acme", "globex"})
            await devices.stop()
            await asyncio.to_thread(publisher.stop)
            await asyncio.to_thread(listener.stop)

    run(scenario)
