"""The loop that drives an MQTT client: waits, batches, keep-alive."""

import socket
from collections import deque
from collections.abc import Iterator

import pytest

from hermes.mqtt.net import selector_loop
from hermes.mqtt.net.selector_loop import BATCH_MAX_BYTES, BATCH_MAX_MESSAGES, SelectorLoop
from hermes.mqtt.net.waker import Waker


class PendingSocket:
    """A socket that holds bytes which a selector cannot see, as a TLS socket may."""

    def __init__(self, sock: socket.socket) -> None:
        self.pending_bytes = 0
        self._sock = sock

    def fileno(self) -> int:
        """The descriptor that the selector waits for."""
        return self._sock.fileno()

    def pending(self) -> int:
        """The bytes at hand."""
        return self.pending_bytes


class FakeClient:
    """A client with messages to read, given as their sizes."""

    def __init__(self, sock: PendingSocket) -> None:
        self.unread: deque[int] = deque()
        self.writes = 0
        self.miscs = 0
        self.wants_write = False
        self.error = 0
        self.loop: SelectorLoop | None = None
        self._socket: PendingSocket | None = sock

    def socket(self) -> PendingSocket | None:
        """The connection."""
        return self._socket

    def want_write(self) -> bool:
        """Whether packets wait to be sent."""
        return self.wants_write

    def loop_read(self) -> int:
        """Read one message."""
        if self.unread:
            assert self.loop is not None
            self.loop.count_message(self.unread.popleft())
        return self.error

    def loop_write(self) -> int:
        """Send what waits."""
        self.writes += 1
        self.wants_write = False
        return 0

    def loop_misc(self) -> int:
        """Check the keep-alive."""
        self.miscs += 1
        return 0


class Driven:
    """A loop on a clock of the test's own, with its client and its socket's peer."""

    def __init__(self, sock: socket.socket, peer: socket.socket) -> None:
        self.now_s = 100.0
        self.batches = 0
        self.peer = peer
        self.waker = Waker()
        self.sock = PendingSocket(sock)
        self.client = FakeClient(self.sock)
        self.loop = self.client.loop = SelectorLoop(
            self.client, waker=self.waker, misc_interval_s=1.0, on_batch=self.count_batch, clock=lambda: self.now_s
        )

    def count_batch(self) -> None:
        """One batch is complete."""
        self.batches += 1

    def run_once(self) -> None:
        """Run one turn that need not wait."""
        self.waker.wake()
        self.loop.run_once(self.sock)


@pytest.fixture
def driven() -> Iterator[Driven]:
    """A loop that runs when the test says."""
    sock, peer = socket.socketpair()
    with sock, peer:
        made = Driven(sock, peer)
        yield made
        made.loop.close()
        made.waker.close()


def test_all_messages_at_hand_are_one_batch(driven: Driven) -> None:
    """A turn without messages is none."""
    driven.client.unread.extend([10] * 100)
    driven.run_once()
    assert (len(driven.client.unread), driven.batches) == (0, 1)
    driven.run_once()
    assert driven.batches == 1


@pytest.mark.parametrize(
    ("size", "expected"), [(1, BATCH_MAX_MESSAGES), (BATCH_MAX_BYTES // 4, 4), (2 * BATCH_MAX_BYTES, 1)]
)
def test_a_batch_is_bounded_and_the_rest_is_read_without_a_wait(size: int, expected: int, driven: Driven) -> None:
    """In messages and in bytes; keep-alive is checked between two batches."""
    driven.client.unread.extend([size] * (expected + 1))
    driven.run_once()
    assert (len(driven.client.unread), driven.batches) == (1, 1)
    driven.now_s += 1.0
    driven.loop.run_once(driven.sock)  # nothing wakes it
    assert (len(driven.client.unread), driven.batches, driven.client.miscs) == (0, 2, 1)


def test_bytes_that_the_selector_cannot_see_are_read_without_a_wait(
    driven: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that TLS has decrypted already."""
    timeouts: list[float] = []
    select = driven.loop._selector.select

    def recorded(timeout_s: float) -> object:
        timeouts.append(timeout_s)
        return select(0)

    monkeypatch.setattr(driven.loop._selector, "select", recorded)
    for driven.sock.pending_bytes in (0, 5, 0, 0):
        driven.run_once()
    assert timeouts == [1.0, 1.0, 0, 1.0]


def test_a_plain_socket_has_no_pending_bytes() -> None:
    """It lacks the method."""
    with socket.socket() as sock:
        assert selector_loop._pending_bytes(sock) == 0
    assert selector_loop._pending_bytes(None) == 0


def test_an_error_ends_the_batch(driven: Driven) -> None:
    """What was read before it is passed on."""
    driven.client.unread.extend([1, 1])
    driven.client.error = 7
    driven.run_once()
    assert (len(driven.client.unread), driven.batches) == (1, 1)


def test_the_socket_is_written_when_it_can_be(driven: Driven) -> None:
    """The selector waits for that only while packets wait to be sent."""
    driven.client.wants_write = True
    driven.loop.run_once(driven.sock)  # the socket is writable: no wake-up is needed
    assert driven.client.writes == 1
    driven.run_once()
    assert driven.client.writes == 1


def test_the_time_of_the_last_read_is_when_the_socket_was_readable(driven: Driven) -> None:
    """Wake-ups do not count."""
    driven.now_s = 105.0
    driven.run_once()
    assert driven.loop.last_read_s == 100.0
    driven.peer.sendall(b"x")
    driven.loop.run_once(driven.sock)
    assert driven.loop.last_read_s == 105.0


def test_keep_alive_is_checked_once_per_interval(driven: Driven) -> None:
    """By the given clock."""
    for driven.now_s in (100.5, 101.0, 101.5, 102.0):
        driven.run_once()
    assert driven.client.miscs == 2
