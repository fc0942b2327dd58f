"""A socket that serves small reads from one large read."""

import socket

import pytest

from hermes.mqtt.net.buffered_socket import PACKET_MAX_BYTES, READ_BYTES, BufferedSocket, UnacceptableData


def test_bytes_are_in_order_for_reads_of_any_size() -> None:
    """Smaller and larger than what is buffered, and more than there is."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sock = BufferedSocket(theirs)
        ours.sendall(bytes(range(200)))
        pieces = [sock.recv(1), sock.recv(3), sock.recv(100), sock.recv(500)]
        assert b"".join(pieces) == bytes(range(200))
        assert [len(piece) for piece in pieces] == [1, 3, 100, 96]


def test_pending_counts_buffered_bytes() -> None:
    """A selector cannot see them."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sock = BufferedSocket(theirs)
        assert sock.pending() == 0
        ours.sendall(b"ab")
        assert sock.recv(1) == b"a"
        assert sock.pending() == 1
        assert sock.recv(1) == b"b"
        assert sock.pending() == 0


def test_an_empty_and_a_closed_socket_are_reported_as_the_socket_does() -> None:
    """BlockingIOError, then no bytes."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        sock = BufferedSocket(theirs)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        ours.close()
        assert sock.recv(1) == b""
        assert sock.fileno() == theirs.fileno()


def test_a_large_read_is_one_read() -> None:
    """Even if it is longer than the buffer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * READ_BYTES)
        ours.sendall(b"x" * (READ_BYTES + 10))
        assert len(BufferedSocket(theirs).recv(READ_BYTES + 10)) == READ_BYTES + 10


def test_an_announced_packet_that_is_too_large_is_refused() -> None:
    """Before a byte of it is read; the reason stays available, because paho does not report it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sock = BufferedSocket(theirs)
        with pytest.raises(UnacceptableData, match="16,777,217 bytes"):
            sock.recv(PACKET_MAX_BYTES + 1)
        assert isinstance(sock.failure, UnacceptableData)


def test_the_first_bytes_stay_available() -> None:
    """They distinguish MQTT from TLS and HTTP."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sock = BufferedSocket(theirs)
        ours.sendall(b"HTTP/1.1 400 Bad Request")
        assert sock.recv(1) == b"H"
        assert sock.recv(100) == b"TTP/1.1 400 Bad Request"
        assert sock.first_bytes == b"HTTP/"


def test_a_failed_read_stays_available() -> None:
    """An empty socket is not a failure."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sock = BufferedSocket(theirs)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        assert sock.failure is None
        theirs.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            sock.recv(1)
        assert sock.failure is not None
