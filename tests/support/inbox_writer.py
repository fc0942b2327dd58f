"""Store notifications as fast as possible, and write down the id of each that was stored; killed by the test.

``python -m tests.support.inbox_writer`` reads lines ``PLACE PREFIX OUTPUT``; the place is a file, or the URL of a
database. For each it starts a process that writes, a copy of itself, which takes no time; it prints the process id, and
``ended`` when that process has been killed.
"""

import asyncio
import itertools
import os
import sys

from hermes.delivery.messages import now_ms
from hermes.ids import UserId
from hermes.inbox.inbox import InboxStore, Reader, Stored
from tests.support.inboxes import inbox_at, submission

SENDERS = 8


async def write(inbox: InboxStore, prefix: str, output: int) -> None:
    """Store until the process is killed; every fifth row is acknowledged, every seventh replaced."""
    numbers = itertools.count()

    async def send_all() -> None:
        while True:
            number = next(numbers)
            replaces = f"{prefix}-{number - 7}" if number % 7 == 0 else None
            sent = submission(f"{prefix}-{number}", user="ana", at_ms=now_ms(), replaces=replaces)
            outcome = await inbox.append(sent, lambda _stored: None)
            assert isinstance(outcome, Stored)
            os.write(output, f"{outcome.seq} {prefix}-{number}\n".encode())  # the kernel has it, whatever happens
            inbox.delivered(sent, 1)
            if number % 5 == 0:
                await inbox.ack(Reader(UserId("ana")), f"{prefix}-{number}", lambda _made: None)

    await asyncio.gather(*(send_all() for _ in range(SENDERS)))


async def main(place: str, prefix: str, output: int) -> None:
    """Open the inbox and write."""
    inbox = inbox_at(place)
    await inbox.start()
    await write(inbox, prefix, output)


def serve() -> None:
    """Start a process for each line, and wait until it has been killed."""
    for line in sys.stdin:
        place, prefix, output = line.split()
        pid = os.fork()
        if not pid:
            asyncio.run(main(place, prefix, os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)))
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    serve()
