"""Publish what other processes have committed, in the order of its numbers.

The numbers are a series, which has an epoch as its name. Another epoch begins when the database is another one, or has
lost rows.
"""

import logging
from collections.abc import Callable
from typing import Final

from hermes.delivery.channels import Channel
from hermes.inbox.inbox import RemoteEntry
from hermes.inbox.postgres import statements
from hermes.inbox.postgres.session import Origin, Session
from hermes.inbox.postgres.statements import Head
from hermes.inbox.postgres.transactions import fetch

logger = logging.getLogger(__name__)

TEXTS_AT_ONCE: Final = 100  # entries of other processes, each up to 80 KiB
LEFT_MAX: Final = 16  # epochs to which a process may return: those of an old primary beside the promoted one


class Follower:
    """The present series, and how far it was published here.

    ``publish`` and ``wants`` are those of `Inbox.follow`. ``new_epoch`` is called when another epoch has begun.
    """

    def __init__(self) -> None:
        self.publish: Callable[[RemoteEntry], None] = lambda _entry: None
        self.wants: Callable[[Channel], bool] = lambda _channel: False
        self.new_epoch: Callable[[], None] = lambda: None
        self.epoch = ""
        self.cursor = 0  # everything up to it was published here
        self._left: dict[str, int] = {}  # the same of earlier epochs

    @property
    def seen(self) -> dict[str, int]:
        """The highest number that this process knows of each epoch."""
        return self._left | {self.epoch: self.cursor}

    def begin(self, origin: Origin) -> None:
        """Go on with this series, or begin it."""
        before, self.epoch = self.epoch, origin.epoch
        if not before:
            self.cursor = origin.last_seq
        elif origin.epoch != before:
            logger.error(
                "inbox: the database is another one than before, or has lost rows (a failover, a restored"
                " copy): another epoch begins, and open sockets and clients that come back see a gap"
            )
            self._left[before] = self.cursor
            self.cursor = self._left.pop(origin.epoch, min(self.cursor, origin.began_at))
            while len(self._left) > LEFT_MAX:
                del self._left[next(iter(self._left))]
            self.new_epoch()

    async def catch_up(self, session: Session, upto: int, *, is_behind: bool) -> None:
        """Publish the entries of other processes up to a number."""
        if is_behind and upto > self.cursor:
            heads = await fetch(session, statements.heads(self.cursor, upto))
            await self.publish_remote(session, heads, upto)
        self.cursor = max(self.cursor, upto)

    async def publish_remote(self, session: Session, heads: list[Head], upto: int) -> None:
        """Publish the entries of other processes, in order, and move the cursor.

        ``heads`` has the first ones after the cursor.
        """
        while heads:
            wanted = [head.seq for head in heads if self.wants(head.channel)]
            while wanted:
                part, wanted = wanted[:TEXTS_AT_ONCE], wanted[TEXTS_AT_ONCE:]
                entries = await fetch(session, statements.remote_entries(part))
                for entry in entries:
                    self.publish(entry)
            self.cursor = heads[-1].seq
            if len(heads) < statements.HEADS_AT_ONCE:
                break
            heads = await fetch(session, statements.heads(self.cursor, upto))
        self.cursor = max(self.cursor, upto)
