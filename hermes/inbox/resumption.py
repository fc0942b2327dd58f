"""Bring a socket from its position to live frames: each row once, in rising order.

While it replays, the socket is not subscribed to the channels of its rows, but gets what has no row. A page of the
replay comes back in the order of the commits, and so do the rows that are published. So the socket subscribes in the
same step in which it gets the last page: a row is either in a page or published later, never both and never neither.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.frames import TextBatch
from hermes.delivery.hub import Hub
from hermes.delivery.reconnect_delay import ReturnRate
from hermes.delivery.session import Session
from hermes.errors import INTERNAL_ERROR
from hermes.inbox.frames import replay_end_frame, resumed_frame
from hermes.inbox.inbox import Inbox, InboxUnavailable, Page, Reader, Resumed
from hermes.inbox.position import Position
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

BLOCKED_POLL_S = 0.05  # a slow socket gets its next page when it has read the last one
BLOCKED_POLL_MAX_S = 1.0
BEGIN_AGAIN_INTERVAL_S = 0.05  # between the sockets that resume again at once


def row_channels(reader: Reader) -> list[Channel]:
    """Return the channels of a reader's rows."""
    found = [channels.user(reader.user_id)]
    if reader.broadcasts and reader.tenant_id is not None:
        found.append(channels.broadcast(reader.tenant_id))
    return found


def unstored_channels(reader: Reader) -> list[Channel]:
    """Return the channels of what has no row, for a reader that is replaying."""
    found = [channels.user_unstored(reader.user_id)]
    if reader.broadcasts and reader.tenant_id is not None:
        found.append(channels.broadcast_unstored(reader.tenant_id))
    return found


def change_channels(reader: Reader) -> list[Channel]:
    """Return the channels of what happens to a reader's rows."""
    found = [channels.user_changes(reader.user_id)]
    if reader.broadcasts and reader.tenant_id is not None:
        found.append(channels.broadcast_changes(reader.tenant_id))
    return found


class ResumedSockets:
    """The sockets that resume or have resumed.

    When the inbox begins another series, each resumes again, without being asked: it gets another ``resumed``, with the
    new epoch and a gap. They do it at the rate at which sockets would return. A socket is here by its function that
    does it.
    """

    def __init__(self, return_rate: ReturnRate) -> None:
        self._return_rate = return_rate
        self._sockets: set[Callable[[], None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # one for each new series, until all have begun

    def add(self, begin_again: Callable[[], None]) -> None:
        """Add a socket; it may be there already."""
        self._sockets.add(begin_again)

    def discard(self, begin_again: Callable[[], None]) -> None:
        """Remove a socket, if it is there."""
        self._sockets.discard(begin_again)

    def begin_again(self) -> None:
        """Let all that are here now resume again."""
        task = asyncio.get_running_loop().create_task(self._begin_again(tuple(self._sockets)), name="hermes-new-epoch")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Let no more begin; may be repeated."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin_again(self, sockets: Sequence[Callable[[], None]]) -> None:
        at_once = max(1, round(self._return_rate.per_s * BEGIN_AGAIN_INTERVAL_S))
        for start in range(0, len(sockets), at_once):
            for begin_again in sockets[start : start + at_once]:
                if begin_again in self._sockets:
                    begin_again()
            await asyncio.sleep(BEGIN_AGAIN_INTERVAL_S)


class Resumption:
    """One socket that resumes; a task of its own runs `run` and ends with the socket.

    ``on_resumed`` is called when the answer to the position was sent. With ``holds_all`` the socket has no channel
    before it; otherwise only those of its rows are missing. With ``reports_end`` it gets a frame after the last entry
    that it missed. ``has_position`` says that the socket was answered before: its client has a position. ``reader`` may
    change with the token.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        hub: Hub,
        session: Session,
        reader: Reader,
        metrics: Metrics,
        holds_all: bool,
        reports_end: bool,
        has_position: bool,
        on_resumed: Callable[[], None],
    ) -> None:
        self._metrics = metrics
        self._work = metrics.work["replay"]
        self._inbox = inbox
        self._hub = hub
        self._session = session
        self.reader = reader
        self._holds_all = holds_all
        self._reports_end = reports_end
        self._on_resumed = on_resumed
        self._after_seq = 0
        self._to_seq = 0  # of the answer
        self.epoch = ""  # of the answer; empty without one
        self.has_position = has_position  # of this or an earlier answer
        self.is_answered = False  # `resumed` was sent
        self.is_live = False

    @property
    def holds_all(self) -> bool:
        """Whether the socket has no channel now."""
        return self._holds_all and not self.is_answered

    def channels(self, wanted: list[Channel]) -> list[Channel]:
        """Return the wanted channels that the socket may have now.

        With those of the changes, when it has resumed.
        """
        if self.holds_all:
            return []
        if not self.is_live:
            rows = row_channels(self.reader)
            return [*(channel for channel in wanted if channel not in rows), *unstored_channels(self.reader)]
        return [*wanted, *change_channels(self.reader)]

    async def run(self, position: Position | None) -> None:
        """Replay what the socket has missed after a position, then let it live.

        None is a position that cannot be parsed. If the inbox cannot be read, the socket lives at once and gets no
        ``resumed``; if that happens after ``resumed``, also an earlier one, the socket is closed, and its client comes
        back with its position.
        """
        try:
            resumed = await self._inbox.resume(self.reader, position, then=partial(self._begin, self.reader))
            await self._read()
            while not self.is_live and not self._session.closed:
                await self._inbox.replay(
                    self.reader, resumed, after_seq=self._after_seq, then=partial(self._send_page, self.reader)
                )
                await self._read()
        except InboxUnavailable as failure:
            logger.warning("user %s cannot resume: %s", self.reader.user_id, failure.reason)
            if self.has_position:
                self._session.close(INTERNAL_ERROR)  # live rows would move its position over those that are missing
            elif not self._session.closed:
                self._answered()
                self._live()

    def _begin(self, reader: Reader, resumed: Resumed, page: Page) -> None:
        """Answer the position; the first page follows at once."""
        if self._session.closed:
            return
        self._metrics.inbox_resumes.labels(str(resumed.gap).lower()).inc()
        self.epoch, self.has_position = resumed.epoch, True
        self._session.send(resumed_frame(resumed))
        self._answered()
        self._after_seq, self._to_seq = resumed.from_seq, resumed.to_seq
        self._send_page(reader, page)

    def _answered(self) -> None:
        if not self.is_answered:
            self.is_answered = True
            self._on_resumed()

    def _send_page(self, reader: Reader, page: Page) -> None:
        if reader != self.reader:
            return  # a new token may not read all of it: the page is read again
        self._metrics.inbox_replayed.inc(len(page.texts))
        if page.texts and not self._session.closed:
            with self._work:
                self._session.send(TextBatch(page.texts))
            self._after_seq = page.last_seq
        if page.is_last and not self._session.closed:
            self._live()
            if self._reports_end:
                self._session.send(replay_end_frame(max(self._after_seq, self._to_seq)))

    def _live(self) -> None:
        self.is_live = True
        self._hub.change(
            self._session,
            add=[*row_channels(self.reader), *change_channels(self.reader)],
            remove=unstored_channels(self.reader),
        )

    async def _read(self) -> None:
        """Wait until the socket has read what was sent."""
        wait_s = BLOCKED_POLL_S
        while self._session.blocked:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, BLOCKED_POLL_MAX_S)
