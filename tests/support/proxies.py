"""A network between two programs that can be made to fail."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.support.programs import wait_until


class Proxy:
    """Forwards connections to a port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._forwarding = threading.Event()
        self._forwarding.set()
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._refusing = False
        self._acceptor = threading.Thread(target=self._accept, name="proxy")
        self.port: int = self._listener.getsockname()[1]

    @property
    def connections(self) -> int:
        """The number of open connections."""
        with self._lock:
            return len(self._pairs)

    def start(self) -> None:
        """Start to accept connections."""
        self._acceptor.start()

    def hold(self) -> None:
        """Drop the data of the present connections, and close none of them."""
        self._forwarding.clear()

    def forward(self) -> None:
        """Forward new connections; those that were held stay as they are."""
        with self._lock:
            self._forwarding = threading.Event()
            self._forwarding.set()

    def cut(self) -> None:
        """Close all connections, on both sides."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Close new connections at once."""
        self._refusing = True

    def accept(self) -> None:
        """Accept new connections again."""
        self._refusing = False

    def stop(self) -> None:
        """Close everything and end the threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(60)
        self.cut()
        wait_until(lambda: self.connections == 0)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            pair = near, far
            with self._lock:
                self._pairs.append(pair)
                forwarding = self._forwarding
            threading.Thread(target=self._serve, args=(pair, forwarding), daemon=True).start()

    def _serve(self, pair: tuple[socket.socket, socket.socket], forwarding: threading.Event) -> None:
        back = threading.Thread(target=_pump, args=(pair[1], pair[0], forwarding), daemon=True)
        back.start()
        _pump(pair[0], pair[1], forwarding)
        back.join()
        for end in pair:
            end.close()
        with self._lock:
            self._pairs.remove(pair)


def _pump(source: socket.socket, sink: socket.socket, forwarding: threading.Event) -> None:
    """Forward until either side closes; then close the other side, unless the connection is held."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            if forwarding.is_set():
                sink.sendall(data)
    if forwarding.is_set():
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """Run a proxy to this port."""
    running = Proxy(target)
    running.start()
    try:
        yield running
    finally:
        running.stop()
