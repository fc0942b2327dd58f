"""Any bytes in any pieces: no internal error, or the end of the connection."""

import asyncio
import contextlib
import re
from functools import partial
from itertools import pairwise
from logging import LogRecord

from hypothesis import example, given
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.support.ambiguous_requests import AMBIGUOUS
from tests.support.gateways import TIMEOUT_S, Hermes, MakeHermes, eventually, token
from tests.support.http_connections import get, server_ends
from tests.support.raw_request import BODY, JSON, KEYED, request
from tests.support.raw_socket import TEXT, client_frame, connect

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
POST = {"Host": "127.0.0.1"} | KEYED | JSON
UPGRADE = ("Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
HANDSHAKE = get(f"/ws/notifications?token={token()}", "Upgrade: websocket", *UPGRADE)
VALID = [
    get(),
    get("/", "Accept-Encoding: gzip", method="HEAD"),
    get("/static/hermes-client.js", "Range: bytes=0-9"),
    get("http://a/health", version="HTTP/1.0"),
    get("/nothing", "Connection: close"),
    get("/health", "Upgrade: h2c", *UPGRADE),
    get("/health", "Upgrade: websocket", *UPGRADE),
    HANDSHAKE,
    HANDSHAKE + client_frame(TEXT, b'{"action":"ping"}') * 2,
    request(POST),
    request(POST, b"[" + BODY + b"]", chunk=9),
    request(POST, chunk=5)[:-2] + b"A: b\r\n\r\n",
    request(POST | {"Expect": "100-continue"}),
    request(POST | {"Connection": "Upgrade", "Upgrade": "h2c"}),
    request(POST | {"Connection": "Upgrade", "Upgrade": "h2c"}, chunk=7),
    request({"Host": "127.0.0.1"} | JSON, b"x" * 20_000),
    request({"Host": "127.0.0.1"}, b"x" * 70_000).replace(b"/notify", b"/health"),
]
WORDS = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"1", b"ffffffffffffffff"),
    *(b"HTTP/1.1", b"HTTP/1.0", b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: websocket\r\n"),
    *(b"Connection: Upgrade\r\n", b"Connection: close\r\n", b"Host: a\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n"),
    *(b"GET", b"POST", b"HEAD", b"CONNECT", b"PRI * HTTP/2.0", b"RTSP/1.1", b"http://a", b"*", b"\x16\x03", b"\xff"),
]
PLACE = st.floats(0, 1)  # of the length
PIECE = st.one_of(st.sampled_from(WORDS), st.binary(max_size=4))
MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "replace", "repeat", "truncate"]),
        PLACE,
        st.one_of(st.integers(1, 4), st.integers(1, 200)),
        PIECE,
    ),
    max_size=5,
)
STREAMS = st.lists(st.sampled_from([*VALID, *AMBIGUOUS.values()]), min_size=1, max_size=4).map(b"".join)
CUTS = st.lists(PLACE, max_size=8)
Mutation = tuple[str, float, int, bytes]


def mutated(data: bytes, mutations: list[Mutation]) -> bytes:
    """Return the bytes after each mutation."""
    for kind, place, size, piece in mutations:
        start = int(place * len(data))
        match kind:
            case "insert":
                data = data[:start] + piece + data[start:]
            case "delete":
                data = data[:start] + data[start + size :]
            case "replace":
                data = data[:start] + piece + data[start + len(piece) :]
            case "repeat":
                data = data[:start] + data[start : start + size] * size + data[start + size :]
            case "truncate":
                data = data[:start]
    return data


def test_any_bytes_are_answered_or_end_the_connection(
    io_loop: IOLoop, make_hermes: MakeHermes, complaints: list[LogRecord]
) -> None:
    """The log has no error; the next client is served; nothing stays open."""
    limits = {"max_connects_per_address_s": "0", "max_failed_auth_per_address": "0"}
    hermes = io_loop.run_sync(partial(make_hermes, http_parser="httptools", **limits))

    @given(STREAMS, MUTATIONS, CUTS)
    @example(VALID[9][:-1] + b"}" + VALID[0] * 200, [], [0.1])
    @example(VALID[5] * 1_500, [], [])
    def attack(data: bytes, mutations: list[Mutation], cuts: list[float]) -> None:
        io_loop.run_sync(partial(send, hermes, mutated(data, mutations), cuts))
        assert io_loop.run_sync(partial(hermes.request, "/health")).code == 200
        io_loop.run_sync(partial(eventually, lambda: not server_ends(hermes)))

    attack()


async def send(hermes: Hermes, data: bytes, cuts: list[float]) -> None:
    """Send bytes in pieces, then the end; check each status in the answer."""
    raw = await connect(hermes)
    places = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    reading = asyncio.create_task(raw.reader.read())
    for start, end in pairwise(places):
        await raw.send_bytes(data[start:end])
        await asyncio.sleep(0)
    with contextlib.suppress(OSError):
        raw.writer.write_eof()
    with contextlib.suppress(ConnectionError):
        answer = await asyncio.wait_for(reading, TIMEOUT_S)
        assert b"500" not in STATUS.findall(answer), answer
        assert answer == b"" or STATUS.match(answer), answer
    raw.writer.close()
    hermes.at_end.remove(raw.writer.close)
