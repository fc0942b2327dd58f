"""Do what other nodes ask for, each in a task of its own."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from hermes.cluster.envelope import Head
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

TASKS_MAX = 100  # of one kind that are under way: many questions must displace no revocation

Operation = Callable[[Head], Awaitable[Head]]


class Operations:
    """The operations of this node by name; more can be added until the first message.

    ``answer`` sends the result to the subject of the reply.
    """

    def __init__(self, answer: Callable[[str, Head], None], metrics: Metrics) -> None:
        self.by_name: dict[str, Operation] = {}
        self._answer = answer
        self._dropped = metrics.cluster_dropped
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: Counter[str] = Counter()

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def start(self, head: Head, reply: str) -> None:
        """Begin an operation that is known, unless too many of its name are under way."""
        op = str(head["op"])
        if self._running[op] >= TASKS_MAX:
            self._dropped.labels("busy").inc()
            return
        task = asyncio.get_running_loop().create_task(self._run(op, head, reply), name=f"hermes-cluster-{op}")
        self._tasks.add(task)
        self._running[op] += 1
        task.add_done_callback(self._tasks.discard)

    async def _run(self, op: str, head: Head, reply: str) -> None:
        try:
            self._answer(reply, await self.by_name[op](head))
        except Exception:  # the top of a task
            logger.exception("the operation %s of the node %s failed", op, head["node"])
        finally:
            self._running[op] -= 1

    async def stop(self) -> None:
        """Cancel what is under way; may be repeated."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
