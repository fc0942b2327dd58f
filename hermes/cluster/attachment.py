"""Which of the other nodes NATS can reach.

That NATS knows no subscriber of a user excludes the sockets of those nodes only that are connected to NATS. So each
node has a subject of its own, and a request to it without a subscriber shows that the node is not connected: it is
dead, or cut off. The answers of the server are all there when the pong of a later ping is, so that no time-out is
needed, and a node that hangs counts as connected.
"""

import asyncio
from collections.abc import Callable

from hermes.cluster.members import Members

FRESH_PER_NODE_S = 0.001  # for which a result is used again: at most 1,000 probes a second, whatever the load

Use = Callable[[frozenset[str]], None]


class Attachment:
    """The names of the members that are not connected to NATS.

    ``next_number`` gives rising numbers; ``probe`` sends a request with a number to a node by name; ``ping`` sends a
    ping, and returns None without a connection. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        *,
        members: Members,
        next_number: Callable[[], int],
        probe: Callable[[str, int], object],
        ping: Callable[[], "asyncio.Future[None] | None"],
        clock: Callable[[], float],
    ) -> None:
        self._members = members
        self._next_number = next_number
        self._probe = probe
        self._ping = ping
        self._clock = clock
        self._probes: dict[int, str] = {}  # of the check under way
        self._found: set[str] = set()
        self._waiting: list[Use] = []
        self._is_checking = False
        self._detached: frozenset[str] = frozenset()
        self._fresh_until_s = 0.0

    def use(self, use: Use) -> None:
        """Call ``use`` with the names: at once, or after a check."""
        if self._clock() < self._fresh_until_s or not self._members.names:
            use(self._detached.intersection(self._members.names))
            return
        self._waiting.append(use)
        if not self._is_checking:
            self._check()

    def no_responders(self, number: int) -> None:
        """Note that NATS knows no subscriber of a node's own subject."""
        name = self._probes.get(number)
        if name is not None:
            self._found.add(name)

    def _check(self) -> None:
        self._found.clear()
        for name in self._members.names:
            number = self._next_number()
            self._probes[number] = name
            self._probe(name, number)
        pong = self._ping()
        if pong is None:
            self._end(frozenset(self._members.names))
            return
        self._is_checking = True
        pong.add_done_callback(self._ended)

    def _ended(self, pong: "asyncio.Future[None]") -> None:
        self._is_checking = False
        if pong.cancelled():
            self._end(frozenset(self._members.names))
        else:
            self._fresh_until_s = self._clock() + FRESH_PER_NODE_S * len(self._members)
            self._end(frozenset(self._found))

    def _end(self, detached: frozenset[str]) -> None:
        self._probes.clear()
        self._detached = detached
        waiting, self._waiting = self._waiting, []
        for use in waiting:
            use(detached)
