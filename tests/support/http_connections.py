"""Both ends of an HTTP connection: raw responses, and the server's objects."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPHeaders

from hermes.web.http.connection import HttpConnection
from hermes.web.http.connections import OpenConnections
from hermes.web.http.httptools_server import HttptoolsServer
from tests.support.gateways import TIMEOUT_S, Hermes
from tests.support.raw_socket import RawSocket

HOST = b"Host: 127.0.0.1\r\n"


@dataclass(frozen=True, slots=True)
class Response:
    """One response."""

    status: int
    headers: HTTPHeaders
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def error(self) -> str:
        """The code of the error in the body."""
        code = self.json["error"]["code"]
        assert isinstance(code, str)
        return code


def get(path: str = "/health", *headers: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    """Return a request without a body; its host is 127.0.0.1 unless given."""
    lines = [f"{method} {path} {version}", *headers]
    if not any(header.lower().startswith("host:") for header in headers):
        lines.insert(1, "Host: 127.0.0.1")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def response(raw: RawSocket, *, head: bool = False) -> Response:
    """Return the next response on this connection; that to a HEAD has no body."""
    return await asyncio.wait_for(_response(raw.reader, head=head), TIMEOUT_S)


async def _response(reader: asyncio.StreamReader, *, head: bool) -> Response:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, _, fields = text.partition("\r\n")
    version, status, _ = status_line.split(" ", 2)
    assert version == "HTTP/1.1"
    headers = HTTPHeaders.parse(fields)
    body = b""
    if head or status in ("100", "101", "204", "304"):
        pass
    elif headers.get("Transfer-Encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        assert await reader.readexactly(2) == b"\r\n"
    else:
        body = await reader.readexactly(int(headers["Content-Length"]))
    return Response(int(status), headers, body)


async def at_end(raw: RawSocket) -> bytes:
    """Return what comes until the server has closed its side."""
    return await asyncio.wait_for(raw.reader.read(), TIMEOUT_S)


# -- the server's end ---------------------------------------------------------------------------------------------


def open_connections(hermes: Hermes) -> OpenConnections:
    """Return the open connections of a gateway that uses httptools."""
    server = hermes.gateway._server._http
    assert isinstance(server, HttptoolsServer)
    return server.connections


def server_ends(hermes: Hermes) -> list[HttpConnection]:
    """Return the server's end of each open connection."""
    found = [each for connections in open_connections(hermes)._in_phase.values() for each in connections]
    assert all(isinstance(each, HttpConnection) for each in found)
    return found  # type: ignore[return-value]
