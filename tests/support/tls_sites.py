"""A gateway with TLS of its own, and clients that trust its certificate."""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import websocket_connect

from hermes.metrics import by_label
from hermes.testing import ClientSocket
from hermes.web.http.connections import OpenConnections
from tests.support.certificates import LOOPBACK, Authority, Signed
from tests.support.gateways import TIMEOUT_S, Hermes, MakeHermes
from tests.support.raw_socket import RawSocket


@dataclass
class TlsSite:
    """A running gateway, the authority that has signed its certificate, and the context of its clients."""

    hermes: Hermes
    authority: Authority
    signed: Signed

    @property
    def context(self) -> ssl.SSLContext:
        """A new context that trusts the authority."""
        return ssl.create_default_context(cafile=self.authority.certificate)

    @property
    def port(self) -> int:
        """The port with TLS."""
        return int(self.hermes.url.rpartition(":")[2])

    @property
    def connections(self) -> OpenConnections:
        """The open connections, those in their handshake too."""
        http = self.hermes.gateway._server._http
        assert http is not None
        return http.connections

    @property
    def handshakes(self) -> dict[str, float]:
        """How many handshakes had each outcome."""
        return by_label(self.hermes.gateway.metrics.tls_handshakes)

    async def request(self, path: str, **options: Any) -> HTTPResponse:
        """Send a request over TLS, and return the response of any status."""
        request = HTTPRequest(self.hermes.url + path, ssl_options=self.context, **options)
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    async def open(self, path: str, token: str, **options: Any) -> ClientSocket:
        """Open a socket over TLS."""
        url = f"{self.hermes.url.replace('https', 'wss')}{path}?token={token}"
        socket = ClientSocket(await websocket_connect(HTTPRequest(url, ssl_options=self.context), **options))
        self.hermes.sockets.append(socket)
        return socket

    async def connect(self, *, tls: ssl.SSLContext | None = None, plain: bool = False) -> RawSocket:
        """Return a connection, with TLS unless it is to be plain."""
        context = None if plain else (tls or self.context)
        name = None if plain else "127.0.0.1"
        opening = asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name)
        raw = RawSocket(*await asyncio.wait_for(opening, TIMEOUT_S))
        self.hermes.at_end += [raw.writer.close, raw.writer.transport.abort]  # without an answer to close_notify
        return raw


async def tls_site(make_hermes: MakeHermes, folder: Path, **given: object) -> TlsSite:
    """Start a gateway with a certificate for 127.0.0.1."""
    authority = Authority(folder)
    signed = authority.sign("gateway", LOOPBACK, days=90)
    hermes = await make_hermes(tls_cert=signed.certificate, tls_key=signed.key, **given)
    return TlsSite(hermes, authority, signed)
