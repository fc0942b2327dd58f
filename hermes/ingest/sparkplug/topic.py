"""Sparkplug topics: ``spBv1.0/GROUP/NBIRTH/EDGE`` or ``…/DBIRTH/EDGE/DEVICE``."""

from typing import NamedTuple

from hermes.errors import PayloadError
from hermes.ingest.sparkplug.nodes import NodeKey
from hermes.topics.template import ID_MAX_CHARS

NAMESPACE = "spBv1.0"
OF_NODES = frozenset({"NBIRTH", "NDATA", "NDEATH"})
OF_DEVICES = frozenset({"DBIRTH", "DDATA", "DDEATH"})
COMMANDS = frozenset({"NCMD", "DCMD"})


class SparkplugTopic(NamedTuple):
    """The kind and the publisher of a message.

    ``device`` is empty for a message of the edge node itself.
    """

    kind: str
    node: NodeKey
    device: str


def parse_topic(topic: str) -> SparkplugTopic | None:
    """Return the parts of a topic; None if an edge node does not publish to it.

    Those are commands to edge nodes, and the ``STATE`` of host applications. Raises `PayloadError` if it is not a topic
    of Sparkplug B.
    """
    parts = topic.split("/")
    if parts[0] == "STATE" or parts[:2] == [NAMESPACE, "STATE"]:
        return None
    if parts[0] == NAMESPACE and len(parts) in (4, 5) and all(0 < len(part) <= ID_MAX_CHARS for part in parts):
        _, group, kind, edge, *device = parts
        if kind in COMMANDS:
            return None
        if kind in (OF_DEVICES if device else OF_NODES):
            return SparkplugTopic(kind, NodeKey(group, edge), device[0] if device else "")
    raise PayloadError(f"{topic[:200]!r} is not a topic of Sparkplug B")


def rebirth_topic(node: NodeKey) -> str:
    """Return the topic of commands to this edge node."""
    return f"{NAMESPACE}/{node.group}/NCMD/{node.edge}"


def death_topic(node: NodeKey) -> str:
    """Return the topic of this edge node's last will."""
    return f"{NAMESPACE}/{node.group}/NDEATH/{node.edge}"
