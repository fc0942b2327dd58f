"""HEAD wherever GET is, ``Allow`` with every 405, and 404 in the form that the client accepts."""

import asyncio
import itertools
import json
import logging

import pytest

from tests.support.gateways import KEY, TIMEOUT_S, Hermes
from tests.support.http_parsers import make_hermes as make_hermes
from tests.support.http_parsers import parsed_by_tornado
from tests.support.raw_request import BODY, JSON, KEYED, request
from tests.support.raw_socket import connect

GETS = ["/", "/health", "/ready", "/metrics", "/status", "/static/hermes-client.js"]


@pytest.mark.parametrize("path", GETS)
@pytest.mark.gen_test
async def test_head_has_the_headers_of_get_and_no_body(hermes: Hermes, path: str) -> None:
    """RFC 9110 §9.3.2."""
    headers = {"X-API-Key": KEY}
    get = await hermes.request(path, headers=headers)
    head = await hermes.request(path, method="HEAD", headers=headers)
    assert head.code == get.code
    assert head.body == b""
    for name in ("Content-Type", "Cache-Control", "Allow"):
        assert head.headers.get(name) == get.headers.get(name)
    assert "Content-Length" in head.headers


@pytest.mark.parametrize("path", [*GETS, "/ws", "/ws/notifications", "/ws/tenant/t", "/ws/device/d", "/notify"])
@pytest.mark.gen_test
async def test_every_405_has_the_allowed_methods(hermes: Hermes, path: str) -> None:
    """Also for a method of WebDAV, which no handler has."""
    expected = {"/notify": "POST"}.get(path, "GET" if path.startswith("/ws") else "GET, HEAD")
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
        if method == expected:
            continue
        response = await hermes.request(path, method=method, headers={"X-API-Key": KEY})
        assert response.code == 405, method
        assert response.headers["Allow"] == expected, method
        assert json.loads(response.body)["error"]["code"] == "method_not_allowed", method


ACCEPTS_JSON = [
    {},
    {"Accept": "*/*"},
    {"Accept": "application/json"},
    {"Accept": "application/*;q=0.5"},
    {"Accept": "application/json, text/html;q=0.1"},
]


@pytest.mark.parametrize("path", ["/unknown", "/health/", "/notify/x", "/static/unknown.js", "/ws/tenant/", "/%00"])
@pytest.mark.gen_test
async def test_unknown_paths_answer_json(hermes: Hermes, path: str) -> None:
    """As curl and the libraries of services accept it."""
    methods = ["GET"] if path.startswith("/static/") else ["GET", "POST", "DELETE", "PROPFIND"]
    for method, headers in itertools.product(methods, ACCEPTS_JSON):
        response = await hermes.request(path, method=method, headers=headers)
        assert response.code == 404, (method, headers)
        assert response.headers["Content-Type"] == "application/json", (method, headers)
        assert json.loads(response.body)["error"]["code"] == "not_found", (method, headers)


@pytest.mark.gen_test
async def test_a_browser_gets_a_page_with_the_way_to_the_console(hermes: Hermes) -> None:
    """Without the path, which a stranger may have written."""
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    response = await hermes.request("/<script>", headers={"Accept": accept})
    assert response.code == 404
    assert response.headers["Content-Type"].startswith("text/html")
    assert b'<a href="./">' in response.body
    assert b"script" not in response.body


FAILING = {
    ("POST", "/ws"): 405,
    ("GET", "/ws"): 426,
    ("GET", "/ws/device/"): 404,
    ("GET", "/ws/device/a?device_id=b"): 400,
    ("GET", "/ws/tenant/%ff"): 400,
    ("POST", "/static/hermes-client.js"): 405,
    ("GET", "/static/unknown.js"): 404,
    ("GET", "/static/"): 404,
    ("POST", "/health"): 405,
    ("GET", "/unknown"): 404,
    ("GET", "/notify"): 405,
}


@pytest.mark.parametrize(("method", "path"), FAILING)
@pytest.mark.gen_test
async def test_a_failed_request_has_one_line_in_the_log(
    hermes: Hermes, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever handler it reaches: the line of the access log."""
    caplog.set_level(logging.INFO)
    response = await hermes.request(path, method=method)
    assert response.code == FAILING[method, path]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{response.code} {method} {path.partition('?')[0]} from 127.0.0.1 in ")


@pytest.mark.gen_test
async def test_the_line_of_a_failed_request_has_its_reason(hermes: Hermes, caplog: pytest.LogCaptureFixture) -> None:
    """Where the status alone does not explain it."""
    caplog.set_level(logging.INFO)
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    assert (await hermes.request("/ws", headers=handshake)).code == 400
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith(" ms: Sec-WebSocket-Key is missing")


# -- requests that only httptools understands, or explains ------------------------------------------------------------

CHUNKED = request({"Host": "a"} | KEYED | JSON, chunk=99)
DIFFERENT = {
    "a bare line feed": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, 200),  # the next one: tests of smuggling
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400, 400),
    "an unknown method": (b"BREW /health HTTP/1.1\r\nHost: a\r\n\r\n", 501, 405),
    "a version": (b"GET /health HTTP/2.0\r\nHost: a\r\n\r\n", 505, 400),
    "an absolute target": (b"GET http://a/health HTTP/1.1\r\nHost: a\r\n\r\n", 200, 404),
    "a chunk extension": (CHUNKED.replace(b"\r\n{", b";a=b\r\n{"), 200, 400),
    "a trailer": (CHUNKED[:-2] + b"A: b\r\n\r\n", 200, 400),
}


@pytest.mark.gen_test
@pytest.mark.parametrize("name", DIFFERENT)
async def test_the_parser_of_tornado_understands_less(hermes: Hermes, name: str) -> None:
    """Its error is a status line alone; docs/reference/protocol.md says so."""
    data, with_httptools, with_tornado = DIFFERENT[name]
    raw = await connect(hermes)
    await raw.send_bytes(data)
    status_line = await asyncio.wait_for(raw.reader.readline(), TIMEOUT_S)
    assert int(status_line.split()[1]) == (with_tornado if parsed_by_tornado(hermes) else with_httptools)
    if status_line.split()[1] in (b"400", b"501", b"505"):
        rest = await asyncio.wait_for(raw.reader.read(), TIMEOUT_S)
        assert (rest == b"\r\n") == parsed_by_tornado(hermes)


@pytest.mark.gen_test
async def test_a_client_that_closes_its_side_is_answered(hermes: Hermes) -> None:
    """Tornado takes that for the end of the connection."""
    raw = await connect(hermes)
    await raw.send_bytes(request({"Host": "a"} | KEYED | JSON, b"[" + BODY + b"]"))
    raw.writer.write_eof()
    answer = await asyncio.wait_for(raw.reader.read(), TIMEOUT_S)
    assert parsed_by_tornado(hermes) or answer.startswith(b"HTTP/1.1 200 ")
