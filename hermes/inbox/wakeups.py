"""Wake requests that wait for an inbox: something is new."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hermes.delivery.channels import Channel

WAITERS_MAX = 1_000  # long polls
USER_WAITERS_MAX = 50  # of one user: tabs, scripts, and requests of clients that have gone


class Wakeups:
    """Events by channel; `wake` sets all of a channel."""

    def __init__(self) -> None:
        self._waiting: dict[Channel, set[asyncio.Event]] = {}
        self.waiters = 0

    def wake(self, channels: Iterable[Channel]) -> None:
        """Wake who waits for one of these channels."""
        if not self._waiting:
            return
        for channel in channels:
            for event in self._waiting.get(channel, ()):
                event.set()

    def wake_all(self) -> None:
        """Wake every request: it must read the inbox again."""
        self.wake(tuple(self._waiting))

    def waits_for(self, channel: Channel) -> bool:
        """Return whether a request waits for this channel."""
        return channel in self._waiting

    def has_place(self, channels: Iterable[Channel]) -> bool:
        """Return whether one more may wait.

        The first of the channels is that of the user.
        """
        first = next(iter(channels))
        return self.waiters < WAITERS_MAX and len(self._waiting.get(first, ())) < USER_WAITERS_MAX

    @contextmanager
    def watch(self, channels: Iterable[Channel]) -> Iterator[asyncio.Event]:
        """Give an event that every `wake` of one of these channels sets.

        Read the inbox inside: what is stored between the read and the wait would else wake no waiter.
        """
        names = tuple(channels)
        event = asyncio.Event()
        for name in names:
            self._waiting.setdefault(name, set()).add(event)
        self.waiters += 1
        try:
            yield event
        finally:
            self.waiters -= 1
            for name in names:
                waiting = self._waiting[name]
                waiting.discard(event)
                if not waiting:
                    del self._waiting[name]
