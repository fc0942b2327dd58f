"""Any request to ``POST /notify``: an answer below 500, and only valid frames for the user."""

import json
from functools import partial
from logging import LogRecord

from hypothesis import given
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.support.gateways import KEY, Hermes, MakeHermes, token
from tests.support.raw_request import BODY, send_and_read_to_end
from tests.support.raw_socket import RawSocket, open_raw, port_of

MEMBERS = {"channel", "id", "title", "message", "type", "timestamp", "data"}

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=6),
    st.sampled_from(["123", "info", "\ud800", "\0", "x" * 300, 123, -0.0, 1e400, 10**400, 2**64]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
NOTIFICATIONS = st.fixed_dictionaries(
    {"title": st.sampled_from(["t"]) | VALUES, "message": st.sampled_from(["m"]) | VALUES},
    optional={
        "user_id": st.sampled_from(["123", 123]) | VALUES,
        "tenant_id": VALUES,
        "type": st.sampled_from(["info", "error"]) | VALUES,
        "id": VALUES,
        "data": st.dictionaries(st.text(max_size=3), VALUES, max_size=3) | VALUES,
        "other": VALUES,
    },
)
BEGIN = '{"user_id":"123","title":"t","message":""'
TEXTS = st.one_of(
    NOTIFICATIONS.map(json.dumps),
    st.lists(NOTIFICATIONS, max_size=4).map(json.dumps),
    VALUES.map(json.dumps),
    st.integers(1, 2_000).map(lambda levels: BEGIN + ',"data":' + '{"a":' * levels + "1" + "}" * (levels + 1)),
    st.integers(90, 110).map(lambda levels: BEGIN + ',"data":{"a":' + "[" * levels + "]" * levels + "}}"),
    st.integers(4_000, 70_000).map(lambda size: BEGIN + ',"data":{"a":"' + "x" * size + '"}}'),
    st.integers(0, 1_100).map(lambda count: "[" + ",".join([BEGIN + "}"] * count) + "]"),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A body that is nearly a notification."""
    body = bytearray(draw(TEXTS).encode("utf-8", "replace"))
    for place, piece in draw(st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=2)), max_size=2)):
        if place < len(body):
            body[place : place + 1] = piece
    return bytes(body)


NAMES = st.sampled_from(
    [
        "Content-Type",
        "Content-Encoding",
        "X-API-Key",
        "Authorization",
        "X-Forwarded-For",
        "Origin",
        "Via",
        "Cookie",
        "Expect",
        "Connection",
        "Transfer-Encoding",
        "Content-Length",
        "Host",
        "Accept-Encoding",
        "X-Forwarded-Host",
    ]
)
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
JSON_TYPE = "application/json"
HEADER_VALUES = st.one_of(
    HEADER_TEXT,
    st.sampled_from(
        [JSON_TYPE, f"{JSON_TYPE}; charset=utf-16", "gzip", "chunked", "close", "100-continue", "identity"]
    ),
    st.sampled_from([KEY, f"Bearer {KEY}", "Bearer ", "é" * 10, "10.0.0.1, ::1, x", "0", "9" * 30, "[::1"]),
)
HEADERS = st.lists(st.tuples(NAMES, HEADER_VALUES), max_size=5)


def test_any_body_is_answered(io_loop: IOLoop, make_hermes: MakeHermes, complaints: list[LogRecord]) -> None:
    """With a status below 500, and what reaches the user is a notification."""
    hermes = io_loop.run_sync(partial(make_hermes, max_connects_per_address_s="0", ping_interval_s="3600"))
    reader = io_loop.run_sync(partial(open_raw, hermes, "/ws/notifications", token()))

    @given(bodies())
    def attack(body: bytes) -> None:
        io_loop.run_sync(partial(notify_and_read, hermes, reader, body))

    attack()


async def notify_and_read(hermes: Hermes, reader: RawSocket, body: bytes) -> None:
    """Send the body, then a valid notification; read the user's frames up to the latter."""
    response = await hermes.post(body, {"X-API-Key": KEY})
    assert response.code in {200, 400, 413, 422}, response.body
    answer = json.loads(response.body)
    results = answer.get("results", [answer])
    assert all(result["status"] in {"success", "error"} for result in results)
    await hermes.notify({"user_id": "123", "title": "the last one", "message": ""})
    frame = {"title": ""}
    while frame["title"] != "the last one":
        frame = json.loads(await reader.text())
        assert set(frame) <= MEMBERS
        assert set(frame) >= MEMBERS - {"data"}


def test_any_headers_are_answered_or_end_the_connection(
    io_loop: IOLoop, make_hermes: MakeHermes, complaints: list[LogRecord]
) -> None:
    """With a status below 500; the next client is served."""
    limits = {"max_connects_per_address_s": "0", "max_failed_auth_per_address": "0"}
    hermes = io_loop.run_sync(partial(make_hermes, **limits))

    @given(HEADERS, st.sampled_from(["POST", "GET", "PUT", "OPTIONS", "post", "X"]), HEADER_TEXT.map(str.strip))
    def attack(headers: list[tuple[str, str]], method: str, query: str) -> None:
        io_loop.run_sync(partial(send_request, hermes, headers, method, query))
        assert (
            io_loop.run_sync(partial(hermes.notify, {"user_id": "1", "title": "t", "message": ""}))["status"]
            == "success"
        )

    attack()


async def send_request(hermes: Hermes, headers: list[tuple[str, str]], method: str, query: str) -> None:
    """Send a request with these headers; read what the server answers until its end."""
    given = [("Host", f"127.0.0.1:{port_of(hermes)}"), *headers]
    if not any(name in ("Content-Length", "Transfer-Encoding") for name, _ in headers):
        given.append(("Content-Length", str(len(BODY))))
    target = "/notify?" + "".join(character for character in query if character.isascii() and character not in " #")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given)]
    await send_and_read_to_end(hermes, "\r\n".join([*lines, "", ""]).encode("latin-1") + BODY)
