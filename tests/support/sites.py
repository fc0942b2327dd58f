"""An MQTT client for tests, with its bridge, and an event loop in a thread that receives the messages."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from hermes.backoff import Backoff
from hermes.delivery.link_state import LinkState, MqttLinkState
from hermes.metrics import Metrics
from hermes.mqtt.bridge import Bridge
from hermes.mqtt.client import MqttClient
from hermes.settings.mqtt import MqttOptions
from hermes.settings.urls.mqtt import MqttUrl
from hermes.topics.topic_map import TopicMap
from tests.support.brokers import Received
from tests.support.ingests import make_ingest
from tests.support.programs import wait_until

TOPIC = "tenants/acme/devices/d1/temp"
FILTER = "tenants/+/devices/+/#"
OVERLAPPING = ("a/{tenant_id};device_id=first", "{tenant_id}/b;device_id=second")


def quick() -> Backoff:
    """Delays of some milliseconds, without jitter."""
    return Backoff(first_s=0.01, max_s=0.05, draw=lambda: 1.0)


class Site:
    """A running client, with what it received."""

    def __init__(
        self,
        url: MqttUrl,
        templates: tuple[str, ...],
        options: MqttOptions,
        *,
        subscribes: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.received = Received()
        self.link = MqttLinkState()
        self.metrics = Metrics()
        self.loop = asyncio.new_event_loop()
        self.topics = TopicMap(templates)
        self.bridge = Bridge(
            ingest=make_ingest(self.topics, metrics=self.metrics, publish=self.received),
            flush=lambda: None,
            link=self.link,
            metrics=self.metrics,
            loop=self.loop,
        )
        self.client = MqttClient(
            url,
            metrics=self.metrics,
            options=options,
            bridge=self.bridge,
            topics=self.topics if subscribes else None,
            backoff=quick(),
            clock=clock,
        )
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")

    def start(self) -> None:
        """Start both threads."""
        self._thread.start()
        self.client.start()

    def stop(self) -> None:
        """Stop both threads."""
        self.client.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()

    def up(self) -> None:
        """Wait until the link is up."""
        wait_until(lambda: self.link.state is LinkState.UP)

    def down(self, reason: str) -> None:
        """Wait until the link is down for this reason."""
        seen: list[str] = []

        def is_down() -> bool:
            seen[:] = self.link.missing
            return self.link.state is LinkState.DOWN and reason in self.link.missing[0]

        try:
            wait_until(is_down)
        except AssertionError:
            raise AssertionError(f"not down because of {reason!r}: {seen}") from None

    def receives(self, *data: bytes) -> None:
        """Wait for exactly these values."""
        wait_until(lambda: len(self.received.messages) >= len(data))
        assert self.received.data == list(data), f"{self.received.data} instead of {data}"

    def count(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@contextlib.contextmanager
def site(
    url: MqttUrl | int,
    *templates: str,
    options: MqttOptions | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Site]:
    """Run a client of the broker at this URL, or at this port. ``clock`` gives the client's monotonic seconds."""
    address = url if isinstance(url, MqttUrl) else MqttUrl("127.0.0.1", url)
    with _running(Site(address, templates or ("hermes",), options or MqttOptions(), clock=clock)) as here:
        yield here


@contextlib.contextmanager
def on_demand_site(port: int) -> Iterator[Site]:
    """Run a client that subscribes only on demand."""
    with _running(Site(MqttUrl("127.0.0.1", port), ("hermes",), MqttOptions(), subscribes=False)) as here:
        yield here


@contextlib.contextmanager
def _running(here: Site) -> Iterator[Site]:
    here.start()
    try:
        yield here
    finally:
        here.stop()
