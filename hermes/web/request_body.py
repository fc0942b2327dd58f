"""Collect a request body in bounded memory."""


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
