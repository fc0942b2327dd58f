"""What the senders and the clients of several nodes saw under faults, and a check of it.

- Nothing is lost that was answered ``stored``, and nothing comes twice to a client that resumes.
- On each socket ``seq`` rises. There is a gap only when another epoch of the inbox begins; then what is kept comes
  again.
- ``sent`` is never true for what no client got. It is false for a user with an open socket only together with
  ``uncertain``.
"""

import asyncio
import contextlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from hermes.cluster.participation import State
from hermes.testing import connect
from tests.support.gateways import Hermes, eventually, token
from tests.support.nodes import bus, note

CountsFrom = Callable[[float], float | None]


@dataclass
class Client:
    """One page of a user, which moves between nodes and resumes.

    ``counts_from`` gets when NATS had a socket's subscription, and returns from when it counts for the other nodes, or
    None for one that never does; both in monotonic seconds. It is called when the socket is closed.
    """

    user: str
    counts_from: CountsFrom = lambda subscribed_s: subscribed_s
    position: str = "0"
    epoch: str = ""
    got: list[str] = field(default_factory=list)
    # on sockets that could not resume, because the inbox could not be read: it comes again on the next one
    got_before_resuming: list[str] = field(default_factory=list)
    got_in_other_epochs: set[str] = field(default_factory=set)
    # after it had closed a socket: what is stored comes again
    got_while_closing: set[str] = field(default_factory=set)
    open: list[tuple[float, float]] = field(default_factory=list)  # from when until when, in monotonic seconds
    faults: list[str] = field(default_factory=list)
    ends: bool = False

    @property
    def has_got(self) -> set[str]:
        """The ids that it got, in whatever way."""
        return {*self.got, *self.got_before_resuming, *self.got_in_other_epochs}

    def begin(self, epoch: str, *, gap: bool) -> None:
        """Note the answer to a position: the epoch goes on, or another one begins."""
        if self.position != "0" and gap != (self.position.partition(":")[0] != epoch):
            self.faults.append(f"the gap of {self.position} in {epoch} is {gap}")
        if self.epoch not in ("", epoch):
            self.got_in_other_epochs.update(self.got)
            self.got.clear()
        self.epoch = epoch

    async def run(self, nodes: list[Hermes], chance: random.Random, *, stay_max_s: float = 4.0) -> None:
        """Stay on a node for a while, then move, until ``ends`` is set."""
        while not self.ends:
            await self._visit(chance.choice(nodes), chance.uniform(0.3, stay_max_s))

    async def _visit(self, node: Hermes, stay_s: float) -> None:
        path = f"/ws/notifications?replay_end=1&since={self.position}"
        socket = await connect(node.gateway, path, token=token(self.user))
        visit = Visit(self)
        subscribing: asyncio.Task[float | None] | None = None
        end_s = time.monotonic() + stay_s
        reading = asyncio.ensure_future(socket.connection.read_message())
        try:
            # never cancelled: a frame that arrives at that moment would be lost
            while not visit.ended and (await asyncio.wait([reading], timeout=max(0.0, end_s - time.monotonic())))[0]:
                visit.handle(reading.result())
                if not visit.ended:
                    reading = asyncio.ensure_future(socket.connection.read_message())
                if visit.is_live and subscribing is None:
                    subscribing = asyncio.create_task(_subscribed_s(node))
                if time.monotonic() >= end_s:
                    break
        finally:
            await self._note_open(subscribing, min(end_s, time.monotonic()))
            socket.connection.close()
            while not visit.ended and (text := await reading) is not None:
                self.got_while_closing.add(json.loads(text).get("id", ""))
                reading = asyncio.ensure_future(socket.connection.read_message())

    async def _note_open(self, subscribing: "asyncio.Task[float | None] | None", end_s: float) -> None:
        """Note from when until when a socket counted for the other nodes."""
        if subscribing is None:
            return
        subscribing.cancel()
        (subscribed_s,) = await asyncio.gather(subscribing, return_exceptions=True)
        start_s = self.counts_from(subscribed_s) if isinstance(subscribed_s, float) else None
        if start_s is not None and start_s < end_s:
            self.open.append((start_s, end_s))


async def _subscribed_s(node: Hermes) -> float | None:
    """Return when NATS had the subscriptions of this node."""
    return time.monotonic() if await bus(node).synchronised() else None


class Visit:
    """One socket of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._epoch = ""
        self._last = 0
        self.is_live = False
        self.ended = False

    def handle(self, text: str | bytes | None) -> None:
        """Note a frame, or the end."""
        if text is None:
            self.ended = True  # refused, or closed by the node
            return
        frame, client = json.loads(text), self._client
        match frame.get("action"):
            case "resumed":
                client.begin(frame["epoch"], gap=frame["gap"])
                self._last = self._last if self._epoch == frame["epoch"] else 0
                self._epoch = frame["epoch"]
            case "replay_end":
                self.is_live = True
        if "id" not in frame:
            return
        (client.got if self._epoch else client.got_before_resuming).append(frame["id"])
        if "seq" in frame:
            client.faults += [] if frame["seq"] > self._last else [f"seq {frame['seq']} after {self._last}"]
            self._last = frame["seq"]
            if self._epoch:
                client.position = f"{self._epoch}:{self._last}"


@dataclass(frozen=True)
class Request:
    """One notification: when it was posted and answered, and the answer."""

    user: str
    began_s: float
    ended_s: float
    answer: dict[str, Any]


async def post(
    node: Hermes, users: Sequence[str], chance: random.Random, history: list[Request], *, pause_s: float = 0.03
) -> None:
    """Notify random users by a node; end when cancelled."""
    while True:
        id = f"{bus(node).name}{len(history)}"
        user, began_s = chance.choice(users), time.monotonic()
        answer = await node.notify(note(user, id=id))
        history.append(Request(user, began_s, time.monotonic(), answer))
        await asyncio.sleep(chance.uniform(0, pause_s))


def stored_ids(history: Sequence[Request], user: str) -> set[str]:
    """Return the ids of a user that were answered as stored."""
    return {each.answer["id"] for each in history if each.user == user and each.answer["stored"]}


async def all_arrived(history: Sequence[Request], clients: Sequence[Client]) -> None:
    """Wait until each client has what was stored for it; `check` names what is missing after a long time."""
    stored = {user: stored_ids(history, user) for user in {client.user for client in clients}}
    with contextlib.suppress(AssertionError):
        await eventually(lambda: all(stored[client.user] <= client.has_got for client in clients))


def check(history: Sequence[Request], clients: Sequence[Client]) -> list[str]:
    """Return what is wrong with a history.

    What was answered as not stored may come twice: if its commit is found later, another node may have read the row
    before it is removed.
    """
    faults = [f"client of {client.user}: {fault}" for client in clients for fault in client.faults]
    unstored = {each.answer["id"] for each in history if not each.answer["stored"]}
    for client in clients:
        faults += [f"{id} is lost" for id in sorted(stored_ids(history, client.user) - client.has_got)]
        often = {id for id, times in Counter(client.got).items() if times > (2 if id in unstored else 1)}
        faults += [f"{id} came twice" for id in sorted(often)]
    for each in history:
        of_user = [client for client in clients if client.user == each.user]
        id = each.answer["id"]
        if each.answer["sent"] and not any(id in client.has_got | client.got_while_closing for client in of_user):
            faults.append(f"{id}: sent is wrongly true")
        was_open = any(
            start <= each.began_s and each.ended_s <= end for client in of_user for start, end in client.open
        )
        if was_open and not each.answer["sent"] and "uncertain" not in each.answer:
            faults.append(f"{id}: sent is wrongly false, and no node is uncertain: {each}")
    return faults


async def end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel tasks; raise what they raised before."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def explore(
    nodes: list[Hermes],
    fail: Callable[[random.Random], Coroutine[Any, Any, None]],
    *,
    seconds: float,
    seed: int,
    counts_from: CountsFrom,
    stay_max_s: float = 4.0,
    pause_s: float = 0.03,
) -> tuple[list[Request], list[Client]]:
    """Use nodes for a time under faults, then without, until all clients have what was stored; return what happened.

    The variable HISTORY_SEED is added to ``seed``: other histories with each value. ``fail`` makes parts fail until it
    is cancelled; then all parts must work. ``counts_from`` is that of `Client`.
    """
    chance = random.Random(seed + int(os.environ.get("HISTORY_SEED", "0")))
    users = ["u1", "u2", "u3"]
    clients = [Client(user, counts_from) for user in users for _ in range(2)]
    histories: list[list[Request]] = [[] for _ in nodes]
    moving = [
        asyncio.create_task(client.run(nodes, random.Random(chance.random()), stay_max_s=stay_max_s))
        for client in clients
    ]
    posting = [
        asyncio.create_task(post(node, users, random.Random(chance.random()), own, pause_s=pause_s))
        for node, own in zip(nodes, histories, strict=True)
    ]
    failing = asyncio.create_task(fail(chance))
    await asyncio.wait([failing, *moving, *posting], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    await end([failing, *posting])
    history = [each for own in histories for each in own]
    await eventually(lambda: all(bus(node).state is State.JOINED for node in nodes))
    await all_arrived(history, clients)
    for client in clients:
        client.ends = True
    await asyncio.gather(*moving)
    return history, clients
