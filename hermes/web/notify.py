"""``POST /notify``: check the request, then publish its notifications.

The checks are, in order: method, key, scope, content type, size, JSON, fields, tenant. A request that is rejected early
is answered when its body has arrived: a client that is still sending would get a connection reset instead of the
response. Only a request without a valid key is answered at once.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
from tornado.web import stream_request_body

from hermes.auth.api_keys import Scope
from hermes.delivery.hub import Receipt
from hermes.delivery.messages import (
    Broadcast,
    Notification,
    NotificationRequest,
    StoreOptions,
    data_too_deep,
    parse_notification,
    parse_stored_notification,
)
from hermes.delivery.request_model import invalid_fields
from hermes.errors import RequestError
from hermes.ids import TenantId
from hermes.inbox.parts import InboxParts
from hermes.inbox.read_state import AckWaiter
from hermes.inbox.sender import Sent, digest_of
from hermes.json_nesting import CHECK_MAX_DEPTH
from hermes.web import raw_json
from hermes.web.api.idempotency import HEADER, idempotency_key, with_key
from hermes.web.api_handler import ApiHandler, check_content_type, error_body
from hermes.web.gateway_parts import GatewayParts
from hermes.web.inbox.sender_api import withdraw
from hermes.web.request_body import BoundedBody, answers_early, check_body, set_body_max

SINGLE_MAX_BYTES = 65_536
ARRAY_MAX_BYTES = 1_048_576
SLICE_MAX_ELEMENTS = 100  # of an array, published in one iteration of the loop
SLICE_MAX_BYTES = 65_536
DISCARD_MAX_BYTES = 16 * 1_048_576  # a longer body ends the connection

WAIT_DEFAULT_S = 20  # of ?wait=acked
WAIT_MAX_S = 60
PARSED_MAX_BYTES = 4_096  # the fastest way for most notifications

_IDS = ("user_id", "tenant_id")
_INTEGER = re.compile(rb"-?[0-9]+")
_NAMES = tuple(NotificationRequest.model_fields)
_SPLITTER = raw_json.MemberSplitter(_NAMES)


@stream_request_body
class NotifyHandler(ApiHandler):
    """Publish one notification or an array; report whether an open socket took each.

    The body is read in pieces, so that its memory never exceeds the limit, whatever a client sends.
    """

    scope = Scope.NOTIFY

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        super().initialize(gateway)
        self._work = gateway.metrics.work["notify"]
        self._body = BoundedBody(ARRAY_MAX_BYTES)
        self._error: RequestError | None = None
        if gateway.inbox is not None:
            self.methods = ("POST", "DELETE")
        self._tenant_id: TenantId | None = None  # to which the caller is bound

    def prepare(self) -> None:
        """Check the headers before the body arrives.

        The body of a rejected request is discarded.
        """
        set_body_max(self.request, DISCARD_MAX_BYTES)
        try:
            self._check_headers()
        except RequestError as error:
            self._body.discard()
            if error.status in (401, 429) and answers_early(self.request):
                self.set_header("Connection", "close")
                self.write_fault(error)
            else:
                self._error = error.with_traceback(None)  # which refers to this handler

    def _check_headers(self) -> None:
        self._tenant_id = self.check_caller().tenant_id
        if self.request.method == "POST":
            check_content_type(self.request)

    def data_received(self, chunk: bytes) -> None:
        """Store one chunk of the body."""
        self._body.add(chunk)

    async def post(self) -> None:
        """Respond with 200 and the results, or with the first error found."""
        try:
            error, self._error = self._error, None
            if error is not None:
                raise error
            self._tenant_id = self.check_caller_again().tenant_id
            results = await self._publish_all(self._checked_body())
        except RequestError as error:
            self.write_fault(error)
        else:
            self.gateway.metrics.notify_accepted.inc()
            self.write_json(200, results)

    get = head = put = patch = options = post  # `prepare` has refused them

    async def delete(self) -> None:
        """Withdraw a notification, if there is an inbox."""
        try:
            error, self._error = self._error, None
            if error is not None:
                raise error
            self.check_caller_again()
        except RequestError as refused:
            self.write_fault(refused)
        else:
            assert self.gateway.inbox is not None  # otherwise `prepare` has refused it
            await withdraw(self, self.gateway.inbox, None)

    def _checked_body(self) -> bytes:
        body = self._body.content()
        single = not body.lstrip(b" \t\r\n").startswith(b"[")
        if self._body.too_large or (single and len(body) > SINGLE_MAX_BYTES):
            raise RequestError(413, "too_large", f"at most {SINGLE_MAX_BYTES} bytes, or {ARRAY_MAX_BYTES} for an array")
        return body

    async def _publish_all(self, body: bytes) -> dict[str, Any]:
        with self._work:
            self._work.detail = f"a body of {len(body)} bytes"
            if not check_body(body, max_depth=CHECK_MAX_DEPTH):
                raise data_too_deep()
        text = body.strip(b" \t\r\n")
        key = idempotency_key(self.request)
        if self.gateway.inbox is None and "wait" in self.request.query_arguments:
            raise invalid_fields({"wait": "needs --inbox"})
        if text.startswith(b"["):
            if key is not None:
                raise invalid_fields({HEADER: "for a single notification only"})
            return await self._publish_array(text)
        if self.gateway.inbox is not None:
            return await self._store(self.gateway.inbox, text, key=key, waits=self._waits)
        if key is not None:
            return await self._publish_once(text, key)
        with self._work:
            outcome = self._publish(text)
        await self.gateway.bus.flushed((outcome[1],))
        return _result_of(outcome)

    async def _publish_once(self, text: bytes, key: str) -> dict[str, Any]:
        """Publish a notification unless its key was used before."""
        value, data = _fields(text)
        message = parse_notification(with_key(value, key), data=data)
        self._check_tenant(message)

        async def publish() -> dict[str, Any]:
            receipt = self.gateway.bus.publish(message, only_tenant=self._tenant_id)
            await self.gateway.bus.flushed((receipt,))
            return _result_of((message.id, receipt))

        recipient = message.user_id if isinstance(message, Notification) else message.tenant_id
        name = (message.kind, recipient, self._tenant_id or "", message.id)
        return await self.gateway.recent_answers.answer(name, digest_of(message, StoreOptions()), publish)

    async def _publish_array(self, text: bytes) -> dict[str, Any]:
        """Publish the elements of an array, in order.

        Between slices of them, the loop does other work.
        """
        with self._work:
            texts = raw_json.elements(text)
        if not 1 <= len(texts) <= raw_json.ELEMENTS_MAX:
            raise RequestError(422, "invalid", f"an array must have 1 to {raw_json.ELEMENTS_MAX} notifications")
        outcomes: list[_Published | RequestError] = []
        inbox = self.gateway.inbox
        if inbox is not None:
            if self._waits is not None:
                raise invalid_fields({"wait": "for one notification to a user only"})
            return {"status": "success", "results": await self._store_all(inbox, texts)}
        for part in _slices(texts):
            await asyncio.sleep(0)
            with self._work:
                self._work.detail = f"{len(part)} elements of an array"
                outcomes += [self._try_publish(element) for element in part]
        await self.gateway.bus.flushed([outcome[1] for outcome in outcomes if not isinstance(outcome, RequestError)])
        return {"status": "success", "results": [_result_of(outcome) for outcome in outcomes]}

    async def _store_all(self, inbox: InboxParts, texts: Sequence[bytes]) -> list[dict[str, Any]]:
        """Store and publish the elements of an array, in order.

        Those of one slice are in one commit.
        """
        results: list[dict[str, Any]] = []
        for part in _slices(texts):
            results += await asyncio.gather(*(self._try_store(inbox, text) for text in part))
        return results

    async def _try_store(self, inbox: InboxParts, text: bytes) -> dict[str, Any]:
        try:
            return await self._store(inbox, text)
        except RequestError as error:
            return error_body(error)

    @property
    def _waits(self) -> float | None:
        """The seconds of ``?wait=acked&timeout_s=``; None without."""
        if "wait" not in self.request.query_arguments:
            return None
        wait = self.query_text("wait")
        if wait != "acked":
            raise invalid_fields({"wait": "the only value is acked"})
        text = self.query_text("timeout_s", str(WAIT_DEFAULT_S))
        if not re.fullmatch(r"[0-9]{1,2}", text, re.ASCII) or not 1 <= int(text) <= WAIT_MAX_S:
            raise invalid_fields({"timeout_s": f"a number from 1 to {WAIT_MAX_S}"})
        return int(text)

    async def _store(
        self, inbox: InboxParts, text: bytes, *, key: str | None = None, waits: float | None = None
    ) -> dict[str, Any]:
        with self._work:
            value, data = _fields(text)
            message, options = parse_stored_notification(with_key(value, key), data=data)
            if waits is not None and not isinstance(message, Notification):
                raise invalid_fields({"wait": "for one notification to a user only"})
            self._check_tenant(message)
        name = "" if self.caller is None else self.caller.name
        if waits is None or isinstance(message, Broadcast):
            return sent_body(await inbox.sender.send(message, options, only_tenant=self._tenant_id, sender=name))
        with (
            inbox.read_state.waiter(message.user_id, message.id, self._tenant_id) as waiter,
            self.waiting(None, waiter.give_up),
        ):
            sent = await inbox.sender.send(message, options, only_tenant=self._tenant_id, sender=name)
            return sent_body(sent) | await self._acked(waiter, sent, waits)

    async def _acked(self, waiter: AckWaiter, sent: Sent, timeout_s: float) -> dict[str, Any]:
        """Wait for the first acknowledgement; return its part of the answer."""
        waiter.seq = sent.seq
        acked_ms = sent.acked_ms  # of a duplicate: it may have come before
        if acked_ms is None and sent.seq is not None:
            await asyncio.wait((waiter.future,), timeout=timeout_s)
            acked_ms = waiter.future.result() if waiter.future.done() else None
        return {"acked": acked_ms is not None, "acked_at": acked_ms}

    def _check_tenant(self, message: Notification | Broadcast) -> None:
        """Raise `RequestError` 403 for a broadcast to another tenant.

        The caller may be bound to one.
        """
        if self._tenant_id is not None and isinstance(message, Broadcast) and message.tenant_id != self._tenant_id:
            raise RequestError(403, "forbidden", "this key may send to its own tenant only")

    def _publish(self, text: bytes) -> "_Published":
        value, data = _fields(text)
        message = parse_notification(value, data=data)
        tenant_id = self._tenant_id
        if tenant_id is None:
            return message.id, self.gateway.bus.publish(message)
        self._check_tenant(message)
        return message.id, self.gateway.bus.publish(message, only_tenant=tenant_id)

    def _try_publish(self, text: bytes) -> "_Published | RequestError":
        try:
            return self._publish(text)
        except RequestError as error:
            error.__context__ = None
            return error.with_traceback(None)  # 1,000 of them would keep everything that their frames refer to

    def count_error(self, error: RequestError) -> None:
        """Count the response by its status."""
        self.gateway.metrics.notify_requests.labels(str(error.status)).inc()


_Published = tuple[str, Receipt]


def sent_body(sent: Sent) -> dict[str, Any]:
    """Return the answer for a notification that was stored, or was to be."""
    body: dict[str, Any] = {
        "status": "success",
        "sent": sent.sockets > 0,
        "id": sent.id,
        "stored": sent.seq is not None,
    }
    if sent.seq is not None:
        body["seq"] = sent.seq
    if sent.reason is not None:
        body["reason"] = sent.reason
    if sent.replaced is not None:
        body["replaced"] = sent.replaced
    if sent.duplicate:
        body["duplicate"] = True
    if sent.uncertain is not None:
        body["uncertain"] = sent.uncertain
    return body


def _result_of(outcome: _Published | RequestError) -> dict[str, Any]:
    if isinstance(outcome, RequestError):
        return error_body(outcome)
    notification_id, receipt = outcome
    body: dict[str, Any] = {"status": "success", "sent": receipt.sockets > 0, "id": notification_id}
    if receipt.uncertain is not None:
        body["uncertain"] = receipt.uncertain
    return body


def _slices(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Divide the elements, in order, by number and size."""
    part: list[bytes] = []
    size = 0
    for text in texts:
        if part and (len(part) == SLICE_MAX_ELEMENTS or size + len(text) > SLICE_MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    yield part


def _fields(text: bytes) -> tuple[object, bytes | None]:
    """Return the value for `parse_notification`, and the text of its ``data``."""
    if len(text) <= PARSED_MAX_BYTES and _is_complete(value := orjson.loads(text)):
        return value, None
    if not text.startswith(b"{"):
        return None, None
    try:
        members = _SPLITTER.members(text)
    except ValueError as error:
        raise RequestError(422, "invalid", str(error)) from None
    return {name: _field(name, member) for name, member in members.items()}, members.get("data")


def _is_complete(value: object) -> bool:
    """Return whether the text of a parsed value is not needed.

    It is needed for ``data``, and for an id of more than 64 bits.
    """
    return isinstance(value, dict) and not (
        "data" in value or isinstance(value.get("user_id"), float) or isinstance(value.get("tenant_id"), float)
    )


def _field(name: str, text: bytes) -> object:
    """Return the value of one field.

    That of an unknown one is not read. Arrays and objects are returned empty: ``data`` is passed on as text, and no
    other field may be one. An id may have any number of digits; orjson makes a float of an integer of more than 64
    bits.
    """
    if name not in _NAMES:
        return None
    if text.startswith(b"["):
        return []
    if text.startswith(b"{"):
        return {}
    value: object = orjson.loads(text)
    return text.decode() if isinstance(value, float) and name in _IDS and _INTEGER.fullmatch(text) else value
