"""One TCP connection that speaks HTTP/1.1.

It reads and parses requests, passes one after the other to a handler, and sends the responses. It works directly on the
accepted socket, or on the `TlsSocket` around it. Tornado's `IOStream` is made only for a WebSocket, when its handshake
is accepted: reading and writing through it would take as long as all the rest of a small request.
"""

import asyncio
import logging
import select
import socket
import time
from typing import Any

from tornado.iostream import IOStream, SSLIOStream

from hermes.errors import RequestError
from hermes.web.http.connections import LINGER_MAX_BYTES, LINGER_S, OpenConnections, Phase
from hermes.web.http.errors import rejection
from hermes.web.http.exchange import Exchange
from hermes.web.http.outgoing import Outgoing, lost_write
from hermes.web.http.parser import RequestParser
from hermes.web.http.request import Peer
from hermes.web.tls.tls_socket import TlsSocket

logger = logging.getLogger(__name__)

RECEIVE_BYTES = 16_384  # at most 900 pipelined requests, which take 1 ms to parse
RECEIVE_BODY_BYTES = 65_536  # what Tornado passes on at once; with 3,600 requests behind a body, 5 ms
BODY_TIMEOUT_S = 30.0  # without a byte
BODY_LEAST_BYTES_PER_S = 1_024  # on average, after the first `BODY_TIMEOUT_S`
SEND_TIMEOUT_S = 30.0  # without a byte taken by the client
STREAM_READ_BYTES = 4_096  # Tornado allocates this for each read from a WebSocket; the frames of clients are small


class HttpConnection:
    """One connection, until its end or until a WebSocket takes its socket.

    One request at a time is passed on; those behind it wait in the parser, and while one waits nothing more is read.
    """

    __slots__ = (
        "_body_began_s",
        "_connections",
        "_detached",
        "_drains",
        "_exchange",
        "_file",
        "_input_ended",
        "_linger_bytes",
        "_lingers",
        "_loop",
        "_open",
        "_outgoing",
        "_parser",
        "_peer",
        "_reading",
        "_received_s",
        "_sent_s",
        "_socket",
        "phase",
    )

    def __init__(self, connection: socket.socket, peer: Peer, connections: OpenConnections) -> None:
        connection.setblocking(False)
        self.phase = Phase.HEAD
        self._socket = connection
        self._file = connection.fileno()
        self._peer = peer
        self._connections = connections
        self._loop = connections.done.get_loop()
        self._parser = RequestParser()
        self._exchange: Exchange | None = None  # the request that is under way
        self._outgoing = Outgoing(connection, done=connections.done, on_progress=self._on_progress, on_lost=self.abort)
        self._open = True
        self._detached = False  # a WebSocket has the socket
        self._reading = False
        self._drains = False  # reads until nothing is left: uvloop tells of a reset behind unread bytes only once
        self._input_ended = False  # the client sends nothing more; it may still read
        self._lingers: bool | None = None  # True or False once the connection ends after what is still to be sent
        self._linger_bytes: int | None = None  # that may still be read and thrown away
        self._received_s = self._sent_s = self._body_began_s = connections.clock()
        connections.add(self)
        self._on_readable()  # often the request is there

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if not self._reading and not self._input_ended:
            self._reading = True
            self._loop.add_reader(self._file, self._on_readable)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._file)

    def _on_readable(self) -> None:
        began_s = time.perf_counter()
        self._receive()
        if self._detached:
            tls_s = self._socket.handshake_s if isinstance(self._socket, TlsSocket) else 0.0
            self._connections.on_handshake(time.perf_counter() - began_s + tls_s)
        elif self._drains and self._reading:
            self._loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        if self._reading:
            self._on_readable()

    def _receive(self) -> None:
        size = RECEIVE_BODY_BYTES if self._parser.in_body else RECEIVE_BYTES
        try:
            data = self._socket.recv(size)
        except BlockingIOError:
            self._drains = False
            self._read()
            return
        except OSError:
            self.abort()
            return
        if len(data) == size:
            self._drains = True
        if self._linger_bytes is not None:
            self._linger_bytes -= len(data)
            if not data:
                self.abort()
            elif self._linger_bytes < 0:
                self._pause()  # until `LINGER_S` is over: a reset now could overtake the response
            return
        self._received_s = self._connections.clock()
        if data:
            try:
                self._parser.feed(data)
            except Exception:  # a fault of the parser, else the connection would stay open for ever
                logger.exception("a request could not be parsed")
                self.abort()
                return
        else:
            self._input_ended = True
            self._pause()
        self.proceed()

    # -- requests -----------------------------------------------------------------------------------------------------

    def proceed(self) -> None:
        """Go on with the request that is under way, or with the next one."""
        if not self._open or self._lingers is not None:
            return
        try:
            if self._exchange is None and not self._outgoing:
                self._begin_next()
            if self._exchange is not None and self._lingers is None:
                self._exchange.receive()
        except Exception:  # a fault of a handler's constructor or of this module, else it would stay open for ever
            logger.exception("a request failed")
            self.abort()
        self._after_receive()

    def _begin_next(self) -> None:
        parser = self._parser
        if parser.requests:
            if self.phase is not Phase.BUSY:
                self._connections.move(self, Phase.BUSY)
            self._body_began_s = self._received_s = self._connections.clock()
            self._exchange = Exchange(parser.requests.popleft(), self, self._peer)
            self._exchange.begin(self._connections.application)
        elif parser.fault is not None:
            self.reject(parser.fault)
        elif self._input_ended:
            self.abort()
        else:
            if self.phase is Phase.BUSY or (self.phase is Phase.IDLE and parser.in_head):
                self._connections.move(self, Phase.HEAD if parser.in_head else Phase.IDLE)
            self._read()

    def _after_receive(self) -> None:
        """Read on, or wait until what was read has been handled."""
        if not self._open or self._lingers is not None:
            return
        exchange, parser = self._exchange, self._parser
        if exchange is None:  # answered at once
            if parser.requests or parser.fault is not None or self._outgoing:
                self._pause()
            return
        if not exchange.parsed.complete:
            if parser.fault is not None:
                self.reject(parser.fault)
                return
            if self._input_ended:
                self.abort()
                return
        if parser.requests or parser.fault is not None or parser.rest is not None or exchange.waits:
            self._pause()
        else:
            self._read()
        if self._input_ended:
            exchange.input_ended()

    def answered(self) -> None:
        """Go on after a complete response."""
        exchange = self._exchange
        if exchange is None:  # the connection has ended meanwhile
            return
        parser = self._parser
        if not exchange.keep_alive:
            self._close(linger=not exchange.parsed.complete or parser.has_more)
            return
        self._exchange = None
        if exchange.parsed.upgrade:
            parser.resume()
        if parser.requests or parser.fault is not None or self._input_ended:
            self._loop.call_soon(self.proceed)  # other connections first
        else:
            self.proceed()

    def reject(self, error: RequestError) -> None:
        """Respond with an error that no handler has seen, and close."""
        self._connections.count_rejected(error, self._peer.remote_ip)
        exchange, self._exchange = self._exchange, None
        if exchange is None or not exchange.headers_sent:
            self.send(rejection(error, with_body=exchange is None or exchange.parsed.method != "HEAD"))
        if exchange is not None:
            exchange.lost()
        self._close(linger=True)

    @property
    def may_stay_open(self) -> bool:
        """False if the connection ends after this response."""
        if not self._open:
            return False
        more = not self._input_ended or bool(self._parser.requests)
        return more and not self._connections.closing

    def send(self, data: bytes) -> "asyncio.Future[None]":
        """Send bytes; the future is done when the kernel has taken them."""
        if not self._open:
            return lost_write(self._loop)
        if not self._outgoing:
            self._sent_s = self._connections.clock()
        return self._outgoing.send(data)

    def _on_progress(self) -> None:
        self._sent_s = self._connections.clock()
        if not self._outgoing:
            if self._lingers is None:
                self.proceed()
            else:
                self._close(linger=self._lingers)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _close(self, *, linger: bool) -> None:
        """Close after what is still to be sent.

        ``linger`` if the client may still be sending.
        """
        if not self._open:
            return
        self._lingers = linger
        if self._outgoing:
            if self.phase is not Phase.BUSY:
                self._connections.move(self, Phase.BUSY)
            self._pause()
            return
        if not linger or self._input_ended:
            self.abort()
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            self.abort()
            return
        self._linger_bytes = LINGER_MAX_BYTES
        self._sent_s = self._connections.clock()
        self._connections.move(self, Phase.LINGER)
        self._read()

    def abort(self) -> None:
        """End the connection now; may be repeated."""
        if not self._open:
            return
        self._release()
        self._outgoing.close()
        self._socket.close()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost()

    def _release(self) -> None:
        self._pause()
        self._open = False
        self._connections.remove(self)
        self._parser.close()
        del self._parser

    def detach(self) -> IOStream:
        """Give the socket away as a stream; what came after the handshake is read first."""
        rest = self._parser.rest
        self._detached = True
        self._release()
        self._exchange = None
        stream = _stream(self._socket, rest)
        self._outgoing.close()  # nothing waits: a request begins only when all before is sent
        return stream

    # -- time ---------------------------------------------------------------------------------------------------------

    def time_out(self) -> None:
        """End the connection, which has no complete headers.

        It takes too long, or its place is needed.
        """
        if self._parser.in_head:
            self.reject(RequestError(408, "timeout", "the headers did not arrive in time"))
        else:
            self.abort()

    def check(self, now_s: float) -> str | None:
        """End the connection if what is under way stands still; return the reason."""
        if self._linger_bytes is not None:
            if now_s - self._sent_s >= LINGER_S:
                self.abort()
            return None
        if self._outgoing:
            if now_s - self._sent_s >= SEND_TIMEOUT_S:
                self.abort()
                return "response"
            return None
        exchange = self._exchange
        if exchange is not None and exchange.parsed.complete and not self._reading:
            self._check_paused(exchange)
        if exchange is None or exchange.parsed.complete or exchange.waits:
            return None
        took_s = now_s - self._body_began_s
        if now_s - self._received_s < BODY_TIMEOUT_S and (
            took_s < BODY_TIMEOUT_S or exchange.body_bytes >= took_s * BODY_LEAST_BYTES_PER_S
        ):
            return None
        self.reject(RequestError(408, "timeout", "the body did not arrive in time"))
        return "body"

    def _check_paused(self, exchange: Exchange) -> None:
        """Notice that the client has left.

        What it sent behind its request is not read yet.
        """
        poll = select.poll()
        poll.register(self._file, select.POLLRDHUP)
        events = poll.poll(0)
        if events and events[0][1] & (select.POLLHUP | select.POLLERR):
            self.abort()
        elif events:
            exchange.input_ended()


def _stream(connection: socket.socket, received: bytes | None) -> IOStream:
    """Return a stream of a connection of which these bytes were read before."""
    encrypted = isinstance(connection, TlsSocket)
    options: dict[str, Any] = {"read_chunk_size": STREAM_READ_BYTES}
    if encrypted:
        options["ssl_options"] = connection.context  # type: ignore[attr-defined]  # else Tornado makes one
    if not received:
        return SSLIOStream(connection, **options) if encrypted else IOStream(connection, **options)
    stream = (_PrefilledTlsStream if encrypted else _PrefilledStream)(connection, **options)
    stream.received = memoryview(received)
    return stream


class _PrefilledStream(IOStream):
    """A stream that begins with bytes that were read before."""

    received = memoryview(b"")

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Read what was received, then from the socket."""
        if not self.received:
            return super().read_from_fd(buf)
        size = min(len(buf), len(self.received))
        buf[:size] = self.received[:size]
        self.received = self.received[size:] if size < len(self.received) else memoryview(b"")  # frees the buffer
        return size


class _PrefilledTlsStream(_PrefilledStream, SSLIOStream):
    """The same for an encrypted connection."""
