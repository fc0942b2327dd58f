"""Which pages may open sockets, behind proxies too, and how a refused one is told why."""

import json
import logging
from pathlib import Path

import pytest
from tornado.httpclient import HTTPResponse

from hermes.log import MaskingFormatter
from tests.support.gateways import KEY, Hermes, MakeHermes, token
from tests.support.http_parsers import make_hermes as make_hermes
from tests.support.raw_socket import open_raw

pytestmark = pytest.mark.usefixtures("complaints")

PATH = "/ws/notifications"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
EVIL = "https://evil.example"


async def status_of(hermes: Hermes, headers: dict[str, str]) -> int:
    """Return the status of a handshake with a valid token and these headers."""
    return (await open_raw(hermes, PATH, token(), headers=headers)).status


async def refused(hermes: Hermes, headers: dict[str, str], path: str = PATH) -> HTTPResponse:
    """Return the answer to a handshake that is refused."""
    response = await hermes.request(f"{path}?token={token()}", headers=UPGRADE | headers)
    assert response.code == 403
    return response


# -- the same origin ----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_host_that_a_trusted_proxy_tells_counts(hermes: Hermes) -> None:
    """In place of Host, with its port; of an address that is not trusted it does not."""
    for headers, status in (
        ({"Host": "10.0.0.9", "X-Forwarded-Host": "gw.example:8443", "Origin": "https://gw.example:8443"}, 101),
        ({"Host": "10.0.0.9", "X-Forwarded-Host": "gw.example", "Origin": "https://gw.example"}, 101),
        ({"Host": "10.0.0.9", "X-Forwarded-Host": "gw.example:443", "Origin": "https://gw.example"}, 101),
        ({"Host": "10.0.0.9", "X-Forwarded-Host": "gw.example", "Origin": "https://gw.example:8443"}, 403),
        ({"Host": "gw.example", "X-Forwarded-Host": "other.example", "Origin": "https://gw.example"}, 403),
        ({"Host": "gw.example", "X-Forwarded-Host": "", "Origin": "https://gw.example"}, 101),
    ):
        assert await status_of(hermes, headers) == status, headers


@pytest.mark.gen_test
async def test_headers_of_an_untrusted_proxy_change_nothing(make_hermes: MakeHermes) -> None:
    """Neither the host nor the scheme."""
    hermes = await make_hermes(trusted_proxies="192.0.2.1")
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    assert await status_of(hermes, {"Host": "gw.example", "Origin": EVIL} | forged) == 403
    assert await status_of(hermes, {"Host": "gw.example", "Origin": "http://gw.example"} | forged) == 101


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("origin", "proto", "status"),
    [
        ("https://gw.example", None, 101),  # a proxy may end TLS without telling it
        ("http://gw.example", None, 101),
        ("https://gw.example", "https", 101),
        ("http://gw.example", "http", 101),
        ("http://gw.example", "https", 403),
        ("https://gw.example", "http", 403),
        ("https://gw.example", "wss", 101),
        ("https://gw.example", "rubbish", 101),
        ("https://gw.example:443", "https", 101),
        ("https://gw.example:80", None, 403),
        ("evil://gw.example", None, 403),
        ("ws://gw.example", None, 403),
        ("https://gw.example/", None, 403),
        ("https://gw.example,https://gw.example", None, 403),
        ("//gw.example", None, 403),
        ("", None, 403),
    ],
)
async def test_the_scheme_is_compared_if_it_is_known(
    hermes: Hermes, origin: str, proto: str | None, status: int
) -> None:
    """It is http or https in any case."""
    headers = {"Host": "gw.example", "Origin": origin} | ({} if proto is None else {"X-Forwarded-Proto": proto})
    assert await status_of(hermes, headers) == status


@pytest.mark.gen_test
async def test_a_page_of_another_site_needs_no_origin_to_be_found_out(make_hermes: MakeHermes) -> None:
    """A proxy may remove it; the browser tells the site all the same."""
    hermes = await make_hermes()
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 101), ("none", 101)):
        assert await status_of(hermes, {"Sec-Fetch-Site": site}) == status, site
    assert b"the proxy pass on the header Origin" in (await refused(hermes, {"Sec-Fetch-Site": "cross-site"})).body
    assert await status_of(hermes, {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"}) == 403


@pytest.mark.gen_test
async def test_apps_and_all_names_below_a_domain_can_be_allowed(make_hermes: MakeHermes) -> None:
    """And names that are not ASCII, and default ports."""
    hermes = await make_hermes(
        origins="capacitor://localhost,https://*.example.org,https://bücher.example,https://app.example:443"
    )
    for origin, status in {
        "capacitor://localhost": 101,
        "ionic://localhost": 403,
        "https://a.example.org": 101,
        "https://b.a.example.org": 101,
        "https://example.org": 403,
        "https://a.example.org.evil.example": 403,
        "https://xn--bcher-kva.example": 101,
        "https://app.example": 101,
        "null": 403,
    }.items():
        assert await status_of(hermes, {"Origin": origin}) == status, origin


# -- the explanation ----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_refused_origin_is_explained_in_the_answer_and_in_the_log(
    hermes: Hermes, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the origin, the host and the flag that would allow it; never the token."""
    caplog.set_level(logging.INFO)
    headers = {"Host": "gw.example", "Origin": "https://gw.example:8443"}
    response = await refused(hermes, headers)
    assert response.headers["Content-Type"].startswith("application/json")
    answer = json.loads(response.body)
    assert (answer["status"], answer["error"]["code"]) == ("error", "origin_refused")
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    for text in (answer["error"]["message"], line.getMessage()):
        for part in (
            "https://gw.example:8443",
            "Host is gw.example.",
            "$http_host",
            "--origin https://gw.example:8443",
        ):
            assert part in text
    assert "403" in line.getMessage()
    assert "127.0.0.1" in line.getMessage()
    assert not any(token() in MaskingFormatter().format(record) for record in caplog.records)


@pytest.mark.gen_test
async def test_the_remedy_is_that_of_the_cause(hermes: Hermes) -> None:
    """Another scheme, a host that a proxy tells, and text for which no flag exists."""
    told = {"Host": "gw.example", "Origin": "https://gw.example"}
    for headers, words in (
        (told | {"X-Forwarded-Proto": "http"}, "X-Forwarded-Proto is http"),
        (told | {"X-Forwarded-Host": "inner"}, "X-Forwarded-Host is inner"),
        ({"Origin": "null"}, "not an address of a page"),
        ({"Origin": "capacitor://localhost"}, "--origin capacitor://localhost"),
    ):
        assert words in json.loads((await refused(hermes, headers)).body)["error"]["message"], headers


@pytest.mark.gen_test
async def test_a_browser_that_asks_for_a_page_gets_one(hermes: Hermes) -> None:
    """Without markup from the header."""
    body = (await refused(hermes, {"Origin": "https://x<b>", "Accept": "text/html,*/*"})).body.decode()
    assert "<h1>403 Forbidden</h1>" in body
    assert "<b>" not in body


@pytest.mark.gen_test
async def test_a_page_that_tries_again_makes_one_line(hermes: Hermes, caplog: pytest.LogCaptureFixture) -> None:
    """Each origin has its own; each request is counted."""
    for _ in range(5):
        await refused(hermes, {"Origin": EVIL})
    await refused(hermes, {"Origin": "https://worse.example"})
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2
    metrics = (await hermes.request("/metrics")).body.decode()
    assert "hermes_origins_refused_total 6.0" in metrics
    figures = json.loads((await hermes.request("/status", headers={"X-API-Key": KEY})).body)["sockets"]
    assert figures["origins_refused"] == 6
    assert figures["last_refused_origin"]["origin"] == "https://worse.example"
    assert "--origin https://worse.example" in figures["last_refused_origin"]["message"]


@pytest.mark.gen_test
async def test_a_long_origin_is_not_repeated(hermes: Hermes, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the answer nor in the log."""
    response = await refused(hermes, {"Origin": "https://" + "a" * 50_000, "Host": "h" * 200})
    assert len(response.body) < 2_000
    assert all(len(record.getMessage()) < 2_000 for record in caplog.records)


@pytest.mark.gen_test
async def test_the_console_can_ask_why(hermes: Hermes) -> None:
    """A POST to the path of a socket has the same origin; its answer can be read by the page."""
    port = hermes.url.rpartition(":")[2]
    for origin, status in ((EVIL, 403), (f"http://127.0.0.1:{port}", 405)):
        response = await hermes.request(PATH, method="POST", body="", headers={"Origin": origin})
        assert response.code == status


@pytest.mark.gen_test
async def test_headers_of_an_untrusted_proxy_make_one_line(
    make_hermes: MakeHermes, caplog: pytest.LogCaptureFixture
) -> None:
    """On any route; it names the flag."""
    caplog.set_level(logging.INFO)
    hermes = await make_hermes(trusted_proxies="192.0.2.1")
    for path in ("/health", "/", "/nothing", "/static/hermes-client.js"):
        await hermes.request(path, headers={"X-Forwarded-For": "203.0.113.7"})
    lines = [each for record in caplog.records if "X-Forwarded-For" in (each := record.getMessage())]
    assert len(lines) == 1
    assert "--trusted-proxy 127.0.0.1" in lines[0]


# -- the console below a prefix -----------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_believed_prefix_is_the_base_of_the_page(make_hermes: MakeHermes) -> None:
    """So that the page also works at /hermes without a slash; any other value changes nothing."""
    hermes = await make_hermes()
    for name in ("X-Forwarded-Prefix", "X-Ingress-Path"):
        response = await hermes.request("/", headers={name: "/hermes"})
        assert b'<base href="/hermes/">' in response.body
        assert "base-uri 'self'" in response.headers["Content-Security-Policy"]
    for value in ("//evil.example", '/x"><script>', "/hermes/", "https://evil.example"):
        response = await hermes.request("/", headers={"X-Forwarded-Prefix": value})
        assert b"<base" not in response.body
        assert b"evil.example" not in response.body
        assert "base-uri 'none'" in response.headers["Content-Security-Policy"]
    stranger = await make_hermes(trusted_proxies="192.0.2.1")
    assert b"<base" not in (await stranger.request("/", headers={"X-Forwarded-Prefix": "/hermes"})).body


@pytest.mark.gen_test
async def test_only_home_assistant_may_frame_the_page(hermes: Hermes) -> None:
    """Its ingress shows the page in a frame of the same origin."""
    for headers, ancestors in (
        ({}, "'none'"),
        ({"X-Forwarded-Prefix": "/hermes"}, "'none'"),
        ({"X-Ingress-Path": "//evil.example"}, "'none'"),
        ({"X-Ingress-Path": "/api/hassio_ingress/x"}, "'self'"),
    ):
        policy = (await hermes.request("/", headers=headers)).headers["Content-Security-Policy"]
        assert policy.endswith(f"frame-ancestors {ancestors}"), headers


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "way"), [("/nothing", "./"), ("/a/b", "../"), ("/a/b/c/", "../../../"), ("/x" * 1_000, "./")]
)
async def test_the_way_from_an_error_to_the_console_is_relative(hermes: Hermes, path: str, way: str) -> None:
    """A proxy may serve Hermes below a prefix, which Hermes need not know."""
    body = (await hermes.request(path, headers={"Accept": "text/html"})).body.decode()
    assert f'<a href="{way}">' in body


@pytest.mark.gen_test
async def test_the_first_of_two_cookies_counts(hermes: Hermes) -> None:
    """It has the longer path: another Hermes may be served at the root of the same host."""
    for cookie, theme in (("hermes_theme=dark; hermes_theme=light", "dark"), ("x=1;hermes_theme=light", "light")):
        body = (await hermes.request("/", headers={"Cookie": cookie})).body.decode()
        assert f'data-theme="{theme}"' in body


# -- CORS ---------------------------------------------------------------------------------------------------------


def cors(response: HTTPResponse) -> dict[str, str]:
    """Return the headers that tell a browser what a page may do."""
    return {name: text for name, text in response.headers.get_all() if name.startswith("Access-Control-")}


async def ask(hermes: Hermes, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
    """Return the response to a request with a token; a preflight request has none."""
    given = {} if method == "OPTIONS" else {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
    body = '{"notification_id":"n1"}' if method == "POST" else None
    return await hermes.request(path, method=method, body=body, headers=given | headers)


@pytest.mark.gen_test
@pytest.mark.parametrize(("path", "method"), [("/inbox", "GET"), ("/ack", "POST")])
async def test_pages_of_allowed_origins_may_read_what_applications_call(
    make_hermes: MakeHermes, tmp_path: Path, path: str, method: str
) -> None:
    """By the rule of the sockets; the answer differs by origin, and says so to caches."""
    hermes = await make_hermes(
        inbox=str(tmp_path / "inbox.db"), origins="https://app.example.com,capacitor://localhost"
    )
    for origin in ("https://app.example.com", "capacitor://localhost", hermes.url):
        response = await ask(hermes, path, method, Origin=origin)
        assert (response.code, response.headers["Vary"]) == (200, "Origin")
        assert cors(response) == {"Access-Control-Allow-Origin": origin}
        response = await ask(hermes, path, method, Origin=origin, Authorization="Bearer rubbish")
        assert (response.code, cors(response)) == (401, {"Access-Control-Allow-Origin": origin})
    response = await ask(hermes, path, method)
    assert (response.code, cors(response), response.headers["Vary"]) == (200, {}, "Origin")
    for each in (method, "OPTIONS"):
        response = await ask(hermes, path, each, Origin=EVIL)
        assert (response.code, cors(response)) == (403, {})
        assert json.loads(response.body)["error"]["code"] == "origin_refused"


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/inbox", "/ack"])
async def test_a_preflight_request_is_told_what_a_page_may_send(
    make_hermes: MakeHermes, tmp_path: Path, path: str
) -> None:
    """Methods and headers, for ten minutes; also if all origins are allowed, with the origin itself."""
    hermes = await make_hermes(inbox=str(tmp_path / "inbox.db"), origins="*")
    response = await ask(hermes, path, "OPTIONS", Origin=EVIL, Access_Control_Request_Method="POST")
    assert (response.code, response.body, response.headers["Vary"]) == (204, b"", "Origin")
    assert cors(response) == {
        "Access-Control-Allow-Origin": EVIL,
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "authorization, content-type, last-event-id",
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path",
    ["/notify", "/status", "/metrics", "/ready", "/health", "/", "/ws", "/receipts/x", "/inbox/stats", "/disconnect"],
)
async def test_what_operators_use_has_no_such_headers(make_hermes: MakeHermes, tmp_path: Path, path: str) -> None:
    """Whatever origins are allowed."""
    hermes = await make_hermes(inbox=str(tmp_path / "inbox.db"), origins="*")
    for method in ("GET", "POST", "OPTIONS"):
        body = "" if method == "POST" else None
        response = await hermes.request(path, method=method, body=body, headers={"Origin": EVIL, "X-API-Key": KEY})
        assert cors(response) == {}
