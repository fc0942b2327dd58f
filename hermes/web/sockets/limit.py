"""The number of sockets, and its limit."""

from dataclasses import dataclass


@dataclass(slots=True)
class SocketLimit:
    """How many sockets there are, refused ones that are still closing included, and how many may be."""

    limit: int
    open: int = 0
    stopping: bool = False

    @property
    def exceeded(self) -> bool:
        """One more than may be: the last one counted must leave."""
        return self.open > self.limit
