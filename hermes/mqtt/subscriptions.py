"""The devices' door: what one connection has asked the broker for, and what was granted."""

import logging
from collections.abc import Sequence
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from hermes.mqtt.failures import ConnectionFailure, RefusedByBroker
from hermes.mqtt.paho_client import FastPathClient
from hermes.mqtt.reconnect import MqttVersion
from hermes.settings.mqtt import Qos
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

PACKET_MAX_FILTERS = 500  # brokers bound a packet's size, and a long SUBSCRIBE holds up what comes after it


class Subscriptions:
    """Those of the templates, without which the link is not ready; and those that somebody wants just now.

    All are asked for without *retain as published*: then ``retain`` means that the broker had kept a message. And with
    its retained messages each time, also where the session was kept: what was published with QoS 0 meanwhile waits in
    no session's queue, and what is known already goes no further than `hermes.delivery.last_values`.
    """

    def __init__(self, client: FastPathClient, *, version: MqttVersion, qos: Qos) -> None:
        self._client = client
        self._version = version
        self._qos = qos
        self._awaited: dict[int, tuple[str, ...]] = {}  # packet id → its filters, until SUBACK
        self._extra: dict[int, tuple[str, ...]] = {}  # the same of those that are wanted just now
        self._followed: frozenset[str] = frozenset()

    @property
    def awaited(self) -> tuple[str, ...]:
        """The templates' filters that are not granted yet."""
        return tuple(text for filters in self._awaited.values() for text in filters)

    def ask(self, topics: TopicMap, connack: Properties | None) -> None:
        """Subscribe to what the templates need, in a way in which each message arrives once."""
        if not topics.overlapping:
            self._awaited |= self._subscribe(topics.filters)
        elif self._version != MqttVersion.V5 or not _knows_identifiers(connack):
            self._awaited |= self._subscribe(topics.disjoint_filters)
        else:
            for identifier, topic_filter in enumerate(topics.filters, start=1):
                # an identifier holds for a whole packet (MQTT 5 §3.8.2.1.2)
                self._awaited |= self._subscribe([topic_filter], identifier)

    def follow(self, wanted: frozenset[str]) -> None:
        """Subscribe to what is newly wanted, and unsubscribe from what is not wanted any more."""
        if wanted is self._followed:
            return
        before, self._followed = self._followed, wanted
        for filters in _packets(sorted(before - wanted)):
            self._client.unsubscribe(list(filters))
        self._extra |= self._subscribe(sorted(wanted - before))

    def answered(self, packet_id: int, codes: Sequence[ReasonCode]) -> ConnectionFailure | None:
        """Take a SUBACK. The answer is why the connection is of no use, if so."""
        extra = self._extra.pop(packet_id, ())
        filters = self._awaited.pop(packet_id, ()) or extra
        refused = ", ".join(text for text, code in zip(filters, codes, strict=False) if code.is_failure)
        if len(codes) < len(filters):
            return ConnectionFailure("the broker's SUBACK is too short")
        if refused and extra:
            logger.error("subscription refused by the broker: %s; its access rules must allow it", refused)
        elif refused:
            return RefusedByBroker(f"subscription refused by the broker: {refused}; its access rules must allow it")
        return None

    def _subscribe(self, filters: Sequence[str], identifier: int | None = None) -> dict[int, tuple[str, ...]]:
        properties: Properties | None = None
        if identifier is not None:
            properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
            properties.SubscriptionIdentifier = identifier
        options: Any = SubscribeOptions(qos=self._qos) if self._version == MqttVersion.V5 else self._qos
        asked: dict[int, tuple[str, ...]] = {}
        for packet in _packets(filters):
            _, packet_id = self._client.subscribe([(text, options) for text in packet], properties=properties)
            if packet_id is not None:
                asked[packet_id] = packet
        return asked


def _packets(filters: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(filters[at : at + PACKET_MAX_FILTERS]) for at in range(0, len(filters), PACKET_MAX_FILTERS)]


def _knows_identifiers(connack: Properties | None) -> bool:
    """Whether the CONNACK allows subscription identifiers; without a word it does (MQTT 5 §3.2.2.3.12)."""
    return bool(getattr(connack, "SubscriptionIdentifierAvailable", 1))
