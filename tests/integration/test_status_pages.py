"""The other HTTP pages: health, readiness, metrics, the console and its files."""

import json
import logging
import re
from html.parser import HTMLParser

import pytest
from tornado.httpclient import HTTPResponse

from tests.support.gateways import KEY, SECRET, Hermes, MakeHermes, eventually, token
from tests.support.programs import free_port
from tests.support.raw_socket import CLOSE, open_raw

pytestmark = pytest.mark.usefixtures("complaints")

ACME = token(tenant_id="acme")

# -- probes -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_health_is_200_while_the_event_loop_runs(make_hermes: MakeHermes) -> None:
    """Also without a broker, and without a key."""
    hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{free_port()}")
    assert (await hermes.request("/health")).code == 200


@pytest.mark.gen_test
async def test_without_mqtt_it_is_ready(hermes: Hermes) -> None:
    """With ``mqtt_url=off`` nothing is missing."""
    response = await hermes.request("/ready")
    assert response.code == 200
    assert response.headers["Content-Type"].startswith("application/json")


@pytest.mark.gen_test
async def test_without_its_broker_it_is_not_ready_and_names_what_is_missing(
    make_hermes: MakeHermes, complaints: list[logging.LogRecord]
) -> None:
    """503 with texts for the operator, and no traceback in the log."""
    hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{free_port()}")
    response = await hermes.request("/ready")
    assert response.code == 503
    missing = json.loads(response.body)["missing"]
    assert missing
    assert all("broker" in text or "mqtt" in text for text in missing)
    assert not any(record.exc_info for record in complaints)
    complaints.clear()


# -- metrics ------------------------------------------------------------------------------------------------------


async def metrics(hermes: Hermes) -> dict[str, float]:
    """Return every sample by its name and labels."""
    response = await hermes.request("/metrics")
    assert response.code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = [line.rpartition(" ") for line in response.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


@pytest.mark.gen_test
async def test_metrics_are_in_the_text_format_of_prometheus(hermes: Hermes) -> None:
    """Each has a help text and a type."""
    text = (await hermes.request("/metrics")).body.decode()
    families = set(re.findall(r"^# TYPE (\w+) (?:counter|gauge|histogram)$", text, re.MULTILINE))
    assert {"hermes_sockets_open", "hermes_published_total", "hermes_deliveries_total"} <= families
    assert families == set(re.findall(r"^# HELP (\w+) \S+", text, re.MULTILINE))
    assert all(family.startswith("hermes_") for family in families)


@pytest.mark.gen_test
async def test_metrics_count_sockets_notifications_and_responses(hermes: Hermes) -> None:
    """Sockets by route, closes by code, rejections by reason, notifications, deliveries, responses by status."""
    first, second = [await hermes.open("/ws/notifications", token()) for _ in range(2)]
    await (await hermes.open("/ws", "rubbish")).wait_closed()
    await hermes.notify({"user_id": "123", "title": "t", "message": "m"})
    await hermes.notify({"user_id": "nobody", "title": "t", "message": "m"})
    await hermes.notify("{")
    now = await metrics(hermes)
    assert now['hermes_sockets_open{route="/ws/notifications"}'] == 2
    assert now['hermes_sockets_refused_total{reason="token_invalid"}'] == 1
    assert now['hermes_published_total{kind="notification"}'] == 2
    assert now["hermes_deliveries_total"] == 2
    assert (await first.receive()) == (await second.receive())
    assert now['hermes_notify_requests_total{status="200"}'] == 2
    assert now['hermes_notify_requests_total{status="400"}'] == 1
    await first.close()
    await second.send(b"binary")
    assert (await second.wait_closed())[0] == 1003
    await eventually(lambda: not hermes.gateway.hub.sessions)
    now = await metrics(hermes)
    assert now['hermes_sockets_open{route="/ws/notifications"}'] == 0
    assert now['hermes_sockets_closed_total{code="1000"}'] == 1
    assert now['hermes_sockets_closed_total{code="1003"}'] == 1


@pytest.mark.gen_test
async def test_metrics_have_no_labels_from_clients(hermes: Hermes) -> None:
    """A label for each user or for each unknown action would grow without bound."""
    socket = await hermes.open("/ws", token("user-of-a-test", tenant_id="tenant-of-a-test"))
    before = set(await metrics(hermes))
    for n in range(15):
        await socket.send({"action": f"made-up-{n}"})
        await socket.receive()
        await hermes.request(f"/made-up-{n}")
    after = set(await metrics(hermes))
    assert len(after - before) <= 1
    assert not any("of-a-test" in name or "made-up" in name for name in after)


@pytest.mark.gen_test
async def test_metrics_do_not_grow_with_the_close_codes_of_clients(hermes: Hermes) -> None:
    """A client may close with any of 65,536 codes; there are at most twelve labels for them."""
    for code in range(3_000, 3_040):
        raw = await open_raw(hermes, "/ws", token())
        await raw.send(CLOSE, code.to_bytes(2, "big"))
        await raw.ended()
    assert sum(name.startswith("hermes_sockets_closed_total") for name in await metrics(hermes)) <= 12


# -- the console --------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collect what a strict policy forbids, and the URLs that the page loads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.loaded: list[str] = []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given and given.get("type") != "application/json"):
            self.inline.append(tag)
        self.loaded += [
            value
            for name, value in attrs
            if value and (name in ("src", "srcset", "action") or (name == "href" and tag == "link"))
        ]


def policy(response: HTTPResponse) -> dict[str, str]:
    """Return the directives of its Content-Security-Policy."""
    parts = [part.strip().partition(" ") for part in response.headers["Content-Security-Policy"].split(";")]
    return {name: sources for name, _, sources in parts if name}


@pytest.mark.gen_test
async def test_the_console_has_a_strict_policy(hermes: Hermes) -> None:
    """Scripts and styles only of its own origin, nothing inline, no evaluation, no frames."""
    response = await hermes.request("/")
    assert response.code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    directives = policy(response)
    assert directives["default-src"] in ("'none'", "'self'")
    assert directives["script-src"] == "'self'"
    assert directives["style-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    assert directives["base-uri"] == "'none'"
    text = response.headers["Content-Security-Policy"]
    for forbidden in ("unsafe-inline", "unsafe-eval", "*", "http:", "https:"):
        assert forbidden not in text
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.gen_test
async def test_the_console_complies_with_its_policy(hermes: Hermes) -> None:
    """It has no inline script or style, and every URL that it loads exists."""
    page = Page((await hermes.request("/")).body.decode())
    assert page.inline == []
    assert page.loaded
    for url in page.loaded:
        assert re.match(r"static/", url), f"{url} is not relative to the page"
        assert (await hermes.request(f"/{url}")).code == 200, url


@pytest.mark.gen_test
async def test_the_console_contains_no_secret(hermes: Hermes) -> None:
    """Its user enters token and key; text of the request is never part of the page."""
    body = (await hermes.request("/?x=%3Cscript%3Ealert(1)%3C/script%3E", headers={"Host": "a.example"})).body.decode()
    assert KEY not in body
    assert SECRET not in body
    assert "eyJ" not in body
    assert "alert(1)" not in body


# -- static files -------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_client_module_may_be_imported_by_any_page(hermes: Hermes) -> None:
    """It has the header for pages of other origins, and the type of JavaScript, which a browser needs."""
    response = await hermes.request("/static/hermes-client.js", headers={"Origin": "https://app.example.com"})
    assert response.code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Content-Type"].split(";")[0] in ("text/javascript", "application/javascript")


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/static/console/main.js", "/static/icons/info.svg", "/", "/health", "/ready"])
async def test_pages_of_other_origins_may_read_nothing_else(hermes: Hermes, path: str) -> None:
    """No other response has the header."""
    response = await hermes.request(path, headers={"Origin": "https://app.example.com"})
    assert response.code == 200
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path",
    [
        "/static/../hermes/auth.py",
        "/static/%2e%2e/hermes/auth.py",
        "/static/..%2Fhermes%2Fauth.py",
        "/static//etc/passwd",
        "/static/console",
        "/static/console/",
        "/static/nothing.js",
        "/static/",
        "/templates/console.html",
    ],
)
async def test_files_outside_static_cannot_be_read(hermes: Hermes, path: str) -> None:
    """The response is 404, without any part of a file."""
    response = await hermes.request(path)
    assert response.code == 404
    assert b"import" not in response.body
    assert b"root:" not in response.body


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/nothing", "/dev/token", "/dev/drill", "/favicon.ico"])
async def test_an_unknown_url_is_not_found(hermes: Hermes, path: str) -> None:
    """Without a traceback, and without the token of the query in the page."""
    response = await hermes.request(f"{path}?token={ACME}")
    assert response.code == 404
    assert ACME.encode() not in response.body


@pytest.mark.gen_test
async def test_a_slow_client_does_not_stop_the_probes(hermes: Hermes) -> None:
    """Health is 200 while a socket does not read and frames are queued for it."""
    await open_raw(hermes, "/ws/notifications", token(), receive_buffer_bytes=4096)
    (session,) = hermes.gateway.hub.sessions
    while not session.waiting:
        await hermes.notify([{"user_id": "123", "title": "t", "message": "m" * 900}] * 50)
    assert (await hermes.request("/health")).code == 200
    assert session.waiting
