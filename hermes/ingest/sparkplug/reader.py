"""Sparkplug B: read the metrics and the changes of presence in one message.

Needs the extra ``sparkplug``. ``docs/reference/sparkplug.md`` describes the results; `.metrics`
converts types to JSON, `.nodes` stores the state of edge nodes in bounded memory.
"""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from hermes.delivery.messages import DeviceMessage, DeviceStatus
from hermes.ids import DeviceId, TenantId
from hermes.ingest.sparkplug.metrics import BOOLEAN, MetricReader, parse
from hermes.ingest.sparkplug.nodes import (
    MEMORY_MAX_BYTES,
    NO_DEFINITIONS,
    EdgeNodes,
    MetricDefinitions,
    NodeKey,
    Publisher,
    definitions_of,
)
from hermes.ingest.sparkplug.rebirth import RebirthRequests
from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload
from hermes.ingest.sparkplug.topic import SparkplugTopic, death_topic, parse_topic
from hermes.metrics import Metrics

BD_SEQ = "bdSeq"
# Booleans with these prefixes are commands to a node: false in each birth, and never data
CONTROLS = ("Node Control/", "Device Control/")
SILENT_S = 30.0  # a node that does not answer a rebirth request for so long is offline
STEP_METRICS = 8  # between two steps of the work; about 50 µs
SIGNED_FROM = 128  # from here on, an integer without a type can be a negative one

Update = DeviceMessage | DeviceStatus
Values = Generator[None, None, tuple[list[DeviceMessage], bool]]


@dataclass(frozen=True, slots=True)
class SparkplugMessage:
    """A parsed message of an edge node, with its tenant and device in Hermes."""

    topic: str
    parts: SparkplugTopic
    payload: Payload
    tenant_id: TenantId
    device_id: DeviceId
    retained: bool
    timestamp_ms: int

    @property
    def seq(self) -> int | None:
        """The sequence number, 0 to 255, if the payload has one."""
        return self.payload.seq if self.payload.HasField("seq") else None

    @property
    def bd_seq(self) -> int | None:
        """The number of the session of a birth or a death, if the payload has one."""
        for metric in self.payload.metrics:
            if metric.name == BD_SEQ:
                return metric.int_value if metric.HasField("int_value") else metric.long_value
        return None

    def status(self, online: bool, publisher: Publisher | None = None) -> DeviceStatus:
        """Return the presence of this message's publisher, or of another one."""
        who = publisher or self
        since_ms = None if self.retained else self.timestamp_ms
        return DeviceStatus(who.tenant_id, who.device_id, online, since_ms, self.topic)

    def value(self, name: str, data: bytes, *, historical: bool) -> DeviceMessage:
        """Return the value of a metric."""
        return DeviceMessage(
            tenant_id=self.tenant_id,
            device_id=self.device_id,
            series=name,
            topic=self.topic,
            data=data,
            timestamp_ms=None if self.retained else self.timestamp_ms,
            retained=self.retained,
            historical=historical,
        )


class Sparkplug:
    """Read the messages of edge nodes, and store the definitions of their births.

    ``publish`` sends a payload to a topic, and returns whether it was sent; ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        *,
        publish: Callable[[str, bytes], bool],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        memory_max_bytes: int = MEMORY_MAX_BYTES,
    ) -> None:
        self._metrics = metrics
        self._nodes = EdgeNodes(metrics, memory_max_bytes)
        self._rebirths = RebirthRequests(publish=publish, metrics=metrics, clock=clock)
        self._clock = clock
        # the nodes without a message since the link was restored, and when their births were requested
        self._unconfirmed: dict[NodeKey, float | None] = {}
        self._outages = 0

    def link_restored(self) -> None:
        """Check each node that is online, because its death may have been missed."""
        self._unconfirmed = dict.fromkeys(self._nodes.online)
        self._outages += 1

    def tick(self, timestamp_ms: int) -> list[DeviceStatus]:
        """Request births of unconfirmed nodes; return those that are offline now.

        To be called once a second. A node is offline if it does not send anything within `SILENT_S` after the request.
        """
        now_s = self._clock()
        offline: list[DeviceStatus] = []
        for key, requested_s in list(self._unconfirmed.items()):
            node = self._nodes.get(key)
            if node is None or node.own is None:
                del self._unconfirmed[key]
            elif requested_s is None:
                if self._rebirths.request(key, timestamp_ms=timestamp_ms):
                    self._unconfirmed[key] = now_s
            elif now_s - requested_s >= SILENT_S:
                del self._unconfirmed[key]
                publishers = [node.own, *node.end_session()]
                self._nodes.evict(node)
                topic = death_topic(key)
                offline += [
                    DeviceStatus(each.tenant_id, each.device_id, False, timestamp_ms, topic) for each in publishers
                ]
        return offline

    def read(
        self,
        topic: str,
        payload: bytes,
        *,
        tenant_id: TenantId,
        device_id: DeviceId,
        retained: bool,
        timestamp_ms: int,
    ) -> Iterator[Update | None]:
        """Yield the changes of presence and the values of one message, in this order.

        None is yielded after each step of the work before; the event loop can do other work between all steps, but must
        not read another message. Raises `PayloadError` before the first value; the state is then unchanged.
        """
        parts = parse_topic(topic)
        if parts is None or not payload:  # an empty payload deletes a retained message
            return
        message = SparkplugMessage(topic, parts, parse(payload), tenant_id, device_id, retained, timestamp_ms)
        if retained:
            yield from self._retained(message)
            return
        self._unconfirmed.pop(parts.node, None)
        match parts.kind:
            case "NBIRTH":
                yield from self._node_birth(message)
            case "DBIRTH":
                yield from self._device_birth(message)
            case "NDEATH":
                yield from self._node_death(message)
            case "DDEATH":
                yield from self._device_death(message)
            case _:
                yield from self._data(message)

    def _node_birth(self, message: SparkplugMessage) -> Iterator[Update | None]:
        definitions = definitions_of(message.payload.metrics)
        values, _ = yield from self._values(message, definitions)
        node = self._nodes.get_or_create(message.parts.node, message.tenant_id)
        offline = node.start_session(self._publisher(message, definitions), bd_seq=message.bd_seq, seq=message.seq)
        self._nodes.evict(node)
        yield message.status(True)
        for device in offline:
            yield message.status(False, device)
        yield from values

    def _device_birth(self, message: SparkplugMessage) -> Iterator[Update | None]:
        definitions = definitions_of(message.payload.metrics)
        values, _ = yield from self._values(message, definitions)
        node = self._nodes.get_or_create(message.parts.node, message.tenant_id)
        self._check_seq(message)
        node.add(message.parts.device, self._publisher(message, definitions))
        self._nodes.evict(node)
        yield message.status(True)
        yield from values

    def _data(self, message: SparkplugMessage) -> Iterator[Update | None]:
        node = self._nodes.get_or_create(message.parts.node, message.tenant_id)
        publisher = node.devices.get(message.parts.device) if message.parts.device else node.own
        is_awaited = message.parts.device in node.awaited
        values, complete = yield from self._values(message, publisher.definitions if publisher else NO_DEFINITIONS)
        offline = node.remove_awaited()
        node.stale = node.stale or publisher is None or is_awaited or not complete
        self._check_seq(message)
        self._nodes.evict(node)
        yield from self._still_online(message, node.own)
        if not is_awaited:
            yield from self._still_online(message, publisher)
        for device in offline:
            yield message.status(False, device)
        yield from values

    def _still_online(self, message: SparkplugMessage, publisher: Publisher | None) -> Iterator[DeviceStatus]:
        """Yield the presence of a publisher at its first message after an outage.

        Its death was not missed.
        """
        if publisher is not None and publisher.seen_after < self._outages:
            publisher.seen_after = self._outages
            yield message.status(True, publisher)

    def _node_death(self, message: SparkplugMessage) -> Iterator[Update | None]:
        node = self._nodes.get(message.parts.node)
        if node is None:
            yield message.status(False)
            return
        if node.own is not None and None not in (message.bd_seq, node.bd_seq) and message.bd_seq != node.bd_seq:
            return  # the last will of an earlier session, sent late
        offline = node.end_session()
        self._nodes.evict(node)
        yield message.status(False)
        for device in offline:
            yield message.status(False, device)

    def _device_death(self, message: SparkplugMessage) -> Iterator[Update | None]:
        node = self._nodes.get_or_create(message.parts.node, message.tenant_id)
        node.remove(message.parts.device)
        self._check_seq(message)
        self._nodes.evict(node)
        yield message.status(False)

    def _retained(self, message: SparkplugMessage) -> Iterator[Update | None]:
        """Yield the values of a retained message.

        The specification does not allow it. Its age is unknown: a birth does not define today's aliases, and neither a
        birth nor a death is a change of presence.
        """
        values, _ = yield from self._values(message, definitions_of(message.payload.metrics))
        if not message.parts.kind.endswith("DEATH"):
            yield from values

    def _publisher(self, message: SparkplugMessage, definitions: MetricDefinitions) -> Publisher:
        """Return the publisher of this message with these metric definitions."""
        return Publisher(message.tenant_id, message.device_id, definitions, self._outages)

    def _check_seq(self, message: SparkplugMessage) -> None:
        """Check the sequence number, and request births if anything was missed."""
        node = self._nodes.get_or_create(message.parts.node, message.tenant_id)
        if not node.accept_seq(message.seq):
            self._metrics.sparkplug_gaps.inc()
            node.stale = True
        if node.stale or node.own is None:
            self._rebirths.request(message.parts.node, timestamp_ms=message.timestamp_ms)

    def _values(self, message: SparkplugMessage, definitions: MetricDefinitions) -> Values:
        """Return the values, and whether they are complete, in steps.

        They are not complete if a metric was withheld that a new birth would define.
        """
        reader = MetricReader()
        values: list[DeviceMessage] = []
        complete = True
        for number, metric in enumerate(message.payload.metrics, start=1):
            if number % STEP_METRICS == 0:
                yield
            name = metric.name or definitions.aliases.get(metric.alias, "")
            if not name or _is_ambiguous(metric, name, definitions):
                complete = complete and name is None
                self._metrics.sparkplug_withheld.inc()
                continue
            datatype = metric.datatype or definitions.types.get(name, 0)
            if name != BD_SEQ and not (datatype == BOOLEAN and name.startswith(CONTROLS)):
                timestamp_ms = metric.timestamp or message.payload.timestamp
                data = yield from reader.data(metric, datatype=datatype, timestamp_ms=timestamp_ms)
                values.append(message.value(name, data, historical=metric.is_historical))
        return values, complete


def _is_ambiguous(metric: Payload.Metric, name: str, definitions: MetricDefinitions) -> bool:
    """Return whether the sign of this integer depends on a type that is not known."""
    untyped = not metric.datatype and name not in definitions.types
    return untyped and max(metric.int_value, metric.long_value) >= SIGNED_FROM
