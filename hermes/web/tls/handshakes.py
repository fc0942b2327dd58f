"""TLS handshakes of accepted connections.

They are bounded in number, time, memory and work per loop iteration. Until a complete ClientHello has arrived, a
connection costs no more than an idle one: the kernel keeps its bytes, and OpenSSL does not see them. Then each
handshake takes one or two steps of up to some milliseconds (RSA). One step is done in each iteration of the event loop,
so that open sockets are served between them.
"""

import fcntl
import logging
import socket
import ssl
import struct
import termios
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from hermes.errors import RequestError
from hermes.log import LogThrottle
from hermes.metrics import Metrics
from hermes.web.http.connections import LINGER_MAX_BYTES, LINGER_S, OpenConnections, Phase
from hermes.web.http.errors import rejection
from hermes.web.tls.tls_socket import TlsSocket

logger = logging.getLogger(__name__)

STEPS_PER_ITERATION = 1
STARTED_MAX = 1_000  # about 40 KB each; past it the oldest one is closed
HELLO_MAX_BYTES = 16_384  # of a ClientHello; those of browsers have 2,000. OpenSSL would take, and allocate, 131,396
LOG_INTERVAL_S = 60.0  # of failures with the same reason
DISCARD_BYTES = 65_536

# The beginning of a TLS connection: a record header (RFC 8446 §5.1), then the header of the ClientHello (§4)
_HEADER = struct.Struct("!BHHI")
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_HEADER_BYTES, _MESSAGE_HEADER_BYTES = 5, 4

HTTPS_REQUIRED = RequestError(400, "https_required", "this port speaks TLS: use https:// (or wss://) in the URL")

_REASONS = {  # OpenSSL's names for the client's alerts (RFC 8446 §6.2) and for its own failures
    **dict.fromkeys(
        (
            "TLSV1_ALERT_UNKNOWN_CA",
            "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
            "SSLV3_ALERT_BAD_CERTIFICATE",
            "TLSV1_ALERT_ACCESS_DENIED",
        ),
        "the client does not trust the certificate of --tls-cert: is its chain complete, its name right, its CA known?",
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "for the client the certificate of --tls-cert has expired",
    "UNSUPPORTED_PROTOCOL": "the client does not support TLS 1.2 or later",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the client does not support TLS 1.2 or later",
    "NO_SHARED_CIPHER": "the client has no cipher in common with Hermes",
    "NO_SUITABLE_KEY_SHARE": "the client has no curve in common with Hermes (P-256)",
    "NO_SHARED_GROUP": "the client has no curve in common with Hermes (P-256)",
}

HandleConnection = Callable[[socket.socket, Any], None]


class TlsHandshakes:
    """Shake hands on new connections, and pass those that succeed to ``serve``.

    They are among ``connections``, so that the limits of HTTP connections hold for them. ``context`` returns the
    context of a new connection, which makes `TlsSocket` objects. ``on_failure`` gets the address of a client that made
    Hermes work for nothing.
    """

    def __init__(
        self,
        *,
        connections: OpenConnections,
        context: Callable[[], ssl.SSLContext],
        serve: HandleConnection,
        on_failure: Callable[[str], None],
        metrics: Metrics,
    ) -> None:
        self.connections = connections
        self.context = context
        self.serve = serve
        self.count = metrics.tls_handshakes
        self._on_failure = on_failure
        self.loop = connections.done.get_loop()
        self._due: deque[Handshake] = deque()
        self._started: OrderedDict[Handshake, None] = OrderedDict()
        self._log_throttle = LogThrottle(LOG_INTERVAL_S)

    def accept(self, connection: socket.socket, address: Any) -> None:
        """Take a new connection."""
        Handshake(connection, address, self)

    def queue(self, handshake: "Handshake") -> None:
        """Do the next step of a handshake soon; what has begun comes first."""
        if not self._due:
            self.loop.call_soon(self._take_steps)
        if handshake in self._started:
            self._due.appendleft(handshake)
        else:
            self._due.append(handshake)

    def _take_steps(self) -> None:
        try:
            for _ in range(min(STEPS_PER_ITERATION, len(self._due))):
                handshake = self._due.popleft()
                self._started[handshake] = None
                handshake.step()
        finally:
            while len(self._started) > STARTED_MAX:
                self.count.labels("dropped").inc()
                next(iter(self._started)).abort()
            if self._due:
                self.loop.call_soon(self._take_steps)

    def forget(self, handshake: "Handshake") -> None:
        """Do no more steps of a handshake that has ended."""
        self._started.pop(handshake, None)

    def failed(self, host: str, error: OSError) -> None:
        """Count and log a handshake that failed because of the client, or of both sides."""
        self.count.labels("failed").inc()
        self._on_failure(host)
        name = getattr(error, "reason", None) or ""
        reason = _REASONS.get(name) or f"{name or error.strerror or error}"
        if times := self._log_throttle.allow(reason):
            more = f" ({times} such handshakes since the last line)" if times > 1 else ""
            logger.info("TLS handshake of %s failed: %s%s", host, reason, more)


class Handshake:
    """One connection until its handshake has ended; a `Connection`."""

    __slots__ = ("_address", "_ended", "_linger_bytes", "_owner", "_sent_s", "_socket", "_spent_s", "_tls", "phase")

    def __init__(self, connection: socket.socket, address: Any, owner: TlsHandshakes) -> None:
        connection.setblocking(False)
        self.phase = Phase.HANDSHAKE
        self._socket = connection
        self._address = address
        self._owner = owner
        self._tls: TlsSocket | None = None
        self._spent_s = 0.0
        self._ended = False
        self._linger_bytes = LINGER_MAX_BYTES
        self._sent_s = 0.0
        owner.connections.add(self, Phase.HANDSHAKE)
        self._wait_for(_HEADER.size, self._look_at_hello)

    @property
    def _host(self) -> str:
        return str(self._address[0])

    def _wait_for(self, size: int, then: Callable[[], None]) -> None:
        """Call a function once so many bytes, or the last one, have arrived."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        self._owner.loop.add_reader(self._socket.fileno(), then)

    # -- before OpenSSL sees anything ---------------------------------------------------------------------------------

    def _look_at_hello(self) -> None:
        """Find out whether it is TLS, and how much of the first record to wait for."""
        try:
            begin = self._socket.recv(_HEADER.size, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            begin = b""
        if not begin or (begin[0] == _HANDSHAKE and len(begin) < _HEADER.size):
            self._count_and_abort("left")
        elif begin[0] != _HANDSHAKE:
            if begin[:1].isalpha():
                self._answer_plain_request()
            else:
                self._count_and_abort("not_tls")
        else:
            _, _, record_bytes, message = _HEADER.unpack(begin)
            kind, hello_bytes = message >> 24, message & 0xFFFFFF
            if kind != _CLIENT_HELLO or hello_bytes > HELLO_MAX_BYTES or record_bytes < _MESSAGE_HEADER_BYTES:
                self._count_and_abort("not_tls")
                return
            missing = _RECORD_HEADER_BYTES + min(record_bytes, HELLO_MAX_BYTES)
            if self._available() < missing:
                self._wait_for(missing, self._hello_is_complete)
            else:
                self._hello_is_complete()

    def _available(self) -> int:
        """Return the number of bytes that have arrived."""
        return int(struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, b"\0" * 4))[0])

    def _hello_is_complete(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._queue()

    def _answer_plain_request(self) -> None:
        """Answer a request without TLS.

        What the client still sends is read and thrown away.
        """
        connections = self._owner.connections
        self._owner.loop.remove_reader(self._socket.fileno())
        self._owner.count.labels("plain").inc()
        connections.count_rejected(HTTPS_REQUIRED, self._host)
        try:
            self._socket.send(rejection(HTTPS_REQUIRED, with_body=True))
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()
            return
        self._sent_s = connections.clock()
        connections.move(self, Phase.LINGER)
        self._wait_for(1, self._discard)

    def _discard(self) -> None:
        try:
            data = self._socket.recv(DISCARD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._linger_bytes -= len(data)
        if not data:
            self.abort()
        elif self._linger_bytes < 0:
            self._owner.loop.remove_reader(self._socket.fileno())

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _queue(self) -> None:
        """Let the owner call `step`; nothing is read until then."""
        self._stop_waiting()
        self._owner.queue(self)

    def _stop_waiting(self) -> None:
        file = self._socket.fileno()
        if file != -1:  # it is if the client left before OpenSSL got the socket
            self._owner.loop.remove_reader(file)
            self._owner.loop.remove_writer(file)

    def step(self) -> None:
        """Go on with the handshake as far as possible without waiting."""
        if self._ended:
            return
        began_s = time.perf_counter()
        try:
            if self._tls is None:
                self._tls = self._wrapped()
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._owner.loop.add_reader(self._socket.fileno(), self._queue)
        except ssl.SSLWantWriteError:
            self._owner.loop.add_writer(self._socket.fileno(), self._queue)
        except OSError as error:
            self._owner.failed(self._host, error)
            self.abort()
        else:
            self._succeed(self._spent_s + time.perf_counter() - began_s)
        self._spent_s += time.perf_counter() - began_s

    def _wrapped(self) -> TlsSocket:
        tls = self._owner.context().wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        assert isinstance(tls, TlsSocket)
        self._socket = tls  # the plain one has lost its file descriptor
        return tls

    def _succeed(self, handshake_s: float) -> None:
        self._owner.count.labels("done").inc()
        self._end()
        assert self._tls is not None
        self._tls.handshake_s = handshake_s
        self._owner.serve(self._tls, self._address)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._ended = True
        self._owner.connections.remove(self)
        self._owner.forget(self)

    def _count_and_abort(self, outcome: str) -> None:
        self._owner.count.labels(outcome).inc()
        self.abort()

    def time_out(self) -> None:
        """End the connection: its handshake takes too long."""
        self._count_and_abort("timeout")

    def check(self, now_s: float) -> str | None:
        """End the connection if the client has had its answer for long enough."""
        if now_s - self._sent_s >= LINGER_S:
            self.abort()
        return None

    def abort(self) -> None:
        """End the connection now; may be repeated."""
        if self._ended:
            return
        self._end()
        self._stop_waiting()
        self._socket.close()
