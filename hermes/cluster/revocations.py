"""Exchange revocations, so that all nodes have the same.

A revocation is sent to every node when it is made. A node that joins or returns gets those of another node that has
joined, or of all others if none has, and sends to all nodes what these did not have. A node does the same when its
revocations differ from those that others announce.
"""

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hermes.auth.revocation.revocation_list import KINDS, RevocationList, Target
from hermes.cluster.envelope import Head, number_of, text_of
from hermes.cluster.nats_bus import NatsBus
from hermes.errors import HermesError
from hermes.ids import TenantId

logger = logging.getLogger(__name__)

PAGE_ENTRIES = 2_000
PAGE_BYTES = 262_144  # of the entries of a page; NATS accepts 1 MiB by default
ENTRY_BYTES, CHAR_BYTES = 64, 6  # at most, in JSON
SNAPSHOTS_MAX = 10  # nodes that read at once; about 6 MB each with the most revocations
PAGE_TIMEOUT_S = 1.0
DISCONNECT_TIMEOUT_S = 5.0  # thousands of sockets are closed a few at a time
REMOVED_MAX = 10_000  # removals that are remembered, so that a node that was away does not bring them back

Change = tuple[Target, int | None]  # until when tokens are refused; None removes the revocation
Apply = Callable[[Sequence[Change]], Awaitable[None]]
End = Callable[[Target, int | None, str, str], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the other nodes did: a number, and the names of those that did not answer."""

    number: int
    uncertain: tuple[str, ...]


class SharedRevocations:
    """The revocations of this node, as the others see them.

    ``apply`` puts changes of other nodes into effect; ``end`` ends the sockets of a target, revokes its tokens until a
    second, and returns how many sockets there were.
    """

    def __init__(self, *, bus: NatsBus, revocations: RevocationList, apply: Apply, end: End) -> None:
        self._bus = bus
        self._revocations = revocations
        self._apply = apply
        self._end = end
        self._removed: OrderedDict[Target, int] = OrderedDict()  # until when the removed revocation refused tokens
        self._snapshots: OrderedDict[str, tuple[tuple[Target, int], ...]] = OrderedDict()  # by the node that reads it
        bus.participation.on_join = self.exchange
        bus.comparison.digest = lambda: revocations.digest
        bus.operations.by_name |= {
            "disconnect": self._on_disconnect,
            "restore": self._on_restore,
            "revocations": self._on_revocations,
            "revoke": self._on_revoke,
        }

    # -- what this node does ------------------------------------------------------------------------------------------

    async def disconnect(self, target: Target, until_s: int | None, *, by: str, reason: str) -> Elsewhere:
        """End the sockets of a target on the other nodes, and revoke its tokens."""
        fields = {"target": _as_json(target), "until": until_s, "by": by, "reason": reason}
        answers = await self._bus.ask("disconnect", fields, timeout_s=DISCONNECT_TIMEOUT_S)
        failed = [name for name, head in answers.by_node.items() if "closed" not in head]
        closed = sum(number_of(head, "closed") for head in answers.by_node.values())
        return Elsewhere(closed, tuple(sorted([*answers.silent, *failed])))

    async def restore(self, removed: Sequence[tuple[Target, int]], target: Target, *, by: str) -> Elsewhere:
        """Remove revocations on the other nodes.

        ``removed`` are those that this node had for the target.
        """
        self._remember(removed)
        answers = await self._bus.ask("restore", {"target": _as_json(target), "by": by}, timeout_s=PAGE_TIMEOUT_S)
        most = max((number_of(head, "removed") for head in answers.by_node.values()), default=0)
        return Elsewhere(most, answers.silent)

    async def exchange(self, names: list[str], *, with_all: bool) -> bool:
        """Get the revocations of one of these nodes, or of all, and send what they lack.

        Returns False if that is not complete.
        """
        random.shuffle(names)
        for name in names:
            theirs = await self._fetch(name)
            is_done = theirs is not None and await self._merge(*theirs)
            if is_done != with_all:
                return is_done
        return with_all

    async def _fetch(self, name: str) -> tuple[dict[Target, int], dict[Target, int]] | None:
        """Return the revocations and the removals of a node; None if it does not answer."""
        entries: dict[Target, int] = {}
        removed: dict[Target, int] = {}
        after: int | None = 0
        while after is not None:
            page = await self._bus.ask_one(name, "revocations", {"after": after}, timeout_s=PAGE_TIMEOUT_S)
            if page is None or not isinstance(page.get("entries"), list):
                return None
            entries |= dict(_from_json(page.get("entries")))
            removed |= dict(_from_json(page.get("removed")))
            following = number_of(page, "next")
            after = following if following > after else None
        return entries, removed

    async def _merge(self, entries: dict[Target, int], removed: dict[Target, int]) -> bool:
        """Apply what another node has, and send what it lacks; False if that fails."""
        mine = dict(self._revocations)
        removed_here = dict(self._removed)
        changes = self._changes(mine, entries, removed)
        self._remember(removed.items())
        if not await self._apply_parts(changes):
            return False
        gone = {target for target, until_s in changes if until_s is None}
        missing = [
            (target, until_s)
            for target, until_s in mine.items()
            if target not in gone and until_s > max(entries.get(target, -1), removed.get(target, -1))
        ]
        outlived = [
            (target, until_s)
            for target, until_s in removed_here.items()
            if target not in mine and entries.get(target, until_s + 1) <= until_s
        ]
        return await self._send("entries", missing) and await self._send("removed", outlived)

    def _changes(
        self, mine: Mapping[Target, int], entries: Mapping[Target, int], removed: Mapping[Target, int]
    ) -> list[Change]:
        """Return what to change because of what another node has and has removed."""
        new: list[Change] = [
            (target, until_s)
            for target, until_s in entries.items()
            if until_s > max(mine.get(target, -1), self._removed.get(target, -1))
            and not self._revocations.is_outdated(until_s)
        ]
        return new + [(target, None) for target, until_s in removed.items() if mine.get(target, until_s + 1) <= until_s]

    async def _send(self, key: str, entries: Sequence[tuple[Target, int]]) -> bool:
        """Send what others lack, page by page; return whether NATS has all of it."""
        start = 0
        while start < len(entries):
            end = _page_end(entries, start)
            self._bus.tell("revoke", {key: _all_as_json(entries[start:end])})
            if not await self._bus.synchronised():
                return False
            start = end
        return True

    async def _apply_parts(self, changes: Sequence[Change]) -> bool:
        """Apply changes, and do other work between parts of them."""
        for start in range(0, len(changes), PAGE_ENTRIES):
            try:
                await self._apply(changes[start : start + PAGE_ENTRIES])
            except HermesError as error:  # there are too many, or they cannot be stored
                logger.error("revocations of other nodes: %s", error)
                return False
            await asyncio.sleep(0)
        return True

    def _remember(self, removed: Iterable[tuple[Target, int]]) -> None:
        for target, until_s in removed:
            self._removed[target] = max(until_s, self._removed.pop(target, 0))
            if len(self._removed) > REMOVED_MAX:
                self._removed.popitem(last=False)

    # -- what other nodes ask for -------------------------------------------------------------------------------------

    async def _on_disconnect(self, head: Head) -> Head:
        target = _target(head.get("target"))
        if target is None:
            return {}
        until_s = head.get("until")
        by = f"{text_of(head, 'by') or 'unknown'} on node {head['node']}"
        try:
            closed = await self._end(
                target, until_s if isinstance(until_s, int) else None, by, text_of(head, "reason") or ""
            )
        except HermesError as error:  # there are too many, or it cannot be stored
            logger.warning("a revocation of the node %s: %s", head["node"], error)
            return {"error": str(error)}
        return {"closed": closed}

    async def _on_restore(self, head: Head) -> Head:
        target = _target(head.get("target"))
        if target is None:
            return {}
        found = self._revocations.matching(target)
        self._remember(found)
        await self._apply([(each, None) for each, _ in found])
        return {"removed": len(found)}

    async def _on_revocations(self, head: Head) -> Head:
        after, node = number_of(head, "after"), str(head["node"])
        if after == 0:
            self._snapshots[node] = tuple(self._revocations)
            if len(self._snapshots) > SNAPSHOTS_MAX:
                self._snapshots.popitem(last=False)
        snapshot = self._snapshots.get(node)
        if snapshot is None or after < 0:
            return {"error": "begin again"}
        end = _page_end(snapshot, after)
        page: Head = {"entries": _all_as_json(snapshot[after:end])}
        if end < len(snapshot):
            return page | {"next": end}
        del self._snapshots[node]
        newest = list(reversed(self._removed.items()))
        return page | {"removed": _all_as_json(newest[: _page_end(newest, 0)])}

    async def _on_revoke(self, head: Head) -> Head:
        entries, removed = (dict(_from_json(head.get(key))) for key in ("entries", "removed"))
        changes = self._changes(dict(self._revocations), entries, removed)
        self._remember(removed.items())
        if changes:
            await self._apply(changes)
        return {}


def _page_end(entries: Sequence[tuple[Target, int]], start: int) -> int:
    """Return where the page that begins here ends."""
    size = 0
    last = min(start + PAGE_ENTRIES, len(entries))
    for number in range(start, last):
        target = entries[number][0]
        size += ENTRY_BYTES + CHAR_BYTES * (len(target.id) + len(target.bound_to or ""))
        if size > PAGE_BYTES and number > start:
            return number
    return last


def _as_json(target: Target) -> list[str | None]:
    return [target.kind, target.id, target.bound_to]


def _all_as_json(entries: Iterable[tuple[Target, int]]) -> list[list[Any]]:
    return [[*_as_json(target), until_s] for target, until_s in entries]


def _from_json(value: object) -> list[tuple[Target, int]]:
    """Return the entries of a page; those that are not understood are left out."""
    found = []
    for each in value if isinstance(value, list) else ():
        if isinstance(each, list) and len(each) >= 4 and isinstance(each[3], int):
            target = _target(each[:3])
            if target is not None:
                found.append((target, each[3]))
    return found


def _target(value: object) -> Target | None:
    match value:
        case [str(kind), str(id), None] if kind in KINDS:
            return Target(kind, id)
        case [str(kind), str(id), str(bound_to)] if kind in KINDS:
            return Target(kind, id, TenantId(bound_to))
        case _:
            return None
