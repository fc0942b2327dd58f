"""Floor 3: ``POST /notify``, the first steps of a notification's walk: method, key, type, size, JSON; then
`delivery.messages` makes the message and the hub delivers it.

A fault found early is answered only when the body has been read: a client that is still sending would otherwise
see a reset instead of the answer.
"""

import re
from typing import Any

import orjson
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.routing import PathMatches
from tornado.web import stream_request_body

from hermes.delivery.hub import Receipt
from hermes.delivery.messages import parse_notification
from hermes.errors import RequestError
from hermes.web import raw_json
from hermes.web.api_handler import JSON, ApiHandler, authorize, check_content_type, error_body
from hermes.web.gateway_parts import GatewayParts
from hermes.web.request_body import BoundedBody

SINGLE_MAX_BYTES = 65_536
ARRAY_MAX_BYTES = 1_048_576
ARRAY_MAX_ELEMENTS = 1_000
DISCARD_MAX_BYTES = 16 * 1_048_576  # beyond it the connection is cut

_TOO_DEEP = "nested too deeply: at most 1,024 arrays and objects in one another"
_ABOUT_NESTING = {  # what orjson says of nesting, by its version
    "depth limit": _TOO_DEEP,
    "Recursion limit": _TOO_DEEP,
    "allocate memory": "cut off, or nested too deeply",  # more brackets open than what is left could close
}
_IDS = ("user_id", "tenant_id")
_INTEGER = re.compile(r"-?\d+")
_SMALL = re.compile(r"[0-9]{1,5}")


class SmallJson(PathMatches):
    """The requests of a path whose body says that it is JSON and small: it can be read as a whole before the handler
    is made. That is nearly all of them, and costs a tenth less than reading it piece by piece.
    """

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """As its base class; None for bodies that are large, of unknown size, or something else."""
        headers = request.headers
        size = headers.get("Content-Length", "")
        if headers.get("Content-Type") != JSON or not _SMALL.fullmatch(size) or int(size) > SINGLE_MAX_BYTES:
            return None
        return super().match(request)


class NotifyHandler(ApiHandler):
    """Takes one notice or an array of them and says whether an open socket took each."""

    def initialize(self, gateway: GatewayParts) -> None:
        """Take the shared objects."""
        self._gateway = gateway
        self._fault: RequestError | None = None

    def prepare(self) -> None:
        """Look at the headers."""
        try:
            self._check_headers()
        except RequestError as fault:
            self._fault = fault

    def _check_headers(self) -> None:
        self.check_method()
        authorize(self.request, self._gateway.api_keys)
        check_content_type(self.request)

    async def post(self) -> None:
        """Answer: 200 with what was sent, or the first fault."""
        try:
            if self._fault is not None:
                raise self._fault
            answer = await self._deliver(self._checked_body())
        except RequestError as fault:
            self.write_fault(fault)
        else:
            self._gateway.metrics.notify_accepted.inc()
            self.write_json(200, answer)

    get = ApiHandler.other_method

    def _checked_body(self) -> bytes:
        return self.request.body

    async def _deliver(self, body: bytes) -> dict[str, Any]:
        value = _parsed(body)
        if isinstance(value, list):
            outcomes = [self._attempt(*element) for element in _elements(value, body)]
            await self._gateway.hub.flushed()
            return {"status": "success", "results": [_answer_to(outcome) for outcome in outcomes]}
        outcome = self._publish(*_as_written(value, body))
        await self._gateway.hub.flushed()
        return _answer_to(outcome)

    def _publish(self, value: object, data: bytes | None) -> "_Accepted":
        message = parse_notification(value, data=data)
        return message.id, self._gateway.hub.publish(message)

    def _attempt(self, value: object, data: bytes | None) -> "_Accepted | RequestError":
        try:
            return self._publish(value, data)
        except RequestError as fault:
            return fault

    def count_error(self, fault: RequestError) -> None:
        """By its status."""
        self._gateway.metrics.notify_requests.labels(str(fault.status)).inc()


@stream_request_body
class LargeNotifyHandler(NotifyHandler):
    """The same for bodies that are large, or of unknown size: memory never exceeds the limit, whatever is sent."""

    def initialize(self, gateway: GatewayParts) -> None:
        """Take the shared objects."""
        super().initialize(gateway)
        self._body = BoundedBody(ARRAY_MAX_BYTES)

    def prepare(self) -> None:
        """Look at the headers, before the body. Of a request that is refused already nothing is kept."""
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)
        connection.set_max_body_size(DISCARD_MAX_BYTES)
        super().prepare()
        if self._fault is not None:
            self._body.discard()

    def data_received(self, chunk: bytes) -> None:
        """One chunk of the body."""
        self._body.add(chunk)

    def _checked_body(self) -> bytes:
        body = self._body.content()
        single = not body.lstrip(b" \t\r\n").startswith(b"[")
        if self._body.too_large or (single and len(body) > SINGLE_MAX_BYTES):
            raise RequestError(413, "too_large", f"at most {SINGLE_MAX_BYTES} bytes, or {ARRAY_MAX_BYTES} for an array")
        return body


_Accepted = tuple[str, Receipt]


def _answer_to(outcome: _Accepted | RequestError) -> dict[str, Any]:
    if isinstance(outcome, RequestError):
        return error_body(outcome)
    notice_id, receipt = outcome
    return {"status": "success", "sent": receipt.sockets > 0, "id": notice_id}


def _parsed(body: bytes) -> object:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, "invalid_json", _why_not_json(error)) from None
    if isinstance(value, list) and not 1 <= len(value) <= ARRAY_MAX_ELEMENTS:
        raise RequestError(422, "invalid", f"an array holds 1 to {ARRAY_MAX_ELEMENTS} notices, not {len(value)}")
    return value


def _why_not_json(error: orjson.JSONDecodeError) -> str:
    words = next((words for sign, words in _ABOUT_NESTING.items() if sign in error.msg), None)
    return f"the body is not JSON: {error}" if words is None else f"the body is {words}"


def _elements(values: list[object], body: bytes) -> list[tuple[object, bytes | None]]:
    if not any(map(_needs_its_text, values)):
        return [(value, None) for value in values]
    texts = raw_json.elements(body.decode())
    return [_as_written(value, text.encode()) for value, text in zip(values, texts, strict=True)]


def _needs_its_text(value: object) -> bool:
    return isinstance(value, dict) and (
        "data" in value or isinstance(value.get("user_id"), float) or isinstance(value.get("tenant_id"), float)
    )


def _as_written(value: object, raw: bytes) -> tuple[object, bytes | None]:
    """The value with ids of any number of digits, which orjson makes floats past 64 bits, and its ``data``'s text."""
    if not isinstance(value, dict) or not _needs_its_text(value):
        return value, None
    texts = raw_json.members(raw.decode())
    ids = {name: texts[name] for name in _IDS if name in texts and _INTEGER.fullmatch(texts[name])}
    return value | ids, texts["data"].encode() if "data" in texts else None
