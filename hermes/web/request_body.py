"""Collect a request body in bounded memory, and parse it.

`parse_json` and `check_body` are the only places that read a body as JSON, so every API rejects what is not JSON in the
same way.
"""

import orjson
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest

from hermes.errors import RequestError
from hermes.json_nesting import check_json, nested_too_deeply
from hermes.web.http.exchange import Exchange

PARSED_MAX_BYTES = 65_536  # a larger body is checked without its objects
BODY_MAX_DEPTH = 1_024  # that of orjson

_TRUNCATED = "allocate memory"  # part of orjson's error text for more open brackets than the rest could close


def set_body_max(request: HTTPServerRequest, max_bytes: int) -> None:
    """Set the limit of a request's body, before it is read."""
    connection = request.connection
    assert isinstance(connection, Exchange | HTTP1Connection)
    connection.set_max_body_size(max_bytes)


def answers_early(request: HTTPServerRequest) -> bool:
    """Return whether a client gets a response that is sent before its body came.

    Tornado's own parser closes the connection at once, and the client that is still sending sees a reset.
    """
    return isinstance(request.connection, Exchange)


class BoundedBody:
    """Collect the chunks of a body up to a limit; discard all if it is longer.

    The rest is still read: a client that is still sending gets a response, not a connection reset.
    """

    __slots__ = ("_chunks", "_max_bytes", "_size", "too_large")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._size = 0
        self.too_large = False

    def add(self, chunk: bytes) -> None:
        """Add the next chunk."""
        self._size += len(chunk)
        if self._size > self._max_bytes:
            self.too_large = True
        if self.too_large:
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    def discard(self) -> None:
        """Discard every chunk, past and future: the request is already rejected."""
        self.too_large = True
        self._chunks.clear()

    def content(self) -> bytes:
        """Return the whole body; empty if it was too large."""
        return b"".join(self._chunks)


def parse_json(body: bytes) -> object:
    """Return the JSON value of a body.

    Raises `RequestError` 400 ``invalid_json`` that gives the reason.
    """
    if nested_too_deeply(body, BODY_MAX_DEPTH):
        raise _invalid_json(f"nested too deeply: at most {BODY_MAX_DEPTH:,} levels of arrays and objects")
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        text = "truncated, or nested too deeply" if _TRUNCATED in error.msg else f"not JSON: {error}"
        raise _invalid_json(text) from None
    return value


def check_body(body: bytes, *, max_depth: int) -> bool:
    """Return whether a body of JSON has few enough levels, arrays and objects.

    A large body that has more is not checked further. Raises `RequestError` as `parse_json` does. A megabyte needs a
    few milliseconds.
    """
    if len(body) <= PARSED_MAX_BYTES:
        parse_json(body)
        return not nested_too_deeply(body, max_depth)
    if nested_too_deeply(body, max_depth):
        return False
    try:
        check_json(body)
    except ValueError as error:
        raise _invalid_json(f"not JSON: {error}") from None
    return True


def _invalid_json(reason: str) -> RequestError:
    return RequestError(400, "invalid_json", f"the body is {reason}")
