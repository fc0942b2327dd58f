"""Store notifications as fast as possible, and print the id of each that was stored; killed by the test.

``python -m tests.support.inbox_writer FILE PREFIX``
"""

import asyncio
import itertools
import sys
from pathlib import Path

from hermes.delivery.messages import now_ms
from hermes.ids import UserId
from hermes.inbox.inbox import Reader, Stored
from hermes.inbox.sqlite.inbox import SqliteInbox
from hermes.inbox.sqlite.store import StoreLimits
from hermes.metrics import Metrics
from tests.support.inboxes import submission

SENDERS = 8


async def write(inbox: SqliteInbox, prefix: str) -> None:
    """Store until the process is killed; every fifth row is acknowledged, every seventh replaced."""
    numbers = itertools.count()

    async def send_all() -> None:
        while True:
            number = next(numbers)
            replaces = f"{prefix}-{number - 7}" if number % 7 == 0 else None
            sent = submission(f"{prefix}-{number}", user="ana", at_ms=now_ms(), replaces=replaces)
            outcome = await inbox.append(sent, lambda _stored: None)
            assert isinstance(outcome, Stored)
            sys.stdout.write(f"{outcome.seq} {prefix}-{number}\n")  # one write: the pipe keeps it whole
            sys.stdout.flush()
            inbox.delivered(sent, 1)
            if number % 5 == 0:
                await inbox.ack(Reader(UserId("ana")), f"{prefix}-{number}", lambda _made: None)

    await asyncio.gather(*(send_all() for _ in range(SENDERS)))


async def main() -> None:
    """Open the inbox and write."""
    inbox = SqliteInbox(Path(sys.argv[1]), limits=StoreLimits(), now_ms=now_ms, metrics=Metrics())
    inbox.start()
    print("open", flush=True)
    await write(inbox, sys.argv[2])


if __name__ == "__main__":
    asyncio.run(main())
