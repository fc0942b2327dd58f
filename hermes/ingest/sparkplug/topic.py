"""The devices' door: Sparkplug's topics, ``spBv1.0/GROUP/NBIRTH/EDGE`` and ``spBv1.0/GROUP/DBIRTH/EDGE/DEVICE``."""

from typing import NamedTuple

from hermes.errors import PayloadError
from hermes.ingest.sparkplug.nodes import NodeKey
from hermes.topics.template import ID_MAX_CHARS

NAMESPACE = "spBv1.0"
OF_NODES = frozenset({"NBIRTH", "NDATA", "NDEATH"})
OF_DEVICES = frozenset({"DBIRTH", "DDATA", "DDEATH"})
COMMANDS = frozenset({"NCMD", "DCMD"})


class SparkplugTopic(NamedTuple):
    """Who says what kind of thing; ``device`` is empty where the edge node speaks of itself."""

    kind: str
    node: NodeKey
    device: str


def read_topic(topic: str) -> SparkplugTopic | None:
    """None for what is not said by an edge node: commands to it, and the ``STATE`` of host applications. Raises
    `PayloadError` where it is no topic of Sparkplug B.
    """
    parts = topic.split("/")
    if parts[0] == "STATE" or parts[:2] == [NAMESPACE, "STATE"]:
        return None
    if parts[0] == NAMESPACE and len(parts) in (4, 5) and all(0 < len(part) <= ID_MAX_CHARS for part in parts):
        _, group, kind, edge, *rest = parts
        if kind in COMMANDS:
            return None
        if kind in (OF_DEVICES if rest else OF_NODES):
            return SparkplugTopic(kind, NodeKey(group, edge), rest[0] if rest else "")
    raise PayloadError(f"{topic[:200]!r} is no topic of Sparkplug B")


def rebirth_topic(node: NodeKey) -> str:
    """Where this edge node takes commands."""
    return f"{NAMESPACE}/{node.group}/NCMD/{node.edge}"
