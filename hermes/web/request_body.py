"""Collect a request body in bounded memory, and parse it.

`parse_json` is the only place that turns a body into JSON, so every API rejects what is not JSON in the same way.
"""

import orjson

from hermes.errors import RequestError

_TOO_DEEP = "nested too deeply: at most 1,024 levels of arrays and objects"
_NESTING_ERRORS = {  # part of the error text of orjson, which depends on its version
    "depth limit": _TOO_DEEP,
    "Recursion limit": _TOO_DEEP,
    "allocate memory": "truncated, or nested too deeply",  # more open brackets than the remaining bytes could close
}


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
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, "invalid_json", _error_text(error)) from None
    return value


def _error_text(error: orjson.JSONDecodeError) -> str:
    nesting = next((text for part, text in _NESTING_ERRORS.items() if part in error.msg), None)
    return f"the body is not JSON: {error}" if nesting is None else f"the body is {nesting}"
