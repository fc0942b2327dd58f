"""Serve HTTP on accepted connections, with one of two parsers."""

import logging
import socket
import sys
from collections.abc import Callable
from typing import Any, Protocol

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, SSLIOStream
from tornado.web import Application

from hermes.metrics import Metrics
from hermes.web.http.connections import IDLE_TIMEOUT_S, OpenConnections
from hermes.web.http.exchange import BODY_MAX_BYTES
from hermes.web.tls.tls_socket import TlsSocket

logger = logging.getLogger(__name__)

BODY_TIMEOUT_S = 60.0


class RequestServer(Protocol):
    """A server of requests on accepted connections.

    ``connections`` also has those that are not passed to `serve` yet, because of their TLS handshake.
    """

    connections: OpenConnections

    def start(self) -> None:
        """Start the timers."""

    def serve(self, connection: socket.socket, address: Any) -> None:
        """Serve one accepted connection until it ends."""

    def finish(self) -> None:
        """Take no more requests; those under way are answered."""

    @property
    def busy(self) -> bool:
        """True while requests are under way."""

    async def stop(self) -> None:
        """Close every connection."""


def request_server(
    application: Application,
    *,
    parser: str,
    max_connections: int,
    metrics: Metrics,
    on_handshake: Callable[[float], None],
) -> RequestServer:
    """Return a server with the parser ``httptools`` or ``tornado``.

    ``on_handshake`` gets the seconds that each WebSocket handshake took, from httptools only. If httptools is not
    installed, the server is Tornado's, and one line in the log says so.
    """
    if parser == "httptools":
        try:
            from hermes.web.http.httptools_server import HttptoolsServer
        except ImportError as error:
            logger.warning(
                "httptools cannot be imported (%s): requests are parsed by Tornado, about half as fast and without "
                "--max-http-connections; to install it: %s -m pip install httptools",
                error,
                sys.executable,
            )
        else:
            return HttptoolsServer(
                application, max_connections=max_connections, metrics=metrics, on_handshake=on_handshake
            )
    return TornadoHttpServer(application, max_connections=max_connections, metrics=metrics)


class TornadoHttpServer:
    """Serve an application with Tornado's own HTTP server.

    At most ``max_connections`` are in their TLS handshake; 0 means no limit.
    """

    def __init__(self, application: Application, *, max_connections: int, metrics: Metrics) -> None:
        self.connections = OpenConnections(application, max_connections, metrics=metrics)
        self._http = HTTPServer(
            application,
            max_body_size=BODY_MAX_BYTES,
            idle_connection_timeout=IDLE_TIMEOUT_S,
            body_timeout=BODY_TIMEOUT_S,
        )

    def start(self) -> None:
        """Start to close handshakes that take too long.

        Tornado has a timer for each request.
        """
        self.connections.start()

    def serve(self, connection: socket.socket, address: Any) -> None:
        """Serve one accepted connection until it ends."""
        if isinstance(connection, TlsSocket):
            self._http.handle_stream(SSLIOStream(connection, ssl_options=connection.context), address)
        else:
            self._http.handle_stream(IOStream(connection), address)

    def finish(self) -> None:
        """End the handshakes.

        Tornado does not know which connections have a request under way.
        """
        self.connections.finish()

    @property
    def busy(self) -> bool:
        """False: Tornado does not know."""
        return False

    async def stop(self) -> None:
        """Close every connection."""
        self.connections.stop()
        self.connections.abort()
        await self._http.close_all_connections()
