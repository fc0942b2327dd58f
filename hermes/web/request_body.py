"""Floor 3: a request body in bounded memory: what is too much is read and thrown away, so that an answer arrives."""


class BoundedBody:
    """Collects a body's chunks up to a bound; past it, forgets them all and only remembers that."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._size = 0
        self.too_large = False

    def add(self, chunk: bytes) -> None:
        """One more chunk, in order."""
        self._size += len(chunk)
        if self._size > self._max_bytes:
            self.too_large = True
        if self.too_large:
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    def discard(self) -> None:
        """Keep nothing from now on; the request is refused already."""
        self.too_large = True
        self._chunks.clear()

    def content(self) -> bytes:
        """The whole body; empty where it was too large."""
        return b"".join(self._chunks)
