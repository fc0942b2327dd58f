"""The inbox's side of a socket: ``?since=``, ``resume`` and ``ack``."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from hermes.delivery.channels import Channel
from hermes.delivery.client_actions import Ack
from hermes.delivery.session import Session
from hermes.errors import INTERNAL_ERROR, ClientError
from hermes.inbox.inbox import Reader
from hermes.inbox.position import Position, parse_position
from hermes.inbox.resumption import Resumption, change_channels, row_channels, unstored_channels
from hermes.web.gateway_parts import GatewayParts

logger = logging.getLogger(__name__)


class InboxActions:
    """The inbox's side of a socket, if its gateway has an inbox.

    ``reader`` is what the socket reads; None on a route without notifications. ``on_resumed`` is called when the answer
    to a position was sent. With ``reports_end`` the end of a replay is a frame.
    """

    __slots__ = ("_gateway", "_on_resumed", "_reports_end", "_resumption", "_session", "_task", "reader")

    def __init__(
        self,
        gateway: GatewayParts,
        session: Session,
        reader: Reader | None,
        *,
        reports_end: bool,
        on_resumed: Callable[[], None],
    ) -> None:
        self.reader = reader
        self._reports_end = reports_end
        self._gateway = gateway
        self._session = session
        self._on_resumed = on_resumed
        self._resumption: Resumption | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, since: str) -> None:
        """Resume a socket that opens: it gets nothing before the answer."""
        self._gateway.hub.subscribe(self._session, ())
        self._resume(parse_position(since), holds_all=True)

    def resume(self, since: str) -> None:
        """Resume an open socket; raises `ClientError` where it is not possible."""
        if self.reader is None:
            raise ClientError("not_here", "resume is for /ws/notifications and /ws only")
        self._resume_open(self.reader, parse_position(since))

    def begin_again(self) -> None:
        """Resume once more: in a new series the last answer has no meaning."""
        assert self._gateway.inbox is not None
        if self.reader is None or self._session.closed or self._resumption is None:
            return
        if self._resumption.epoch not in ("", self._gateway.inbox.store.epoch):
            self._resume_open(self.reader, None)

    def _resume_open(self, reader: Reader, position: Position | None) -> None:
        rows = [*row_channels(reader), *change_channels(reader)]
        self._gateway.hub.change(self._session, add=unstored_channels(reader), remove=rows)
        self._resume(position, holds_all=False)

    def _resume(self, position: Position | None, *, holds_all: bool) -> None:
        assert self._gateway.inbox is not None
        assert self.reader is not None
        self._end_task()
        self._gateway.inbox.resumed.add(self.begin_again)
        self._resumption = Resumption(
            inbox=self._gateway.inbox.store,
            hub=self._gateway.hub,
            session=self._session,
            reader=self.reader,
            metrics=self._gateway.metrics,
            holds_all=holds_all,
            reports_end=self._reports_end,
            has_position=self._resumption is not None and self._resumption.has_position,
            on_resumed=self._on_resumed,
        )
        name = f"resume of {self._session.principal.user_id}"
        self._task = asyncio.get_running_loop().create_task(self._run(self._resumption, position), name=name)

    async def _run(self, resumption: Resumption, position: Position | None) -> None:
        try:
            await resumption.run(position)
        except Exception:
            logger.exception("user %s cannot resume", self._session.principal.user_id)
            self._session.close(INTERNAL_ERROR)

    def read_as(self, reader: Reader | None) -> None:
        """Go on with what a new token may read."""
        self.reader = reader
        if self._resumption is not None and reader is not None:
            self._resumption.reader = reader

    def channels(self, wanted: Iterable[Channel]) -> Iterable[Channel]:
        """Return the channels of the wanted ones that the socket may have now."""
        return wanted if self._resumption is None else self._resumption.channels(list(wanted))

    @property
    def holds_all(self) -> bool:
        """Whether it gets nothing before the answer to its position."""
        return self._resumption is not None and self._resumption.holds_all

    def ack(self, ack: Ack) -> None:
        """Acknowledge rows; raises `ClientError` if the frame is not understood."""
        gateway, principal = self._gateway, self._session.principal
        assert gateway.inbox is not None
        if ack.other_keys or (ack.notification_id is not None and ack.upto is not None):
            raise ClientError("invalid", "give either notification_id, a string, or upto, a number, with its epoch")
        if ack.notification_id is not None:
            reader = Reader(principal.user_id, principal.tenant_id, broadcasts=True)
            gateway.inbox.read_state.ack_soon(reader, notification_id=ack.notification_id)
        elif ack.upto is not None:
            epoch = ack.epoch
            if epoch is None:
                epoch = "" if self._resumption is None else self._resumption.epoch
                if not epoch:
                    raise ClientError("invalid", "upto needs the epoch of its position")
            if epoch == gateway.inbox.store.epoch:
                reader = self.reader or Reader(principal.user_id, principal.tenant_id)
                gateway.inbox.read_state.ack_soon(reader, upto=ack.upto)

    def stop(self) -> None:
        """End a resumption that runs, and resume no more; may be repeated."""
        if self._gateway.inbox is not None:
            self._gateway.inbox.resumed.discard(self.begin_again)
        self._end_task()

    def _end_task(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
