"""Convert MQTT messages to device messages and presence.

Those that are new are stored and published. Everything here runs on the event loop, one message at a time.

A message may have thousands of values. It is then published in parts: `Ingest.handle` publishes the first one, and the
caller calls `Ingest.continue_message` for each of the others, before any other message, so that the order holds. Other
work of the loop is done between the parts. What an outage or a bridge changes for many devices at once is published in
parts too, between the messages.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from hermes.delivery.last_values import LastValues
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus, now_ms
from hermes.errors import AddressNotFound, PayloadError
from hermes.ids import DeviceId, TenantId
from hermes.ingest.bridges import Bridges
from hermes.ingest.drops import DropCounter
from hermes.ingest.parts import FRAMES_MAX, Parts
from hermes.ingest.payload import EMPTY, Payload, PayloadDecoder, decode
from hermes.ingest.presence import is_presence, presence, reported
from hermes.topics.bridge_topic import BridgeMatch
from hermes.topics.template import PayloadKind
from hermes.topics.topic_map import TopicMap, TopicMatch, matching_preset

PART_S = 0.002  # of a message with many values, or of what is published in the background, at once
BRIDGE_PAYLOAD_MAX_BYTES = 65_536  # of a larger payload the bridge is not read: parsing a megabyte takes up to 31 ms

Update = DeviceMessage | DeviceStatus
Updates = Iterator[Update | None]  # what to publish; None after a part of the work


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
    ) -> Updates:
        """Yield the values and changes of presence in one message.

        None is yielded after a part of the work. Raises `PayloadError`, before the first value.
        """

    def link_restored(self) -> None:
        """Record that messages may have been missed."""

    def tick(self, timestamp_ms: int) -> Sequence[DeviceStatus]:
        """Return the devices that are offline now; to be called once a second."""


class Unfinished(NamedTuple):
    """A message that has more parts."""

    topic: str
    match: TopicMatch
    updates: Updates


class Ingest:
    """Convert MQTT messages, and pass the new ones to ``publish``.

    ``decoders`` has a decoder for each payload format of the templates; ``sparkplug`` is needed if a template uses it.
    ``clock`` gives monotonic seconds. ``unfinished`` is the last message while it has more parts, which precede the
    next message: see `continue_message`.
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
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._topics = topics
        self._last_values = last_values
        self._publish = publish
        self._decoders = decoders
        self._sparkplug = sparkplug
        self._bridges = Bridges(last_values, drops=drops)
        self._clock = clock
        self.unfinished: Unfinished | None = None
        self._background: deque[Updates] = deque()
        self.drops = drops

    def sender_of(self, topic: str) -> tuple[Hashable, Hashable]:
        """Return the tenant and the device of a topic; may be called by any thread."""
        return self._topics.sender_of(topic)

    # -- messages -------------------------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether anything is left to publish."""
        return self.unfinished is not None or bool(self._background)

    def handle(self, inbound: InboundMessage) -> None:
        """Publish the contents of a message, or its first part.

        Count a message that is dropped.
        """
        try:
            self._handle(inbound)
        except Exception as error:  # noqa: BLE001 - an error must not affect the other messages of the batch
            self._drop_error(inbound.topic, error)

    def _handle(self, inbound: InboundMessage) -> None:
        topic = inbound.topic
        if not self._topics.wanted_copy(topic, inbound.subscription_ids):
            self.drops.ignore("duplicate_copy")  # of overlapping filters
            return
        match = self._topics.match(topic)
        is_bridge = bool(self._topics.bridges) and self._topics.is_bridge(topic)
        if match is None:
            if not is_bridge:
                self._drop_unmatched(topic)
        elif inbound.payload is None:
            self.drops.drop("too_large", match.template.text, "payload of topic %.200r is over 1 MiB", topic)
        else:
            try:
                self._convert(inbound, inbound.payload, match)
            except (AddressNotFound, PayloadError) as error:
                self._drop_payload(topic, match, error)
        if is_bridge:
            self._update_bridge(inbound)

    def continue_message(self) -> None:
        """Publish the next part of the last message."""
        message, self.unfinished = self.unfinished, None
        assert message is not None
        try:
            self._publish_part(message)
        except (AddressNotFound, PayloadError) as error:
            self._drop_payload(message.topic, message.match, error)
        except Exception as error:  # noqa: BLE001 - as in `handle`
            self._drop_error(message.topic, error)

    def _publish_part(self, message: "Unfinished") -> None:
        if self._publish_until(self._clock() + PART_S, message.updates, self._publish_if_new):
            self.unfinished = message

    def _publish_until(self, until_s: float, updates: Updates, publish: Callable[[Update], object]) -> bool:
        """Publish updates until this time; return whether more may be left."""
        for update in updates:
            if update is not None:
                publish(update)
            if self._clock() >= until_s:
                return True
        return False

    def _drop_payload(self, topic: str, match: TopicMatch, error: AddressNotFound | PayloadError) -> None:
        reason = error.reason if isinstance(error, AddressNotFound) else "undecodable"
        self.drops.drop(reason, match.template.text, "payload of topic %.200r: %s", topic, error)

    def _drop_error(self, topic: str, error: Exception) -> None:
        self.drops.drop("error", type(error).__name__, "topic %.200r could not be delivered", topic, error=error)

    def _drop_unmatched(self, topic: str) -> None:
        if self._topics.excluded(topic):
            self.drops.ignore("excluded")
        else:
            text = "topic %.200r maps to no tenant and device: no template matches it%s"
            self.drops.drop("unmatched", "", text, topic, partial(_preset_hint, topic))

    def _convert(self, inbound: InboundMessage, raw: bytes, match: TopicMatch) -> None:
        if match.template.extended:
            self._convert_extended(inbound, raw, match)
            return
        payload = self._decoders[match.template.payload](raw) if raw else EMPTY
        pointers = match.template.pointers
        tenant_id, device_id, series = match.resolve(payload.selected(pointers.values()) if pointers else None)
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
        is_outdated = message.retained and self._last_values.is_outdated(message)
        self._publish_if_new(message)
        if match.bridge is not None and not message.clears:
            self._attach(message, match.bridge, payload)
        if is_presence(match.template, series) and not is_outdated:
            self._publish_presence(message, match, payload)

    def _attach(self, message: DeviceMessage, bridge: BridgeMatch, payload: Payload) -> None:
        """Record the bridge of a device.

        Publish that the device is offline if the bridge is.
        """
        value = payload.value if bridge.needs_payload and len(payload.data) <= BRIDGE_PAYLOAD_MAX_BYTES else None
        topic = bridge.topic(value)
        if topic is None:
            return
        status = self._bridges.attach((message.tenant_id, message.device_id), topic, topic=message.topic)
        if status is not None:
            self._publish_if_new(status)

    def _update_bridge(self, inbound: InboundMessage) -> None:
        """Publish what the state of a bridge changes for its devices.

        An empty payload deletes the state.
        """
        raw = inbound.payload
        if raw is None or len(raw) > BRIDGE_PAYLOAD_MAX_BYTES:
            return
        online = reported(decode(raw)) if raw else None
        if online is not None or not raw:
            since_ms = None if inbound.retained else inbound.timestamp_ms
            updates = self._bridges.update(inbound.topic, online, since_ms)
            if updates is not None:
                self.publish_in_background(updates)

    def _convert_extended(self, inbound: InboundMessage, raw: bytes, match: TopicMatch) -> None:
        """Convert a message that may contain several values, or the name of its device."""
        if match.template.payload == "sparkplug":
            self._convert_sparkplug(inbound, raw, match)
            return
        parts = [] if raw else self._last_values.parts_of(inbound.topic)
        if parts:
            updates = self._cleared_parts(inbound, match, parts)
        else:
            payload = self._decoders[match.template.payload](raw) if raw else EMPTY
            updates = self._parts(inbound, match, payload)
        self._publish_part(Unfinished(inbound.topic, match, updates))

    def _parts(self, inbound: InboundMessage, match: TopicMatch, payload: Payload) -> Updates:
        """Yield the values of a message; what belongs to a value is published after it."""

        def on_error(error: AddressNotFound) -> None:
            self.drops.drop(error.reason, match.template.text, "part of topic %.200r: %s", inbound.topic, error)

        parts = Parts(match, payload, topic=inbound.topic, on_error=on_error)
        attached: tuple[TenantId, DeviceId] | None = None
        for part in parts:
            if part is None:
                yield None
                continue
            message = DeviceMessage(
                tenant_id=part.tenant_id,
                device_id=part.device_id,
                series=part.series,
                topic=inbound.topic,
                data=part.payload.data,
                timestamp_ms=None if inbound.retained else inbound.timestamp_ms,
                encoding=part.payload.encoding,
                retained=inbound.retained,
                clears=payload is EMPTY,
                device_name=part.device_name,
            )
            is_outdated = message.retained and self._last_values.is_outdated(message)
            yield message
            self._last_values.add_part(message)
            device = message.tenant_id, message.device_id
            if match.bridge is not None and not message.clears and device != attached:
                self._attach(message, match.bridge, payload)
                attached = device
            if part.presence is not None and not is_outdated:
                self._publish_presence(message, match, part.presence)
        if parts.left_out:
            self._drop_left_out(inbound.topic, match, parts.left_out)

    def _cleared_parts(self, inbound: InboundMessage, match: TopicMatch, parts: Sequence[DeviceMessage]) -> Updates:
        """Yield the clearing of the values that earlier messages of the topic had."""
        for part in parts[:FRAMES_MAX]:
            message = dataclasses.replace(
                part,
                data=EMPTY.data,
                timestamp_ms=None if inbound.retained else inbound.timestamp_ms,
                encoding="",
                retained=inbound.retained,
                clears=True,
            )
            yield message
            if is_presence(match.template, message.series):
                self._publish_presence(message, match, EMPTY)
        if len(parts) > FRAMES_MAX:
            self._drop_left_out(inbound.topic, match, len(parts) - FRAMES_MAX)

    def _drop_left_out(self, topic: str, match: TopicMatch, count: int) -> None:
        text = "topic %.200r: %d values are above the limits of one message"
        self.drops.drop("too_many", match.template.text, text, topic, count, count=count)

    def _convert_sparkplug(self, inbound: InboundMessage, raw: bytes, match: TopicMatch) -> None:
        assert self._sparkplug is not None
        tenant_id, device_id, _ = match.resolve(None)
        updates = self._sparkplug.read(
            inbound.topic,
            raw,
            tenant_id=tenant_id,
            device_id=device_id,
            retained=inbound.retained,
            timestamp_ms=inbound.timestamp_ms,
        )
        self._publish_part(Unfinished(inbound.topic, match, updates))

    # -- the link -------------------------------------------------------------------------------------------------

    def link_lost(self) -> None:
        """Record that messages may be missed from now on."""
        self._last_values.link_lost()

    def retained_sent(self) -> None:
        """Record that the broker has sent all of its retained messages."""
        self.publish_in_background(self._last_values.remove_unconfirmed())
        self.publish_in_background(self._bridges.retained_sent())

    def publish_in_background(self, updates: Updates) -> None:
        """Publish these updates, which are stored already, in parts between the messages."""
        self._background.append(updates)

    def continue_background(self) -> None:
        """Publish the next part of these updates."""
        if not self._background:
            return
        until_s = self._clock() + PART_S
        while self._background:
            try:
                if self._publish_until(until_s, self._background[0], self._publish):
                    return
            except Exception as error:  # noqa: BLE001 - as in `handle`
                text = "the changes after an outage are incomplete"
                self.drops.drop("error", type(error).__name__, text, error=error)
            self._background.popleft()

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

    def _publish_if_new(self, message: Update) -> None:
        """Store and publish a message in one iteration of the loop, unless it is not new."""
        if isinstance(message, DeviceStatus):
            new: Update | None = self._last_values.update_status(message)
        else:
            new = self._last_values.update(message)
            if new is None:
                self.drops.ignore("known")
        if new is not None:
            self._publish(new)

    def _publish_presence(self, message: DeviceMessage, match: TopicMatch, payload: Payload) -> None:
        """Publish the presence in a payload; an empty payload deletes it."""
        if message.clears:
            if self._bridges.forget_report((message.tenant_id, message.device_id)):
                return
            before = self._last_values.remove_status(message.tenant_id, message.device_id)
            if before is not None and before.online:
                self._publish(
                    DeviceStatus(message.tenant_id, message.device_id, False, message.timestamp_ms, message.topic)
                )
            return
        online = presence(match.template, payload)
        if online is not None:
            status = DeviceStatus(message.tenant_id, message.device_id, online, message.timestamp_ms, message.topic)
            self._publish_if_new(self._bridges.report(status))


def _preset_hint(topic: str) -> str:
    preset = matching_preset(topic)
    return "" if preset is None else f"; the preset {preset} would, with --topic {preset}"
