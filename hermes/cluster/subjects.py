"""The subjects of NATS that the nodes use, all below ``hermes.``.

An id becomes one token of a subject: percent-encoded, so that no id can be a wildcard, have a dot, or equal another
one. Source: https://docs.nats.io/nats-concepts/subjects.
"""

import hashlib
from urllib.parse import quote

from hermes.delivery.channels import Channel

ENCODED_MAX_CHARS = 160  # a longer id is replaced by its hash: servers limit a line to 4,096 bytes
HASHED = "%h"  # begins a hash: no percent-encoding does

NODES = "hermes.nodes"  # every node
KINDS = {  # of the channels that have a subject
    "user": "hermes.user.",
    "user_unstored": "hermes.user.",
    "broadcast": "hermes.tenant.",
    "broadcast_unstored": "hermes.tenant.",
}
CHANGE_KINDS = {"user_changes": "hermes.user.", "broadcast_changes": "hermes.tenant."}


def token(id: str) -> str:
    """Return an id as one token of a subject."""
    encoded = quote(id, safe="", errors="surrogatepass").replace(".", "%2E")
    if len(encoded) <= ENCODED_MAX_CHARS:
        return encoded or "%"
    return HASHED + hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()


def of_channel(channel: Channel) -> str | None:
    """Return the subject to which a channel's node subscribes.

    None if only this node has messages for it, or if its sockets have another channel with a subject.
    """
    prefix = KINDS.get(channel[0])
    return None if prefix is None else prefix + token(channel[1])


def of_owner(channel: Channel) -> str | None:
    """Return the subject that announces to nodes what is stored for a channel."""
    prefix = CHANGE_KINDS.get(channel[0]) or KINDS.get(channel[0])
    return None if prefix is None else prefix + token(channel[1])


def node(name: str) -> str:
    """Return the subject of one node."""
    return f"hermes.node.{token(name)}"


def replies(instance: str) -> str:
    """Return what the subjects of a node's replies begin with; a number follows."""
    return f"hermes.reply.{instance}."
