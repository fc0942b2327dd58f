"""Error responses of pages, files and probes.

Every 405 has ``Allow``; the body is JSON unless the client asks for a page. `rejection` is for requests that no handler
has seen.
"""

import time
from html import escape
from http import HTTPStatus
from types import TracebackType
from typing import Any

import orjson
from tornado.httputil import HTTPServerRequest, format_timestamp
from tornado.web import HTTPError, RequestHandler

from hermes.errors import RequestError
from hermes.web.http.handler import ExplainedError, HttpHandler

_CODES = {404: "not_found", 405: "method_not_allowed"}
_TEXTS = {
    404: "Hermes has nothing at this path",
    426: "this address is for WebSockets: connect with ws:// or wss://; if you do, the proxy must pass on the headers "
    "Upgrade and Connection, and the version must be 13",
}

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{status} {phrase}</title>
<h1>{status} {phrase}</h1>
<p>{text}.</p>
<p><a href="{console}">Open the console</a></p>
</html>
"""

DEPTH_MAX = 32  # of a path for which the way up to the console is written


class HttpErrors(HttpHandler):
    """Error responses of a handler for pages, files and probes.

    The JSON form is ``{"status":"error","error":{"code":…,"message":…}}``.
    """

    error_reason = ""  # of an `HTTPError`, for the line of the access log

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave an `HTTPError` to the access log.

        That has one line for each failed request.
        """
        if isinstance(value, HTTPError):
            self.error_reason = value.get_message() or ""
        else:
            super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Finish with the form of the error that the client accepts."""
        if status_code == 405 and not allowed_methods(type(self)):  # a strange method for a path that does not exist
            status_code = 404
            self.set_status(404)
        phrase = HTTPStatus(status_code).phrase
        code = _CODES.get(status_code, phrase.lower().replace(" ", "_"))
        text = _TEXTS.get(status_code, phrase)
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, ExplainedError):
            code, text = error.code, error.text
        if status_code == 405:
            allowed = ", ".join(allowed_methods(type(self)))
            self.set_header("Allow", allowed)  # RFC 9110 §15.5.6
            text = f"use {allowed.replace(', ', ' or ')}"
        if wants_page(self.request):
            self.set_header("Content-Type", "text/html; charset=utf-8")
            console = escape(console_path(self.request.path))
            self.finish(PAGE.format(status=status_code, phrase=phrase, text=escape(text), console=console))
            return
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps({"status": "error", "error": {"code": code, "message": text}}))


class NotFoundHandler(HttpErrors):
    """Every path that Hermes does not serve."""

    def prepare(self) -> None:
        """Respond with 404, whatever the method."""
        self.set_status(404)
        self.write_error(404)


def allowed_methods(handler: type[RequestHandler]) -> list[str]:
    """Return the methods that a handler implements."""
    missing = RequestHandler._unimplemented_method
    return [name for name in RequestHandler.SUPPORTED_METHODS if getattr(handler, name.lower()) is not missing]


def console_path(path: str) -> str:
    """Return the way from a page at this path to the console.

    It is relative, because a proxy may serve Hermes below a prefix.
    """
    depth = path.count("/") - 1
    return "../" * depth if 0 < depth <= DEPTH_MAX else "./"


def wants_page(request: HTTPServerRequest) -> bool:
    """Return whether the client names HTML and not JSON, as browsers do.

    ``*/*`` also accepts JSON (RFC 9110 §12.5.1).
    """
    accepted = request.headers.get("Accept", "").lower()
    return "text/html" in accepted and "application/json" not in accepted


def rejection(error: RequestError, *, with_body: bool) -> bytes:
    """Return the response to a request that no handler has seen.

    The connection ends after it.
    """
    body = orjson.dumps({"status": "error", "sent": False, "error": {"code": error.code, "message": error.message}})
    lines = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"Date: {format_timestamp(time.time())}",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + (body if with_body else b"")
