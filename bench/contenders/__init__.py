"""What is measured, and against what: each file starts one real program and says how to reach it."""

from typing import Protocol

from bench.processes import Child


class Contender(Protocol):
    """A server that runs and can be driven."""

    @property
    def name(self) -> str:
        """As the table calls it."""

    @property
    def child(self) -> Child:
        """Its process."""

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""

    def user_socket(self, user_id: str) -> str:
        """Path and query that open this user's WebSocket."""
