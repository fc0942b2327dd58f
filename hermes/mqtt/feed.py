"""The MQTT feed: the link to the broker and the message path to the hub."""

import asyncio
import logging
from functools import partial

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
from hermes.settings.urls.mqtt import MqttUrl
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

TICK_S = 1.0


def feed_problems(settings: Settings) -> list[str]:
    """Return why a feed with these settings cannot start, one line for each problem."""
    topics = TopicMap(settings.topics)
    problems = extras.missing(topics.templates) + missing_packages(settings.broker_url)
    if settings.mqtt_on_demand and topics.overlapping:
        filters = ", ".join(topics.filters)
        problems.append(
            f"--mqtt-on-demand needs topics that do not overlap, because messages would arrive twice: {filters} "
            "overlap; change one of them, or do not use the flag"
        )
    return problems


class MqttFeed:
    """Publish the messages of the devices on the hub.

    Call `start` once, on the running loop, then `stop`.
    """

    def __init__(
        self, *, settings: Settings, hub: Hub, last_values: LastValues, link: MqttLinkState, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._last_values = last_values
        self._link = link
        self._metrics = metrics
        self._topics = TopicMap(settings.topics)
        self._client: MqttClient | None = None
        self._on_demand: OnDemandSubscriptions | None = None
        self._ticking: asyncio.Task[None] | None = None

    def start(self, url: MqttUrl, *, replaces: "MqttFeed | None" = None) -> None:
        """Connect to this broker, and reconnect when the link is lost.

        If it replaces a feed with other topics, which was stopped before, the values are removed that only those map.
        Raises `ConfigError`.
        """
        if problems := feed_problems(self._settings):
            raise ConfigError(problems)
        topics = self._topics
        ingest = self._ingest(topics)
        self._ticking = asyncio.create_task(_tick(ingest), name="hermes-feed")
        bridge = Bridge(
            ingest=ingest,
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
            self._subscribe_on_demand(topics, self._client)
        if replaces is not None:
            is_gone = partial(_maps_differently, replaces._topics, topics)
            ingest.link_lost()  # until the client is subscribed
            ingest.publish_in_background(self._last_values.remove_topics(is_gone))
            bridge.resume()
        self._client.start()

    def _ingest(self, topics: TopicMap) -> Ingest:
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

    def _subscribe_on_demand(self, topics: TopicMap, client: MqttClient) -> None:
        self._on_demand = OnDemandSubscriptions(
            topics=topics,
            set_filters=client.set_filters,
            retain_only=self._last_values.retain_only,
            linger_s=self._settings.mqtt_linger_s,
            loop=asyncio.get_running_loop(),
        )
        self._hub.on_watch.append(self._on_demand.watch)
        for channel in self._hub.watched:  # of sockets that are open already, after a change of the topics
            self._on_demand.watch(channel, True)

    def answers(self) -> bool:
        """Return whether the client's thread answers: see `MqttClient.answers`."""
        return self._client is None or self._client.answers()

    async def stop(self) -> None:
        """Disconnect. May be called before `start`, and repeated."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        if self._on_demand is not None:
            if self._on_demand.watch in self._hub.on_watch:
                self._hub.on_watch.remove(self._on_demand.watch)
            self._on_demand.stop()
        client, self._client = self._client, None  # it need not answer the watchdog any more
        if client is not None:
            await asyncio.to_thread(client.stop)


def _maps_differently(before: TopicMap, now: TopicMap, topic: str) -> bool:
    mapping = before.mapping_of(topic)
    return mapping is not None and now.mapping_of(topic) != mapping


async def _tick(ingest: Ingest) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        try:
            ingest.tick()
        except Exception:  # the top of a task: what failed now may work in a second
            logger.exception("the periodic work of the feed failed")
