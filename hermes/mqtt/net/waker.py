"""How other threads interrupt a thread that waits for sockets."""

import socket


class Waker:
    """Ends a wait of the thread from another thread."""

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

    def rest(self) -> None:
        """Forget the wake-ups so far."""
        try:
            while self.receiver.recv(4096):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Give back both ends."""
        self.receiver.close()
        self._sender.close()
