"""The subscriptions of one connection.

Which of them the broker has granted, and when all of its retained messages have arrived.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from hermes.mqtt.failures import ConnectionFailure, RefusedByBroker
from hermes.mqtt.reconnect import MqttVersion
from hermes.settings.mqtt import Qos
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

RETAINED_QUIET_S = 10.0  # some brokers send retained messages in parts, with pauses
# A broker has a queue for the messages of QoS 1 to a client, and drops without notice what does not fit: it holds 1,000
# by default in mosquitto 2, EMQX, HiveMQ and VerneMQ.
QOS1_QUEUE_MESSAGES = 1_000
PACKET_MAX_FILTERS = 500  # brokers limit a packet's size, and a long SUBSCRIBE delays the packets after it


class Subscriptions:
    """The subscriptions of the templates and the on-demand ones.

    The connection needs those of the templates.

    All are made without *retain as published*: then ``retain`` means that the broker has stored the message. All ask
    for retained messages each time, even if the broker has stored the session, because the broker does not queue what
    is published with QoS 0 meanwhile. `hermes.delivery.last_values` drops the values that it already has.
    """

    def __init__(self, client: paho.Client, *, version: MqttVersion, qos: Qos) -> None:
        self._client = client
        self._version = version
        self._qos = qos
        self._template_packets: dict[int, tuple[str, ...]] = {}  # packet id → its filters, until SUBACK
        self._on_demand_packets: dict[int, tuple[str, ...]] = {}
        self._on_demand: frozenset[str] = frozenset()

    @property
    def pending(self) -> tuple[str, ...]:
        """The templates' filters that the broker has not granted yet."""
        return tuple(text for filters in self._template_packets.values() for text in filters)

    def subscribe(self, topics: TopicMap, connack: Properties | None) -> None:
        """Subscribe to the filters of the templates.

        If filters overlap, subscription identifiers distinguish the copies of one message, or disjoint filters avoid
        copies.
        """
        if not topics.overlapping:
            self._template_packets |= self._send(topics.filters)
        elif self._version != MqttVersion.V5 or not _supports_identifiers(connack):
            self._template_packets |= self._send(topics.disjoint_filters)
        else:
            for identifier, topic_filter in enumerate(topics.filters, start=1):
                # an identifier applies to a whole packet (MQTT 5 §3.8.2.1.2)
                self._template_packets |= self._send([topic_filter], identifier)

    def set_on_demand(self, filters: frozenset[str]) -> None:
        """Replace the on-demand filters by this set.

        Subscribe to the filters that are new, and unsubscribe from those that are not in the set.
        """
        if filters is self._on_demand:
            return
        before, self._on_demand = self._on_demand, filters
        for packet in _packets(sorted(before - filters)):
            self._client.unsubscribe(list(packet))
        self._on_demand_packets |= self._send(sorted(filters - before))

    def on_suback(self, packet_id: int, codes: Sequence[ReasonCode]) -> ConnectionFailure | None:
        """Record what a SUBACK grants. Return a failure if the connection cannot be used.

        A refused on-demand filter is an error in the log, and the connection stays.
        """
        on_demand = self._on_demand_packets.pop(packet_id, ())
        filters = self._template_packets.pop(packet_id, ()) or on_demand
        if len(codes) < len(filters):
            return ConnectionFailure("the broker's SUBACK is too short")
        refused = ", ".join(text for text, code in zip(filters, codes, strict=False) if code.is_failure)
        if not refused:
            return None
        fault = f"subscription refused by the broker: {refused}; its access rules must allow it"
        if not on_demand:
            return RefusedByBroker(fault)
        logger.error("%s", fault)
        return None

    def _send(self, filters: Sequence[str], identifier: int | None = None) -> dict[int, tuple[str, ...]]:
        """Send SUBSCRIBE packets and return their ids with their filters."""
        properties: Properties | None = None
        if identifier is not None:
            properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
            properties.SubscriptionIdentifier = identifier
        options: Any = SubscribeOptions(qos=self._qos) if self._version == MqttVersion.V5 else self._qos
        sent: dict[int, tuple[str, ...]] = {}
        for packet in _packets(filters):
            _, packet_id = self._client.subscribe([(text, options) for text in packet], properties=properties)
            if packet_id is not None:
                sent[packet_id] = packet
        return sent


class Pinger(Protocol):
    """The part of `hermes.mqtt.paho_client.PlainClient` that counts pings."""

    pings_sent: int
    pings_answered: int

    def ping(self) -> None:
        """Send PINGREQ."""


class RetainedMessages:
    """Find out when the broker has sent all retained messages of a connection.

    That is so if it answers a ping, and `RETAINED_QUIET_S` have passed without a retained message: a broker handles the
    packets of a client in order, but may send the retained messages for one SUBSCRIBE later and slowly. Used by one
    thread. ``clock`` gives monotonic seconds.
    """

    def __init__(self, pinger: Pinger, *, qos: Qos, clock: Callable[[], float]) -> None:
        self._pinger = pinger
        self._qos = qos
        self._clock = clock
        self._last_s: float | None = None  # the last retained message, or the beginning; None: not begun, or complete
        self._ping = 0  # the number of the ping since then
        self._messages = 0

    def begin(self) -> None:
        """Begin to wait: every subscription is granted."""
        self._last_s = self._clock()

    def count(self, retained: bool) -> None:
        """Record the arrival of a message."""
        self._messages += 1
        if retained and self._last_s is not None:
            self._last_s = self._clock()
            self._ping = 0

    def complete(self) -> bool:
        """Return True once, when all retained messages have arrived.

        To be called about once a second. With QoS 1 it stays False if so many messages have arrived that the broker may
        have dropped some.
        """
        if self._last_s is None or self._clock() - self._last_s < RETAINED_QUIET_S:
            return False
        if not self._ping:
            self._pinger.ping()
            self._ping = self._pinger.pings_sent
        if self._pinger.pings_answered < self._ping:
            return False
        self._last_s = None
        if self._qos and self._messages >= QOS1_QUEUE_MESSAGES:
            logger.info("values from before the outage stay marked as stale: the broker's queue may have been full")
            return False
        return True


def _packets(filters: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(filters[at : at + PACKET_MAX_FILTERS]) for at in range(0, len(filters), PACKET_MAX_FILTERS)]


def _supports_identifiers(connack: Properties | None) -> bool:
    """Return whether the CONNACK allows subscription identifiers.

    Without the property it does (MQTT 5 §3.2.2.3.12).
    """
    return bool(getattr(connack, "SubscriptionIdentifierAvailable", 1))
