"""Headers of every response, also of errors and of the 101 of a WebSocket.

An output transform is the only place that sees them all: a handler's own headers are lost when it fails.
"""

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform


class ResponseHeaders(OutputTransform):
    """Set the headers of every response.

    Browsers must not guess the type; nothing is cached unless the handler allows it; the server is not named.
    """

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Complete the headers; the body is unchanged."""
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Cache-Control", "no-store")
        if "Server" in headers:
            del headers["Server"]
        return status_code, headers, chunk


class HstsHeaders(ResponseHeaders):
    """The same, and Strict-Transport-Security over TLS (RFC 6797 §7.2)."""

    def __init__(self, request: HTTPServerRequest, *, max_age_s: int) -> None:
        super().__init__(request)
        self._value = f"max-age={max_age_s}" if request.protocol == "https" else None

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Complete the headers; the body is unchanged."""
        if self._value is not None:
            headers["Strict-Transport-Security"] = self._value
        return super().transform_first_chunk(status_code, headers, chunk, finishing)
