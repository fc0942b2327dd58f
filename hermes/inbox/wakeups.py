"""Wake requests that wait for an inbox: something is new, or a token ends."""

import asyncio
from collections.abc import Iterable

from hermes.delivery.channels import Channel

WAITERS_MAX = 1_000  # long polls
USER_WAITERS_MAX = 50  # of one user: tabs, scripts, and those whose client has gone


class Wakeups:
    """Futures by channel; `wake` ends all of a channel, `recheck` all.

    Their result is whether there is something new.
    """

    def __init__(self) -> None:
        self._waiting: dict[Channel, set[asyncio.Future[bool]]] = {}
        self.waiters = 0

    def wake(self, channels: Iterable[Channel]) -> None:
        """Wake who waits for one of these channels."""
        if not self._waiting:
            return
        for channel in channels:
            for future in self._waiting.get(channel, ()):
                if not future.done():
                    future.set_result(True)

    def has_place(self, channels: Iterable[Channel]) -> bool:
        """Return whether one more may wait.

        The first of the channels is that of the user.
        """
        first = next(iter(channels))
        return self.waiters < WAITERS_MAX and len(self._waiting.get(first, ())) < USER_WAITERS_MAX

    def recheck(self) -> None:
        """End every wait, so that those who wait check their tokens again."""
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_result(False)

    async def wait(self, channels: Iterable[Channel], *, timeout_s: float) -> bool:
        """Return True after the next `wake` of one of these channels.

        False after the time, or after `recheck`.
        """
        names = tuple(channels)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for name in names:
            self._waiting.setdefault(name, set()).add(future)
        self.waiters += 1
        try:
            await asyncio.wait((future,), timeout=timeout_s)
            return future.done() and future.result()
        finally:
            self.waiters -= 1
            for name in names:
                waiting = self._waiting[name]
                waiting.discard(future)
                if not waiting:
                    del self._waiting[name]
