"""One wait for many sockets."""

import select
import socket
from typing import Protocol


class Reader(Protocol):
    """Something with a non-blocking socket."""

    @property
    def sock(self) -> socket.socket:
        """What is waited for."""

    def read(self) -> None:
        """Take what there is; called when there may be something."""


class Poll:
    """epoll without the tuples and look-ups of `selectors`, which cost as much as reading does. A context manager."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Reader] = {}

    def __enter__(self) -> "Poll":
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()

    def add(self, reader: Reader) -> None:
        """Wait for this one too; it must outlive the poll."""
        self._readers[reader.sock.fileno()] = reader
        self._epoll.register(reader.sock, select.EPOLLIN)

    def turn(self, timeout_s: float) -> None:
        """Wait until something can be read, at most this long, and let it be read."""
        for number, _ in self._epoll.poll(timeout_s):
            self._readers[number].read()
