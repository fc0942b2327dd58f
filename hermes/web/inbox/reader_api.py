"""``GET /inbox`` and ``POST /ack``: notifications without a socket."""

import asyncio
import contextlib
import re
from typing import Annotated

import orjson
from pydantic import Field, StrictInt, StringConstraints

from hermes.auth.principal import Principal
from hermes.delivery.messages import NOTIFICATION_ID_MAX_CHARS
from hermes.delivery.request_model import RequestModel, invalid_fields
from hermes.errors import FORBIDDEN, KEYS_UNAVAILABLE, SLOW_DOWN, RequestError, SocketRejected
from hermes.inbox.inbox import InboxUnavailable, Page, Reader
from hermes.inbox.parts import InboxParts
from hermes.inbox.position import SEQ_MAX, Position, parse_position
from hermes.inbox.resumption import change_channels, row_channels
from hermes.quotas.addresses import client_key
from hermes.web import credentials
from hermes.web.api_handler import ApiHandler
from hermes.web.gateway_parts import GatewayParts
from hermes.web.http.handler import ExplainedError
from hermes.web.inbox.json_body import JsonBodyHandler
from hermes.web.origins.cors import allow_origin, answer_preflight
from hermes.web.sockets.waiting import End

LIMIT_MAX = 1_000
LIMIT_DEFAULT = 100
WAIT_MAX_S = 60
ANSWER_MAX_BYTES = 1_048_576  # no page follows one that reaches it: the answer says "more"
_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)


class ReaderHandler(ApiHandler):
    """A request with a user's token, also from pages that may open sockets."""

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        super().initialize(gateway)
        assert gateway.inbox is not None  # without one the routes do not exist
        self.inbox: InboxParts = gateway.inbox
        self.principal: Principal | None = None

    def prepare(self) -> None:
        """Check the origin, the method and the token; respond with the first error."""
        try:
            allow_origin(self, self.gateway.origin_rule)
            if self.request.method == "OPTIONS":  # a preflight request, which has no token
                return
            if self.request.method not in self.methods:
                raise self._wrong_method()
            self.principal = self._verified()
        except ExplainedError as error:
            self.write_fault(RequestError(error.status_code, error.code, error.text))
        except RequestError as error:
            self.write_fault(error)

    def options(self) -> None:
        """Respond to a preflight request."""
        answer_preflight(self)

    def _verified(self) -> Principal:
        """Return the principal of the token.

        Raises `RequestError` 429, 401 or 503, as a socket would be closed.
        """
        gateway = self.gateway
        address = client_key(gateway.trusted_proxies.client(self.request))
        try:
            token = credentials.token(self.request)
            if gateway.failed_auth.blocks(address) and not gateway.token_verifier.is_known(token):
                raise SocketRejected(SLOW_DOWN)
            try:
                return gateway.token_verifier.verify(token)
            except SocketRejected as rejection:
                if rejection.close is not KEYS_UNAVAILABLE:
                    gateway.failed_auth.add(address)
                raise
        except SocketRejected as rejection:
            word = rejection.close.word
            if rejection.close is SLOW_DOWN:
                raise RequestError(429, word, "too many wrong tokens from this address; wait") from None
            if rejection.close is KEYS_UNAVAILABLE:
                raise RequestError(503, word, "the keys that verify tokens cannot be fetched now") from None
            if rejection.close is FORBIDDEN:
                raise RequestError(403, word, "the token may not do this") from None
            raise RequestError(401, word, "send a valid token in Authorization: Bearer or ?token=") from None

    def reader(self, *, broadcasts: bool) -> Reader:
        """Return what the token may read."""
        assert self.principal is not None
        return Reader(self.principal.user_id, self.principal.tenant_id, broadcasts=broadcasts)


def unavailable(failure: InboxUnavailable) -> RequestError:
    """Return the error for an inbox that cannot be used now."""
    return RequestError(503, "inbox_unavailable", f"the inbox cannot be used now ({failure.reason}); try again later")


class InboxHandler(ReaderHandler):
    """``GET /inbox``: the frames that a socket would get."""

    methods = ("GET", "HEAD")

    async def get(self) -> None:
        """Respond with the frames after a position, oldest first."""
        try:
            self.write_text(200, await self._answer())
        except InboxUnavailable as failure:
            self.write_fault(unavailable(failure))
        except RequestError as error:
            self.write_fault(error)

    head = get

    async def _answer(self) -> bytes:
        limit = self._number("limit", LIMIT_DEFAULT, low=1, high=LIMIT_MAX)
        wait_s = self._number("wait_s", 0, low=0, high=WAIT_MAX_S)
        since = self.query_text("since", "0")
        position = parse_position(since)
        body, found = await self._read(position, limit)
        return body if found or not wait_s else await self._wait(position, limit, wait_s)

    @property
    def _reader(self) -> Reader:
        return self.reader(broadcasts=self.query_text("broadcasts") == "1")

    async def _wait(self, position: Position | None, limit: int, wait_s: int) -> bytes:
        """Return the answer when there is a frame, or after the time.

        Raises `RequestError` if the token has ended meanwhile, its user was disconnected, or too many wait.
        """
        wakeups, reader = self.inbox.wakeups, self._reader
        channels = [*row_channels(reader), *change_channels(reader)]
        if not wakeups.has_place(channels):
            raise RequestError(503, "busy", "too many requests wait already; ask again without wait_s")
        loop = asyncio.get_running_loop()
        end_s = loop.time() + wait_s
        with wakeups.watch(channels) as wake, self.waiting(self.principal, wake.set) as waiting:
            while True:
                wake.clear()
                body, found = await self._read(position, limit)
                self.principal = self._verified()  # it may have ended while this waited and read
                if waiting.end is End.DISCONNECTED:
                    raise RequestError(503, "disconnected", "this user was disconnected; ask again")
                if found or waiting.end is not None or loop.time() >= end_s:
                    return body
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(wake.wait(), end_s - loop.time())

    def _number(self, name: str, default: int, *, low: int, high: int) -> int:
        text = self.query_text(name, str(default))
        if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
            raise invalid_fields({name: f"a number from {low} to {high:,}"})
        return int(text)

    async def _read(self, position: Position | None, limit: int) -> tuple[bytes, int]:
        """Return the JSON text of the answer, and the number of its frames."""
        store, reader = self.inbox.store, self._reader
        resumed = await store.resume(reader, position, capped=False)
        texts: list[bytes] = []
        pages: list[Page] = []
        after_seq = resumed.from_seq
        size = 0
        while len(texts) < limit and size < ANSWER_MAX_BYTES:
            await store.replay(reader, resumed, after_seq=after_seq, then=pages.append, limit=limit - len(texts))
            page = pages[-1]
            texts += page.texts
            size += sum(map(len, page.texts))
            if page.texts:
                after_seq = page.last_seq
            if page.is_last:
                break
        more = not pages[-1].is_last
        head = orjson.dumps(
            {
                "epoch": resumed.epoch,
                "from": resumed.from_seq,
                "to": after_seq if more else max(after_seq, resumed.to_seq),
                "gap": resumed.gap,
                "unread": resumed.unread,
                "more": more,
            }
        )
        return b'%b,"frames":[%b]}' % (head[:-1], b",".join(texts)), len(texts)


class AckRequest(RequestModel):
    """The body of ``POST /ack``."""

    notification_id: (
        Annotated[str, StringConstraints(strict=True, min_length=1, max_length=NOTIFICATION_ID_MAX_CHARS)] | None
    ) = None
    upto: Annotated[StrictInt, Field(ge=0, le=SEQ_MAX)] | None = None
    epoch: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=32)] | None = None


class AckHandler(JsonBodyHandler, ReaderHandler):
    """``POST /ack``: acknowledge one notification, or all up to a number."""

    methods = ("POST",)

    async def post(self) -> None:
        """Respond with the number of rows after the commit."""
        try:
            self.principal = self._verified()  # again: the body may have taken its time
            acked = await self._ack(AckRequest.from_json(self.json()))
        except InboxUnavailable as failure:
            self.write_fault(unavailable(failure))
        except RequestError as error:
            self.write_fault(error)
        else:
            self.write_json(200, {"status": "success", "acked": acked})

    async def _ack(self, request: AckRequest) -> int:
        if (request.notification_id is None) == (request.upto is None):
            raise invalid_fields({"notification_id": "give exactly one of notification_id and upto"})
        if (request.upto is None) != (request.epoch is None):
            raise invalid_fields({"epoch": "give it with upto, and only with it"})
        reader = self.reader(broadcasts=True)
        if request.notification_id is not None:
            return await self.inbox.read_state.ack(reader, request.notification_id)
        assert request.upto is not None
        if request.epoch != self.inbox.store.epoch:
            return 0
        return await self.inbox.read_state.ack_upto(reader, request.upto)
