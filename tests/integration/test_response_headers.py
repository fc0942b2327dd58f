"""The headers of every response, and hostile paths of static files, without credentials."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
from tornado.httputil import HTTPHeaders

from hermes.web.console.page import StaticHandler
from tests.support.gateways import KEY, TIMEOUT_S, Hermes, MakeHermes, token
from tests.support.http_parsers import make_hermes as make_hermes
from tests.support.raw_request import BODY, JSON, KEYED
from tests.support.raw_socket import connect, open_raw

pytestmark = pytest.mark.usefixtures("complaints")


async def exchange(
    hermes: Hermes, method: str, path: str, fields: dict[str, str] | None = None, body: bytes = b""
) -> tuple[int, HTTPHeaders, bytes]:
    """Send exactly this path; return status, headers and body of the response."""
    raw = await connect(hermes)
    given = {"Host": "127.0.0.1", "Connection": "close", "Content-Length": str(len(body))} | (fields or {})
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    await raw.send_bytes("\r\n".join(lines).encode("latin-1") + body)
    answer = await asyncio.wait_for(raw.reader.read(-1), TIMEOUT_S)
    head, _, content = answer.partition(b"\r\n\r\n")
    status_line, _, text = head.decode().partition("\r\n")
    return int(status_line.split()[1]), HTTPHeaders.parse(text), content


PATHS = ["/", "/health", "/ready", "/metrics", "/status", "/notify", "/nothing", "/dev/token", "/static/nothing", "/ws"]


def check_headers(headers: HTTPHeaders, cache: str, path: str = "") -> None:
    """Fail unless the headers that every response has are there once, and the server's name is not."""
    assert headers.get_list("X-Content-Type-Options") == ["nosniff"], path
    assert headers.get_list("Cache-Control") == [cache], path
    assert "Server" not in headers, path


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "BREW"])
async def test_no_response_may_be_stored_or_guessed(hermes: Hermes, method: str) -> None:
    """With any status."""
    for path in PATHS:
        _, headers, _ = await exchange(hermes, method, path)
        check_headers(headers, "no-store", path)


@pytest.mark.gen_test
async def test_the_response_of_a_notification_has_these_headers(hermes: Hermes) -> None:
    """Accepted, or with an error."""
    for body, expected in ((BODY, 200), (b"{", 400), (b"{}", 422)):
        status, headers, _ = await exchange(hermes, "POST", "/notify", KEYED | JSON, body)
        assert status == expected
        check_headers(headers, "no-store")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("fields", "expected"), [({}, 200), ({"Range": "bytes=0-9"}, 206), ({"Range": "bytes=9-1"}, 0)]
)
async def test_static_files_may_be_stored(hermes: Hermes, fields: dict[str, str], expected: int) -> None:
    """But a browser must ask whether they have changed."""
    status, headers, _ = await exchange(hermes, "GET", "/static/hermes-client.js", fields)
    assert status == expected or not expected
    check_headers(headers, "no-cache")
    status, headers, _ = await exchange(
        hermes, "GET", "/static/hermes-client.js", {"If-None-Match": headers.get("Etag", '"x"')}
    )
    check_headers(headers, "no-cache")


@pytest.mark.gen_test
async def test_the_response_to_a_handshake_has_these_headers(hermes: Hermes) -> None:
    """Accepted, or refused with an HTTP status."""
    accepted = await open_raw(hermes, "/ws/notifications", token())
    assert accepted.status == 101
    check_headers(accepted.headers, "no-store")
    refused = await open_raw(hermes, "/ws/notifications", token(), headers={"Origin": "https://other.example"})
    assert refused.status == 403
    check_headers(refused.headers, "no-store")


@pytest.mark.gen_test
async def test_signed_tokens_are_not_stored(
    make_hermes: MakeHermes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``POST /dev/token`` exists with ``--dev`` only."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "key").write_text(f"{KEY}\n")
    hermes = await make_hermes(dev="true", api_key_file=tmp_path / "key")
    status, headers, body = await exchange(hermes, "POST", "/dev/token", KEYED | JSON, b'{"user_id":"1"}')
    assert (status, set(json.loads(body))) == (200, {"status", "token", "expires"})
    check_headers(headers, "no-store")


@pytest.mark.gen_test
@pytest.mark.parametrize("line", ["GET", "GET / HTTP/9", "\x01\x02", "GET / HTTP/1.1\r\nHost: a\r\nHost: b"])
async def test_a_malformed_request_does_not_get_the_servers_name(hermes: Hermes, line: str) -> None:
    """No handler sees it."""
    raw = await connect(hermes)
    await raw.send_bytes(line.encode() + b"\r\n\r\n")
    answer = await asyncio.wait_for(raw.reader.read(-1), TIMEOUT_S)
    assert b"server" not in answer.lower()
    assert b"tornado" not in answer.lower()


HOSTILE = {
    "NUL": "%00",
    "NUL in a name": "hermes-client%00.js",
    "NUL after a file": "hermes-client.js%00",
    "not UTF-8": "%ff",
    "surrogate": "%ed%a0%80",
    "overlong dots": "%c0%ae%c0%ae/x",
    "long name": "a" * 5_000,
    "long path": "a/" * 10_000,
    "long encoded name": "%e2%82%ac" * 1_000,
    "through a file": "hermes-client.js/x",
    "file with a slash": "hermes-client.js/",
    "folder": "console",
    "dots": "../" * 50 + "etc/passwd",
    "encoded dots": "%2e%2e%2f" * 50 + "etc/passwd",
    "absolute": "/etc/passwd",
    "device": "/dev/zero",
    "colon": "hermes-client.js:x",
    "line ends": "a%0d%0aX-Bad:%201",
    "per cent": "%",
    "half an escape": "%e",
    "backslash": "..%5c..%5cetc",
    "space": "%20",
    "query": "?token=" + "a" * 1_000,
}  # fmt: skip


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_path_is_not_found(
    hermes: Hermes, caplog: pytest.LogCaptureFixture, method: str, name: str
) -> None:
    """404, or 400 if it is not UTF-8; nothing above info is logged, and nothing of the file system is shown."""
    with caplog.at_level(logging.INFO):
        status, headers, body = await exchange(hermes, method, f"/static/{HOSTILE[name]}")
        await asyncio.sleep(0)
    assert status == (400 if name in ("not UTF-8", "surrogate", "overlong dots") else 404)
    check_headers(headers, "no-store")
    assert "X-Bad" not in headers
    assert b"Traceback" not in body
    assert b"/static" not in body
    assert [record for record in caplog.records if record.levelno > logging.INFO or record.exc_info] == []


@pytest.mark.gen_test
async def test_a_loop_of_links_and_a_link_to_the_outside_are_not_found(
    hermes: Hermes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Also links that cannot be in a package, for example of an editable checkout."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(
        StaticHandler, "initialize", lambda self, path: super(StaticHandler, self).initialize(str(tmp_path))
    )
    with caplog.at_level(logging.INFO):
        found = [(await exchange(hermes, "GET", f"/static/{name}"))[0] for name in ("file", "a", "a/b", "out")]
    assert found == [200, 404, 404, 404]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.gen_test
async def test_the_log_has_the_address_of_the_client_behind_a_proxy(
    make_hermes: MakeHermes, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a trusted proxy may name it."""
    caplog.set_level(logging.INFO, "hermes.access")
    for trusted, address in (("127.0.0.1", "192.0.2.7"), ("192.0.2.1", "127.0.0.1")):
        hermes = await make_hermes(trusted_proxies=(trusted,))
        await exchange(hermes, "GET", "/nothing", {"X-Forwarded-For": "192.0.2.7"})
        line = caplog.records[-1].getMessage()
        assert line.startswith(f"404 GET /nothing from {address} in "), line
