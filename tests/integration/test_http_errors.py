"""HEAD wherever GET is, ``Allow`` with every 405, and 404 in the form that the client accepts."""

import json

import pytest

from tests.support.gateways import KEY, Hermes

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
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
@pytest.mark.gen_test
async def test_every_405_has_the_allowed_methods(hermes: Hermes, path: str, method: str) -> None:
    """Also for a method of WebDAV, which no handler has."""
    if (path, method) == ("/notify", "POST"):
        return
    response = await hermes.request(path, method=method, headers={"X-API-Key": KEY})
    assert response.code == 405
    expected = {"/notify": "POST"}.get(path, "GET" if path.startswith("/ws") else "GET, HEAD")
    assert response.headers["Allow"] == expected
    assert json.loads(response.body)["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/unknown", "/health/", "/notify/x", "/static/unknown.js", "/ws/tenant/", "/%00"])
@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "application/*;q=0.5", "application/json, text/html;q=0.1"]
)
@pytest.mark.gen_test
async def test_unknown_paths_answer_json(hermes: Hermes, path: str, method: str, accept: str | None) -> None:
    """As curl and the libraries of services accept it."""
    if path.startswith("/static/") and method != "GET":
        return
    response = await hermes.request(path, method=method, headers={} if accept is None else {"Accept": accept})
    assert response.code == 404
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.body)["error"]["code"] == "not_found"


@pytest.mark.gen_test
async def test_a_browser_gets_a_page_with_the_way_to_the_console(hermes: Hermes) -> None:
    """Without the path, which a stranger may have written."""
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    response = await hermes.request("/<script>", headers={"Accept": accept})
    assert response.code == 404
    assert response.headers["Content-Type"].startswith("text/html")
    assert b'<a href="/">' in response.body
    assert b"script" not in response.body
