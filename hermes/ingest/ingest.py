"""The devices' door: an arrival becomes messages. Topic → whose it is; payload → JSON; then remembered and published.

This is the straight part of the walk, on the event loop, one arrival at a time.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from hermes.delivery.last_values import LastValues
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus, now_ms
from hermes.errors import AddressNotFound, PayloadError
from hermes.ids import DeviceId, TenantId
from hermes.ingest import payload as payloads
from hermes.ingest.drops import DropCounter
from hermes.ingest.payload import Payload
from hermes.ingest.presence import is_presence, presence
from hermes.topics.topic_map import TopicMap, TopicMatch


class InboundMessage(NamedTuple):
    """A message as the thread read it. ``payload`` is None where it was too large to keep."""

    topic: str
    payload: bytes | None
    retained: bool
    subscription_ids: Sequence[int]
    timestamp_ms: int

    @property
    def size(self) -> int:
        """What it counts against a queue's bytes."""
        return len(self.topic) + len(self.payload or b"")


class SparkplugReader(Protocol):
    """What `hermes.ingest.sparkplug.reader` has; it is an extra."""

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
        """What one Sparkplug message says; raises `PayloadError`."""

    def link_is_back(self) -> None:
        """Something may have been missed."""

    def tick(self, timestamp_ms: int) -> Sequence[DeviceStatus]:
        """Once a second: who is gone."""


class Ingest:
    """Makes messages of arrivals. ``publish`` gets those that are news.

    ``sparkplug`` and ``decode_cbor`` are there where a template asks for them.
    """

    def __init__(
        self,
        *,
        topics: TopicMap,
        snapshot: LastValues,
        publish: Callable[[DeviceMessage | DeviceStatus | LinkStatus], object],
        losses: DropCounter,
        sparkplug: SparkplugReader | None = None,
        decode_cbor: Callable[[bytes], Payload] | None = None,
    ) -> None:
        self._topics = topics
        self._snapshot = snapshot
        self._publish = publish
        self._sparkplug = sparkplug
        self._decode_cbor = decode_cbor
        self.losses = losses

    def handle(self, arrival: InboundMessage) -> None:
        """Publish what it says; whatever is wrong with it is counted."""
        try:
            self._take(arrival)
        except Exception as error:  # noqa: BLE001 - one message must not take the rest of its batch along
            text = "topic %.200r could not be delivered"
            self.losses.drop("error", type(error).__name__, text, arrival.topic, error=error)

    def _take(self, arrival: InboundMessage) -> None:
        topic = arrival.topic
        if not self._topics.wanted_copy(topic, arrival.subscription_ids):
            self.losses.expected("duplicate_copy")  # where filters overlap
            return
        match = self._topics.match(topic)
        if match is None:
            self._unmatched(topic)
        elif arrival.payload is None:
            self.losses.drop("too_large", match.template.text, "payload of topic %.200r is over 1 MiB", topic)
        else:
            try:
                self._read(arrival, arrival.payload, match)
            except AddressNotFound as fault:
                self.losses.drop(fault.reason, match.template.text, "payload of topic %.200r: %s", topic, fault)
            except PayloadError as fault:
                self.losses.drop("undecodable", match.template.text, "payload of topic %.200r: %s", topic, fault)

    def _unmatched(self, topic: str) -> None:
        if self._topics.excluded(topic):
            self.losses.expected("excluded")
        else:
            self.losses.drop(
                "unmatched", "", "topic %.200r maps to no tenant and device: no template matches it", topic
            )

    def _read(self, arrival: InboundMessage, raw: bytes, match: TopicMatch) -> None:
        kind = match.template.payload
        if kind == "sparkplug":
            self._read_sparkplug(arrival, raw, match)
            return
        payload = self._decode_cbor(raw) if kind == "cbor" and raw and self._decode_cbor else payloads.decode(raw)
        tenant_id, device_id, series = match.resolve(payload.value)
        message = DeviceMessage(
            tenant_id=tenant_id,
            device_id=device_id,
            series=series,
            topic=arrival.topic,
            data=payload.data,
            timestamp_ms=None if arrival.retained else arrival.timestamp_ms,
            encoding=payload.encoding,
            retained=arrival.retained,
            clears=not raw,
        )
        self._tell(message)
        if is_presence(match.template, series):
            self._tell_presence(message, match, payload)

    def _read_sparkplug(self, arrival: InboundMessage, raw: bytes, match: TopicMatch) -> None:
        assert self._sparkplug is not None
        tenant_id, device_id, _ = match.resolve(None)
        for message in self._sparkplug.read(
            arrival.topic,
            raw,
            tenant_id=tenant_id,
            device_id=device_id,
            retained=arrival.retained,
            timestamp_ms=arrival.timestamp_ms,
        ):
            self._tell(message)

    def publish_link_status(self, status: LinkStatus) -> None:
        """Tell every socket that carries device data that the link came or went."""
        self._publish(status)
        if status.up and self._sparkplug is not None:
            self._sparkplug.link_is_back()

    def tick(self) -> None:
        """Once a second: tell who turned out to be gone."""
        if self._sparkplug is not None:
            for status in self._sparkplug.tick(now_ms()):
                self._tell(status)

    def _tell(self, message: DeviceMessage | DeviceStatus) -> None:
        """Remember and publish it, in one turn of the loop; what is no news is counted."""
        if isinstance(message, DeviceMessage):
            if self._snapshot.update(message):
                self._publish(message)
            else:
                self.losses.expected("known")
        elif self._snapshot.update_status(message):
            self._publish(message)

    def _tell_presence(self, message: DeviceMessage, match: TopicMatch, payload: Payload) -> None:
        """What it says of its device's presence, if anything. An empty payload takes back what was said."""
        if message.clears:
            before = self._snapshot.remove_status(message.tenant_id, message.device_id)
            if before is not None and before.online:
                self._publish(DeviceStatus(message.tenant_id, message.device_id, False, message.timestamp_ms))
            return
        online = presence(match.template, payload)
        if online is not None:
            self._tell(DeviceStatus(message.tenant_id, message.device_id, online, message.timestamp_ms))
