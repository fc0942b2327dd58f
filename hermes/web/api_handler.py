"""Floor 3: what all doors that speak JSON have in common: who may call, which bodies are read, how a fault is said."""

from typing import Any

import orjson
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from hermes.auth.api_keys import ApiKeys
from hermes.errors import RequestError
from hermes.settings.fields import is_loopback
from hermes.web import credentials

JSON = "application/json"
_FORWARDING = ("Forwarded", "X-Real-Ip", "Via")  # as Tornado capitalises them; and every X-Forwarded-*


class ApiHandler(RequestHandler):
    """Takes one method and answers JSON, faults too. A door for GET says so by ``method``, and leaves `other_method`
    to POST.
    """

    method = "POST"

    def check_method(self) -> None:
        """Raise `RequestError` 405 for any other."""
        if self.request.method != self.method:
            raise self._wrong_method()

    def _wrong_method(self) -> RequestError:
        return RequestError(405, "method_not_allowed", f"use {self.method}")

    async def other_method(self) -> None:
        """Answer 405."""
        self.write_fault(self._wrong_method())

    head = put = delete = patch = options = other_method

    def write_json(self, status: int, answer: dict[str, Any]) -> None:
        """Finish with this JSON."""
        self.set_status(status)
        self.set_header("Content-Type", JSON)
        self.finish(orjson.dumps(answer))

    def write_fault(self, fault: RequestError) -> None:
        """Finish with a fault."""
        self.count_fault(fault)
        if fault.status == 405:
            self.set_header("Allow", self.method)
        if fault.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        self.write_json(fault.status, fault_answer(fault))

    def count_fault(self, fault: RequestError) -> None:
        """For doors that count their answers."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """What nobody foresaw, in the same form."""
        if status_code == 405:  # a method that Tornado does not know
            self.write_fault(self._wrong_method())
        else:
            self.write_fault(RequestError(status_code, "internal_error", "Hermes failed; its log says why"))


def fault_answer(fault: RequestError) -> dict[str, Any]:
    """The JSON form of a fault."""
    error: dict[str, Any] = {"code": fault.code, "message": fault.message}
    if fault.fields:
        error["fields"] = fault.fields
    return {"status": "error", "sent": False, "error": error}


def check_type(request: HTTPServerRequest) -> None:
    """``application/json``; a charset parameter may follow, UTF-8 is the only one there is (RFC 8259 §8.1)."""
    given = request.headers.get("Content-Type", "")
    if given == JSON and "Content-Encoding" not in request.headers:
        return
    media_type, *parameters = [part.strip().lower() for part in given.split(";")]
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
    if media_type != JSON or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise RequestError(415, "unsupported_type", "send Content-Type: application/json in UTF-8")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RequestError(415, "unsupported_type", "send the body without Content-Encoding")


def authorize(request: HTTPServerRequest, keys: ApiKeys) -> None:
    """A right key; or, where none is configured, a caller on this machine that no web page and no proxy stands for.

    Raises `RequestError` 401.
    """
    if keys:
        offered = request.headers.get("X-API-Key") or credentials.bearer(request)
        if offered is None or not keys.accepts(offered):
            raise RequestError(401, "unauthorized", "send a valid key in X-API-Key or Authorization: Bearer")
    elif (reason := _why_not_local(request)) is not None:
        raise RequestError(401, "unauthorized", f"{reason}; configure --api-key-file and send a key")


def _why_not_local(request: HTTPServerRequest) -> str | None:
    """Why a call without keys is refused. A loopback ``Host`` keeps out DNS rebinding, the origin other pages."""
    if not is_loopback(request.remote_ip):
        return "without keys only callers on this machine are let in"
    if not is_loopback(request.host_name):
        return "without keys the Host header must be a loopback address"
    forwarding = [name for name in request.headers if name.startswith("X-Forwarded-") or name in _FORWARDING]
    if forwarding:
        return f"without keys a proxy's requests are refused ({forwarding[0]})"
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != request.host.lower():
        return "without keys other origins' pages are refused"
    return None
