"""``POST /notify``: check the request, then publish its notifications.

The checks are, in order: method, key, content type, size, JSON, fields. A request that is rejected early is answered
when its body has arrived: a client that is still sending would get a connection reset instead of the response.
"""

import re
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.web import stream_request_body

from hermes.delivery.hub import Receipt
from hermes.delivery.messages import parse_notification
from hermes.errors import RequestError
from hermes.web import raw_json
from hermes.web.api_handler import ApiHandler, authorize, check_content_type, error_body
from hermes.web.gateway_parts import GatewayParts
from hermes.web.request_body import BoundedBody, parse_json

SINGLE_MAX_BYTES = 65_536
ARRAY_MAX_BYTES = 1_048_576
ARRAY_MAX_ELEMENTS = 1_000
DISCARD_MAX_BYTES = 16 * 1_048_576  # a longer body ends the connection

_IDS = ("user_id", "tenant_id")
_INTEGER = re.compile(r"-?\d+")


@stream_request_body
class NotifyHandler(ApiHandler):
    """Publish one notification or an array; report whether an open socket took each.

    The body is read in pieces, so that its memory never exceeds the limit, whatever a client sends.
    """

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        self._gateway = gateway
        self._body = BoundedBody(ARRAY_MAX_BYTES)
        self._error: RequestError | None = None

    def prepare(self) -> None:
        """Check the headers before the body arrives.

        The body of a rejected request is discarded.
        """
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)
        connection.set_max_body_size(DISCARD_MAX_BYTES)
        try:
            self._check_headers()
        except RequestError as error:
            self._error = error
            self._body.discard()

    def _check_headers(self) -> None:
        self.check_method()
        authorize(self.request, self._gateway)
        check_content_type(self.request)

    def data_received(self, chunk: bytes) -> None:
        """Store one chunk of the body."""
        self._body.add(chunk)

    async def post(self) -> None:
        """Respond with 200 and the results, or with the first error found."""
        try:
            if self._error is not None:
                raise self._error
            results = await self._publish_all(self._checked_body())
        except RequestError as error:
            self.write_fault(error)
        else:
            self._gateway.metrics.notify_accepted.inc()
            self.write_json(200, results)

    get = ApiHandler.other_method

    def _checked_body(self) -> bytes:
        body = self._body.content()
        single = not body.lstrip(b" \t\r\n").startswith(b"[")
        if self._body.too_large or (single and len(body) > SINGLE_MAX_BYTES):
            raise RequestError(413, "too_large", f"at most {SINGLE_MAX_BYTES} bytes, or {ARRAY_MAX_BYTES} for an array")
        return body

    async def _publish_all(self, body: bytes) -> dict[str, Any]:
        value = _parse(body)
        if isinstance(value, list):
            outcomes = [self._try_publish(*element) for element in _elements(value, body)]
            await self._gateway.hub.flushed()
            return {"status": "success", "results": [_result_of(outcome) for outcome in outcomes]}
        outcome = self._publish(*_with_source_text(value, body))
        await self._gateway.hub.flushed()
        return _result_of(outcome)

    def _publish(self, value: object, data: bytes | None) -> "_Published":
        message = parse_notification(value, data=data)
        return message.id, self._gateway.hub.publish(message)

    def _try_publish(self, value: object, data: bytes | None) -> "_Published | RequestError":
        try:
            return self._publish(value, data)
        except RequestError as error:
            return error

    def count_error(self, error: RequestError) -> None:
        """Count the response by its status."""
        self._gateway.metrics.notify_requests.labels(str(error.status)).inc()


_Published = tuple[str, Receipt]


def _result_of(outcome: _Published | RequestError) -> dict[str, Any]:
    if isinstance(outcome, RequestError):
        return error_body(outcome)
    notification_id, receipt = outcome
    return {"status": "success", "sent": receipt.sockets > 0, "id": notification_id}


def _parse(body: bytes) -> object:
    value = parse_json(body)
    if isinstance(value, list) and not 1 <= len(value) <= ARRAY_MAX_ELEMENTS:
        raise RequestError(
            422, "invalid", f"an array must have 1 to {ARRAY_MAX_ELEMENTS} notifications, not {len(value)}"
        )
    return value


def _elements(values: list[object], body: bytes) -> list[tuple[object, bytes | None]]:
    if not any(map(_needs_source_text, values)):
        return [(value, None) for value in values]
    texts = raw_json.elements(body.decode())
    return [_with_source_text(value, text.encode()) for value, text in zip(values, texts, strict=True)]


def _needs_source_text(value: object) -> bool:
    return isinstance(value, dict) and (
        "data" in value or isinstance(value.get("user_id"), float) or isinstance(value.get("tenant_id"), float)
    )


def _with_source_text(value: object, source: bytes) -> tuple[object, bytes | None]:
    """Return the value with its ids as written, and the JSON text of its ``data``.

    orjson makes a float of an integer of more than 64 bits; an id may have any number of digits.
    """
    if not isinstance(value, dict) or not _needs_source_text(value):
        return value, None
    texts = raw_json.members(source.decode())
    ids = {name: texts[name] for name in _IDS if name in texts and _INTEGER.fullmatch(texts[name])}
    return value | ids, texts["data"].encode() if "data" in texts else None
