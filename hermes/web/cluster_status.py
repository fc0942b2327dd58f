"""What `/status` shows of several nodes."""

from typing import Any

from hermes.cluster.envelope import PROTOCOL, Head, text_of
from hermes.cluster.members import FormerMember, Member, Members
from hermes.cluster.nats_bus import NatsBus
from hermes.cluster.participation import State

STATES = frozenset(State)


async def cluster_fields(cluster: NatsBus) -> dict[str, Any]:
    """Return the state of this node, and state and figures of each other one.

    Also the nodes that are gone, and the names of those that did not answer. It is one question to all nodes.
    """
    answers = await cluster.ask("status", {})
    return {
        "node": cluster.name,
        "state": cluster.state,
        "protocol": PROTOCOL,
        "users": cluster.users,
        "nodes": [_node(cluster.members, member, answers.by_node.get(member.name)) for member in cluster.nodes],
        "former": [_former(cluster.members, member) for member in cluster.members.former],
        "uncertain": answers.silent,
    }


def _node(members: Members, member: Member, answer: Head | None) -> dict[str, Any]:
    return {
        "node": member.name,
        "state": None if answer is None else _state(member, answer),
        "version": member.version,
        "protocol": member.protocol,
        "same_keys": members.has_same_keys(member),
        "users": member.users,
        "sockets": member.sockets,
        "heard": members.heard_ms(member),
        "figures": None if answer is None else answer.get("figures"),
    }


def _state(member: Member, answer: Head) -> str | None:
    """Return the state that a node has answered.

    One of an older version answers none: it has announced whether it has joined.
    """
    state = text_of(answer, "state")
    return state if state in STATES else State.JOINED if member.has_joined else None


def _former(members: Members, member: FormerMember) -> dict[str, Any]:
    return {
        "node": member.name,
        "version": member.version,
        "left": member.has_left,
        "heard": members.heard_ms(member),
    }
