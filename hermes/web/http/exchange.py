"""One request and its response: what Tornado's handlers see as their connection."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.web import Application

from hermes.errors import RequestError
from hermes.web.http.request import ParsedRequest, Peer, ServerRequest

logger = logging.getLogger(__name__)

BODY_MAX_BYTES = 65_536  # of one request, unless its handler sets another limit
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
END_OF_CHUNKS = b"0\r\n\r\n"


class Link(Protocol):
    """What an exchange needs of its connection."""

    @property
    def may_stay_open(self) -> bool:
        """False if the connection ends after this response."""

    def send(self, data: bytes) -> "asyncio.Future[None]":
        """Send bytes; the future is done when the kernel has taken them."""

    def answered(self) -> None:
        """Go on: the response is complete."""

    def proceed(self) -> None:
        """Go on: the handler is ready for more of the body."""

    def reject(self, error: RequestError) -> None:
        """Respond with an error, and close."""

    def abort(self) -> None:
        """End the connection now."""

    def detach(self) -> IOStream:
        """Give the socket away."""


class Exchange(HTTPConnection):
    """Pass one request on to its handler, and the response back."""

    def __init__(self, parsed: ParsedRequest, link: Link, peer: Peer) -> None:
        self.context = peer
        self.parsed = parsed
        self.answered = False
        self._link = link
        self._body_max_bytes = BODY_MAX_BYTES
        self.body_bytes = 0
        self._delegate: HTTPMessageDelegate | None = None
        self._close_callback: Callable[[], None] | None = None
        self._expects_continue = False
        self.waits = False  # for the handler, which is not ready for more
        self._read = False  # all of the request
        self.headers_sent = False
        self._chunked = False
        self._unsent: int | None = None  # bytes of the response, if it has a Content-Length
        self._switches = False
        self.keep_alive = False

    # -- the request ------------------------------------------------------------------------------------------------

    def begin(self, application: Application) -> None:
        """Find the handler and pass the headers on."""
        parsed = self.parsed
        try:
            request = ServerRequest(parsed, self, self.context)
        except HTTPInputError as error:
            self._link.reject(RequestError(400, "bad_request", str(error)))
            return
        expected = request.headers.get("Expect", "").lower()  # RFC 9110 §10.1.1
        self._expects_continue = expected == "100-continue" and parsed.version == "HTTP/1.1"
        delegate = self._delegate = application.find_handler(request)
        self._wait_for(delegate.headers_received(request.start_line, request.headers))

    def _wait_for(self, ready: Awaitable[None] | None) -> None:
        if ready is None:
            return
        future = asyncio.ensure_future(ready)
        if not future.done():
            self.waits = True
            future.add_done_callback(self._is_ready)

    def _is_ready(self, future: "asyncio.Future[None]") -> None:
        self.waits = False
        if not future.cancelled() and future.exception() is not None:
            logger.error("a handler failed to take a request", exc_info=future.exception())
            self._link.abort()
        else:
            self._link.proceed()

    def receive(self) -> None:
        """Pass on what has arrived of the body."""
        parsed = self.parsed
        if self.waits or self._read or self._delegate is None:
            return
        if not self.answered and (parsed.length or 0) > self._body_max_bytes:
            self._link.reject(self._too_large())
            return
        if parsed.chunks:
            body = parsed.chunks[0] if len(parsed.chunks) == 1 else b"".join(parsed.chunks)
            parsed.chunks = []
            self.body_bytes += len(body)
            if not self.answered and self.body_bytes > self._body_max_bytes:
                self._link.reject(self._too_large())
                return
            if not self.answered:
                self._wait_for(self._delegate.data_received(body))
        if self.waits:
            return
        if parsed.complete:
            self._read = True
            if not self.answered:
                self._delegate.finish()
        elif self._expects_continue and not self.body_bytes and not self.headers_sent:
            self._expects_continue = False
            self._link.send(CONTINUE)

    def _too_large(self) -> RequestError:
        return RequestError(413, "too_large", f"the body has more than {self._body_max_bytes} bytes")

    def input_ended(self) -> None:
        """Report to a handler that waits: its client sends nothing more; may be repeated.

        Most such clients have closed. RFC 9112 §9.6 lets one still read, so the handler answers.
        """
        if self._read and not self.answered and self._close_callback is not None and not self.parsed.upgrade:
            self._close_callback()

    def lost(self) -> None:
        """Notify the handler that the connection has ended, unless it has answered."""
        delegate, self._delegate = self._delegate, None  # both refer to this object
        callback, self._close_callback = self._close_callback, None
        self._unsent = None  # a handler that stops writing is not at fault
        if self.answered:
            return
        if delegate is not None and not self._read:
            self._read = True
            delegate.on_connection_close()
        elif callback is not None:
            callback()

    # -- what handlers call -------------------------------------------------------------------------------------------

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Set what is called if the connection ends before the response is complete."""
        self._close_callback = callback

    def set_max_body_size(self, max_body_size: int) -> None:
        """Set the limit of this request's body in bytes."""
        self._body_max_bytes = max_body_size

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "asyncio.Future[None]":
        """Send the head of the response and the first part of its body."""
        assert isinstance(start_line, ResponseStartLine)
        status = start_line.code
        self.headers_sent = True
        self._switches = status == 101  # `detach` follows
        if not self._switches:
            self._set_framing(status, headers)
        try:
            head = _head(status, start_line.reason, headers)
        except HTTPOutputError:
            self._link.abort()
            raise
        return self._link.send(head + self._framed(chunk or b""))

    def _set_framing(self, status: int, headers: HTTPHeaders) -> None:
        """Set the headers that define where response and connection end.

        RFC 9112 §6.3, §9.3.
        """
        parsed = self.parsed
        has_body = parsed.method != "HEAD" and status not in (204, 304)
        length = headers.get("Content-Length")
        self._unsent = int(length) if has_body and length is not None else None if has_body else 0
        self._chunked = has_body and length is None and parsed.version == "HTTP/1.1"
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        self.keep_alive = (
            parsed.keep_alive
            and parsed.complete
            and self._link.may_stay_open
            and (not has_body or length is not None or self._chunked)
            and headers.get("Connection", "").lower() != "close"
        )
        if not self.keep_alive:
            headers["Connection"] = "close, Upgrade" if "Upgrade" in headers else "close"  # RFC 9110 §7.8
        elif parsed.version == "HTTP/1.0":
            headers["Connection"] = "keep-alive"

    def _framed(self, chunk: bytes) -> bytes:
        if self._unsent is not None:
            self._unsent -= len(chunk)
            if self._unsent < 0:
                self._link.abort()
                raise HTTPOutputError("the body of the response is longer than its Content-Length")
        if self._chunked and chunk:
            return b"%x\r\n%b\r\n" % (len(chunk), chunk)
        return chunk

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        """Send a part of the body."""
        return self._link.send(self._framed(chunk))

    def finish(self) -> None:
        """End the response."""
        if self._unsent:
            self._link.abort()
            raise HTTPOutputError("the body of the response is shorter than its Content-Length")
        if self._chunked:
            self._link.send(END_OF_CHUNKS)
        self.answered = True
        self._close_callback = None
        if self._read:
            self._delegate = None
        if not self._switches:
            self._link.answered()

    def detach(self) -> IOStream:
        """Return the socket as a stream, for a WebSocket; HTTP ends here."""
        stream = self._link.detach()
        self._close_callback = self._delegate = None
        del self.parsed, self._link  # a WebSocket may stay open for days
        return stream


def _head(status: int, reason: str, headers: HTTPHeaders) -> bytes:
    """Return the status line and the headers.

    Raises `HTTPOutputError` if a value would end its line.
    """
    lines = [f"HTTP/1.1 {status} {reason}", *[f"{name}: {value}" for name, value in headers.get_all()], "", ""]
    text = "\r\n".join(lines)
    if not text.isascii() and any(ord(character) > 0xFF for character in text):
        raise HTTPOutputError("a header of the response has a character outside Latin-1")
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise HTTPOutputError("a header of the response has a line break")
    return text.encode("latin-1")
