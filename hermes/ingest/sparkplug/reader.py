"""The devices' door: Sparkplug B. One message → the metrics in it, and who came or went.

An extra, ``hermes-gateway[sparkplug]``. ``docs/reference/sparkplug.md`` has the rules; the types and their JSON are
`sparkplug_payload`'s, what is remembered of edge nodes and its bound `sparkplug_nodes`'.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hermes.delivery.messages import DeviceMessage, DeviceStatus
from hermes.ids import DeviceId, TenantId
from hermes.ingest.sparkplug.metrics import BOOLEAN, MetricReader, parse
from hermes.ingest.sparkplug.nodes import (
    MEMORY_MAX_BYTES,
    NO_VOCABULARY,
    EdgeNodes,
    MetricDefinitions,
    NodeKey,
    Publisher,
    vocabulary_of,
)
from hermes.ingest.sparkplug.rebirth import Rebirths
from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload
from hermes.ingest.sparkplug.topic import SparkplugTopic, read_topic
from hermes.metrics import Metrics

BD_SEQ = "bdSeq"
# Booleans of these names are orders that a node takes: false in each birth, and never data
CONTROLS = ("Node Control/", "Device Control/")
SILENT_S = 30.0  # a node that is asked for its births and says nothing for so long is not there
SIGNED_FROM = 128  # from here on an integer without a type may mean a negative one

Updates = list[DeviceMessage | DeviceStatus]


@dataclass(frozen=True, slots=True)
class SparkplugMessage:
    """A message of an edge node, parsed, and whose it is to Hermes."""

    topic: str
    kind: SparkplugTopic
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
        """Which session this is the birth or the death of."""
        for metric in self.payload.metrics:
            if metric.name == BD_SEQ:
                return metric.int_value if metric.HasField("int_value") else metric.long_value
        return None

    def publisher(self, vocabulary: MetricDefinitions) -> Publisher:
        """Return the publisher of this message with these metric definitions."""
        return Publisher(self.tenant_id, self.device_id, vocabulary)

    def status(self, online: bool, source: Publisher | None = None) -> DeviceStatus:
        """That it, or another source, came or went."""
        tenant_id, device_id = (source.tenant_id, source.device_id) if source else (self.tenant_id, self.device_id)
        return DeviceStatus(tenant_id, device_id, online, None if self.retained else self.timestamp_ms)


class Sparkplug:
    """Reads what edge nodes say, one message at a time, and remembers their births.

    ``publish`` takes a topic and a payload and says whether they left; ``clock`` gives monotonic seconds.
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
        self._rebirths = Rebirths(publish=publish, metrics=metrics, clock=clock)
        self._clock = clock
        self._unheard: dict[NodeKey, float | None] = {}  # since the link came back; and when they were asked

    def link_is_back(self) -> None:
        """Deaths may have been missed: every node that was there is to say that it still is."""
        self._unheard = dict.fromkeys(self._nodes.there)

    def tick(self, timestamp_ms: int) -> list[DeviceStatus]:
        """To be called once a second: asks those for their births that said nothing since the link came back, as many
        at a time as may be asked, and tells those gone that do not answer for `SILENT_S`.
        """
        now_s = self._clock()
        gone: list[DeviceStatus] = []
        for key, asked_s in list(self._unheard.items()):
            node = self._nodes.get(key)
            if node is None or node.own is None:
                del self._unheard[key]
            elif asked_s is None:
                if self._rebirths.ask(key, timestamp_ms=timestamp_ms):
                    self._unheard[key] = now_s
            elif now_s - asked_s >= SILENT_S:
                del self._unheard[key]
                sources = [node.own, *node.end()]
                self._nodes.evict(node)
                gone += [DeviceStatus(each.tenant_id, each.device_id, False, timestamp_ms) for each in sources]
        return gone

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
        """The values and changes of presence that one message tells, changes first. Raises `PayloadError`, and then
        has learned nothing from it.
        """
        kind = read_topic(topic)
        if kind is None or not payload:  # an empty one takes a retained message back
            return ()
        said = SparkplugMessage(topic, kind, parse(payload), tenant_id, device_id, retained, timestamp_ms)
        if retained:
            return self._kept(said)
        self._unheard.pop(kind.node, None)
        match kind.kind:
            case "NBIRTH":
                return self._node_born(said)
            case "DBIRTH":
                return self._device_born(said)
            case "NDEATH":
                return self._node_dead(said)
            case "DDEATH":
                return self._device_dead(said)
            case _:
                return self._data(said)

    def _node_born(self, said: SparkplugMessage) -> Updates:
        vocabulary = vocabulary_of(said.payload.metrics)
        values, _ = self._values(said, vocabulary)
        node = self._nodes.get_or_create(said.kind.node)
        gone = node.begin(said.publisher(vocabulary), bd_seq=said.bd_seq, seq=said.seq)
        self._nodes.evict(node)
        return [said.status(True), *(said.status(False, device) for device in gone), *values]

    def _device_born(self, said: SparkplugMessage) -> Updates:
        vocabulary = vocabulary_of(said.payload.metrics)
        values, _ = self._values(said, vocabulary)
        node = self._nodes.get_or_create(said.kind.node)
        self._follow(said)
        node.put(said.kind.device, said.publisher(vocabulary))
        self._nodes.evict(node)
        return [said.status(True), *values]

    def _data(self, said: SparkplugMessage) -> Updates:
        node = self._nodes.get_or_create(said.kind.node)
        source = node.devices.get(said.kind.device) if said.kind.device else node.own
        source_is_late = said.kind.device in node.awaited
        values, understood = self._values(said, source.vocabulary if source else NO_VOCABULARY)
        gone = node.overdue()
        node.stale = node.stale or source is None or source_is_late or not understood
        self._follow(said)
        self._nodes.evict(node)
        return [*(said.status(False, device) for device in gone), *values]

    def _node_dead(self, said: SparkplugMessage) -> Updates:
        node = self._nodes.get(said.kind.node)
        if node is None:
            return [said.status(False)]
        if node.own is not None and None not in (said.bd_seq, node.bd_seq) and said.bd_seq != node.bd_seq:
            return []  # the last will of a session before this one, which comes late
        gone = node.end()
        self._nodes.evict(node)
        return [said.status(False), *(said.status(False, device) for device in gone)]

    def _device_dead(self, said: SparkplugMessage) -> Updates:
        node = self._nodes.get_or_create(said.kind.node)
        node.remove(said.kind.device)
        self._follow(said)
        self._nodes.evict(node)
        return [said.status(False)]

    def _kept(self, said: SparkplugMessage) -> Updates:
        """What the broker had kept, against the specification: values of some time or other. A birth says nothing of
        today's aliases, and as little as a death of who is there now.
        """
        values, _ = self._values(said, vocabulary_of(said.payload.metrics))
        return [] if said.kind.kind.endswith("DEATH") else list(values)

    def _follow(self, said: SparkplugMessage) -> None:
        """Take the message's place in its node's order, and ask for births where anything was missed."""
        node = self._nodes.get_or_create(said.kind.node)
        if not node.follow(said.seq):
            self._metrics.sparkplug_gaps.inc()
            node.stale = True
        if node.stale or node.own is None:
            self._rebirths.ask(said.kind.node, timestamp_ms=said.timestamp_ms)

    def _values(self, said: SparkplugMessage, vocabulary: MetricDefinitions) -> tuple[Updates, bool]:
        """The metrics' messages, and whether a new birth could give a meaning to those that are withheld."""
        reader = MetricReader()
        told: Updates = []
        understood = True
        for metric in said.payload.metrics:
            name = metric.name or vocabulary.aliases.get(metric.alias, "")
            if not name or _is_ambiguous(metric, name, vocabulary):
                understood = understood and name is None
                self._metrics.sparkplug_withheld.inc()
                continue
            datatype = metric.datatype or vocabulary.types.get(name, 0)
            if name != BD_SEQ and not (datatype == BOOLEAN and name.startswith(CONTROLS)):
                told.append(self._message(said, metric, name, reader, datatype))
        return told, understood

    def _message(
        self, said: SparkplugMessage, metric: Payload.Metric, name: str, reader: MetricReader, datatype: int
    ) -> DeviceMessage:
        return DeviceMessage(
            tenant_id=said.tenant_id,
            device_id=said.device_id,
            series=name,
            topic=said.topic,
            data=reader.data(metric, datatype=datatype, timestamp_ms=metric.timestamp or said.payload.timestamp),
            timestamp_ms=None if said.retained else said.timestamp_ms,
            retained=said.retained,
            historical=metric.is_historical,
        )


def _is_ambiguous(metric: Payload.Metric, name: str, vocabulary: MetricDefinitions) -> bool:
    """Whether only the missing birth tells if this integer is a large one or a negative one."""
    untyped = not metric.datatype and name not in vocabulary.types
    return untyped and max(metric.int_value, metric.long_value) >= SIGNED_FROM
