"""The console below a prefix: behind a real nginx that strips it, and in a frame as Home Assistant shows it."""

import contextlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Frame, Page, Response, WebSocket, expect

from tests.support.consoles import SOCKETS, Console, console_in
from tests.support.gateways import KEY, token
from tests.support.programs import Program, accepts, free_port, needs, wait_until

pytestmark = pytest.mark.browser

GOOD_ROUTE = "#inspector-routes li:has([data-verdict=good])"
INGRESS = "/api/hassio_ingress/u9_Xy-0"
LOCATION = """\
    location {path}/ {{
        proxy_pass http://{hermes}/;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $hermes_connection;
        {more}
    }}
"""
NGINX = """\
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $hermes_connection {{ default upgrade; "" ""; }}
    server {{
    listen 127.0.0.1:{port};
{locations}
    location = /frame {{
        default_type text/html;
        return 200 '<!doctype html><title>Home</title><iframe src="{ingress}/" width="1200" height="800"></iframe>';
    }}
    location = /bare {{
        proxy_pass http://{production}/;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-Prefix /hermes;
    }}
    }}
}}
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, production: Program, dev: Program) -> Iterator[str]:
    """An nginx with Hermes at three prefixes; its URL."""
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    hosts = {name: program.url.removeprefix("http://") for name, program in (("production", production), ("dev", dev))}
    ingress = f"proxy_set_header X-Ingress-Path {INGRESS}; proxy_set_header X-Forwarded-For $remote_addr;"
    locations = [
        LOCATION.format(
            path="/hermes", hermes=hosts["production"], more="proxy_set_header X-Forwarded-For $remote_addr;"
        ),
        LOCATION.format(path=INGRESS, hermes=hosts["production"], more=ingress),
        LOCATION.format(path="/deep/dev", hermes=hosts["dev"], more=""),
    ]
    text = NGINX.format(
        folder=folder, port=port, locations="".join(locations), ingress=INGRESS, production=hosts["production"]
    )
    (folder / "nginx.conf").write_text(text)
    program = Program(
        ["-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")], {}, launcher=(needs("nginx"),)
    )
    try:
        wait_until(lambda: accepts(port), why=f"no answer: {program.errors}")
        yield f"http://127.0.0.1:{port}"
    finally:
        program.end()


class Traffic:
    """What a page requests: every address, and every answer of 400 and more."""

    def __init__(self, console: Console) -> None:
        self.paths: list[str] = []
        self.failed: list[str] = []
        self._console = console
        console.page.on("response", self._add)
        console.page.on("websocket", self._add_socket)

    def _add(self, response: Response) -> None:
        self.paths.append(re.sub(r"^\w+://[^/]+", "", response.url))
        if response.status >= 400:
            self.failed.append(f"{response.status} {response.url}")

    def _add_socket(self, socket: WebSocket) -> None:
        self.paths.append(re.sub(r"^\w+://[^/]+", "", socket.url))

    def expect_below(self, prefix: str) -> None:
        """Expect that everything was found, below the prefix."""
        for part in ("/static/console/main.js", "/static/hermes-client.js", "/ws/notifications", "/status"):
            self._console.wait_until(partial(self._has, prefix + part), why=f"no request of {part}")
        assert self.failed == []
        assert [path for path in self.paths if not path.startswith(f"{prefix}/")] == []

    def _has(self, start: str) -> bool:
        return any(path.startswith(start) for path in self.paths)


@contextlib.contextmanager
def console_at(browser: Browser, production: Program, url: str) -> Iterator[tuple[Console, Traffic]]:
    """A console at an address of the proxy, not opened yet."""
    with console_in(browser, production) as console:
        console.url = url
        yield console, Traffic(console)


def connect_all(root: Page | Frame) -> None:
    """Enter token and key as a user does, and open all four sockets."""
    root.fill("[data-socket=tenant] input", "acme")
    root.fill("[data-socket=device] input", "hall/lamp 1")
    root.fill("#token-value", token(tenant_id="acme"))
    root.fill("#key-value", KEY)
    root.get_by_role("button", name="Connect all", exact=True).click()
    for name in SOCKETS:
        expect(root.locator(f"form[data-socket={name}][data-state=open]")).to_have_count(1)


def notify(root: Page | Frame) -> None:
    """Send a notification with the form; the page receives it."""
    root.evaluate("location.hash = 'notifications'")
    expect(root.get_by_role("button", name="Send")).to_be_enabled()  # the form has loaded and filled in the user
    root.fill("#notify [name=addressee]", "123")
    root.get_by_role("button", name="Send").click()
    expect(root.locator("#notify-answer .good")).to_be_visible()
    expect(root.locator("#history li")).to_have_count(1)


@pytest.mark.smoke
def test_everything_works_below_a_prefix(browser: Browser, production: Program, proxy: str) -> None:
    """Page, sockets, notifications, figures, drills and the token inspector, without one answer of 404."""
    with console_at(browser, production, f"{proxy}/hermes/") as (console, traffic):
        page = console.page
        console.open("connect")
        connect_all(page)
        notify(page)
        expect(page.locator("#notify-curl")).to_contain_text(f"'{proxy}/hermes/notify'")
        console.show("overview")
        expect(page.locator("#totals")).to_be_visible()
        console.show("token-inspector")
        page.click("#inspector-ask")
        for route in ("/ws/notifications", "/ws/tenant/acme", "/ws"):
            expect(page.locator(GOOD_ROUTE).filter(has_text=f"{route}:")).to_have_count(1)
        console.show("drills")
        page.locator("[data-drill=burst]").get_by_role("button").click()
        expect(page.locator("[data-drill=burst][data-verdict=good]")).to_have_count(1)
        traffic.expect_below("/hermes")


def test_preferences_and_credentials_belong_to_the_prefix(browser: Browser, production: Program, proxy: str) -> None:
    """Another Hermes on the same host gets neither the cookie nor the token."""
    with console_at(browser, production, f"{proxy}/hermes/") as (console, _):
        page = console.page
        console.open("connect")
        page.fill("#token-value", token(tenant_id="acme"))
        page.press("#token-value", "Tab")
        console.dress("dark")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        expect(page.locator("#token-value")).to_have_value(re.compile("^eyJ"))
        assert [cookie["path"] for cookie in page.context.cookies()] == ["/hermes/"]
        page.goto(f"{proxy}{INGRESS}/#connect")
        expect(page.locator("html")).to_have_attribute("data-theme", "auto")
        expect(page.locator("#token-value")).to_have_value("")


def test_home_assistant_shows_it_in_a_frame(browser: Browser, production: Program, proxy: str) -> None:
    """With X-Ingress-Path: the frame is allowed, its sockets open, and all stays below the path of the ingress."""
    with console_at(browser, production, f"{proxy}/frame") as (console, traffic):
        console.open()
        frame = next(each for each in console.page.frames if each.parent_frame is not None)
        frame.evaluate("location.hash = 'connect'")
        connect_all(frame)
        notify(frame)
        traffic.paths.remove("/frame")
        traffic.paths = [path for path in traffic.paths if path != "/favicon.ico"]
        traffic.failed = [each for each in traffic.failed if not each.endswith("/favicon.ico")]
        traffic.expect_below(INGRESS)
        console.expected = ("favicon.ico",)


def test_a_page_without_the_slash_works_if_the_prefix_is_told(
    browser: Browser, production: Program, proxy: str
) -> None:
    """As Traefik does, which strips the prefix of /hermes too."""
    with console_at(browser, production, f"{proxy}/bare") as (console, traffic):
        console.open()
        expect(console.page.locator("#hermes-status-light[data-state=up]")).to_have_count(1)
        traffic.paths.remove("/bare")
        assert traffic.failed == []
        assert all(path.startswith("/hermes/") for path in traffic.paths)


def test_drills_with_faults_work_below_a_prefix(browser: Browser, dev: Program, proxy: str) -> None:
    """Also the routes of --dev are below the prefix."""
    with console_at(browser, dev, f"{proxy}/deep/dev/") as (console, traffic):
        page = console.page
        console.open("drills")
        for name in ("drop", "burst"):
            page.locator(f"[data-drill={name}]").get_by_role("button").click()
            expect(page.locator(f"[data-drill={name}][data-verdict=good]")).to_have_count(1)
        console.show("devices/acme/climate-01")
        expect(page.locator("#device-url")).to_have_text(f"{proxy.replace('http', 'ws')}/deep/dev/ws/device/climate-01")
        traffic.expect_below("/deep/dev")
        assert any(path.startswith("/deep/dev/dev/drill") for path in traffic.paths)


def test_a_page_that_is_refused_says_why(browser: Browser, production: Program, tmp_path: Path) -> None:
    """A proxy that changes Host: the card and the token inspector show what Hermes answers, with the flag."""
    port = free_port()
    host = production.url.removeprefix("http://")
    more = "proxy_set_header Host $host;"
    location = LOCATION.replace("proxy_set_header Host $http_host;", "").format(path="", hermes=host, more=more)
    text = NGINX.format(folder=tmp_path, port=port, locations=location, ingress=INGRESS, production=host)
    (tmp_path / "nginx.conf").write_text(text)
    words = ["-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    program = Program(words, {}, launcher=(needs("nginx"),))
    try:
        wait_until(lambda: accepts(port), why=f"no answer: {program.errors}")
        with console_at(browser, production, f"http://127.0.0.1:{port}/") as (console, _):
            console.expected = ("403", "WebSocket connection")
            page = console.page
            console.open("connect")
            page.fill("#token-value", token(tenant_id="acme"))
            page.locator("[data-socket=notifications] .toggle").click()
            note = page.locator("[data-socket=notifications] .note")
            expect(note).to_contain_text(f"--origin http://127.0.0.1:{port}")
            expect(note).to_contain_text("Host is 127.0.0.1.")
            console.show("token-inspector")
            page.click("#inspector-current")
            page.click("#inspector-ask")
            refused = page.locator("#inspector-routes li:has([data-verdict=bad])")
            expect(refused.first).to_contain_text(f"--origin http://127.0.0.1:{port}")
            expect(refused).to_have_count(4)
    finally:
        program.end()
