"""The headers of a request, fast to make and to look up."""

import functools
from collections.abc import Iterable, Iterator

from tornado.httputil import HTTPHeaders

CACHED_NAMES = 512  # more than browsers and proxies use together
CACHED_NAME_MAX_CHARS = 64  # a stranger's long names are not kept

Header = tuple[bytes, bytes]


class RequestHeaders(HTTPHeaders):
    """Request headers; the parser has checked their characters (RFC 9110 §5.5).

    Tornado's class checks each name and value once more, looks up a header that is absent by an exception, and makes a
    list for each, which the garbage collector then follows for every open WebSocket.
    """

    def __init__(self, pairs: Iterable[Header] = ()) -> None:
        self._values: dict[str, str] = {}
        self._repeated: dict[str, list[str]] | None = None  # the headers that came more than once
        values = self._values
        for raw_name, raw_value in pairs:
            name = _decoded_name(raw_name)
            if name in values:
                self.add(name, _decoded_value(raw_value))
            else:
                values[name] = _decoded_value(raw_value)

    def add(self, name: str, value: str, *, _chars_are_bytes: bool = True) -> None:
        """Add one more value of a header; they are joined by a comma (RFC 9110 §5.3)."""
        name = _normal(name)
        first = self._values.get(name)
        if first is None:
            self._values[name] = value
            return
        if self._repeated is None:
            self._repeated = {}
        self._repeated.setdefault(name, [first]).append(value)
        self._values[name] = ",".join(self._repeated[name])

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return the value of a header."""
        return self._values.get(_normal(name), default)

    def get_list(self, name: str) -> list[str]:
        """Return each value of a header."""
        name = _normal(name)
        if self._repeated is not None and name in self._repeated:
            return self._repeated[name]
        return [self._values[name]] if name in self._values else []

    def get_all(self) -> Iterator[tuple[str, str]]:
        """Yield every name and value."""
        for name in self._values:
            for value in self.get_list(name):
                yield name, value

    def copy(self) -> HTTPHeaders:
        """Return the same headers."""
        headers = RequestHeaders()
        for name, value in self.get_all():
            headers.add(name, value)
        return headers

    __copy__ = copy

    def __getitem__(self, name: str) -> str:
        """Return the value of a header; KeyError if there is none."""
        return self._values[_normal(name)]

    def __setitem__(self, name: str, value: str) -> None:
        """Replace every value of a header."""
        name = _normal(name)
        if self._repeated is not None:
            self._repeated.pop(name, None)
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        """Delete a header; KeyError if there is none."""
        del self._values[_normal(name)]
        if self._repeated is not None:
            self._repeated.pop(_normal(name), None)

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a header."""
        return isinstance(name, str) and _normal(name) in self._values

    def __iter__(self) -> Iterator[str]:
        """Yield every name once."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._values)


def _normal(name: str) -> str:
    """Return a name as Tornado writes it: ``Content-Type``."""
    return _cached_normal(name) if len(name) <= CACHED_NAME_MAX_CHARS else _normalized(name)


def _normalized(name: str) -> str:
    return "-".join([part.capitalize() for part in name.split("-")])


def _decoded_name(raw: bytes) -> str:
    return _cached_decoded_name(raw) if len(raw) <= CACHED_NAME_MAX_CHARS else _normalized(raw.decode("latin-1"))


_cached_normal = functools.lru_cache(CACHED_NAMES)(_normalized)


@functools.lru_cache(CACHED_NAMES)
def _cached_decoded_name(raw: bytes) -> str:
    return _normalized(raw.decode("latin-1"))


def _decoded_value(raw: bytes) -> str:
    return raw.decode("latin-1").strip(" \t")
