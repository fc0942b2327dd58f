"""Floor 4: the devices' feed: the link to the broker, and all that a message passes on its way to the hub."""

import asyncio
import logging

from hermes.delivery.hub import Hub
from hermes.delivery.last_values import LastValues
from hermes.delivery.link_state import MqttLinkState
from hermes.errors import ConfigError
from hermes.ingest import extras
from hermes.ingest.drops import DropCounter
from hermes.ingest.ingest import Ingest, SparkplugReader
from hermes.metrics import Metrics
from hermes.mqtt.bridge import Bridge
from hermes.mqtt.client import MqttClient
from hermes.mqtt.net.dial import missing_packages
from hermes.mqtt.on_demand import OnDemandSubscriptions
from hermes.settings.model import Settings
from hermes.settings.mqtt_url import MqttUrl
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

TICK_S = 1.0


def feed_faults(settings: Settings) -> list[str]:
    """What keeps these settings' topics from being fed, a line for each thing to mend."""
    topics = TopicMap(settings.topics)
    faults = extras.missing(topics.templates) + missing_packages(settings.broker_url)
    if settings.mqtt_on_demand and topics.overlapping:
        filters = ", ".join(topics.filters)
        faults.append(
            f"--mqtt-on-demand needs topics that do not overlap, or messages would come twice; {filters} do:"
            " change one, or leave it out"
        )
    return faults


class MqttFeed:
    """Brings devices' messages to the hub. ``start`` once, on the running loop; then ``stop``."""

    def __init__(
        self, *, settings: Settings, hub: Hub, last_values: LastValues, link: MqttLinkState, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._last_values = last_values
        self._link = link
        self._metrics = metrics
        self._client: MqttClient | None = None
        self._demand: OnDemandSubscriptions | None = None
        self._ticking: asyncio.Task[None] | None = None

    def start(self, url: MqttUrl) -> None:
        """Connect to this broker, now and whenever the link is lost. Raises `ConfigError`."""
        faults = feed_faults(self._settings)
        if faults:
            raise ConfigError(faults)
        topics = TopicMap(self._settings.topics)
        intake = self._intake(topics)
        self._ticking = asyncio.create_task(_tick(intake), name="hermes-feed")
        bridge = Bridge(
            ingest=intake,
            flush=self._hub.flush,
            link=self._link,
            metrics=self._metrics,
            loop=asyncio.get_running_loop(),
        )
        on_demand = self._settings.mqtt_on_demand
        self._client = MqttClient(
            url,
            options=self._settings.mqtt_options,
            bridge=bridge,
            topics=None if on_demand else topics,
            metrics=self._metrics,
        )
        if on_demand:
            self._follow_demand(topics, self._client)
        self._client.start()

    def _intake(self, topics: TopicMap) -> Ingest:
        return Ingest(
            topics=topics,
            last_values=self._last_values,
            publish=self._hub.publish,
            drops=DropCounter(self._metrics),
            decoders=extras.decoders(topics.templates),
            sparkplug=self._sparkplug(topics),
        )

    def _sparkplug(self, topics: TopicMap) -> SparkplugReader | None:
        if not any(template.payload == "sparkplug" for template in topics.templates):
            return None
        from hermes.ingest.sparkplug.reader import Sparkplug  # an extra

        return Sparkplug(publish=self._publish, metrics=self._metrics)

    def _publish(self, topic: str, payload: bytes) -> bool:
        return self._client is not None and self._client.publish(topic, payload)

    def _follow_demand(self, topics: TopicMap, client: MqttClient) -> None:
        self._demand = OnDemandSubscriptions(
            topics=topics,
            set_filters=client.set_filters,
            retain_only=self._last_values.retain_only,
            linger_s=self._settings.mqtt_linger_s,
            loop=asyncio.get_running_loop(),
        )
        self._hub.on_watch = self._demand.watch

    async def stop(self) -> None:
        """End the link; harmless if it never began."""
        self._hub.on_watch = None
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        if self._demand is not None:
            self._demand.stop()
        if self._client is not None:
            await asyncio.to_thread(self._client.stop)


async def _tick(intake: Ingest) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        try:
            intake.tick()
        except Exception:  # a task's top: what failed now may work in a second
            logger.exception("telling who is gone failed")
