"""One HTTP connection with httptools: from its first request to its end."""

import asyncio
import base64
import gc
import json
import os
from collections.abc import Iterator

import pytest
from tornado.web import RequestHandler

from hermes.metrics import total
from hermes.web.console.page import StaticHandler
from hermes.web.http.connection import HttpConnection
from hermes.web.http.connections import LINGER_MAX_BYTES, LINGER_S, Phase
from hermes.web.http.exchange import Exchange
from hermes.web.http.outgoing import Outgoing
from hermes.web.http.parser import RequestParser
from hermes.web.http.request import ParsedRequest, ServerRequest
from tests.support.gateways import TIMEOUT_S, Hermes, MakeHermes, eventually, token
from tests.support.http_connections import at_end, get, open_connections, response, server_ends
from tests.support.paths import CHECKOUT
from tests.support.raw_request import BODY, JSON, KEYED, request
from tests.support.raw_socket import FIN, TEXT, RawSocket, client_frame, connect, open_raw

pytestmark = pytest.mark.usefixtures("complaints")

MIB = 1024 * 1024
LOCAL = {"Host": "127.0.0.1"}
CLIENT_MODULE = "/static/hermes-client.js"
PING = client_frame(TEXT, b'{"action":"ping"}')


@pytest.fixture
def hermes(hermes: Hermes) -> Hermes:
    """Run a gateway that closes no connection because of time, however slow the machine is."""
    open_connections(hermes).stop()
    return hermes


def notify(id: str = "", **more: str) -> bytes:
    """Return a valid POST /notify; the response repeats the id."""
    body = json.dumps(json.loads(BODY) | ({"id": id} if id else {})).encode()
    return request(LOCAL | KEYED | JSON | more, body)


def handshake(path: str = "/ws/notifications", *headers: str, key: bool = True) -> bytes:
    """Return a WebSocket handshake with a valid token."""
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", *headers]
    if key:
        lines.append(f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}")
    return get(f"{path}?token={token()}", *lines)


# -- keep-alive ---------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_connection_stays_open_for_the_next_request(hermes: Hermes) -> None:
    """As often as the client likes; no response says otherwise."""
    raw = await connect(hermes)
    for _ in range(3):
        await raw.send_bytes(get())
        answer = await response(raw)
        assert answer.status == 200
        assert "Connection" not in answer.headers
    (end,) = server_ends(hermes)
    assert end.phase is Phase.IDLE


@pytest.mark.gen_test
@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close"])
async def test_the_client_may_ask_for_the_end(hermes: Hermes, value: str) -> None:
    """The response says that it is the last."""
    raw = await connect(hermes)
    await raw.send_bytes(get("/health", f"Connection: {value}"))
    assert (await response(raw)).headers["Connection"] == "close"
    assert await at_end(raw) == b""
    await eventually(lambda: not server_ends(hermes))


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/health", "/", CLIENT_MODULE, "/nothing"])
async def test_http_1_0_ends_after_a_response(hermes: Hermes, path: str) -> None:
    """Without Host too, which it does not require; no response is chunked."""
    for data in (get(path, version="HTTP/1.0"), f"GET {path} HTTP/1.0\r\n\r\n".encode()):
        raw = await connect(hermes)
        await raw.send_bytes(data)
        answer = await response(raw)
        assert answer.headers["Connection"] == "close"
        assert "Transfer-Encoding" not in answer.headers
        assert answer.body
        assert await at_end(raw) == b""


@pytest.mark.gen_test
async def test_http_1_0_may_ask_for_keep_alive(hermes: Hermes) -> None:
    """The response agrees; it must say so in HTTP/1.0."""
    raw = await connect(hermes)
    for _ in range(2):
        await raw.send_bytes(get("/health", "Connection: keep-alive", version="HTTP/1.0"))
        assert (await response(raw)).headers["Connection"] == "keep-alive"


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/", "/health", CLIENT_MODULE, "/nothing"])
async def test_head_has_the_length_of_get_and_no_body(hermes: Hermes, path: str) -> None:
    """The next response follows at once."""
    raw = await connect(hermes)
    await raw.send_bytes(get(path) + get(path, method="HEAD") + get())
    whole = await response(raw)
    head = await response(raw, head=True)
    assert head.headers["Content-Length"] == str(len(whole.body))
    assert (await response(raw)).status == 200


@pytest.mark.gen_test
async def test_a_response_without_a_body_has_no_framing_of_one(hermes: Hermes) -> None:
    """304; the next response follows at once."""
    raw = await connect(hermes)
    await raw.send_bytes(get(CLIENT_MODULE))
    etag = (await response(raw)).headers["Etag"]
    await raw.send_bytes(get(CLIENT_MODULE, f"If-None-Match: {etag}") + get())
    unchanged = await response(raw)
    assert unchanged.status == 304
    assert "Transfer-Encoding" not in unchanged.headers
    assert (await response(raw)).status == 200


# -- pipelining ---------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("whole", [True, False])
async def test_pipelined_requests_are_answered_in_order(hermes: Hermes, whole: bool) -> None:
    """A hundred of them, sent as a whole or byte by byte."""
    raw = await connect(hermes)
    data = b"".join(notify(f"n{number}") for number in range(100))
    if whole:
        await raw.send_bytes(data)
    else:
        for start in range(0, len(data), 61):
            await raw.send_bytes(data[start : start + 61])
            await asyncio.sleep(0)
    assert [(await response(raw)).json["id"] for _ in range(100)] == [f"n{number}" for number in range(100)]


@pytest.mark.gen_test
async def test_requests_of_every_kind_are_answered_in_order(hermes: Hermes) -> None:
    """Handlers that wait and those that do not, compressed files, and errors."""
    raw = await connect(hermes)
    await raw.send_bytes(
        b"".join(
            [
                get(CLIENT_MODULE, "Accept-Encoding: gzip"),
                notify("a"),
                get("/nothing"),
                request(LOCAL | JSON | KEYED, b"{"),
                get("/", method="DELETE"),
                notify("b"),
                get("/ready"),
            ]
        )
    )
    answers = [await response(raw) for _ in range(7)]
    assert [answer.status for answer in answers] == [200, 200, 404, 400, 405, 200, 200]
    assert [answers[1].json["id"], answers[5].json["id"]] == ["a", "b"]


@pytest.mark.gen_test
async def test_a_handshake_behind_requests_opens_a_socket(hermes: Hermes) -> None:
    """After their responses; the frames that came with it are handled."""
    raw = await connect(hermes)
    await raw.send_bytes(get() * 5 + notify("a") + handshake() + PING * 3)
    for _ in range(6):
        assert (await response(raw)).status == 200
    assert (await response(raw)).status == 101
    for _ in range(3):
        assert await raw.text() == '{"action":"pong"}'


@pytest.mark.gen_test
@pytest.mark.parametrize("split", [0, 1, 2, 9])
async def test_frames_in_the_packet_of_the_handshake_are_handled(hermes: Hermes, split: int) -> None:
    """Also if one of them is incomplete, and the rest comes later."""
    raw = await connect(hermes)
    data = handshake() + PING * 200
    await raw.send_bytes(data[: len(data) - split])
    assert (await response(raw)).status == 101
    await raw.send_bytes(data[len(data) - split :] + PING)
    for _ in range(201):
        assert await raw.text() == '{"action":"pong"}'
    assert not server_ends(hermes), "a WebSocket is not an HTTP connection"


# -- the end of a request -----------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/health", "/", CLIENT_MODULE, "/nothing"])
async def test_a_client_that_has_closed_its_side_gets_its_response(hermes: Hermes, path: str) -> None:
    """As netcat does; then the connection ends."""
    raw = await connect(hermes)
    await raw.send_bytes(get(path))
    raw.writer.write_eof()
    assert (await response(raw)).body
    assert await at_end(raw) == b""


@pytest.mark.gen_test
async def test_pipelined_requests_before_the_end_are_all_answered(hermes: Hermes) -> None:
    """In order, as if the client had not closed its side."""
    raw = await connect(hermes)
    await raw.send_bytes(b"".join(notify(f"n{number}") for number in range(50)))
    raw.writer.write_eof()
    assert [(await response(raw)).json["id"] for _ in range(50)] == [f"n{number}" for number in range(50)]
    assert await at_end(raw) == b""


@pytest.mark.gen_test
@pytest.mark.parametrize("data", [b"", b"\r\n", b"GET / HT", get()[:-2], request(LOCAL | KEYED | JSON)[:-1]])
async def test_half_a_request_gets_no_response(hermes: Hermes, data: bytes) -> None:
    """The connection ends."""
    raw = await connect(hermes)
    await raw.send_bytes(data)
    raw.writer.write_eof()
    assert await at_end(raw) == b""
    await eventually(lambda: not server_ends(hermes))


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/notify", "/health", "/", "/nothing"])
@pytest.mark.parametrize("end", [RawSocket.reset, lambda raw: raw.writer.close()], ids=["reset", "close"])
async def test_a_client_may_leave_in_the_middle_of_a_body(hermes: Hermes, path: str, end: object) -> None:
    """Nothing is sent and nothing is left; the log has no error."""
    raw = await connect(hermes)
    data = request(LOCAL | KEYED | JSON).replace(b"/notify", path.encode())
    await raw.send_bytes(data[:-5])
    await eventually(lambda: [each.phase for each in server_ends(hermes)] == [Phase.BUSY])
    assert callable(end)
    end(raw)
    await eventually(lambda: not server_ends(hermes))


@pytest.mark.gen_test
async def test_a_client_may_leave_before_its_response(hermes: Hermes) -> None:
    """While the notification is flushed, or the file read; the log has no error."""
    for data in (notify(), get(CLIENT_MODULE), get("/"), request(LOCAL | KEYED | JSON, b"[" + BODY + b"]")):
        raw = await connect(hermes)
        await raw.send_bytes(data)
        raw.reset()
        await eventually(lambda: not server_ends(hermes))
    raw = await connect(hermes)
    await raw.send_bytes(get())
    assert (await response(raw)).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("half_closed", [False, True])
async def test_a_handler_may_answer_after_the_connection_has_ended(hermes: Hermes, half_closed: bool) -> None:
    """It waits for a flush meanwhile; its answer goes nowhere, without an error."""
    raw = await connect(hermes)
    await raw.send_bytes(request(LOCAL | KEYED | JSON, b"[" + BODY + b"]"))
    if half_closed:
        raw.writer.write_eof()
    await eventually_at_once(lambda: any(each._exchange is not None for each in server_ends(hermes)))
    (end,) = server_ends(hermes)
    end.abort()
    await eventually(lambda: total(hermes.gateway.metrics.notify_accepted) == 1)
    assert not server_ends(hermes)


async def eventually_at_once(condition: object) -> None:
    """Wait until the condition is true; look in each iteration of the event loop."""
    assert callable(condition)
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0)


# -- Expect -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("value", ["100-continue", "100-Continue", "100-CONTINUE"])
@pytest.mark.parametrize("chunk", [0, 16])
async def test_a_client_that_waits_is_told_to_continue(hermes: Hermes, value: str, chunk: int) -> None:
    """Before its body, in small or large letters (RFC 9110 §10.1.1)."""
    raw = await connect(hermes)
    head, _, body = request(LOCAL | KEYED | JSON | {"Expect": value}, chunk=chunk).partition(b"\r\n\r\n")
    await raw.send_bytes(head + b"\r\n\r\n")
    assert (await response(raw)).status == 100
    await raw.send_bytes(body)
    assert (await response(raw)).status == 200
    await raw.send_bytes(get())
    assert (await response(raw)).status == 200


@pytest.mark.gen_test
async def test_a_client_that_does_not_wait_is_not_told_to_continue(hermes: Hermes) -> None:
    """The whole body is there; nor is one of HTTP/1.0, which does not know it."""
    raw = await connect(hermes)
    await raw.send_bytes(notify(Expect="100-continue"))
    assert (await response(raw)).status == 200
    head, _, body = notify(Expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0").partition(b"\r\n\r\n")
    await raw.send_bytes(head + b"\r\n\r\n")
    await eventually(lambda: [each.phase for each in server_ends(hermes)] == [Phase.BUSY])
    await raw.send_bytes(body)
    assert (await response(raw)).status == 200


@pytest.mark.gen_test
async def test_a_refused_request_is_not_told_to_continue(hermes: Hermes) -> None:
    """Its response comes instead, before the body."""
    for headers, path, status in (
        (JSON, b"/notify", 401),
        (KEYED | JSON, b"/health", 413),
    ):
        raw = await connect(hermes)
        data = request(LOCAL | headers | {"Expect": "100-continue"}, b"x" * 100_000).replace(b"/notify", path)
        await raw.send_bytes(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        answer = await response(raw)
        assert (answer.status, answer.headers["Connection"]) == (status, "close")
        assert await at_end(raw) == b""


# -- bodies and targets -------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_chunks_may_have_extensions_and_trailers(hermes: Hermes) -> None:
    """As a proxy may add them; trailers are not headers."""
    socket = await hermes.open("/ws/notifications", token())
    raw = await connect(hermes)
    head = request(LOCAL | KEYED | JSON, chunk=1).partition(b"\r\n\r\n")[0]
    chunks = b'5;name=value;quoted="a b"\r\n%b\r\n%x;x\r\n%b\r\n' % (BODY[:5], len(BODY) - 5, BODY[5:])
    await raw.send_bytes(head + b"\r\n\r\n" + chunks + b"0;last\r\nX-API-Key: wrong\r\nA: b\r\n\r\n" + get())
    assert (await response(raw)).status == 200
    assert (await response(raw)).status == 200
    assert (await socket.receive())["title"] == "t"


@pytest.mark.gen_test
async def test_the_body_of_a_request_that_has_none_is_skipped(hermes: Hermes) -> None:
    """It is not the next request."""
    raw = await connect(hermes)
    hidden = notify("hidden")
    await raw.send_bytes(get("/health", f"Content-Length: {len(hidden)}") + hidden + get("/nothing"))
    assert [(await response(raw)).status for _ in range(2)] == [200, 404]


@pytest.mark.gen_test
@pytest.mark.parametrize("target", ["http://hermes.example/health", "HTTP://a:80/health", "https://[::1]:1/health?x=y"])
async def test_a_target_in_absolute_form_is_served(hermes: Hermes, target: str) -> None:
    """RFC 9112 §3.2.2."""
    raw = await connect(hermes)
    await raw.send_bytes(get(target, "Host: other.example"))
    assert (await response(raw)).status == 200


@pytest.mark.gen_test
async def test_an_absolute_target_without_a_path_is_the_console(hermes: Hermes) -> None:
    """With or without a query."""
    raw = await connect(hermes)
    await raw.send_bytes(get("http://a") + get("http://a?x=y"))
    for _ in range(2):
        assert b"<html" in (await response(raw)).body


@pytest.fixture
def keyless() -> dict[str, object]:
    """The settings of a gateway without keys."""
    return {"api_key_file": None}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("target", "host", "version", "status"),
    [
        ("/notify", "Host: 127.0.0.1", "1.1", 200),
        ("/notify", "Host: evil.example", "1.1", 401),
        ("http://127.0.0.1/notify", "Host: evil.example", "1.1", 200),
        ("http://evil.example/notify", "Host: 127.0.0.1", "1.1", 401),
        ("http://evil.example/notify", "Host: 127.0.0.1", "1.0", 401),
        ("http://evil.example/notify", "X: y", "1.0", 401),
        ("/notify", "X: y", "1.0", 401),  # proxies speak HTTP/1.0
        ("http://evil.example/notify", "Host: 127.0.0.1\r\nHost: 127.0.0.1", "1.1", 400),
        ("http://127.0.0.1/notify", "Host: 127.0.0.1\r\nHost: evil.example", "1.1", 400),
        ("http://127.0.0.1@evil.example/notify", "Host: 127.0.0.1", "1.1", 404),
    ],
)
async def test_the_host_of_the_target_counts(
    make_hermes: MakeHermes, keyless: dict[str, object], target: str, host: str, version: str, status: int
) -> None:
    """Without keys it must be a loopback one: a page could have rebound its name."""
    hermes = await make_hermes(**keyless)
    raw = await connect(hermes)
    head = f"POST {target} HTTP/{version}\r\n{host}\r\nContent-Type: application/json\r\n"
    await raw.send_bytes(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
    assert (await response(raw)).status == status


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "hosts",
    ["", "Host:\r\n", "Host: \r\n", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a, b\r\n",
     "Host: a/b\r\n", "Host: a b\r\n", "Host: a@b\r\n", 'Host: "a"\r\n', "Host: \xe4\r\n",
     "Host: a:" + "1" * 5_000 + "\r\n"],
)  # fmt: skip
async def test_exactly_one_host_is_required(hermes: Hermes, hosts: str) -> None:
    """RFC 9112 §3.2; the response is in the form of every other error."""
    for path in ("/health", "http://a/health"):
        raw = await connect(hermes)
        await raw.send_bytes(f"GET {path} HTTP/1.1\r\n{hosts}\r\n".encode("latin-1"))
        if path != "/health" and hosts.count("ost") == 1 and hosts[5:].strip():
            assert (await response(raw)).status == 200, "the host of the target replaces it"
            continue
        answer = await response(raw)
        assert (answer.status, answer.error, answer.headers["Connection"]) == (400, "bad_request", "close")
        assert await at_end(raw) == b""


@pytest.mark.gen_test
async def test_a_refusal_of_head_has_no_body(hermes: Hermes) -> None:
    """RFC 9110 §9.3.2; the length is that of the body of GET."""
    raw = await connect(hermes)
    await raw.send_bytes(b"HEAD /health HTTP/1.1\r\n\r\n")
    head = (await at_end(raw)).decode()
    assert head.startswith("HTTP/1.1 400 ")
    assert head.endswith("\r\n\r\n")
    assert "Content-Length: " in head


# -- refused before the body has come -----------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("chunk", [0, 65_536])
async def test_a_request_without_a_key_is_answered_before_its_body(hermes: Hermes, chunk: int) -> None:
    """Then the connection ends, whatever else comes."""
    raw = await connect(hermes)
    head, _, body = request(LOCAL | JSON, b"x" * MIB, chunk=chunk).partition(b"\r\n\r\n")
    await raw.send_bytes(head + b"\r\n\r\n" + body[:1_000])
    answer = await response(raw)
    assert (answer.status, answer.error) == (401, "unauthorized")
    assert answer.headers["Connection"] == "close"
    assert await at_end(raw) == b""
    await raw.send_bytes(body[1_000:5_000])
    raw.writer.close()
    await eventually(lambda: not server_ends(hermes))


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(LOCAL | JSON, b"x" * MIB), 401),
        (request(LOCAL | JSON, b"x" * (MIB - 10_000), chunk=65_536), 401),
        (request(LOCAL, b"x" * MIB).replace(b"/notify", b"/health"), 413),
        (request(LOCAL, b"x" * (MIB - 10_000), chunk=65_536).replace(b"/notify", b"/health"), 413),
        (get("/health", "A: " + "b" * MIB), 431),
        (get("/health", *["A: " + "b" * 1_000] * 1_000), 431),
        (get("/health", *["A: b"] * 101) + b"x" * MIB, 431),
        (b"BREW / HTTP/1.1\r\n\r\n" + b"x" * MIB, 501),
        (get(version="HTTP/2.0") + b"x" * MIB, 505),
        (b"\x16\x03\x01" + b"x" * MIB, 501),
        (b"GET / HTTP/1.1\n" + b"x" * MIB, 400),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else value[:20].decode("latin-1"),
)  # fmt: skip
async def test_a_client_that_sends_all_before_it_reads_gets_the_response(
    hermes: Hermes, data: bytes, status: int
) -> None:
    """Its megabyte is read and discarded: a reset would destroy the response."""
    raw = await connect(hermes)
    raw.pause()
    await raw.send_bytes(data)
    raw.resume()
    answer = await response(raw)
    assert (answer.status, answer.headers["Connection"]) == (status, "close")
    assert await at_end(raw) == b""
    raw.writer.close()
    await eventually(lambda: not server_ends(hermes))


@pytest.mark.gen_test
async def test_no_more_than_a_megabyte_is_discarded(hermes: Hermes) -> None:
    """Then nothing is read until the time to linger is over, although the client goes on sending."""
    raw = await connect(hermes)
    await raw.send_bytes(request(LOCAL | JSON, b"").replace(b"Length: 0", b"Length: %d" % (100 * MIB)))
    assert (await response(raw)).status == 401
    (end,) = server_ends(hermes)
    sent = 0
    while end._reading:
        raw.writer.write(b"x" * 65_536)
        sent += 65_536
        assert sent < 100 * MIB
        await asyncio.sleep(0)
    assert sent >= LINGER_MAX_BYTES
    assert end._linger_bytes is not None
    assert end._linger_bytes < 0
    end.check(end._sent_s + LINGER_S)
    assert not server_ends(hermes)


@pytest.mark.gen_test
async def test_requests_before_a_refused_one_are_answered(hermes: Hermes) -> None:
    """Then the error, and the end."""
    raw = await connect(hermes)
    await raw.send_bytes(notify("a") + notify("b") + b"GET / HTTP/1.1\nHost: a\r\n\r\n" + notify("c"))
    assert [(await response(raw)).json["id"] for _ in range(2)] == ["a", "b"]
    assert (await response(raw)).status == 400
    assert await at_end(raw) == b""


# -- handshakes that are refused ----------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (handshake("/health"), 200),
        (handshake("/nothing"), 404),
        (handshake("/ws/notifications", "Origin: https://evil.example"), 403),
        (handshake(key=False), 400),
        (handshake("/ws/notifications").replace(b"Version: 13", b"Version: 8"), 426),
        (handshake("/notify"), 405),
        (handshake(CLIENT_MODULE), 200),
        (get("/health", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), 200),
        (get("/ws", "Connection: Upgrade", "Upgrade: h2c"), 426),
        (notify(Connection="Upgrade", Upgrade="h2c"), 200),
        (notify(Connection="Upgrade", Upgrade="websocket"), 200),
        (request(LOCAL | KEYED | JSON | {"Connection": "Upgrade", "Upgrade": "h2c"}, chunk=9), 200),
        (get("/health", "Connection: Upgrade", "Upgrade: TLS/1.0", method="OPTIONS"), 405),
    ],
)
async def test_a_refused_upgrade_leaves_a_usable_connection(hermes: Hermes, data: bytes, status: int) -> None:
    """What was pipelined behind it is answered, and what comes later."""
    raw = await connect(hermes)
    await raw.send_bytes(data + get("/nothing") + data + get())
    assert [(await response(raw)).status for _ in range(4)] == [status, 404, status, 200]
    await raw.send_bytes(get("/nothing"))
    assert (await response(raw)).status == 404
    await raw.send_bytes(handshake() + PING)
    assert (await response(raw)).status == 101
    assert await raw.text() == '{"action":"pong"}'


@pytest.mark.gen_test
async def test_hundreds_of_upgrades_behind_a_body_are_answered(hermes: Hermes) -> None:
    """One read may have 1,300 of them."""
    raw = await connect(hermes)
    head, _, body = request(LOCAL | KEYED | JSON, chunk=0).partition(b"\r\n\r\n")
    await raw.send_bytes(head + b"\r\n\r\n")
    await eventually(lambda: [each.phase for each in server_ends(hermes)] == [Phase.BUSY])
    await raw.send_bytes(body + b"GET /health HTTP/1.1\r\nHost:a\r\nUpgrade:h\r\nConnection:upgrade\r\n\r\n" * 900)
    for _ in range(901):
        assert (await response(raw)).status == 200


# -- a client that does not read ----------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_client_that_does_not_read_holds_at_most_one_response(hermes: Hermes) -> None:
    """Its other requests wait; when it reads again, it gets every response."""
    path, times = "/static/console/console.css", 2_000
    size = len((CHECKOUT / path[1:]).read_bytes())
    raw = await connect(hermes, receive_buffer_bytes=4_096)
    raw.pause()
    sending = asyncio.create_task(raw.send_bytes(get(path) * times))
    await eventually(lambda: any(end._outgoing for end in server_ends(hermes)))
    (end,) = server_ends(hermes)
    looks = 0
    while looks < 50:  # other clients are served, and what waits here stays as it is
        assert (await hermes.request("/health")).code == 200
        if end._outgoing:  # else the kernel takes some more
            looks += 1
            assert sum(map(len, end._outgoing._waiting)) <= size + 1_000
            assert not end._reading
            assert len(end._parser.requests) <= 700, "at most what was read at once"
    raw.resume()
    for _ in range(times):
        assert len((await response(raw)).body) == size
    await sending


@pytest.mark.gen_test
@pytest.mark.parametrize("piece_bytes", [65_536, 100])
async def test_a_client_may_leave_in_the_middle_of_a_response(
    hermes: Hermes, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    """Also while the handler has more of it to write; no error is in the log."""
    content = (CHECKOUT / "static/hermes-client.js").read_bytes()

    def in_pieces(*_: object) -> Iterator[bytes]:
        for start in range(0, len(content), piece_bytes):
            yield content[start : start + piece_bytes]

    monkeypatch.setattr(StaticHandler, "get_content", in_pieces)
    raw = await connect(hermes, receive_buffer_bytes=4_096)
    raw.pause()
    sending = asyncio.create_task(raw.send_bytes(get(CLIENT_MODULE) * 2_000))
    await eventually(lambda: any(end._outgoing for end in server_ends(hermes)))
    raw.reset()
    await eventually(lambda: not server_ends(hermes))
    await sending


# -- the end of the gateway ---------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_end_of_the_gateway_answers_a_request_that_is_under_way(make_hermes: MakeHermes) -> None:
    """Connections that are idle, or have sent half a head, are closed before."""
    hermes = await make_hermes(drain_timeout_s="60")
    idle, half, silent, busy = [await connect(hermes) for _ in range(4)]
    await idle.send_bytes(get())
    assert (await response(idle)).status == 200
    await half.send_bytes(b"GET / HT")
    data = notify("a")
    await busy.send_bytes(data[:-5])
    await eventually(lambda: open_connections(hermes).busy == 1 and len(open_connections(hermes)) == 4)
    stopping = asyncio.create_task(hermes.gateway.stop())
    for raw in (idle, half, silent):
        assert await at_end(raw) == b""
    assert not stopping.done()
    await busy.send_bytes(data[-5:])
    answer = await response(busy)
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert await at_end(busy) == b""
    await asyncio.wait_for(stopping, TIMEOUT_S)
    assert len(open_connections(hermes)) == 0


@pytest.mark.gen_test
async def test_the_last_response_of_a_client_that_pipelines_says_so(make_hermes: MakeHermes) -> None:
    """It arrives although more requests have come, which will not be answered."""
    hermes = await make_hermes(drain_timeout_s="60")
    raw = await connect(hermes)
    await raw.send_bytes(get() * 4_000)
    assert "Connection" not in (await response(raw)).headers
    stopping = asyncio.create_task(hermes.gateway.stop())
    while (answer := await response(raw)).headers.get("Connection") != "close":
        assert answer.status == 200
    assert await at_end(raw) == b""
    raw.writer.close()
    await asyncio.wait_for(stopping, TIMEOUT_S)


@pytest.mark.gen_test
async def test_the_end_of_the_gateway_does_not_wait_for_a_client_for_ever(make_hermes: MakeHermes) -> None:
    """After the drain timeout the rest is cut."""
    hermes = await make_hermes(drain_timeout_s="0.1")
    raw = await connect(hermes)
    await raw.send_bytes(notify("a")[:-5])
    await eventually(lambda: open_connections(hermes).busy == 1)
    await asyncio.wait_for(hermes.gateway.stop(), TIMEOUT_S)
    assert await at_end(raw) == b""


# -- memory -------------------------------------------------------------------------------------------------------


OURS = (HttpConnection, Exchange, Outgoing, RequestParser, ParsedRequest, ServerRequest)


def left_in_memory(*more: type) -> list[str]:
    """Return the types of what connections and requests have left, and of instances of further classes."""
    return [type(each).__name__ for each in gc.get_objects() if type(each) in OURS or isinstance(each, more)]


UNKEYED = LOCAL | JSON
ENDINGS = {
    "answered": [get(), notify(), get("/"), get("/nothing"), get("/status"), get(CLIENT_MODULE, "Range: bytes=0-3")],
    "rejected by /notify": [
        request(UNKEYED),
        request(LOCAL | KEYED),
        request(UNKEYED | KEYED, method="PUT"),
        request(UNKEYED | KEYED, b"{"),
        request(UNKEYED | KEYED, b"{}"),
        request(UNKEYED | KEYED, b"x" * 70_000),
    ],
    "an array": [request(UNKEYED | KEYED, b"[" + BODY + b"]")],
    "refused upgrades": [handshake("/health"), handshake("/ws/notifications", "Origin: https://evil.example")],
    "not HTTP": [
        b"GET / HTTP/1.1\n",
        get(version="HTTP/2.0"),
        request(LOCAL, b"x" * 70_000).replace(b"/notify", b"/x"),
    ],
    "half a head": [b"", b"GET", get()[:-1]],
    "half a body": [
        notify()[:-1],
        notify(Expect="100-continue")[:-1],
        notify()[:-1].replace(b"/notify", b"/health"),
        request(UNKEYED)[:-1],
    ],
}


@pytest.mark.gen_test
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", ENDINGS)
async def test_connections_leave_no_cycles_of_references(hermes: Hermes, name: str) -> None:
    """Nothing waits for the garbage collector, which would stop the event loop for it."""
    before = left_in_memory(RequestHandler)
    for data in ENDINGS[name] * 5:
        for end in ("half", "closed", "reset"):
            raw = await connect(hermes)
            await raw.send_bytes(data)
            if end == "half":
                raw.writer.write_eof()
                await at_end(raw)
            if end == "reset":
                raw.reset()
            else:
                raw.writer.close()
    assert (await hermes.request("/health")).code == 200
    await eventually(lambda: left_in_memory(RequestHandler) == before)


@pytest.mark.gen_test
@pytest.mark.usefixtures("no_collector")
async def test_sockets_leave_no_connections_in_memory(hermes: Hermes) -> None:
    """While they are open, and after their end."""
    sockets = [await open_raw(hermes, "/ws/notifications", token()) for _ in range(50)]
    await eventually(lambda: not server_ends(hermes))
    assert {kind for kind in left_in_memory() if kind not in ("ServerRequest", "Exchange")} == set()
    for raw in sockets:
        await raw.send(0x8, b"\x03\xe8", flags=FIN)
        await raw.ended()
        raw.writer.close()
    await eventually(lambda: not hermes.gateway.hub.sessions)
    await eventually(lambda: not left_in_memory())
