"""How long HTTP connections may take, and how many there are."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from hermes.metrics import by_label, total
from hermes.web.http.connection import BODY_LEAST_BYTES_PER_S, BODY_TIMEOUT_S, SEND_TIMEOUT_S, HttpConnection
from hermes.web.http.connections import HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, LINGER_S, OpenConnections, Phase
from tests.support.gateways import TIMEOUT_S, Hermes, MakeHermes, eventually, token
from tests.support.http_connections import at_end, get, open_connections, response, server_ends
from tests.support.raw_request import JSON, KEYED, request
from tests.support.raw_socket import RawSocket, connect, open_raw, port_of

pytestmark = pytest.mark.usefixtures("complaints")

LOCAL = {"Host": "127.0.0.1"}
CLIENT_MODULE = "/static/hermes-client.js"
MOMENT_S = 0.001


class Site:
    """A gateway with a stopped clock for its HTTP connections."""

    def __init__(self, hermes: Hermes) -> None:
        self.hermes = hermes
        self.now_s = 1_000.0
        self.connections: OpenConnections = open_connections(hermes)
        self.connections.stop()  # only the test sweeps
        self.connections.clock = lambda: self.now_s

    async def connect(self, data: bytes = b"", phase: Phase = Phase.HEAD, **how: int) -> RawSocket:
        """Open a connection and send bytes; wait until the server has read them."""
        before = server_ends(self.hermes)
        raw = await connect(self.hermes, receive_buffer_bytes=how.get("receive_buffer_bytes"))
        await raw.send_bytes(data)

        def arrived() -> bool:
            new = [end for end in server_ends(self.hermes) if all(end is not other for other in before)]
            return [end.phase for end in new] == [phase] and new[0]._parser.in_head == (
                phase is Phase.HEAD and bool(data)
            )

        await eventually(arrived)
        return raw

    def after(self, seconds: float) -> None:
        """Let time pass, and look for what takes too long."""
        self.now_s += seconds
        self.connections.sweep()

    @property
    def ends(self) -> list[HttpConnection]:
        """The server's ends."""
        return server_ends(self.hermes)

    @property
    def closed(self) -> dict[str, float]:
        """How many were closed, by cause."""
        return by_label(self.hermes.gateway.metrics.http_closed)

    @property
    def rejected(self) -> dict[str, float]:
        """How many requests were rejected, by status."""
        return by_label(self.hermes.gateway.metrics.http_rejected)


@pytest.fixture
def site(hermes: Hermes) -> Site:
    """A gateway with the default limits."""
    return Site(hermes)


async def end_with_408(raw: RawSocket) -> None:
    """Assert that the next response is the last, and says that it took too long."""
    answer = await response(raw)
    assert (answer.status, answer.error, answer.headers["Connection"]) == (408, "timeout", "close")
    assert await at_end(raw) == b""


# -- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_silent_connection_is_closed_without_a_response(site: Site) -> None:
    """Ten seconds after it was opened."""
    raw = await site.connect()
    site.after(HEAD_TIMEOUT_S - MOMENT_S)
    assert len(site.ends) == 1
    site.after(MOMENT_S)
    assert not site.ends
    assert await at_end(raw) == b""
    assert (site.closed, site.rejected) == ({"head": 1}, {})


@pytest.mark.gen_test
@pytest.mark.parametrize(("data", "more"), [(b"G", b"ET /x"), (b"GET / HTTP/1.1\r\nHost: a\r\n", b"A: bc")])
async def test_a_head_that_takes_too_long_gets_408(site: Site, data: bytes, more: bytes) -> None:
    """However often another byte comes: the time is that of the whole head."""
    raw = await site.connect(data)
    (end,) = site.ends
    for number, byte in enumerate(more, len(data) + 1):
        site.after(HEAD_TIMEOUT_S / 10)
        await raw.send_bytes(bytes([byte]))
        await read_until(end, number)
    site.after(HEAD_TIMEOUT_S / 2 - MOMENT_S)
    assert site.closed == {}
    site.after(MOMENT_S)
    await end_with_408(raw)
    assert (site.closed, site.rejected) == ({"head": 1}, {"408": 1})


async def read_until(end: HttpConnection, head_bytes: int) -> None:
    """Wait until the server has read so much of a head."""
    await eventually(lambda: end._parser._head_bytes == head_bytes)


@pytest.mark.gen_test
async def test_a_head_on_an_open_connection_has_the_same_time(site: Site) -> None:
    """From its first byte."""
    raw = await site.connect(get(), Phase.IDLE)
    assert (await response(raw)).status == 200
    site.after(IDLE_TIMEOUT_S - MOMENT_S)
    await raw.send_bytes(b"GET")
    await eventually(lambda: site.ends[0].phase is Phase.HEAD)
    site.after(HEAD_TIMEOUT_S - MOMENT_S)
    assert site.ends[0].phase is Phase.HEAD
    site.after(MOMENT_S)
    await end_with_408(raw)
    assert site.closed == {"head": 1}


@pytest.mark.gen_test
async def test_an_idle_connection_is_closed(site: Site) -> None:
    """After 75 s without a request; each one begins the time anew."""
    raw = await site.connect()
    for _ in range(3):
        await raw.send_bytes(get())
        assert (await response(raw)).status == 200
        await eventually(lambda: site.ends[0].phase is Phase.IDLE)
        site.after(IDLE_TIMEOUT_S - MOMENT_S)
    assert len(site.ends) == 1
    site.after(MOMENT_S)
    assert await at_end(raw) == b""
    assert (site.closed, site.rejected) == ({"idle": 1}, {})


@pytest.mark.gen_test
@pytest.mark.parametrize("path", [b"/notify", b"/health"])
async def test_a_body_that_stands_still_gets_408(site: Site, path: bytes) -> None:
    """After 30 s without a byte; no notification is sent."""
    data = request(LOCAL | KEYED | JSON).replace(b"/notify", path)
    raw = await site.connect(data[:-5], Phase.BUSY)
    site.after(BODY_TIMEOUT_S - MOMENT_S)
    assert site.closed == {}
    site.after(MOMENT_S)
    await end_with_408(raw)
    assert (site.closed, site.rejected) == ({"body": 1}, {"408": 1})
    assert total(site.hermes.gateway.metrics.notify_accepted) == 0


async def fed(site: Site, raw: RawSocket, data: bytes) -> None:
    """Send bytes of a body, and wait until the server has read them."""
    (end,) = site.ends
    exchange = end._exchange
    assert exchange is not None
    expected = exchange.body_bytes + len(data)
    await raw.send_bytes(data)
    await eventually(lambda: exchange.body_bytes == expected)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("each_s", "accepted"), [(BODY_TIMEOUT_S / 2, True), (BODY_TIMEOUT_S, False)], ids=["fast enough", "too slow"]
)
async def test_a_body_needs_a_least_rate(site: Site, each_s: float, accepted: bool) -> None:
    """One KiB a second on average, after 30 s."""
    piece = b" " * int(BODY_LEAST_BYTES_PER_S * BODY_TIMEOUT_S / 2)
    head = request(LOCAL | KEYED | JSON).partition(b"\r\n\r\n")[0]
    head = head.replace(b"Length: ", b"Length: %d" % len(piece))  # far more than the body that comes
    raw = await site.connect(head + b"\r\n\r\n", Phase.BUSY)
    for _ in range(4):
        await fed(site, raw, piece)
        site.after(each_s - MOMENT_S)
        if site.closed:
            break
    assert site.closed == ({} if accepted else {"body": 1})
    if not accepted:
        await end_with_408(raw)
        assert site.rejected == {"408": 1}


async def unread(site: Site) -> RawSocket:
    """Return a connection with a response that its client does not read."""
    raw = await site.connect(receive_buffer_bytes=4_096)
    raw.pause()
    sending = asyncio.create_task(raw.send_bytes(get(CLIENT_MODULE) * 2_000))
    site.hermes.at_end.append(lambda: (sending.cancel(), None)[1])
    await eventually(lambda: site.ends and site.ends[-1]._outgoing)
    return raw


@pytest.mark.gen_test
async def test_a_response_that_is_not_read_ends_the_connection(site: Site) -> None:
    """After 30 s in which the client has taken nothing."""
    await unread(site)
    (end,) = site.ends  # from here on nothing is awaited: the kernel may still take some more
    site.now_s = end._sent_s
    site.after(SEND_TIMEOUT_S - MOMENT_S)
    assert len(site.ends) == 1
    site.after(MOMENT_S)
    assert not site.ends
    assert (site.closed, site.rejected) == ({"response": 1}, {})


@pytest.mark.gen_test
async def test_a_client_that_reads_a_little_keeps_its_connection(site: Site) -> None:
    """Whenever the kernel takes more, the time begins anew."""
    raw = await unread(site)
    (end,) = site.ends
    for _ in range(3):
        site.now_s += SEND_TIMEOUT_S - MOMENT_S
        raw.resume()
        while end._sent_s != site.now_s:
            await asyncio.wait_for(raw.reader.read(65_536), TIMEOUT_S)
        raw.pause()
        site.connections.sweep()
        assert site.ends == [end]
    assert site.closed == {}


@pytest.mark.gen_test
async def test_a_refused_client_that_neither_sends_nor_closes_is_cut(site: Site) -> None:
    """After 2 s; nothing more is counted."""
    raw = await site.connect()
    await raw.send_bytes(request(LOCAL | JSON)[:-1])
    assert (await response(raw)).status == 401
    assert await at_end(raw) == b""
    site.after(LINGER_S - MOMENT_S)
    assert len(site.ends) == 1
    site.after(MOMENT_S)
    assert not site.ends
    assert site.closed == {}


class FullSocket:
    """A socket with a full send buffer."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real

    def fileno(self) -> int:
        """Return that of the real socket."""
        return self._real.fileno()

    def send(self, data: bytes) -> int:
        """Take nothing."""
        raise BlockingIOError


@pytest.mark.gen_test
async def test_a_sweep_ends_although_a_408_cannot_be_sent(site: Site) -> None:
    """The client has not read the responses before, and the kernel takes nothing more."""
    for _ in range(2):
        await site.connect(b"GET / HT")
    for end in site.ends:
        end._outgoing._socket = FullSocket(end._socket)  # type: ignore[assignment]
    site.after(HEAD_TIMEOUT_S)
    assert site.closed == {"head": 2}
    for end in site.ends:
        end._loop.remove_writer(end._socket)  # the real socket is writable
    site.after(SEND_TIMEOUT_S)
    assert not site.ends
    assert site.closed == {"head": 2, "response": 2}


@pytest.mark.gen_test
async def test_nothing_under_way_is_closed_because_of_time_alone(site: Site) -> None:
    """A WebSocket stays open, and so does a body that comes in time."""
    socket = await site.hermes.open("/ws/notifications", token())
    data = request(LOCAL | KEYED | JSON)
    raw = await site.connect(data[:-5], Phase.BUSY)
    site.after(BODY_TIMEOUT_S - MOMENT_S)
    await raw.send_bytes(data[-5:])
    assert (await response(raw)).status == 200
    assert (await socket.receive())["title"] == "t"
    site.after(1_000)
    await socket.expect_silence()
    assert site.closed == {"idle": 1}


@pytest.mark.gen_test
async def test_the_gateway_sweeps_by_itself(hermes: Hermes) -> None:
    """With the timer of the gateway; only the clock is the test's."""
    connections = open_connections(hermes)
    now_s = connections.clock()
    raw = await connect(hermes)
    await eventually(lambda: server_ends(hermes))
    connections.clock = lambda: now_s + 2 * HEAD_TIMEOUT_S
    assert await at_end(raw) == b""
    assert by_label(hermes.gateway.metrics.http_closed) == {"head": 1}


# -- their number -------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_at_the_limit_the_longest_idle_connection_is_closed(make_hermes: MakeHermes) -> None:
    """Else the one that waits longest for its head; else the oldest request."""
    site = Site(await make_hermes(max_http_connections="3"))
    half_body = request(LOCAL | KEYED | JSON)[:-5]
    openings: list[Callable[[], Awaitable[RawSocket]]] = [
        lambda: site.connect(half_body, Phase.BUSY),
        lambda: site.connect(b"GET / HT"),
        lambda: site.connect(get(), Phase.IDLE),
        lambda: site.connect(half_body, Phase.BUSY),  # closes the idle one
        lambda: site.connect(half_body, Phase.BUSY),  # closes that with half a head
        lambda: site.connect(b"GET / HT"),  # closes the oldest request
    ]
    opened = []
    for each in openings:
        site.now_s += 1
        opened.append(await each())
        assert len(site.ends) <= 3
    assert (await response(opened[2])).status == 200
    for index in (2, 1, 0):
        assert await at_end(opened[index]) == b""
    assert site.closed == {"limit": 3}
    assert total(site.hermes.gateway.metrics.http_connections) == 3


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", marks=pytest.mark.slow),
        b"GET / HT",
        pytest.param(request(LOCAL | KEYED | JSON)[:-5], marks=pytest.mark.slow),
    ],
    ids=["silent", "head", "body"],
)
async def test_thousands_of_slow_connections_close_only_their_own(make_hermes: MakeHermes, data: bytes) -> None:
    """A new client is served meanwhile, and the limit holds all the time."""
    limit, times = 100, 3_000
    hermes = await make_hermes(max_http_connections=str(limit), max_connects_per_address_s="0")
    loop = asyncio.get_running_loop()
    opened: list[socket.socket] = []
    try:
        for number in range(times):
            tcp = socket.socket()
            tcp.setblocking(False)
            opened.append(tcp)
            await loop.sock_connect(tcp, ("127.0.0.1", port_of(hermes)))
            if data:
                await loop.sock_sendall(tcp, data)
            if number % 100 == 99:
                raw = await connect(hermes)
                await raw.send_bytes(get())
                assert (await response(raw)).status == 200
                assert len(server_ends(hermes)) <= limit
            if len(opened) > 2 * limit:
                opened.pop(0).close()
        await eventually(lambda: by_label(hermes.gateway.metrics.http_closed).get("limit", 0) >= times - 3 * limit)
    finally:
        for tcp in opened:
            tcp.close()


@pytest.mark.gen_test
async def test_websockets_do_not_count(make_hermes: MakeHermes) -> None:
    """Only until their handshake."""
    hermes = await make_hermes(max_http_connections="2")
    sockets = [await open_raw(hermes, "/ws/notifications", token()) for _ in range(10)]
    assert {each.status for each in sockets} == {101}
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 10)
    assert not server_ends(hermes)
    assert total(hermes.gateway.metrics.http_connections) == 0
    assert (await hermes.request("/health")).code == 200
    assert by_label(hermes.gateway.metrics.http_closed) == {}


@pytest.mark.gen_test
async def test_zero_is_no_limit(make_hermes: MakeHermes) -> None:
    """As with the other limits."""
    hermes = await make_hermes(max_http_connections="0")
    opened = [await connect(hermes) for _ in range(50)]
    await eventually(lambda: len(server_ends(hermes)) == len(opened))
    assert by_label(hermes.gateway.metrics.http_closed) == {}


# -- rejected requests --------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_rejected_requests_are_counted_by_status(hermes: Hermes) -> None:
    """Only those that no handler has seen."""
    for data in (
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
        get(version="HTTP/2.0"),
        get("/", *["A: b"] * 101),
        request(LOCAL, b"x" * 70_000).replace(b"/notify", b"/health"),
        get("/nothing", "Connection: close"),
        request(LOCAL | JSON),
    ):
        raw = await connect(hermes)
        await raw.send_bytes(data)
        await response(raw)
        assert await at_end(raw) == b""
    rejected = by_label(hermes.gateway.metrics.http_rejected)
    assert rejected == {"400": 2, "501": 1, "505": 1, "431": 1, "413": 1}
