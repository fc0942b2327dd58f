"""Find out that another node has other revocations than this one.

A node may miss a change: because it is busy and refuses work, or because a server of NATS lost it. Each announcement
has a digest of all that its node has, so that its size does not depend on their number.
"""

import time
from collections.abc import Callable

from hermes.cluster.members import Member, Members

CONFIRMED_S = 4.0  # a difference is seen twice: a change may be under way when the first announcement comes
PAUSE_S, PAUSE_MAX_S = 10.0, 300.0  # between two exchanges, longer if they change nothing: one node may have no room


class Comparison:
    """Compare the revocations of this node with the digests that others announce.

    ``digest`` returns the digest of this node; ``clock`` gives monotonic seconds.
    """

    def __init__(self, members: Members, clock: Callable[[], float] = time.monotonic) -> None:
        self.digest: Callable[[], str] = str
        self._members = members
        self._clock = clock
        self._since: dict[str, float] = {}  # by name: the first of the announcements that differ
        self._next_s = 0.0
        self._pause_s = PAUSE_S
        self._tried = ("", "")  # the digests of this node and the other one

    def must_exchange(self, member: Member) -> bool:
        """Return whether to exchange revocations with the node of an announcement.

        Of two groups of nodes, only the smaller one does; of two that are equal, both.
        """
        mine, now_s = self.digest(), self._clock()
        if member.revocations in ("", mine):  # an older version has none
            self._since.pop(member.name, None)
            return False
        self._since = {name: at_s for name, at_s in self._since.items() if name in self._members}
        if now_s - self._since.setdefault(member.name, now_s) < CONFIRMED_S or now_s < self._next_s:
            return False
        others = self._members.all
        if 2 * (1 + sum(each.revocations == mine for each in others)) > 1 + len(others):
            return False
        pair = (mine, member.revocations)
        self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S) if pair == self._tried else PAUSE_S
        self._tried = pair
        self._next_s = now_s + self._pause_s
        self._since.clear()
        return True
