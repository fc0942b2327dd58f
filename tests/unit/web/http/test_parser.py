"""`RequestParser`: which bytes are requests, and which are refused."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hermes.web.http.parser import BETWEEN_BODY_MAX_BYTES, HEAD_MAX_BYTES, HEADERS_MAX, RequestParser
from tests.support.examples import EXAMPLES

READ_BYTES = 16_384  # as the connection reads
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /notify HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SWITCH = b"Connection: Upgrade\r\nUpgrade: "
NEXT = b"DELETE /next HTTP/1.1\r\nHost: b\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What a test compares of one request."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    complete: bool
    keep_alive: bool
    upgrade: bool


def parsed(data: bytes, *, piece: int = READ_BYTES, cuts: tuple[int, ...] | None = None) -> RequestParser:
    """Return a parser that was fed bytes, in pieces or cut at these places."""
    parser = RequestParser()
    places = sorted({0, len(data), *(range(0, len(data), piece) if cuts is None else cuts)})
    for start, end in pairwise(places):
        if parser.fault is None:
            parser.feed(data[start:end])
    return parser


def requests_of(parser: RequestParser) -> list[Request]:
    """Return the requests that wait in a parser."""
    return [
        Request(
            each.method,
            each.target,
            each.version,
            tuple(each.headers),
            b"".join(each.chunks),
            each.complete,
            each.keep_alive,
            each.upgrade,
        )
        for each in parser.requests
    ]


# -- refused ------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[bytes, int]] = {
    "a handshake with a body": (GET + SWITCH + b"websocket\r\nContent-Length: 2\r\n\r\nab", 400),
    "a handshake with chunks": (GET + SWITCH + b"websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    # the end of a line
    "LF after the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "LF after a header": (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    "LF as the empty line": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "LF only": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "CR after the request line": (b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    "CR in a value": (GET + b"A: b\rc\r\n\r\n", 400),
    "LF after a chunk size": (CHUNKED + b"2\nab\r\n0\r\n\r\n", 400),
    "LF after a chunk": (CHUNKED + b"2\r\nab\n0\r\n\r\n", 400),
    "LF after the last chunk": (CHUNKED + b"2\r\nab\r\n0\n\r\n", 400),
    "LF as the end of the trailers": (CHUNKED + b"2\r\nab\r\n0\r\n\n", 400),
    "LF after a trailer": (CHUNKED + b"0\r\nA: b\n\r\n", 400),
    "LF in a chunk extension": (CHUNKED + b"2;a\nb\r\nab\r\n0\r\n\r\n", 400),
    "CR in a chunk extension": (CHUNKED + b"2;a\rb\r\nab\r\n0\r\n\r\n", 400),
    # the length
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab", 400),
    "one length twice": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400),
    "a list of lengths": (POST + b"Content-Length: 41,41\r\n\r\n", 400),
    "a length with a plus": (POST + b"Content-Length: +41\r\n\r\n", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a length in hex": (POST + b"Content-Length: 0x2\r\n\r\nab", 400),
    "a length with an underscore": (POST + b"Content-Length: 1_0\r\n\r\nab", 400),
    "a length of two words": (POST + b"Content-Length: 2 2\r\n\r\nab", 400),
    "a length behind VT": (POST + b"Content-Length:\x0b2\r\n\r\nab", 400),
    "an empty length": (POST + b"Content-Length: \r\n\r\n", 400),
    "a length of 65 bits": (POST + b"Content-Length: 18446744073709551616\r\n\r\n", 400),
    "a length of 5,000 digits": (POST + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400),
    "length, then coding": (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding, then length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", 400),
    # the coding
    "gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "gzip": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "chunked with a parameter": (POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501),
    "quoted chunked": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 501),
    "comma, chunked": (POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked, comma": (POST + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400),
    "chunked, identity": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked in two headers": (POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n", 400),
    "chunked behind VT": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "an empty coding": (POST + b"Transfer-Encoding: \r\n\r\n0\r\n\r\n", 400),
    "gzip and chunked in two headers": (
        POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    # headers
    "a folded header": (GET + b"A: b\r\n c\r\n\r\n", 400),
    "a header folded with a tab": (GET + b"A: b\r\n\tc\r\n\r\n", 400),
    "a folded first header": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "a space before the colon": (GET + b"A : b\r\n\r\n", 400),
    "a tab before the colon": (GET + b"A\t: b\r\n\r\n", 400),
    "a header without a colon": (GET + b"A\r\n\r\n", 400),
    "a header without a name": (GET + b": b\r\n\r\n", 400),
    "a bracket in a name": (GET + b"A(: b\r\n\r\n", 400),
    "a byte above ASCII in a name": (GET + b"A\xff: b\r\n\r\n", 400),
    "NUL in a name": (GET + b"A\0: b\r\n\r\n", 400),
    "NUL in a value": (GET + b"A: b\0c\r\n\r\n", 400),
    "a control character in a value": (GET + b"A: b\x01c\r\n\r\n", 400),
    "DEL in a value": (GET + b"A: b\x7fc\r\n\r\n", 400),
    # the request line
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    "no version": (b"GET /\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    "HTTP/01.1": (b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400),
    "http/1.1": (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "a space after the version": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a control character in the target": (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a byte above ASCII in the target": (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target without a slash": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a tab after the method": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "the hello of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 501),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "an unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "a method in small letters": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "a longer name than a method": (b"GETX / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "a method of RTSP": (b"DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    # chunks
    "a chunk size in C": (CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n", 400),
    "a space before a chunk size": (CHUNKED + b" 2\r\nab\r\n0\r\n\r\n", 400),
    "a space after a chunk size": (CHUNKED + b"2 \r\nab\r\n0\r\n\r\n", 400),
    "a space before an extension": (CHUNKED + b"2 ;a\r\nab\r\n0\r\n\r\n", 400),
    "a chunk size with a plus": (CHUNKED + b"+2\r\nab\r\n0\r\n\r\n", 400),
    "a negative chunk size": (CHUNKED + b"-2\r\nab\r\n0\r\n\r\n", 400),
    "a chunk size with an underscore": (CHUNKED + b"0_2\r\nab\r\n0\r\n\r\n", 400),
    "a chunk size of 65 bits": (CHUNKED + b"10000000000000000\r\nab", 400),
    "an empty chunk size": (CHUNKED + b"\r\nab\r\n0\r\n\r\n", 400),
    "an extension without a size": (CHUNKED + b";a\r\nab\r\n0\r\n\r\n", 400),
    "an extension without a name": (CHUNKED + b"2;\r\nab\r\n0\r\n\r\n", 400),
    "NUL in an extension": (CHUNKED + b"2;a\0b\r\nab\r\n0\r\n\r\n", 400),
    "a chunk without a line end": (CHUNKED + b"2\r\nab0\r\n\r\n", 400),
    "a chunk that is too long": (CHUNKED + b"2\r\nabc\r\n0\r\n\r\n", 400),
    "a length among the trailers": (CHUNKED + b"0\r\nContent-Length: 2\r\n\r\n", 400),
    "a coding among the trailers": (CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "a folded trailer": (CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n", 400),
    "a space before the colon of a trailer": (CHUNKED + b"0\r\nA : b\r\n\r\n", 400),
    # sizes
    "a long target": (b"GET /" + b"a" * 2 * HEAD_MAX_BYTES, 431),
    "a head of a little more than 64 KiB": (GET + b"A: " + b"b" * HEAD_MAX_BYTES + b"\r\n\r\n", 431),
    "a long value": (GET + b"A: " + b"b" * 2 * HEAD_MAX_BYTES, 431),
    "a long name": (GET + b"a" * 2 * HEAD_MAX_BYTES, 431),
    "many long headers": (GET + b"A: %b\r\n" % (b"b" * 2_000) * 70 + b"\r\n", 431),
    "101 headers": (GET + b"A: b\r\n" * HEADERS_MAX + b"\r\n", 431),
    "101 headers, trailers included": (CHUNKED + b"0\r\n" + b"A: b\r\n" * (HEADERS_MAX - 1) + b"\r\n", 431),
    "long chunk extensions": (CHUNKED + b"2;" + b"a" * 2 * BETWEEN_BODY_MAX_BYTES, 400),
    "long trailers": (CHUNKED + b"0\r\nA: " + b"b" * 2 * BETWEEN_BODY_MAX_BYTES, 400),
    "a long chunk size": (CHUNKED + b"0" * 2 * BETWEEN_BODY_MAX_BYTES, 400),
}
NEEDS_READS = {name for name, (data, _) in REFUSED.items() if len(data) > READ_BYTES}


@pytest.mark.parametrize("name", REFUSED)
def test_what_two_servers_could_read_differently_is_refused(name: str) -> None:
    """In one piece or byte by byte; the request is never complete."""
    data, status = REFUSED[name]
    pieces = (READ_BYTES,) if name in NEEDS_READS else (READ_BYTES, 7, 1)
    for piece in pieces:
        parser = parsed(data, piece=piece)
        assert parser.fault is not None
        assert parser.fault.status == status
        assert not any(request.complete for request in parser.requests)


@pytest.mark.parametrize("name", sorted(REFUSED.keys() - NEEDS_READS))
@pytest.mark.parametrize("piece", [READ_BYTES, 1])
def test_requests_before_a_refused_one_are_complete(name: str, piece: int) -> None:
    """They are answered before the error."""
    parser = parsed(NEXT + NEXT + REFUSED[name][0], piece=piece)
    assert [request.target for request in requests_of(parser) if request.complete] == ["/next"] * 2
    assert parser.fault is not None


def test_nothing_behind_the_last_request_of_a_connection_is_a_request() -> None:
    """After ``Connection: close``, and in HTTP/1.0."""
    for first in (GET + b"Connection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
        for piece in (READ_BYTES, 1):
            parser = parsed(first + NEXT, piece=piece)
            assert [(request.target, request.keep_alive) for request in requests_of(parser)] == [("/", False)]
            assert parser.fault is not None


# -- accepted -----------------------------------------------------------------------------------------------------

HOST = ((b"Host", b"a"),)


def of_get(target: str = "/", method: str = "GET", **more: object) -> dict[str, object]:
    """Return what a request without a body must have."""
    return {"method": method, "target": target, "complete": True, "body": b"", "upgrade": False} | more


def of_post(body: bytes, **more: object) -> dict[str, object]:
    """Return what a request with a body must have."""
    return of_get("/notify", "POST", body=body, **more)


THEN = of_get("/next", "DELETE")
ACCEPTED: dict[str, tuple[bytes, list[dict[str, object]]]] = {
    "GET": (GET + b"\r\n", [of_get(version="HTTP/1.1", headers=HOST, keep_alive=True)]),
    "empty lines before it": (b"\r\n\r\n" + GET + b"\r\n", [of_get()]),
    "empty lines between two": (GET + b"\r\n\r\n\r\n" + NEXT, [of_get(), THEN]),
    "pipelined": ((GET + b"\r\n") * 20 + NEXT, [of_get()] * 20 + [THEN]),
    "close": (GET + b"Connection: close\r\n\r\n", [of_get(keep_alive=False)]),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", [of_get(version="HTTP/1.0", keep_alive=False)]),
    "HTTP/1.0 that stays": (
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + NEXT,
        [of_get(version="HTTP/1.0", keep_alive=True), THEN],
    ),
    "the absolute form": (b"GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n", [of_get("http://b/c?d", headers=HOST)]),
    "the asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", [of_get("*", "OPTIONS")]),
    "a method of WebDAV": (b"PROPFIND /p HTTP/1.1\r\nHost: a\r\n\r\n", [of_get("/p", "PROPFIND")]),
    "spaces around values": (GET + b"A:\t b c \t\r\n\r\n", [of_get(headers=(*HOST, (b"A", b"b c \t")))]),
    "a value above ASCII": (GET + b"A: \xff\r\n\r\n", [of_get(headers=(*HOST, (b"A", b"\xff")))]),
    "an empty value": (GET + b"A:\r\n\r\n", [of_get(headers=(*HOST, (b"A", b"")))]),
    "100 headers": (GET + b"A: b\r\n" * (HEADERS_MAX - 1) + b"\r\n" + NEXT, [of_get(), THEN]),
    "a head of 60 KiB": (GET + b"A: " + b"b" * 60 * 1024 + b"\r\n\r\n" + NEXT, [of_get(), THEN]),
    "a length": (POST + b"Content-Length: 2\r\n\r\nab" + NEXT, [of_post(b"ab"), THEN]),
    "a length with zeros": (POST + b"Content-Length: 0002\r\n\r\nab" + NEXT, [of_post(b"ab"), THEN]),
    "no body": (POST + b"\r\n" + NEXT, [of_post(b""), THEN]),
    "an empty body": (POST + b"Content-Length: 0\r\n\r\n" + NEXT, [of_post(b""), THEN]),
    "the body of a GET": (GET + b"Content-Length: 2\r\n\r\nab" + NEXT, [of_get(body=b"ab"), THEN]),
    "a request as a body": (
        POST + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT + NEXT,
        [of_post(NEXT), THEN],
    ),
    "chunks": (CHUNKED + b"2\r\nab\r\n00A\r\n0123456789\r\n0\r\n\r\n" + NEXT, [of_post(b"ab0123456789"), THEN]),
    "chunk extensions": (
        CHUNKED + b'2;a=b;c\r\nab\r\n0;x="y z"\r\n\r\n' + NEXT,
        [of_post(b"ab"), THEN],
    ),
    "trailers": (
        CHUNKED + b"2\r\nab\r\n0\r\nA: b\r\nHost: evil\r\n\r\n" + NEXT,
        [of_post(b"ab", headers=(*HOST, (b"Transfer-Encoding", b"chunked"))), THEN],
    ),
    "an upgrade among the trailers": (
        CHUNKED + b"2\r\nab\r\n0\r\n" + SWITCH + b"websocket\r\n\r\n" + NEXT,
        [of_post(b"ab"), THEN],
    ),
    "100 headers, trailers included": (
        CHUNKED + b"0\r\n" + b"A: b\r\n" * (HEADERS_MAX - 2) + b"\r\n" + NEXT,
        [of_post(b""), THEN],
    ),
    "h2c": (GET + SWITCH + b"h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n" + NEXT, [of_get(), THEN]),
    "h2c with a body": (
        POST + SWITCH + b"h2c\r\nContent-Length: 2\r\n\r\nab" + NEXT,
        [of_post(b"ab"), THEN],
    ),
    "h2c with a request as a body": (
        POST + SWITCH + b"h2c\r\nContent-Length: %d\r\n\r\n" % len(NEXT) + NEXT + NEXT,
        [of_post(NEXT), THEN],
    ),
    "h2c with chunks": (
        POST + SWITCH + b"h2c\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nab\r\n0\r\nA: b\r\n\r\n" + NEXT,
        [of_post(b"ab"), THEN],
    ),
    "h2c with an empty body": (
        POST + SWITCH + b"h2c\r\nContent-Length: 0\r\n\r\n" + NEXT,
        [of_post(b""), THEN],
    ),
    "h2c again and again": (
        (POST + SWITCH + b"h2c\r\nContent-Length: 2\r\n\r\nab" + GET + SWITCH + b"h2c\r\n\r\n") * 3 + NEXT,
        [of_post(b"ab"), of_get()] * 3 + [THEN],
    ),
    "a POST to a WebSocket": (
        POST + SWITCH + b"websocket\r\nContent-Length: 2\r\n\r\nab" + NEXT,
        [of_post(b"ab"), THEN],
    ),
    "an upgrade that Connection does not name": (GET + b"Upgrade: websocket\r\n\r\n" + NEXT, [of_get(), THEN]),
}  # fmt: skip


@pytest.mark.parametrize("piece", [READ_BYTES, 7, 1])
@pytest.mark.parametrize("name", ACCEPTED)
def test_valid_requests_are_parsed(name: str, piece: int) -> None:
    """In one piece or byte by byte, each with all of its body and nothing of the next."""
    data, expected = ACCEPTED[name]
    parser = parsed(data, piece=piece)
    assert parser.fault is None
    found = requests_of(parser)
    assert [{key: getattr(one, key) for key in keys} for one, keys in zip(found, expected, strict=True)] == expected
    assert not parser.in_head
    assert not parser.in_body
    assert parser.rest is None


def test_the_length_of_a_body_is_known_from_its_header() -> None:
    """Before the body has arrived; None without the header."""
    parser = parsed(POST + b"Content-Length: 1000\r\n\r\n")
    assert (parser.requests[0].length, parser.requests[0].complete, parser.in_body) == (1_000, False, True)
    assert parsed(CHUNKED).requests[0].length is None


def test_an_incomplete_head_is_no_request() -> None:
    """Empty lines before a request do not begin one."""
    parser = parsed(b"\r\n\r\n")
    assert not parser.in_head
    parser.feed(GET)
    assert parser.in_head
    assert not parser.requests
    parser.feed(b"\r\n")
    assert not parser.in_head
    assert len(parser.requests) == 1


# -- WebSocket handshakes -----------------------------------------------------------------------------------------

HANDSHAKE = GET + SWITCH + b"WebSocket\r\n\r\n"


@pytest.mark.parametrize("piece", [READ_BYTES, 1])
def test_what_comes_after_a_handshake_is_not_parsed(piece: int) -> None:
    """It may be frames."""
    frames = b"\x81\x80\0\0\0\0" + NEXT
    parser = parsed(GET + b"\r\n" + HANDSHAKE + frames, piece=piece)
    assert [request.upgrade for request in requests_of(parser)] == [False, True]
    assert parser.requests[1].complete
    assert parser.rest == frames
    assert parser.fault is None


@pytest.mark.parametrize("piece", [READ_BYTES, 1])
def test_after_a_refused_handshake_the_rest_is_parsed(piece: int) -> None:
    """It was pipelined behind it."""
    parser = parsed(HANDSHAKE + NEXT[:9], piece=piece)
    parser.resume()
    assert parser.rest is None
    parser.feed(NEXT[9:] + HANDSHAKE + NEXT)
    assert [request.target for request in requests_of(parser)] == ["/", "/next", "/"]
    assert parser.rest == NEXT
    parser.resume()
    assert [request.target for request in requests_of(parser)] == ["/", "/next", "/", "/next"]


def test_resume_without_a_rest_goes_on() -> None:
    """The next bytes are a request."""
    parser = parsed(HANDSHAKE)
    assert parser.rest == b""
    parser.resume()
    parser.feed(NEXT)
    assert [request.target for request in requests_of(parser)] == ["/", "/next"]


# -- sizes --------------------------------------------------------------------------------------------------------


def test_a_read_may_have_any_number_of_requests_that_ask_for_an_upgrade() -> None:
    """One read during a body has 64 KiB."""
    small = b"GET / HTTP/1.1\r\nUpgrade:h\r\nConnection:upgrade\r\n\r\n"
    parser = parsed(POST + b"Content-Length: 2\r\n\r\na")
    parser.feed((b"b" + small * 2_000)[:65_536])
    assert len(parser.requests) > 1_300
    assert parser.fault is None


LONG_HEAD = GET + b"A: " + b"b" * 60 * 1024 + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "cuts"),
    [
        (POST + b"Content-Length: 65536\r\n\r\n" + b"x" * 65_536 + GET + b"A: %b\r\n\r\n" % (b"b" * 99), (100, 65_636)),
        (NEXT * 480 + LONG_HEAD, tuple(range(0, 80_000, READ_BYTES))),
    ],
    ids=["a body", "other requests"],
)
def test_what_comes_before_a_head_in_one_read_is_no_part_of_it(data: bytes, cuts: tuple[int, ...]) -> None:
    """In reads as large as those of the connection, then byte by byte."""
    parser = parsed(data, cuts=(*cuts, *range(len(data) - 20, len(data))))
    assert parser.fault is None
    assert not parser.in_head


def test_a_body_of_any_length_is_parsed() -> None:
    """Only what is between its parts has a limit here."""
    parser = parsed(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000 + NEXT)
    assert [len(request.body) for request in requests_of(parser)] == [1_000_000, 0]
    chunk = b"1;%b\r\nx\r\n" % (b"a" * 2_000)
    parser = parsed(CHUNKED + chunk * 100 + b"0\r\n\r\n" + NEXT)
    assert [len(request.body) for request in requests_of(parser)] == [100, 0]


# -- any split ----------------------------------------------------------------------------------------------------

STREAMS = st.lists(
    st.one_of(
        st.sampled_from([data for name, (data, _) in ACCEPTED.items() if len(data) < 1_000]),
        st.sampled_from([GET + b"\r\n", NEXT, HANDSHAKE, CHUNKED + b"1\r\na\r\n0\r\n\r\n", b"\r\n"]),
        st.sampled_from([data for name, (data, _) in REFUSED.items() if name not in NEEDS_READS]),
    ),
    min_size=1,
    max_size=6,
).map(b"".join)
Cut = tuple[bytes, tuple[int, ...]]
CUTS = STREAMS.flatmap(
    lambda data: st.tuples(st.just(data), st.sets(st.integers(0, len(data)), max_size=12).map(tuple))
)


@settings(max_examples=5 * EXAMPLES)
@given(CUTS)
@example((HANDSHAKE + NEXT, (len(HANDSHAKE),)))
def test_any_pieces_give_the_same_requests_as_one(cut: Cut) -> None:
    """Also the same fault, the same rest, and the same after each refused handshake."""
    data, cuts = cut
    whole, pieces = parsed(data, cuts=()), parsed(data, cuts=cuts)
    while True:
        assert requests_of(pieces) == requests_of(whole)
        assert (pieces.fault and pieces.fault.status) == (whole.fault and whole.fault.status)
        assert (pieces.rest, pieces.in_head, pieces.in_body) == (whole.rest, whole.in_head, whole.in_body)
        if whole.rest is None:
            break
        whole.resume()
        pieces.resume()
