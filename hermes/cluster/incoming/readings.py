"""Read what other nodes have stored, and answer how many sockets took it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from hermes.delivery.hub import Receipt

logger = logging.getLogger(__name__)

Read = Callable[[int, str], Awaitable[int | None]]

READINGS_MAX = 1_000  # at once; further ones are found by the store's next look


class Readings:
    """The entries that are being read.

    ``answer`` sends the number of sockets to a subject. ``read`` gets the number of an entry and the epoch, publishes
    everything up to it, and returns how many sockets took that one; None if the inbox cannot be read now. It is None
    without an inbox. ``note`` gets the receipt of an entry that this node has stored.
    """

    def __init__(self, answer: Callable[[str, int | None], None]) -> None:
        self.read: Read | None = None
        self.note: Callable[[int, Receipt], None] = lambda _seq, _receipt: None
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, seq: int, epoch: str, reply: str) -> None:
        """Read an entry; answer if there is a subject for the reply."""
        if len(self._tasks) < READINGS_MAX:
            self._start(self._read(seq, epoch, reply))
        elif reply:
            self._answer(reply, None)

    def then(self, call: Callable[[], None]) -> None:
        """Call this when all readings that have begun were answered."""
        if not self._tasks:
            call()
        elif len(self._tasks) < READINGS_MAX:
            self._start(self._call(tuple(self._tasks), call))

    async def stop(self) -> None:
        """End the readings; may be repeated."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, seq: int, epoch: str, reply: str) -> None:
        try:
            sockets = None if self.read is None else await self.read(seq, epoch)
        except Exception:  # the top of a task
            logger.exception("an entry of the inbox that another node has stored cannot be read")
            sockets = None
        if reply:
            self._answer(reply, sockets)

    @staticmethod
    async def _call(before: tuple["asyncio.Task[None]", ...], call: Callable[[], None]) -> None:
        await asyncio.gather(*before)
        call()
