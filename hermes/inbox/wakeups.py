"""Wake requests that wait for something new in an inbox."""

import asyncio
from collections.abc import Iterable

from hermes.delivery.channels import Channel

WAITERS_MAX = 1_000  # long polls


class Wakeups:
    """Futures by channel; `wake` ends all of a channel."""

    def __init__(self) -> None:
        self._waiting: dict[Channel, set[asyncio.Future[None]]] = {}
        self.waiters = 0

    def wake(self, channels: Iterable[Channel]) -> None:
        """Wake who waits for one of these channels."""
        if not self._waiting:
            return
        for channel in channels:
            for future in self._waiting.get(channel, ()):
                if not future.done():
                    future.set_result(None)

    async def wait(self, channels: Iterable[Channel], *, timeout_s: float) -> None:
        """Return after the next `wake` of one of these channels, or after the time."""
        names = tuple(channels)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for name in names:
            self._waiting.setdefault(name, set()).add(future)
        self.waiters += 1
        try:
            await asyncio.wait((future,), timeout=timeout_s)
        finally:
            self.waiters -= 1
            for name in names:
                waiting = self._waiting[name]
                waiting.discard(future)
                if not waiting:
                    del self._waiting[name]
