"""Join the other nodes, and announce this one to them."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol

from hermes.cluster.members import ANNOUNCE_INTERVAL_S, Members
from hermes.cluster.nats.client import NatsClient
from hermes.cluster.surveys import Answers

logger = logging.getLogger(__name__)

JOIN_TIMEOUT_S = 5.0
CHANGE_INTERVAL_S = 1.0  # between announcements because of changed counts
GREET_PAUSE_S = 0.05


class State(StrEnum):
    """Whether this node works together with the others."""

    JOINING = "joining"
    JOINED = "joined"
    ALONE = "alone"


class OnJoin(Protocol):
    """Exchange what must be known with one of these nodes, or with all."""

    def __call__(self, names: list[str], *, with_all: bool) -> Awaitable[bool]:
        """Return whether that is complete."""


class Participation:
    """Join after each connection, announce this node, and forget silent ones.

    ``greet`` sends a greeting to every node and returns their answers; ``announce`` sends an announcement.
    ``on_join`` is awaited when the node joins or returns, before it opens sockets, with the names of nodes, and whether
    all of them must be asked; it returns whether it is complete. ``on_state`` is called when the state has changed.
    """

    def __init__(
        self,
        *,
        members: Members,
        greet: Callable[[], Awaitable[Answers]],
        announce: Callable[[], object],
        on_state: Callable[[], None],
    ) -> None:
        self.state = State.JOINING
        self.on_join: OnJoin = _nothing_to_do
        self.leaving = False
        self._members = members
        self._greet = greet
        self._announce = announce
        self._on_state = on_state
        self._wake = asyncio.Event()
        self._change_timer: asyncio.TimerHandle | None = None
        self._join_problem = ""
        self._appeared: set[str] = set()  # nodes to exchange with
        self._connections = 0
        self._task: asyncio.Task[None] | None = None

    def problems(self, client: NatsClient) -> list[str]:
        """Return what is missing, each a word and a sentence."""
        found = []
        if self.state is State.JOINING:
            found.append("joining: this node waits for the revocations of the other nodes")
        elif not client.is_connected:
            found.append(f"cluster: {client.problem}; this node works alone")
        elif self._join_problem:
            found.append(f"cluster: {self._join_problem}")
        if client.is_connected and client.refusal:
            found.append(f"cluster: NATS refuses a subject to this account: {client.refusal}")
        if self._members.namesake:
            found.append("cluster: another node has the name of this one: give each its own --node-name")
        return found

    def start(self, client: NatsClient) -> None:
        """Start the task; call once."""
        self._task = asyncio.create_task(self._run(client), name="hermes-cluster")

    async def stop(self) -> None:
        """End the task; may be repeated."""
        if self._change_timer is not None:
            self._change_timer.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def connected(self) -> None:
        """Join: there is a new connection."""
        self._connections += 1
        self._members.connected()
        self._wake.set()
        self._enter(State.JOINING)

    def appeared(self, name: str) -> None:
        """Exchange what must be known with a node that has not greeted this one.

        NATS was divided: each of them has worked without the other.
        """
        if self.state is State.JOINED:
            self._appeared.add(name)
            self._wake.set()

    def lost(self, why: str) -> None:
        """Go on alone: the connection has ended."""
        self._join_problem = ""
        logger.error("continuing without the other nodes: %s", why)
        self._enter(State.ALONE)

    def count_changed(self) -> None:
        """Announce this node soon: together with what changes meanwhile."""
        if self._change_timer is None and self._task is not None:
            self._change_timer = asyncio.get_running_loop().call_later(CHANGE_INTERVAL_S, self._announce_change)

    def _announce_change(self) -> None:
        self._change_timer = None
        self._wake.set()

    def _enter(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self._on_state()

    async def _run(self, client: NatsClient) -> None:
        if not client.is_connected:
            await self._wait(JOIN_TIMEOUT_S)
        while True:
            try:
                if client.is_connected:
                    if self.state is not State.JOINED or self._appeared:
                        await self._join(client)
                    if not self.leaving:
                        self._announce()
                    self._members.expire()
                elif self.state is State.JOINING:
                    self.lost(client.problem)
            except Exception:  # the top of a task: the next round may work
                logger.exception("the announcement of this node failed")
            await self._wait(ANNOUNCE_INTERVAL_S * random.uniform(0.9, 1.0))

    async def _wait(self, timeout_s: float) -> None:
        """Wait until something has changed, or for the time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        self._wake.clear()

    async def _join(self, client: NatsClient) -> None:
        """Find the other nodes, and get what must be known before sockets are opened.

        If that was tried on this connection before, or for nodes that have appeared, sockets are opened meanwhile.
        """
        names, self._appeared = sorted(self._appeared), set()
        connection = self._connections
        if self.state is not State.JOINED and not self._join_problem:
            self._enter(State.JOINING)
        complete = False
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                if self.state is State.JOINED:
                    complete = await self.on_join(names, with_all=True)
                else:
                    complete = await self._meet(client)
        except TimeoutError:
            pass
        except Exception:  # sockets are opened nevertheless
            logger.exception("the exchange with the other nodes failed")
        if not client.is_connected or connection != self._connections:
            return  # what was sent meanwhile is missing
        if not complete and not self._join_problem:
            logger.error("continuing without the revocations of the other nodes: not all have been exchanged")
        self._join_problem = "" if complete else "no other node has sent its revocations; asked again in a few seconds"
        self._enter(State.JOINED if complete else State.ALONE)

    async def _meet(self, client: NatsClient) -> bool:
        """Greet the other nodes until one answers, then exchange what must be known.

        With one that has joined, as it knows everything; else with all. Returns False if that is not complete.
        """
        while client.is_connected:
            answers = await self._greet()
            if answers.no_other_node:
                return True
            if answers.by_node:
                joined = [name for name, head in answers.by_node.items() if head.get("joined") is True]
                return await self.on_join(joined or list(answers.by_node), with_all=not joined)
            await asyncio.sleep(GREET_PAUSE_S)
        return False


async def _nothing_to_do(names: list[str], *, with_all: bool) -> bool:
    return True
