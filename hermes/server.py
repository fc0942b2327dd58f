"""Listen for HTTP, handle signals, drain and stop."""

import asyncio
import errno
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterable
from typing import Any

from tornado.netutil import bind_sockets
from tornado.web import Application

from hermes.delivery.hub import Hub
from hermes.delivery.reconnect_delay import ReturnRate
from hermes.errors import STOPPING, ConfigError, HermesError
from hermes.metrics import Metrics
from hermes.quotas.connection_rate import ConnectionRate
from hermes.settings.fields import address_url
from hermes.settings.model import ListenAddress
from hermes.web.http.server import RequestServer
from hermes.web.listener import Listener
from hermes.web.sockets.admission import Admission
from hermes.web.sockets.waiting import WaitingRequests
from hermes.web.tls.certificate import CurrentCertificate
from hermes.web.tls.handshakes import TlsHandshakes

logger = logging.getLogger(__name__)

LISTEN_BACKLOG = 4_096  # thousands reconnect at once after a restart; the kernel limits it to somaxconn
FILES_RESERVED = 128  # of the file limit: listening, logs, the broker, HTTP requests
DRAIN_POLL_S = 0.002
EXAMPLE_PORTS = {"--port": 8080, "--tls-port": 8443}
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server:
    """Serve one application at some addresses: `listen`, `start`, then `stop`.

    ``certificate`` is that of the addresses with TLS. ``hub`` and ``admission`` are those of the application's sockets,
    ``waiting`` has its long polls: stopping closes its sessions with 1001 ``stopping``, each with its own ``retry_ms``,
    and waits at most ``drain_timeout_s`` seconds for them. Requests that wait are answered at once. With
    ``other_nodes`` the sockets return there, and share their rates.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        admission: Admission,
        waiting: WaitingRequests,
        connection_rate: ConnectionRate,
        metrics: Metrics,
        drain_timeout_s: float,
        make_http: Callable[[Application], RequestServer],
        return_rate: ReturnRate,
        other_nodes: Callable[[], int] = lambda: 0,
        certificate: CurrentCertificate | None = None,
    ) -> None:
        self.url = ""  # the address to open in a browser, once it listens
        self._hub = hub
        self._admission = admission
        self._waiting = waiting
        self._connection_rate = connection_rate
        self._metrics = metrics
        self.drain_timeout_s = drain_timeout_s
        self._certificate = certificate
        self._listening: list[tuple[ListenAddress, list[socket.socket]]] = []
        self._listeners: list[Listener] = []
        self._make_http = make_http
        self._return_rate = return_rate
        self._other_nodes = other_nodes
        self._http: RequestServer | None = None

    def listen(self, addresses: Iterable[ListenAddress]) -> None:
        """Bind the addresses; no connection is accepted before `start`.

        Raises `HermesError` with what to change.
        """
        for address in addresses:
            self._listening.append((address, listen(address.host, address.port, flag=address.flag)))
        self.url = self.urls[0]

    def limit_connections(self, limit: int) -> None:
        """Set the largest number of HTTP connections; 0 means no limit."""
        if self._http is not None:
            self._http.connections.limit = limit

    @property
    def urls(self) -> list[str]:
        """The URL of each address, the one for browsers first."""
        return [url_of(sockets[0], tls=address.tls) for address, sockets in self._listening]

    def start(self, application: Application) -> None:
        """Accept connections and pass their requests to the application."""
        http = self._http = self._make_http(application)
        http.start()
        for address, sockets in self._listening:
            listener = Listener(
                listening=sockets,
                handle=self._connection_rate.limited(self._handshakes(http) if address.tls else http.serve),
                metrics=self._metrics,
                on_pause=self._free_files,
            )
            listener.start()
            self._listeners.append(listener)
        if self._certificate is not None:
            self._certificate.start()
        logger.info("listening on %s", " and ".join(self.urls))

    def _handshakes(self, http: RequestServer) -> Callable[[socket.socket, Any], None]:
        assert self._certificate is not None
        certificate = self._certificate
        return TlsHandshakes(
            connections=http.connections,
            context=lambda: certificate.context,
            serve=http.serve,
            on_failure=self._connection_rate.charge_refused,
            metrics=self._metrics,
        ).accept

    def _free_files(self) -> None:
        self._admission.cut_refused()
        self._connection_rate.close_held()

    async def stop(self) -> None:
        """Stop accepting, drain the sockets and close everything. May be repeated."""
        for listener in self._listeners:
            listener.stop()
        if self._certificate is not None:
            self._certificate.stop()
        self._connection_rate.stop()
        if self._http is not None:
            self._http.finish()
        await self._drain()  # also if another server serves the application
        if self._http is not None:
            await self._http.stop()
        for _, sockets in self._listening:
            for listening in sockets:
                listening.close()

    async def _drain(self) -> None:
        self._admission.stopping = True  # a connection that was accepted earlier may still open a socket
        self._waiting.stop()
        self._hub.flush()
        sessions = tuple(self._hub.sessions)
        nodes = max(1, self._other_nodes())
        for session in sessions:
            session.close(STOPPING, self._return_rate.retry_ms(len(sessions) / nodes))
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.drain_timeout_s
        while (self._hub.sessions or (self._http is not None and self._http.busy)) and loop.time() < deadline_s:
            await asyncio.sleep(DRAIN_POLL_S)
        if self._hub.sessions:
            logger.warning("%d sockets did not close within %g s", len(self._hub.sessions), self.drain_timeout_s)


def stop_event() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets; the next one kills the process.

    With a controlling terminal SIGHUP sets it too: the terminal was closed. Call it on the event loop, before another
    program can know that this one runs. For ``hermes serve`` only: it changes the whole process. The kernel ends an
    embedded broker with it.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        for number in numbers:
            loop.remove_signal_handler(number)
            # asyncio restores the handler of SIGINT that raises in any line; a terminal sends SIGHUP more than once
            signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)

    numbers = (*STOP_SIGNALS, signal.SIGHUP) if _hangup_stops() else STOP_SIGNALS
    for number in numbers:
        loop.add_signal_handler(number, stop)
    return stopping


def reload_event() -> asyncio.Event:
    """Return an event that SIGHUP sets, unless it stops the program.

    For ``hermes serve`` only: it changes the whole process.
    """
    reloading = asyncio.Event()
    if not _hangup_stops():
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.set)
    return reloading


def _hangup_stops() -> bool:
    """Return whether SIGHUP comes from a terminal that is closed.

    Not under nohup(1), which ignores the signal.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))  # tty(4): ENXIO without one
    except OSError:
        return False
    return True


def listen(host: str, port: int, *, flag: str = "--port") -> list[socket.socket]:
    """Return the listening sockets.

    Raises `HermesError` with the address and what to change; ``flag`` is the one that chose the port.
    """
    try:
        # "::" of IPv6 alone would surprise: on other servers of this machine it is both
        return bind_sockets(port, address=None if host == "::" else host, backlog=LISTEN_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise HermesError(
                f"port {port} on {host} is in use by another program; stop that program, "
                f"or choose another port: {flag} {port + 1 if port < 65_535 else 8080} (0 selects a free port)"
            ) from None
        if error.errno == errno.EACCES:
            problem = f"only root may listen on port {port}; choose a port from 1024 up: {flag} {EXAMPLE_PORTS[flag]}"
            raise ConfigError([problem]) from None
        raise HermesError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def url_of(listening: socket.socket, *, tls: bool = False) -> str:
    """Return the address of a listening socket as a URL for a browser."""
    host, port = listening.getsockname()[:2]
    return address_url(host, port, tls=tls)


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one.

    For ``hermes serve`` only: it changes the whole process.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def sockets_by_file_limit() -> int:
    """Return how many sockets may be open by the limit of open files.

    These are three quarters of it, minus a reserve. The last quarter is for plain HTTP connections.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft * 3 // 4 - FILES_RESERVED)


def http_connections_by_file_limit() -> int:
    """Return how many plain HTTP connections may be open: a quarter of the file limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft // 4)
