"""Convert MQTT messages to device messages and presence.

Those that are new are stored and published. Everything here runs on the event loop, one message at a time.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol

from hermes.delivery.last_values import LastValues
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus, now_ms
from hermes.errors import AddressNotFound, PayloadError
from hermes.ids import DeviceId, TenantId
from hermes.ingest.drops import DropCounter
from hermes.ingest.payload import EMPTY, Payload, PayloadDecoder
from hermes.ingest.presence import is_presence, presence
from hermes.topics.template import PayloadKind
from hermes.topics.topic_map import TopicMap, TopicMatch


class InboundMessage(NamedTuple):
    """An MQTT message as the thread received it.

    ``payload`` is None if it was over 1 MiB. ``subscription_ids`` are the identifiers of the matching subscriptions
    (MQTT 5 §3.3.2.3.8), ``timestamp_ms`` is Unix milliseconds.
    """

    topic: str
    payload: bytes | None
    retained: bool
    subscription_ids: Sequence[int]
    timestamp_ms: int

    @property
    def size(self) -> int:
        """The bytes that it counts in the limit of the queue."""
        return len(self.topic) + len(self.payload or b"")


class SparkplugReader(Protocol):
    """The methods of `hermes.ingest.sparkplug.reader.Sparkplug`, an extra."""

    def read(
        self,
        topic: str,
        payload: bytes,
        *,
        tenant_id: TenantId,
        device_id: DeviceId,
        retained: bool,
        timestamp_ms: int,
    ) -> Sequence[DeviceMessage | DeviceStatus]:
        """Return the values and changes of presence in one message.

        Raises `PayloadError`.
        """

    def link_restored(self) -> None:
        """Record that messages may have been missed."""

    def tick(self, timestamp_ms: int) -> Sequence[DeviceStatus]:
        """Return the devices that are offline now; to be called once a second."""


class Ingest:
    """Convert MQTT messages, and pass the new ones to ``publish``.

    ``decoders`` has a decoder for each payload format of the templates; ``sparkplug`` is needed if a template uses it.
    """

    def __init__(
        self,
        *,
        topics: TopicMap,
        last_values: LastValues,
        publish: Callable[[DeviceMessage | DeviceStatus | LinkStatus], object],
        drops: DropCounter,
        decoders: Mapping[PayloadKind, PayloadDecoder],
        sparkplug: SparkplugReader | None = None,
    ) -> None:
        self._topics = topics
        self._last_values = last_values
        self._publish = publish
        self._decoders = decoders
        self._sparkplug = sparkplug
        self.drops = drops

    def sender_of(self, topic: str) -> tuple[Hashable, Hashable]:
        """Return the tenant and the device of a topic; may be called by any thread."""
        return self._topics.sender_of(topic)

    def handle(self, inbound: InboundMessage) -> None:
        """Publish the contents of a message; count a message that is dropped."""
        try:
            self._handle(inbound)
        except Exception as error:  # noqa: BLE001 - an error must not affect the other messages of the batch
            text = "topic %.200r could not be delivered"
            self.drops.drop("error", type(error).__name__, text, inbound.topic, error=error)

    def _handle(self, inbound: InboundMessage) -> None:
        topic = inbound.topic
        if not self._topics.wanted_copy(topic, inbound.subscription_ids):
            self.drops.ignore("duplicate_copy")  # of overlapping filters
            return
        match = self._topics.match(topic)
        if match is None:
            self._drop_unmatched(topic)
        elif inbound.payload is None:
            self.drops.drop("too_large", match.template.text, "payload of topic %.200r is over 1 MiB", topic)
        else:
            try:
                self._convert(inbound, inbound.payload, match)
            except AddressNotFound as error:
                self.drops.drop(error.reason, match.template.text, "payload of topic %.200r: %s", topic, error)
            except PayloadError as error:
                self.drops.drop("undecodable", match.template.text, "payload of topic %.200r: %s", topic, error)

    def _drop_unmatched(self, topic: str) -> None:
        if self._topics.excluded(topic):
            self.drops.ignore("excluded")
        else:
            text = "topic %.200r maps to no tenant and device: no template matches it"
            self.drops.drop("unmatched", "", text, topic)

    def _convert(self, inbound: InboundMessage, raw: bytes, match: TopicMatch) -> None:
        if match.template.payload == "sparkplug":
            self._convert_sparkplug(inbound, raw, match)
            return
        payload = self._decoders[match.template.payload](raw) if raw else EMPTY
        tenant_id, device_id, series = match.resolve(payload.value if match.needs_payload else None)
        message = DeviceMessage(
            tenant_id=tenant_id,
            device_id=device_id,
            series=series,
            topic=inbound.topic,
            data=payload.data,
            timestamp_ms=None if inbound.retained else inbound.timestamp_ms,
            encoding=payload.encoding,
            retained=inbound.retained,
            clears=not raw,
        )
        self._publish_if_new(message)
        if is_presence(match.template, series):
            self._publish_presence(message, match, payload)

    def _convert_sparkplug(self, inbound: InboundMessage, raw: bytes, match: TopicMatch) -> None:
        assert self._sparkplug is not None
        tenant_id, device_id, _ = match.resolve(None)
        for message in self._sparkplug.read(
            inbound.topic,
            raw,
            tenant_id=tenant_id,
            device_id=device_id,
            retained=inbound.retained,
            timestamp_ms=inbound.timestamp_ms,
        ):
            self._publish_if_new(message)

    def publish_link_status(self, status: LinkStatus) -> None:
        """Publish to every socket with device data that the link is up or down."""
        self._publish(status)
        if status.up and self._sparkplug is not None:
            self._sparkplug.link_restored()

    def tick(self) -> None:
        """Publish which Sparkplug devices are offline now; to be called once a second."""
        if self._sparkplug is not None:
            for status in self._sparkplug.tick(now_ms()):
                self._publish_if_new(status)

    def _publish_if_new(self, message: DeviceMessage | DeviceStatus) -> None:
        """Store and publish a message in one iteration of the loop, unless it is not new."""
        if isinstance(message, DeviceMessage):
            if self._last_values.update(message):
                self._publish(message)
            else:
                self.drops.ignore("known")
        elif self._last_values.update_status(message):
            self._publish(message)

    def _publish_presence(self, message: DeviceMessage, match: TopicMatch, payload: Payload) -> None:
        """Publish the presence in a payload; an empty payload deletes it."""
        if message.clears:
            before = self._last_values.remove_status(message.tenant_id, message.device_id)
            if before is not None and before.online:
                self._publish(DeviceStatus(message.tenant_id, message.device_id, False, message.timestamp_ms))
            return
        online = presence(match.template, payload)
        if online is not None:
            self._publish_if_new(DeviceStatus(message.tenant_id, message.device_id, online, message.timestamp_ms))
