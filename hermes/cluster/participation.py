"""Join the other nodes, and announce this one to them."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from enum import StrEnum

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


class Participation:
    """Join after each connection, announce this node, and forget silent ones.

    ``greet`` sends a greeting to every node and returns their answers; ``announce`` sends an announcement.
    ``on_join`` is awaited when the node joins or returns, before it opens sockets, with the names of the other nodes;
    it returns whether it is complete. ``on_state`` is called when the state has changed.
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
        self.on_join: Callable[[list[str]], Awaitable[bool]] = _nothing_to_do
        self.leaving = False
        self._members = members
        self._greet = greet
        self._announce = announce
        self._on_state = on_state
        self._wake = asyncio.Event()
        self._change_timer: asyncio.TimerHandle | None = None
        self._join_problem = ""
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
        self._members.connected()
        self._wake.set()
        self._enter(State.JOINING)

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
                    if self.state is not State.JOINED:
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

        If that was tried on this connection before, sockets are opened meanwhile.
        """
        if not self._join_problem:
            self._enter(State.JOINING)
        complete = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                complete = await self._meet(client)
        if not client.is_connected:
            return
        if not complete and not self._join_problem:
            logger.error("continuing without the revocations of the other nodes: none has sent them")
        self._join_problem = "" if complete else "no other node has sent its revocations; asked again in a few seconds"
        self._enter(State.JOINED if complete else State.ALONE)

    async def _meet(self, client: NatsClient) -> bool:
        """Greet the other nodes until one answers, then exchange what must be known.

        Returns False if those that answered did not send it.
        """
        while client.is_connected:
            answers = await self._greet()
            if answers.nobody:
                return True
            if answers.by_node:
                return await self.on_join(list(answers.by_node))
            await asyncio.sleep(GREET_PAUSE_S)
        return False


async def _nothing_to_do(nodes: list[str]) -> bool:
    return True
