"""Drive one MQTT client library from a selector.

It waits, writes, reads in batches and keeps the connection alive.

paho's own thread waits with ``select()``, which fails for file descriptors above 1,023. With more files open it never
reconnects, and it reports nothing. `selectors` has no such limit.
"""

import selectors
from collections.abc import Callable
from typing import Any, Protocol

from hermes.mqtt.net.waker import Waker

BATCH_MAX_MESSAGES = 500  # then ``on_batch`` is called, however much is still unread
BATCH_MAX_BYTES = 1_048_576


class SocketClient(Protocol):
    """The part of `paho.mqtt.client.Client` for a foreign event loop.

    Codes other than 0 are errors.
    """

    def socket(self) -> Any:
        """Return the socket to wait for, or None."""

    def want_write(self) -> bool:
        """Return whether packets wait to be sent."""

    def loop_read(self) -> int:
        """Read one packet and call the callbacks."""

    def loop_write(self) -> int:
        """Send packets until the socket is full."""

    def loop_misc(self) -> int:
        """Send PINGREQ when it is due, and check for PINGRESP."""


class SelectorLoop:
    """The waits, reads and writes of one connection. Used by one thread.

    ``on_batch`` is called after each batch in which `count_message` was called. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        client: SocketClient,
        *,
        waker: Waker,
        misc_interval_s: float,
        on_batch: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.last_read_s = clock()  # when the socket was last readable
        self._client = client
        self._waker = waker
        self._misc_interval_s = misc_interval_s
        self._misc_s = clock()
        self._on_batch = on_batch
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._selector.register(waker.receiver, selectors.EVENT_READ)
        self._events = 0  # what the socket is registered for
        self._unread = False
        self._batch_messages = 0
        self._batch_bytes = 0

    def run_once(self, sock: Any) -> None:
        """Wait for an event, then write and read.

        The wait ends when ``sock`` is ready, the waker is set or keep-alive is due.
        """
        self._register(sock)
        self._wait(sock, 0 if self._unread else self._misc_interval_s)
        if self._client.want_write():
            self._client.loop_write()
        self._unread = self._read_batch()
        now_s = self._clock()
        if now_s - self._misc_s >= self._misc_interval_s:
            self._misc_s = now_s
            self._client.loop_misc()

    def count_message(self, payload_bytes: int) -> None:
        """Count a message of the current batch; to be called by the client's callbacks."""
        self._batch_messages += 1
        self._batch_bytes += payload_bytes

    def close(self) -> None:
        """Close the selector."""
        self._selector.close()

    def _register(self, sock: Any) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        if events != self._events:
            (self._selector.modify if self._events else self._selector.register)(sock, events)
            self._events = events

    def _wait(self, sock: Any, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            if key.fileobj is self._waker.receiver:
                self._waker.clear()
            elif key.fileobj is sock and events & selectors.EVENT_READ:
                self.last_read_s = self._clock()

    def _read_batch(self) -> bool:
        """Read until nothing is left or the batch is full.

        Return whether more may be left to read.
        """
        self._batch_messages = self._batch_bytes = 0
        before = -1
        full = False
        while before != self._batch_messages and not full:
            before = self._batch_messages
            if self._client.loop_read() != 0:
                break
            full = self._batch_messages >= BATCH_MAX_MESSAGES or self._batch_bytes >= BATCH_MAX_BYTES
        if self._batch_messages:
            self._on_batch()
        return full or _pending_bytes(self._client.socket()) > 0


def _pending_bytes(sock: Any) -> int:
    """Return the number of available bytes that a selector cannot see.

    They were read ahead, or decrypted by TLS.
    """
    pending = getattr(sock, "pending", None)  # a plain TCP socket has none
    return 0 if pending is None else pending()
