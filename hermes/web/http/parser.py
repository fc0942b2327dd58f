"""Divide the bytes of a connection into HTTP/1.1 requests.

The parser is llhttp, that of Node, through httptools. It is strict unless it is told otherwise: it rejects a bare LF,
folded headers, two lengths, a length beside a transfer coding, spaces around names and every other form that two
servers could read differently (RFC 9112 §11.2).
"""

from collections import deque

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser

from hermes.errors import RequestError
from hermes.web.http.headers import Header
from hermes.web.http.request import ParsedRequest

HEAD_MAX_BYTES = 65_536  # of one request line and its headers
HEADERS_MAX = 100  # of one request, trailers included
BETWEEN_BODY_MAX_BYTES = 65_536  # chunk extensions and trailers between two bytes of a body
WEBSOCKET = b"websocket"


class RequestParser:
    """Parse what is fed to it.

    Finished and unfinished requests wait in ``requests``, in order. After a ``fault`` nothing more is parsed: how the
    connection goes on is unknown.
    """

    __slots__ = (
        "_between_bytes",
        "_body_came",
        "_ended",
        "_framing",
        "_head_bytes",
        "_head_size",
        "_headers",
        "_headers_count",
        "_in_head",
        "_muted",
        "_open",
        "_parser",
        "_target",
        "fault",
        "requests",
        "rest",
    )

    def __init__(self) -> None:
        self.requests: deque[ParsedRequest] = deque()
        self.fault: RequestError | None = None
        self.rest: bytes | None = None  # what came after a WebSocket handshake
        self._parser = HttpRequestParser(self)
        self._open: ParsedRequest | None = None
        self._in_head = False
        self._muted = False
        self._head_bytes = 0  # fed while the head is incomplete
        self._head_size = 0  # of what has been parsed of it
        self._between_bytes = self._headers_count = 0
        self._body_came = self._ended = False  # in the bytes that were fed last
        self._target = b""
        self._headers: list[Header] = []
        self._framing = b""

    @property
    def in_head(self) -> bool:
        """True while a request line or its headers are incomplete."""
        return self._in_head

    @property
    def in_body(self) -> bool:
        """True while a body is incomplete."""
        return self._open is not None

    @property
    def has_more(self) -> bool:
        """True if anything has come after the request that was passed on last."""
        return bool(self.requests) or self._in_head or self.fault is not None or bool(self.rest)

    def feed(self, data: bytes) -> None:
        """Parse the next bytes."""
        if self.rest is not None:
            self.rest += data
            return
        left = self._feed(data)
        while left:
            left = self._feed(left)

    def _feed(self, data: bytes) -> bytes | None:
        """Parse bytes; return those behind a head that asks for another protocol."""
        self._body_came = self._ended = False
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return self._after_upgrade(data[upgrade.args[0] :])
        except HttpParserError as error:
            self.fault = self.fault or _fault_of(error)
        else:
            self._limit(len(data))
        return None

    def resume(self) -> None:
        """Go on after a WebSocket handshake that was refused."""
        rest, self.rest = self.rest, None
        if rest:
            self.feed(rest)

    def close(self) -> None:
        """Parse nothing more; let go of what refers to this object, a cycle of references."""
        del self._parser
        self.fault = None  # its traceback

    def _limit(self, size: int) -> None:
        if self._in_head:
            if not self._ended:  # else most of these bytes belong to the requests before
                self._head_bytes += size
            if self._head_bytes > HEAD_MAX_BYTES:
                self.fault = _too_large_head()
        elif self._open is not None and not self._body_came:
            self._between_bytes += size
            if self._between_bytes > BETWEEN_BODY_MAX_BYTES:
                self.fault = RequestError(400, "bad_request", "too many bytes between two parts of the body")

    def _after_upgrade(self, rest: bytes) -> bytes | None:
        """Return the bytes to parse after a head that asks for another protocol.

        llhttp stops there. Hermes knows only WebSocket, and any other such request is an ordinary one (RFC 9110 §7.8).
        llhttp would parse the body of that one as the next request. Java's HttpClient sends ``Upgrade: h2c`` with
        every first request.
        """
        request = self.requests[-1]
        if request.upgrade:
            self.rest = rest
            return None
        framing, self._framing = self._framing, b""
        if framing:
            self._parser = HttpRequestParser(self)
            self._muted = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
            self._muted = False
            request.complete = False
            self._open = request
        return rest

    # -- called by httptools --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        if not self._muted:
            self._in_head = True
            self._target = b""
            self._headers = []
            self._head_bytes = self._head_size = self._between_bytes = self._headers_count = 0

    def on_url(self, part: bytes) -> None:
        """Add a part of the request target."""
        self._target += part
        self._head_size += len(part)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; trailers are counted and thrown away."""
        self._headers_count += 1
        if self._headers_count > HEADERS_MAX:
            self.fault = _too_large_head()
            raise self.fault
        if self._in_head:
            self._headers.append((name, value))
            self._head_size += len(name) + len(value) + len(": \r\n")

    def on_headers_complete(self) -> None:
        """Check what llhttp accepts and Hermes does not."""
        if self._muted:
            return
        self._in_head = False
        parser = self._parser
        request = ParsedRequest(
            parser.get_method().decode("ascii"),
            self._target.decode("latin-1"),
            f"HTTP/{parser.get_http_version()}",
            self._headers,
            keep_alive=parser.should_keep_alive(),
        )
        self._open = request
        try:
            if self._head_size > HEAD_MAX_BYTES:
                raise _too_large_head()
            self._check(request, asks_upgrade=parser.should_upgrade())
        except RequestError as fault:
            self.fault = fault
            raise
        self.requests.append(request)

    def _check(self, request: ParsedRequest, *, asks_upgrade: bool) -> None:
        if request.version not in ("HTTP/1.1", "HTTP/1.0"):
            raise RequestError(505, "version_not_supported", "use HTTP/1.1")
        if request.method == "CONNECT":
            raise RequestError(501, "not_implemented", "Hermes is not a proxy")
        framing: list[Header] = []
        upgrade = b""
        for name, value in request.headers:
            if len(name) in _CHECKED_LENGTHS:
                match name.lower():
                    case b"content-length":
                        request.length = int(value.strip().lstrip(b"0") or 0)
                        framing.append((name, value))
                    case b"transfer-encoding":
                        _check_transfer_encoding(value, request.version)
                        framing.append((name, value))
                    case b"upgrade":
                        upgrade = value.strip().lower()
        if asks_upgrade:
            has_body = bool(framing) and request.length != 0
            request.upgrade = upgrade == WEBSOCKET and request.method == "GET"
            if request.upgrade and has_body:
                raise RequestError(400, "bad_request", "a WebSocket handshake has no body")
            self._framing = b"".join(b"%b: %b\r\n" % header for header in framing) if has_body else b""

    def on_body(self, part: bytes) -> None:
        """Add a part of the body."""
        assert self._open is not None
        self._open.chunks.append(part)
        self._body_came = True
        self._between_bytes = 0

    def on_message_complete(self) -> None:
        """End a request."""
        self._ended = True
        if self._open is not None and not self._muted:
            self._open.complete = True
            self._open = None


_CHECKED_LENGTHS = frozenset(map(len, ("content-length", "transfer-encoding", "upgrade")))


def _check_transfer_encoding(value: bytes, version: str) -> None:
    """Raise `RequestError` unless the coding is ``chunked`` (RFC 9112 §6.1)."""
    if version == "HTTP/1.0":
        raise RequestError(400, "bad_request", "HTTP/1.0 has no Transfer-Encoding")
    if value.strip().lower() != b"chunked":
        raise RequestError(501, "not_implemented", "the only Transfer-Encoding is chunked")


def _too_large_head() -> RequestError:
    return RequestError(
        431,
        "headers_too_large",
        f"at most {HEADERS_MAX} headers and {HEAD_MAX_BYTES} bytes; a browser must delete cookies of this host",
    )


def _fault_of(error: HttpParserError) -> RequestError:
    if isinstance(error, HttpParserInvalidMethodError):
        return RequestError(501, "not_implemented", "not the name of an HTTP method")
    return RequestError(400, "bad_request", f"not HTTP/1.1: {error}")
