"""Repeated requests that the store cannot recognise.

Their first one is under way, or could not be stored.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from hermes.delivery.messages import Notification
from hermes.ids import UserId
from hermes.inbox.inbox import IDS_KEPT_MS, Conflict, Duplicate, FailureReason, Submission

UNSTORED_IDS_MAX: Final = 10_000  # ids that are recognised although their row could not be stored

_Key = tuple[str, str, str, str]
_Unstored = tuple[bytes, int, int, FailureReason]  # digest, sockets, Unix milliseconds, why


class Repetitions:
    """Requests that are under way, and those that could not be stored."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._under_way: dict[_Key, asyncio.Future[None]] = {}
        self._unstored: OrderedDict[_Key, _Unstored] = OrderedDict()
        # the sockets of the latest requests without a row, and when they were counted
        self._without_row: OrderedDict[_Key, tuple[int, int]] = OrderedDict()

    async def begin(self, submission: Submission) -> Duplicate | Conflict | None:
        """Wait for the answer of an earlier request with this id.

        Returns its answer if it was not stored. None: this one is under way now, until `end` or `delivered` is called.
        """
        key = _key(submission)
        while (first := self._under_way.get(key)) is not None:
            await asyncio.shield(first)
        known = self._unstored.get(key)
        if known is not None and known[2] > self._now_ms() - IDS_KEPT_MS:
            digest, sockets, _, reason = known
            return (
                Duplicate(None, sockets, replaced=False, reason=reason) if digest == submission.digest else Conflict()
            )
        self._unstored.pop(key, None)
        self._under_way[key] = asyncio.get_running_loop().create_future()
        return None

    def not_stored(self, submission: Submission, reason: FailureReason) -> None:
        """Remember the id of a request that could not be stored."""
        self._unstored[_key(submission)] = (submission.digest, 0, self._now_ms(), reason)
        if len(self._unstored) > UNSTORED_IDS_MAX:
            self._unstored.popitem(last=False)

    def delivered(self, submission: Submission, sockets: int | None) -> bool:
        """Note how many sockets took it; None if it was refused, so that its id is free.

        Returns False if the store does not know it.
        """
        key = _key(submission)
        if sockets is None:
            self._unstored.pop(key, None)
            return False
        if key in self._unstored:
            digest, _, at_ms, reason = self._unstored[key]
            self._unstored[key] = (digest, sockets, at_ms, reason)
            return False
        self._without_row.pop(key, None)
        if submission.expires_ms is None and sockets:
            self._without_row[key] = (sockets, self._now_ms())
            if len(self._without_row) > UNSTORED_IDS_MAX:
                self._without_row.popitem(last=False)
        return True

    async def sockets_without_row(self, kind: str, owner: str, bound_tenant: str | None, id: str) -> int:
        """Return how many sockets took a request without a row, after its answer.

        0 if it is not known here.
        """
        key = (kind, owner, bound_tenant or "", id)
        if (first := self._under_way.get(key)) is not None:
            await asyncio.shield(first)
        sockets, at_ms = self._without_row.get(key, (0, 0))
        return sockets if at_ms > self._now_ms() - IDS_KEPT_MS else 0

    def end(self, submission: Submission) -> None:
        """Let requests with the same id continue."""
        first = self._under_way.pop(_key(submission), None)
        if first is not None and not first.done():
            first.set_result(None)

    def purge(self, user_id: UserId) -> None:
        """Forget the ids of a user."""
        for known in (self._unstored, self._without_row):
            for key in [key for key in known if key[:2] == (Notification.kind, user_id)]:
                del known[key]


def _key(submission: Submission) -> _Key:
    message = submission.message
    owner = message.user_id if isinstance(message, Notification) else message.tenant_id
    return (message.kind, owner, submission.bound_tenant or "", message.id)
