"""The programs of the page about the browser client: compiled, and run against a real Hermes."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.consoles import TIMEOUT_MS, chromium
from tests.support.inbox_senders import send
from tests.support.npm import npm, run
from tests.support.paths import CHECKOUT
from tests.support.programs import Program, hermes, needs

FOLDER = CHECKOUT / "examples" / "browser"
HERMES = "127.0.0.1:8080"  # as the pages name it


class App(ThreadingHTTPServer):
    """The app of a page: it serves the page and the tokens of its user. The first request for a token fails."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.page = ""
        self.token = ""
        self.asked = 0

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.server_port}"

    def show(self, page: Path, gateway: Program) -> None:
        """Serve this page, for this Hermes."""
        self.page = page.read_text().replace(HERMES, gateway.url.removeprefix("http://"))
        self.asked = 0


class _Answer(BaseHTTPRequestHandler):
    server: App

    def do_GET(self) -> None:
        """Answer a request of the browser."""
        status, kind, text = 404, "text/plain", ""
        if self.path == "/":
            status, kind, text = 200, "text/html", self.server.page
        elif self.path == "/my-token":
            self.server.asked += 1
            status, text = (502, "<h1>Bad gateway</h1>") if self.server.asked == 1 else (200, self.server.token)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    """An app without a page."""
    with App() as made:
        thread = threading.Thread(target=made.serve_forever, name="app")
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def gateway(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Hermes with simulated devices that the pages of the app may use."""
    arguments = ("serve", "--dev", "--port", "0", "--origin", app.url)
    with hermes(*arguments, XDG_STATE_HOME=str(tmp_path_factory.mktemp("state"))) as program:
        program.wait_for("Ctrl-C stops it")
        app.token = program.wait_for(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")[0]
        yield program


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium."""
    with chromium() as running:
        yield running


def test_the_programs_compile() -> None:
    """Strictly, against the declarations that Hermes serves."""
    npm()
    run("node_modules/typescript/bin/tsc", "--project", str(FOLDER))


@pytest.mark.browser
def test_the_page_of_the_readme_receives_both(browser: Browser, app: App, gateway: Program) -> None:
    """Also if the first request for a token fails, as while the app restarts."""
    with browser.new_page() as page:
        page.set_default_timeout(TIMEOUT_MS)
        app.show(FOLDER / "both.html", gateway)
        with page.expect_console_message(lambda line: line.text.startswith("climate-01 ")):
            page.goto(app.url)
        assert app.asked == 2
        send(gateway, "123", "New alert")
        expect(page.locator("body")).to_have_text("New alert", timeout=TIMEOUT_MS)


@pytest.mark.browser
def test_the_minimal_page_lists_notifications(browser: Browser, app: App, gateway: Program) -> None:
    """It says in the browser's console when its socket is open."""
    with browser.new_page() as page:
        page.set_default_timeout(TIMEOUT_MS)
        app.show(FOLDER / "notifications.html", gateway)
        with page.expect_console_message(lambda line: line.text.startswith("open ")):
            page.goto(app.url)
        send(gateway, "123", "Live", message="Sensor X is hot")  # others may have been sent before the page opened
        expect(page.locator("#list li").last).to_have_text("Live: Sensor X is hot", timeout=TIMEOUT_MS)


def test_the_program_for_node_prints_device_data(app: App, gateway: Program, tmp_path: Path) -> None:
    """With the package ws, beside a copy of the client."""
    npm()
    program = (CHECKOUT / "examples" / "node" / "devices.mjs").read_text()
    (tmp_path / "devices.mjs").write_text(program.replace(HERMES, gateway.url.removeprefix("http://")))
    (tmp_path / "hermes-client.js").write_text((CHECKOUT / "static" / "hermes-client.js").read_text())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(CHECKOUT / "tests" / "js" / "node_modules")
    launcher = (needs("node"), "devices.mjs")
    running = Program([], {"HERMES_TOKEN": app.token}, launcher=launcher, cwd=tmp_path)
    try:
        running.wait_for(r"climate-01 \w+ ")
    finally:
        running.end()
