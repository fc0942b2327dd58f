"""The waits of a connection attempt: for the socket, the deadline, or the client's stop."""

import socket
import threading
from collections.abc import Iterator

import pytest

from hermes.mqtt.failures import Cancelled
from hermes.mqtt.net.deadline import READ, WRITE, Deadline
from hermes.mqtt.net.waker import Waker


class Attempt:
    """A deadline on a clock of the test's own, and a socket with its peer."""

    def __init__(self, sock: socket.socket, peer: socket.socket) -> None:
        self.now_s = 100.0
        self.sock = sock
        self.peer = peer
        self.waker = Waker()
        self.stopping = threading.Event()
        self.deadline = Deadline(waker=self.waker, stopping=self.stopping, clock=lambda: self.now_s)


@pytest.fixture
def attempt() -> Iterator[Attempt]:
    """An attempt with 5 s left."""
    sock, peer = socket.socketpair()
    with sock, peer:
        made = Attempt(sock, peer)
        made.deadline.start(5.0)
        yield made
        made.waker.close()


def test_a_ready_socket_ends_the_wait(attempt: Attempt) -> None:
    """For reading or for writing."""
    attempt.deadline.wait_for(attempt.sock, WRITE)
    attempt.peer.sendall(b"x")
    attempt.deadline.wait_for(attempt.sock, READ)


def test_after_the_deadline_a_wait_times_out(attempt: Attempt) -> None:
    """Even if the socket is ready: the time is over."""
    attempt.now_s += 5.0
    assert attempt.deadline.remaining_s == 0
    with pytest.raises(TimeoutError):
        attempt.deadline.wait_for(attempt.sock, WRITE)
    attempt.deadline.start(1.0)
    attempt.deadline.wait_for(attempt.sock, WRITE)


def test_reserved_time_is_left_for_later_steps(attempt: Attempt) -> None:
    """The wait gives up that much earlier."""
    attempt.now_s += 3.0
    with pytest.raises(TimeoutError):
        attempt.deadline.wait_for(attempt.sock, READ, reserve_s=2.0)
    assert attempt.deadline.remaining_s == 2.0


def test_a_stop_cancels_a_wait_that_has_begun(attempt: Attempt) -> None:
    """From another thread; a wake-up without a stop does not end the wait."""
    attempt.deadline.start(1_000.0)
    errors: list[Exception] = []

    def wait() -> None:
        try:
            attempt.deadline.wait_for(attempt.sock, READ)
        except Cancelled as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    attempt.waker.wake()
    attempt.stopping.set()
    attempt.waker.wake()
    waiting.join(60)
    assert not waiting.is_alive()
    assert len(errors) == 1
