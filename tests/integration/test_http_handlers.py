"""Handlers of Tornado on a connection of httptools: those that wait, stream, fail or lie about their length."""

import asyncio
import socket
from collections.abc import Awaitable, Iterator

import pytest
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler, stream_request_body

from hermes.metrics import Metrics
from hermes.web.http.delegate import EagerApplication
from hermes.web.http.httptools_server import HttptoolsServer
from hermes.web.http.request import ServerRequest
from tests.support.gateways import TIMEOUT_S, eventually
from tests.support.http_connections import at_end, get, response
from tests.support.raw_request import request
from tests.support.raw_socket import RawSocket

LOCAL = {"Host": "127.0.0.1"}


class Plain(RequestHandler):
    """Return what arrived; with ``?wait`` after some iterations of the event loop."""

    async def prepare(self) -> None:
        """Wait, if the client asks for it."""
        if self.get_query_argument("wait", None) is not None:
            await asyncio.sleep(0.001)

    async def post(self) -> None:
        """Return the body."""
        self.write(self.request.body)

    def get(self) -> None:
        """Return what Tornado documents of a request."""
        request = self.request
        assert isinstance(request, ServerRequest)
        assert request.request_time() >= 0
        assert request.start_line == (request.method, request.uri, request.version)
        self.write({"url": request.full_url(), "host": request.host_name, "arguments": len(request.arguments)})


@stream_request_body
class Streamed(RequestHandler):
    """Count the bytes of a body, and wait after each part."""

    size = 0

    async def prepare(self) -> None:
        """Let the body wait."""
        await asyncio.sleep(0.001)

    async def data_received(self, chunk: bytes) -> None:
        """Take a part slowly."""
        await asyncio.sleep(0)
        self.size += len(chunk)

    def post(self) -> None:
        """Return the count."""
        self.write(str(self.size))


@stream_request_body
class FailsToRead(RequestHandler):
    """Fail when the body comes."""

    def data_received(self, chunk: bytes) -> Awaitable[None]:
        """Fail later."""

        async def fail() -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError("injected")

        return fail()


class Faulty(RequestHandler):
    """Fail in the way that the path says."""

    async def get(self, fault: str) -> None:
        """Fail."""
        match fault:
            case "at-once":
                raise ZeroDivisionError("injected")
            case "later":
                await asyncio.sleep(0.001)
                raise ZeroDivisionError("injected")
            case "short":
                self.set_header("Content-Length", "9")
                self.write(b"abc")
            case "long":
                self.set_header("Content-Length", "2")
                self.write(b"abc")
                await self.flush()
            case "line-break":
                self._headers._as_list["X-Bad"] = ["a\r\nX-Injected: b"]  # past the check of Tornado


class Chunks(RequestHandler):
    """Send a response in parts, without its length."""

    async def get(self) -> None:
        """Flush each part."""
        for part in (b"ab", b"", b"c" * 100_000, b"d"):
            self.write(part)
            await self.flush()


class Site:
    """A server of these handlers, and its clients."""

    def __init__(self) -> None:
        application = EagerApplication(
            [
                ("/plain", Plain),
                ("/streamed", Streamed),
                ("/fails-to-read", FailsToRead),
                ("/faulty/(.*)", Faulty),
                ("/chunks", Chunks),
            ]
        )
        self.server = HttptoolsServer(
            application, max_connections=0, metrics=Metrics(), on_handshake=lambda seconds: None
        )
        self.clients: list[RawSocket] = []

    async def connect(self) -> RawSocket:
        """Return a connection to the server."""
        near, far = socket.socketpair()
        self.server.serve(far, None)
        near.setblocking(False)
        raw = RawSocket(*await asyncio.open_connection(sock=near))
        self.clients.append(raw)
        return raw

    async def send(self, data: bytes) -> RawSocket:
        """Send bytes on a connection of their own."""
        raw = await self.connect()
        await raw.send_bytes(data)
        return raw

    async def stop(self) -> None:
        """Close everything."""
        for raw in self.clients:
            raw.writer.close()
        await self.server.stop()


@pytest.fixture
def site(io_loop: IOLoop) -> Iterator[Site]:
    """Run the server."""

    async def start() -> Site:
        return Site()

    running: Site = io_loop.run_sync(start)
    yield running
    io_loop.run_sync(running.stop)


@pytest.mark.gen_test
async def test_a_request_has_what_tornado_documents(site: Site) -> None:
    """Also behind a Unix socket, which has no address."""
    raw = await site.send(get("/plain?a=1&a=2&b=", "Host: Hermes.Example:81"))
    expected = {"url": "http://Hermes.Example:81/plain?a=1&a=2&b=", "host": "hermes.example", "arguments": 2}
    assert (await response(raw)).json == expected


@pytest.mark.gen_test
async def test_a_query_with_too_many_fields_is_refused(site: Site) -> None:
    """Before any handler sees it."""
    assert (await response(await site.send(get("/plain?" + "&".join("abcde" * 20))))).status == 200
    assert (await response(await site.send(get("/plain?" + "&".join("a" * 101))))).status == 400


@pytest.mark.gen_test
@pytest.mark.parametrize("path", [b"/plain", b"/plain?wait"])
@pytest.mark.parametrize("chunk", [0, 10])
async def test_a_body_reaches_a_handler_that_waits_or_not(site: Site, path: bytes, chunk: int) -> None:
    """Byte by byte or as a whole, and so does the next one."""
    raw = await site.connect()
    data = request(LOCAL, b"0123456789" * 9, chunk=chunk).replace(b"/notify", path)
    await raw.send_bytes(data)
    for byte in data:
        await raw.send_bytes(bytes([byte]))
    for _ in range(2):
        assert (await response(raw)).body == b"0123456789" * 9


@pytest.mark.gen_test
@pytest.mark.parametrize("chunk", [0, 1_000])
async def test_a_handler_that_takes_its_time_gets_every_part(site: Site, chunk: int) -> None:
    """The rest waits, and nothing is lost; the next request waits too."""
    data = request(LOCAL, b"x" * 60_000, chunk=chunk).replace(b"/notify", b"/streamed")
    raw = await site.send(data * 3)
    for _ in range(3):
        assert (await response(raw)).body == b"60000"


@pytest.mark.gen_test
async def test_a_handler_that_cannot_take_a_body_ends_the_connection(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """With the traceback in the log."""
    raw = await site.send(request(LOCAL, b"x").replace(b"/notify", b"/fails-to-read"))
    assert await at_end(raw) == b""
    assert "injected" in caplog.text


@pytest.mark.gen_test
@pytest.mark.parametrize("fault", ["at-once", "later"])
async def test_a_handler_that_fails_is_answered_with_500(
    site: Site, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """The connection stays usable."""
    raw = await site.send(get(f"/faulty/{fault}") + get("/plain"))
    assert (await response(raw)).status == 500
    assert (await response(raw)).status == 200
    assert "injected" in caplog.text


@pytest.mark.gen_test
@pytest.mark.parametrize("fault", ["short", "long"])
async def test_a_body_of_another_length_ends_the_connection(
    site: Site, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """The client must not take the next response for the rest of it."""
    raw = await site.send(get(f"/faulty/{fault}") + get("/plain"))
    answer = await at_end(raw)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert not answer.startswith(b"HTTP/1.1 200 OK\r\n") or answer.endswith(b"abc")
    assert "HTTPOutputError" in caplog.text


@pytest.mark.gen_test
async def test_a_line_break_in_a_header_is_never_sent(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Tornado refuses it before; this is the last check, and ends the connection."""
    raw = await site.send(get("/faulty/line-break"))
    assert await at_end(raw) == b""
    assert "has a line break" in caplog.text


@pytest.mark.gen_test
async def test_a_response_of_unknown_length_is_chunked(site: Site) -> None:
    """In HTTP/1.0, which has no chunks, it ends with the connection."""
    body = b"ab" + b"c" * 100_000 + b"d"
    raw = await site.send(get("/chunks") + get("/plain"))
    answer = await response(raw)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.body == body
    assert (await response(raw)).status == 200
    raw = await site.send(get("/chunks", "Connection: keep-alive", version="HTTP/1.0"))
    head, _, content = (await at_end(raw)).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"Connection: close" in head
    assert content == body
    raw = await site.send(get("/chunks", method="HEAD"))
    assert (await response(raw, head=True)).status == 405


@pytest.mark.gen_test
async def test_a_stopped_server_has_no_connections(site: Site) -> None:
    """Nor has it requests under way."""
    raw = await site.send(request(LOCAL, b"x" * 100).replace(b"/notify", b"/plain")[:-1])
    await eventually(lambda: site.server.busy)
    await asyncio.wait_for(site.server.stop(), TIMEOUT_S)
    assert not site.server.busy
    assert await at_end(raw) == b""
