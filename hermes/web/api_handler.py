"""Common behaviour of the JSON endpoints: method, key, content type, errors."""

import math
from typing import Any

import orjson
from tornado.httputil import HTTPServerRequest

from hermes.errors import RequestError
from hermes.quotas.addresses import client_key
from hermes.quotas.failed_auth import WINDOW_S
from hermes.settings.fields import is_loopback
from hermes.web import credentials
from hermes.web.gateway_parts import GatewayParts
from hermes.web.http.handler import HttpHandler

JSON = "application/json"
_FORWARDING = ("Forwarded", "X-Real-Ip", "Via")  # as Tornado capitalises them; and every X-Forwarded-*


class ApiHandler(HttpHandler):
    """Accept one method and respond with JSON, also to errors.

    A subclass for GET sets ``methods``, and `other_method` as its ``post``.
    """

    methods: tuple[str, ...] = ("POST",)

    def check_method(self) -> None:
        """Raise `RequestError` 405 for any other method."""
        if self.request.method not in self.methods:
            raise self._wrong_method()

    def _wrong_method(self) -> RequestError:
        return RequestError(405, "method_not_allowed", f"use {' or '.join(self.methods)}")

    async def other_method(self) -> None:
        """Respond with 405."""
        self.write_fault(self._wrong_method())

    head = put = delete = patch = options = other_method

    def write_json(self, status: int, body: dict[str, Any]) -> None:
        """Finish the response with this JSON."""
        self.set_status(status)
        self.set_header("Content-Type", JSON)
        self.finish(orjson.dumps(body))

    def write_fault(self, error: RequestError) -> None:
        """Finish the response with this error."""
        self.count_error(error)
        if error.status == 405:
            self.set_header("Allow", ", ".join(self.methods))
        if error.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if error.status == 429:
            self.set_header("Retry-After", str(math.ceil(WINDOW_S)))
        self.write_json(error.status, error_body(error))

    def count_error(self, error: RequestError) -> None:
        """Count the response; for subclasses that have a metric."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Finish the response with an unexpected error, in the form of every other."""
        if status_code == 405:  # a method that Tornado does not know
            self.write_fault(self._wrong_method())
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


def authorize(request: HTTPServerRequest, gateway: GatewayParts) -> None:
    """Raise `RequestError` 401 unless the request has a valid key.

    After many wrong ones of its address it is 429. If no key is configured, a client on this machine is accepted,
    unless the request is from a web page of another origin or from a proxy.
    """
    if gateway.api_keys:
        offered = request.headers.get("X-API-Key") or credentials.bearer(request)
        if offered is not None and gateway.api_keys.accepts(offered):
            return
        address = client_key(gateway.trusted_proxies.client(request))
        if offered is not None and gateway.failed_auth.blocks(address):
            gateway.failed_auth.count_unchecked(address)
            raise RequestError(429, "slow_down", "too many wrong keys from this address; wait and send a valid one")
        if offered is not None:
            gateway.failed_auth.add(address)
        raise RequestError(401, "unauthorized", "send a valid key in X-API-Key or Authorization: Bearer")
    if (reason := _reason_to_reject(request)) is not None:
        raise RequestError(401, "unauthorized", f"{reason}; configure --api-key-file and send a key")


def _reason_to_reject(request: HTTPServerRequest) -> str | None:
    """Return why a request is rejected if no key is configured; None if it is not.

    A loopback ``Host`` protects against DNS rebinding, the origin against other pages.
    """
    if not is_loopback(request.remote_ip):
        return "without keys, only clients on this machine are accepted"
    if not is_loopback(request.host_name):
        return "without keys, the Host header must be a loopback address"
    forwarding = [name for name in request.headers if name.startswith("X-Forwarded-") or name in _FORWARDING]
    if forwarding:
        return f"without keys, requests from a proxy are rejected ({forwarding[0]})"
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != request.host.lower():
        return "without keys, requests from pages of other origins are rejected"
    return None
