"""Deliver the messages of other nodes here, and answer how many sockets took them."""

import asyncio
from collections.abc import Callable

from hermes.cluster import subjects
from hermes.cluster.envelope import Head, text_of
from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.hub import Hub, Receipt
from hermes.delivery.messages import EncodedMessage
from hermes.ids import TenantId, UserId

Answer = Callable[[str, int], None]


class Incoming:
    """The messages of one iteration of the loop.

    They are answered in their order. ``answer`` sends the number of sockets to the subject of a reply, ``pass_fence``
    the answer to a fence.
    """

    def __init__(self, *, hub: Hub, answer: Answer, pass_fence: Callable[[str], None]) -> None:
        self._hub = hub
        self._answer = answer
        self._pass_fence = pass_fence
        self._waiting: list[tuple[str, Receipt | None]] = []  # None is a fence

    def deliver(self, head: Head, text: bytes, reply: str) -> bool:
        """Publish a message; return whether it is understood.

        One that is not, of a newer version, is not answered, so that its sender does not count this node.
        """
        id, only_tenant = text_of(head, "to"), text_of(head, "only_tenant")
        if not id or ("only_tenant" in head and only_tenant is None):
            return False
        match head.get("kind"):
            case "notification":
                channel = channels.user(UserId(id))
            case "broadcast":
                channel = channels.broadcast(TenantId(id))
            case _:
                return False
        receipt = self._hub.publish(
            EncodedMessage(str(head["kind"]), channel, text),
            only_tenant=None if only_tenant is None else TenantId(only_tenant),
            to=_channels(head.get("channels"), id),
        )
        if reply:
            self._answer_after_flush(reply, receipt)
        return True

    def fence(self, reply: str) -> None:
        """Answer a fence, after what was delivered before it."""
        self._answer_after_flush(reply, None)

    def _answer_after_flush(self, reply: str, receipt: Receipt | None) -> None:
        """Answer at the end of this iteration of the loop, when the hub has flushed."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send_answers)
        self._waiting.append((reply, receipt))

    def _send_answers(self) -> None:
        answers, self._waiting = self._waiting, []
        self._hub.flush()
        for reply, receipt in answers:
            if receipt is None:
                self._pass_fence(reply)
            else:
                self._answer(reply, receipt.sockets)


def _channels(given: object, id: str) -> list[Channel] | None:
    """Return the channels that another node names, if they are of this id."""
    if not isinstance(given, list):
        return None
    return [Channel((kind, id)) for kind in subjects.KINDS if [kind, id] in given]
