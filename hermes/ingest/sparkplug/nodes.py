"""The state of Sparkplug edge nodes and their devices, in bounded memory.

A birth defines the metrics: their types, and the aliases (numbers) that replace their names in later messages. The
definitions are valid until the next birth or death.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from hermes.ids import DeviceId, TenantId
from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload
from hermes.metrics import Metrics
from hermes.quotas.fair_queue import HOLDERS, FairQueue, Item

MEMORY_MAX_BYTES = 64 * 1_048_576  # about 200,000 metrics
METRIC_BYTES = 250  # without its name; 165 to 210 measured with it, in births of 10 to 15,000 metrics with aliases
PUBLISHER_BYTES = 800  # the same was measured for an edge node with one metric, everything included
SEQ_RANGE = 256  # Sparkplug 3.0.0, "Sequence Numbers": after 255 follows 0


class NodeKey(NamedTuple):
    """The identity of an edge node: its id is unique in its group only."""

    group: str
    edge: str


class MetricDefinitions(NamedTuple):
    """The definitions of a birth: types by name, names by alias.

    The name is None if two metrics have the same alias.
    """

    types: dict[str, int]
    aliases: dict[int, str | None]

    @property
    def size_bytes(self) -> int:
        """The approximate memory."""
        return METRIC_BYTES * len(self.types) + sum(map(len, self.types))


NO_DEFINITIONS = MetricDefinitions({}, {})


def definitions_of(metrics: Iterable[Payload.Metric]) -> MetricDefinitions:
    """Return the definitions in the metrics of a birth."""
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
    """An edge node or one of its devices, with its ids in Hermes.

    ``seen_after`` is the number of outages before its last birth, or its first message after an outage.
    """

    tenant_id: TenantId
    device_id: DeviceId
    definitions: MetricDefinitions
    seen_after: int

    @property
    def size_bytes(self) -> int:
        """The approximate memory."""
        return PUBLISHER_BYTES + self.definitions.size_bytes


@dataclass(slots=True)
class EdgeNode(Item):
    """The session of one edge node, from its birth to its death.

    ``own`` is the edge node as a publisher, None before its birth and after its death. ``devices`` are those that are
    online; ``awaited`` are those of them that were online before a rebirth of the node and have not sent their own
    birth yet. ``stale`` is True if a message was missed; only a birth corrects that.
    """

    key: NodeKey
    own: Publisher | None = None
    devices: dict[str, Publisher] = field(default_factory=dict)
    awaited: set[str] = field(default_factory=set)
    bd_seq: int | None = None
    seq: int | None = None
    stale: bool = False
    size_bytes: int = PUBLISHER_BYTES

    def start_session(self, own: Publisher, *, bd_seq: int | None, seq: int | None) -> list[Publisher]:
        """Process the node's birth or rebirth; return the devices that are offline now.

        In a new session these are all devices. After a rebirth in the same session they follow later: see
        `remove_awaited`.
        """
        is_new = self.own is not None and bd_seq != self.bd_seq
        offline = list(self.devices.values()) if is_new else []
        devices = {} if is_new else self.devices
        self.end_session()
        for name, device in devices.items():
            self.add(name, Publisher(device.tenant_id, device.device_id, NO_DEFINITIONS, device.seen_after))
        self.awaited = set(devices)
        self.own, self.bd_seq, self.seq, self.stale = own, bd_seq, seq, False
        self.size_bytes += own.size_bytes
        return offline

    def end_session(self) -> list[Publisher]:
        """Process the node's death; return the devices that were online."""
        offline = list(self.devices.values())
        self.own = self.bd_seq = self.seq = None
        self.devices, self.awaited = {}, set()
        self.size_bytes = PUBLISHER_BYTES
        return offline

    def add(self, name: str, device: Publisher) -> None:
        """Process a device's birth."""
        self.remove(name)
        self.devices[name] = device
        self.size_bytes += device.size_bytes

    def remove(self, name: str) -> None:
        """Process a device's death."""
        self.awaited.discard(name)
        device = self.devices.pop(name, None)
        if device is not None:
            self.size_bytes -= device.size_bytes

    def remove_awaited(self) -> list[Publisher]:
        """Remove and return the devices without a birth after their node's rebirth.

        Called when data arrives: in Sparkplug 3.0.0 all DBIRTHs follow the NBIRTH before any data, so these devices are
        offline.
        """
        offline = [self.devices[name] for name in self.awaited]
        for name in list(self.awaited):
            self.remove(name)
        return offline

    def accept_seq(self, seq: int | None) -> bool:
        """Store a message's sequence number; return False after a gap."""
        if self.own is None or seq is None:
            return True
        expected = seq if self.seq is None else (self.seq + 1) % SEQ_RANGE
        self.seq = seq
        return seq == expected


class EdgeNodes:
    """All known edge nodes.

    Above the memory limit, the node that was silent for longest is evicted, with fair shares: each edge node with its
    devices counts as one device (see `hermes.quotas.fair_queue`).
    """

    def __init__(self, metrics: Metrics, memory_max_bytes: int) -> None:
        self._metrics = metrics
        self._dropped = {holder: metrics.share_dropped.labels("sparkplug", holder) for holder in HOLDERS}
        self._nodes: dict[NodeKey, EdgeNode] = {}
        self._silent_longest: FairQueue[EdgeNode] = FairQueue(max_size=memory_max_bytes)

    @property
    def online(self) -> list[NodeKey]:
        """The nodes with a birth and without a death."""
        return [key for key, node in self._nodes.items() if node.own is not None]

    def get(self, key: NodeKey) -> EdgeNode | None:
        """Return the node, or None if it is not known."""
        return self._nodes.get(key)

    def get_or_create(self, key: NodeKey, tenant_id: TenantId) -> EdgeNode:
        """Return the node of a message that has just arrived.

        A new one belongs to this tenant.
        """
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = EdgeNode(key)
            self._silent_longest.append(node, tenant=tenant_id, device=key, size=0)
        else:
            self._silent_longest.move_to_end(node)
        return node

    def evict(self, node: EdgeNode) -> None:
        """Update the size of a changed node; evict nodes above the memory limit."""
        self._silent_longest.resize(node, node.size_bytes)
        while self._silent_longest.exceeded():
            oldest, holder = self._silent_longest.next_to_drop()
            self._silent_longest.remove(oldest)
            del self._nodes[oldest.key]
            self._metrics.sparkplug_forgotten.inc()
            self._dropped[holder].inc()
        self._metrics.sparkplug_nodes.set(len(self._nodes))
