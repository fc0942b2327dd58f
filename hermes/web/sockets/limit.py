"""The number of sockets, and its limit."""

from dataclasses import dataclass


@dataclass(slots=True)
class SocketLimit:
    """Number of open sockets and its limit.

    A rejected socket counts until it has closed. ``stopping`` rejects every new one.
    """

    limit: int
    open: int = 0
    stopping: bool = False

    @property
    def exceeded(self) -> bool:
        """True if the socket counted last is one too many."""
        return self.open > self.limit
