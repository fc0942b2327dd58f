"""A network between two programs that can be made to fail."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from tests.support.programs import wait_until

T = TypeVar("T")


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


class SlowLink:
    """Forwards connections to a port of this machine; each byte arrives ``delay_s`` after it was sent, either way."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slow-link")
        self._connections: set[asyncio.Task[None]] = set()
        self.delay_s = 0.0
        self.port = 0

    def start(self) -> None:
        """Start to accept connections."""
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close everything and end the thread."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _close(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            writer.close()
            self._connections.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as forwarding:
                forwarding.create_task(self._forward(reader, far))
                forwarding.create_task(self._forward(far_reader, writer))
        except* OSError:
            pass  # one end has gone
        finally:
            if far is not None:
                far.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward what one end sends, until it closes or the other one has gone."""
        sent: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(10_000)

        async def write() -> None:
            while True:
                due_s, data = await sent.get()
                await asyncio.sleep(due_s - self._loop.time())
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        async def read() -> None:
            while True:
                data = await reader.read(65_536)
                await sent.put((self._loop.time() + self.delay_s, data))
                if not data:
                    return

        async with asyncio.TaskGroup() as both:
            both.create_task(read())
            both.create_task(write())


@contextlib.contextmanager
def slow_link(target: int) -> Iterator[SlowLink]:
    """Run a link to this port; it is fast at first."""
    link = SlowLink(target)
    link.start()
    try:
        yield link
    finally:
        link.stop()
