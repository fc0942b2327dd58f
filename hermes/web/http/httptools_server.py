"""Serve HTTP on accepted connections with httptools."""

import socket
from collections.abc import Callable
from typing import Any

from tornado.web import Application

from hermes.metrics import Metrics
from hermes.web.http.connection import HttpConnection
from hermes.web.http.connections import OpenConnections
from hermes.web.http.request import Peer
from hermes.web.tls.tls_socket import TlsSocket

NO_ADDRESS = "0.0.0.0"  # noqa: S104  the address of the client of a Unix socket, as Tornado has it


class HttptoolsServer:
    """Serve an application with httptools.

    At most ``max_connections`` are open at once; 0 means no limit. ``on_handshake`` gets the seconds that each
    WebSocket handshake held the event loop.
    """

    def __init__(
        self,
        application: Application,
        *,
        max_connections: int,
        metrics: Metrics,
        on_handshake: Callable[[float], None],
    ) -> None:
        self.connections = OpenConnections(application, max_connections, metrics=metrics, on_handshake=on_handshake)

    def start(self) -> None:
        """Start to close connections that take too long."""
        self.connections.start()

    def serve(self, connection: socket.socket, address: Any) -> None:
        """Serve one accepted connection until it ends."""
        host = NO_ADDRESS
        if isinstance(address, tuple):
            host = address[0]
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        protocol = "https" if isinstance(connection, TlsSocket) else "http"
        HttpConnection(connection, Peer(host, protocol), self.connections)

    def finish(self) -> None:
        """Take no more requests; those under way are answered."""
        self.connections.finish()

    @property
    def busy(self) -> bool:
        """True while requests are under way."""
        return self.connections.busy > 0

    async def stop(self) -> None:
        """Close every connection."""
        self.connections.stop()
        self.connections.abort()
