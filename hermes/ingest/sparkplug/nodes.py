"""The devices' door: what is remembered of Sparkplug's edge nodes and their devices, within a bound.

A birth teaches a vocabulary: which types the metrics have, and which short numbers, their aliases, stand for their
names from now on. It holds until the next birth or death.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from hermes.ids import DeviceId, TenantId
from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload
from hermes.metrics import Metrics

MEMORY_MAX_BYTES = 64 * 1_048_576  # about 200,000 metrics
METRIC_BYTES = 250  # beside its name; 165 to 210 measured with it, in births of 10 to 15,000 metrics with aliases
SOURCE_BYTES = 800  # as much was measured for an edge node with one metric, its source and all
SEQ_RANGE = 256  # Sparkplug 3.0.0, "Sequence Numbers": from 255 on to 0


class NodeKey(NamedTuple):
    """An edge node: its id belongs to its group."""

    group: str
    edge: str


class MetricDefinitions(NamedTuple):
    """What a birth taught: each metric's type by its name, and names by alias, None where two metrics claimed it."""

    types: dict[str, int]
    aliases: dict[int, str | None]

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return METRIC_BYTES * len(self.types) + sum(map(len, self.types))


NO_VOCABULARY = MetricDefinitions({}, {})


def vocabulary_of(metrics: Iterable[Payload.Metric]) -> MetricDefinitions:
    """What these metrics of a birth teach."""
    types: dict[str, int] = {}
    aliases: dict[int, str | None] = {}
    for metric in metrics:
        name = metric.name
        if not name:
            continue
        types[name] = metric.datatype
        if metric.HasField("alias"):
            alias = metric.alias
            aliases[alias] = name if aliases.get(alias, name) == name else None
    return MetricDefinitions(types, aliases)


@dataclass(slots=True)
class Publisher:
    """Who sends metrics: an edge node itself or one of its devices, by the ids that browsers know it by."""

    tenant_id: TenantId
    device_id: DeviceId
    vocabulary: MetricDefinitions

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return SOURCE_BYTES + self.vocabulary.size_bytes


@dataclass(slots=True)
class EdgeNode:
    """One edge node's session: from its birth to its death. ``own`` is None before and after it.

    ``devices`` are those that are there; ``awaited`` those of them that were there before the node was born again,
    and have yet to follow. ``stale`` says that something was missed, and only a birth can mend it.
    """

    own: Publisher | None = None
    devices: dict[str, Publisher] = field(default_factory=dict)
    awaited: set[str] = field(default_factory=set)
    bd_seq: int | None = None
    seq: int | None = None
    stale: bool = False
    size_bytes: int = SOURCE_BYTES
    counted_bytes: int = 0

    def begin(self, own: Publisher, *, bd_seq: int | None, seq: int | None) -> list[Publisher]:
        """It is born, or born again. Returns the devices that are not there any more: all of them where the session is
        another than before; else none yet, see `overdue`.
        """
        another = self.own is not None and bd_seq != self.bd_seq
        gone = list(self.devices.values()) if another else []
        kept = {} if another else self.devices
        self.end()
        for name, device in kept.items():
            self.put(name, Publisher(device.tenant_id, device.device_id, NO_VOCABULARY))
        self.awaited = set(kept)
        self.own, self.bd_seq, self.seq, self.stale = own, bd_seq, seq, False
        self.size_bytes += own.size_bytes
        return gone

    def end(self) -> list[Publisher]:
        """It is dead. Returns the devices that were there."""
        gone = list(self.devices.values())
        self.own = self.bd_seq = self.seq = None
        self.devices, self.awaited = {}, set()
        self.size_bytes = SOURCE_BYTES
        return gone

    def put(self, name: str, device: Publisher) -> None:
        """A device is born."""
        self.remove(name)
        self.devices[name] = device
        self.size_bytes += device.size_bytes

    def remove(self, name: str) -> None:
        """A device is dead, or takes its vocabulary back."""
        self.awaited.discard(name)
        device = self.devices.pop(name, None)
        if device is not None:
            self.size_bytes -= device.size_bytes

    def overdue(self) -> list[Publisher]:
        """The devices that did not follow their node's new birth though it sends data already. In Sparkplug 3.0.0 all
        DBIRTHs come right after the NBIRTH and before any data, so these are not there any more.
        """
        gone = [self.devices[name] for name in self.awaited]
        for name in list(self.awaited):
            self.remove(name)
        return gone

    def follow(self, seq: int | None) -> bool:
        """Take the sequence number of a message. False where one before it is missing."""
        if self.own is None or seq is None:
            return True
        expected = seq if self.seq is None else (self.seq + 1) % SEQ_RANGE
        self.seq = seq
        return seq == expected


class EdgeNodes:
    """All edge nodes that were heard of. Past the bound those are forgotten that were silent for longest."""

    def __init__(self, metrics: Metrics, memory_max_bytes: int) -> None:
        self._metrics = metrics
        self._memory_max_bytes = memory_max_bytes
        self._nodes: OrderedDict[NodeKey, EdgeNode] = OrderedDict()
        self._size_bytes = 0

    @property
    def there(self) -> list[NodeKey]:
        """Those that are born."""
        return [key for key, node in self._nodes.items() if node.own is not None]

    def get(self, key: NodeKey) -> EdgeNode | None:
        """The node, if it is known."""
        return self._nodes.get(key)

    def get_or_create(self, key: NodeKey) -> EdgeNode:
        """The node, which says something just now; known from here on."""
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = EdgeNode()
        self._nodes.move_to_end(key)
        return node

    def evict(self, node: EdgeNode) -> None:
        """Count what it has grown by, and make room."""
        self._size_bytes += node.size_bytes - node.counted_bytes
        node.counted_bytes = node.size_bytes
        while self._size_bytes > self._memory_max_bytes and self._nodes:
            _, oldest = self._nodes.popitem(last=False)
            self._size_bytes -= oldest.counted_bytes
            self._metrics.sparkplug_forgotten.inc()
        self._metrics.sparkplug_nodes.set(len(self._nodes))
