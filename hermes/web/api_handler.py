"""Common behaviour of the JSON endpoints: method, key, content type, errors."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from hermes.auth.api_keys import Caller, Scope
from hermes.auth.principal import Principal
from hermes.delivery.request_model import invalid_fields
from hermes.errors import KEYS_UNAVAILABLE, RequestError
from hermes.quotas.addresses import client_key
from hermes.quotas.failed_auth import WINDOW_S
from hermes.web.api.callers import check_scope, find_caller, unauthorized
from hermes.web.gateway_parts import GatewayParts
from hermes.web.http.handler import ExplainedError, HttpHandler
from hermes.web.sockets.waiting import End, WaitingRequest

JSON = "application/json"


class ApiHandler(HttpHandler):
    """Accept callers with a scope, and respond with JSON, also to errors.

    ``caller`` is who sent the request. A subclass sets its ``methods``, the ``scope`` that they need, and with
    ``accepts_local`` whether a client on this machine needs no key.
    """

    methods: tuple[str, ...] = ("POST",)
    scope: Scope | None = None
    accepts_local = False
    caller: Caller | None = None
    _waiting: WaitingRequest | None = None
    _keys_version = 0  # with which the caller was found

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        self.gateway = gateway

    def prepare(self) -> None:
        """Check the caller and the method; respond with the first error."""
        try:
            self.check_caller()
        except RequestError as error:
            self.write_fault(error)

    def check_caller(self) -> Caller:
        """Return the caller. Raises `RequestError` 429, 405, 401 or 403, in this order."""
        self._keys_version = self.gateway.api_keys.version
        caller = self.caller = find_caller(self.request, self.gateway, local=self.accepts_local)
        if self.request.method not in self.methods:
            raise self._wrong_method()
        if caller is None:
            raise unauthorized(self.request, self.gateway)
        if self.scope is not None:
            check_scope(caller, self.scope)
        return caller

    @contextlib.contextmanager
    def waiting(self, principal: Principal | None, wake: Callable[[], None]) -> Iterator[WaitingRequest]:
        """Count the request among the sockets while it waits.

        Raises `RequestError` 503 ``busy``. ``wake`` is called when it must not wait any longer. ``principal`` is None
        for a sender.
        """
        address = client_key(self.gateway.trusted_proxies.client(self.request))
        with self.gateway.waiting.enter(principal, address, wake) as waiting:
            self._waiting = waiting
            try:
                yield waiting
            finally:
                self._waiting = None

    def on_connection_close(self) -> None:
        """End the wait of a client that has left."""
        super().on_connection_close()
        if self._waiting is not None:
            self._waiting.stop(End.LEFT)

    def check_caller_again(self) -> Caller:
        """Return the caller when the body has arrived.

        The keys may have been replaced meanwhile. Raises `RequestError` as `check_caller`.
        """
        if self._keys_version != self.gateway.api_keys.version or self.caller is None:
            return self.check_caller()
        return self.caller

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Return the text of a parameter.

        Raises `RequestError` 422 if it is not UTF-8; without a name it is a part of the path, and Tornado answers.
        """
        if name is None:
            return super().decode_argument(value, name)
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise invalid_fields({name: "not UTF-8"}) from None

    def query_text(self, name: str, default: str = "") -> str:
        """Return the last value of a query parameter exactly as it was sent.

        Tornado's own method replaces control characters and strips blanks, which an id may have. Raises `RequestError`
        as `decode_argument`.
        """
        values = self.request.query_arguments.get(name)
        return self.decode_argument(values[-1], name) if values else default

    def _wrong_method(self) -> RequestError:
        return RequestError(405, "method_not_allowed", f"use {' or '.join(self.methods)}")

    def write_json(self, status: int, body: dict[str, Any]) -> None:
        """Finish the response with this JSON."""
        self.write_text(status, orjson.dumps(body))

    def write_text(self, status: int, text: bytes) -> None:
        """Finish the response with this text of a JSON value."""
        self.set_status(status)
        self.set_header("Content-Type", JSON)
        self.finish(text)

    def write_fault(self, error: RequestError) -> None:
        """Finish the response with this error."""
        self.count_error(error)
        if error.status == 405:
            self.set_header("Allow", ", ".join(self.methods))
        if error.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if error.status == 429 or error.code == KEYS_UNAVAILABLE.word:
            self.set_header("Retry-After", str(math.ceil(WINDOW_S)))
        self.write_json(error.status, error_body(error))

    def count_error(self, error: RequestError) -> None:
        """Count the response; for subclasses that have a metric."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Finish the response with an unexpected error, in the form of every other."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, ExplainedError):
            self.write_fault(RequestError(status_code, error.code, error.text))
        elif status_code == 405:  # a method that Tornado does not know
            self.write_fault(self._wrong_method())
        elif isinstance(error, HTTPError) and status_code == 400:  # of Tornado
            self.write_fault(RequestError(400, "bad_request", "the path is not UTF-8"))
        else:
            self.write_fault(RequestError(status_code, "internal_error", "Hermes failed; its log has the traceback"))


def error_body(error: RequestError) -> dict[str, Any]:
    """Return the JSON form of an error."""
    fields: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.fields:
        fields["fields"] = error.fields
    return {"status": "error", "sent": False, "error": fields}


def check_content_type(request: HTTPServerRequest) -> None:
    """Raise `RequestError` 415 unless the body is JSON without a content encoding.

    A charset parameter must be UTF-8, the only charset of JSON (RFC 8259 §8.1).
    """
    given = request.headers.get("Content-Type", "")
    if given == JSON and "Content-Encoding" not in request.headers:
        return
    media_type, *parameters = [part.strip().lower() for part in given.split(";")]
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
    if media_type != JSON or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise RequestError(415, "unsupported_type", "send Content-Type: application/json in UTF-8")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RequestError(415, "unsupported_type", "send the body without Content-Encoding")
