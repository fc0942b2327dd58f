"""Interrupt a thread that waits for sockets."""

import socket


class Waker:
    """End a thread's wait from another thread."""

    def __init__(self) -> None:
        self.receiver, self._sender = socket.socketpair()
        self.receiver.setblocking(False)
        self._sender.setblocking(False)

    def wake(self) -> None:
        """Make `receiver` readable; harmless after `close`."""
        try:
            self._sender.send(b"\0")
        except OSError:  # closed; or full, then it is readable already
            return

    def clear(self) -> None:
        """Make `receiver` unreadable until the next `wake`."""
        try:
            while self.receiver.recv(4096):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close both sockets."""
        self.receiver.close()
        self._sender.close()
