"""The console in a real Chromium, as tests look at it."""

import contextlib
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.support.paths import CHECKOUT
from tests.support.programs import Program, needs

SOCKETS = ("notifications", "tenant", "device", "combined")
PANELS = ("overview", "connect", "notifications", "devices", "token-inspector", "drills", "log")
DEVICE_PAGE = "devices/acme/climate-01"
CLOCK_ADVANCE_S = 3_600  # an installed clock runs until it is paused, and it can be paused only ahead of its time
TIMEOUT_MS = 60_000  # reached only in a test that fails: no verdict depends on the machine's speed
POLL_MS = 20
ARTIFACTS = CHECKOUT / "artifacts"
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Chromium's own words for these have changed before; the event is the standard's
CSP_SPY = """
document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile, lineNumber }) => {
  console.error(`CSP report: ${violatedDirective} of ${blockedURI} at ${sourceFile}:${lineNumber}`);
});
"""
HOLD_LONG_TIMERS = """
const { setTimeout: startTimer } = window;
window.setTimeout = (run, ms, ...given) => (ms >= 5_000 ? 0 : startTimer(run, ms, ...given));
"""


@dataclass
class Console:
    """A page of the console, and what it should never do."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()  # of the faults, those that a test brings about

    def watch(self) -> None:
        """Remember script errors, CSP reports and requests that leave the origin."""
        self.page.add_init_script(CSP_SPY)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._read)
        self.page.on("request", lambda request: self._check_origin(request.url))
        self.page.on("websocket", lambda socket: self._check_origin(socket.url))

    def _read(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.faults.append(f"{line.text} ({line.location['url']})")

    def _check_origin(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.url).netloc and not url.startswith(("data:", "blob:")):
            self.faults.append(f"left the origin: {url}")

    def open(self, panel: str = "") -> None:
        """Load the page, at this panel; in --dev its four sockets begin to open by themselves."""
        self.page.goto(f"{self.url}#{panel}" if panel else self.url)

    def show(self, panel: str) -> None:
        """Go to a panel, or with more behind it to a part of it: ``devices/acme/climate-01``."""
        self.page.evaluate("panel => { location.hash = panel; }", panel)
        expect(self.page.locator(f"#{panel.partition('/')[0]}")).to_be_visible()

    def dress(self, theme: str) -> None:
        """Choose a theme as its user does; no reload."""
        self.page.select_option("#theme", theme)

    def card(self, name: str) -> "Card":
        """One of the four sockets."""
        return Card(self.page, name)

    def expect_all_open(self) -> None:
        """All four sockets are open; whichever panel is shown."""
        for name in SOCKETS:
            self.card(name).expect_state("open")

    def wait_until(self, condition: Callable[[], object], why: str = "did not come true in time") -> None:
        """Wait while the page's events are handled."""
        deadline_s = time.monotonic() + TIMEOUT_MS / 1_000
        while not condition():
            assert time.monotonic() < deadline_s, why
            self.page.wait_for_timeout(POLL_MS)

    def hold_long_timers(self) -> None:
        """Let no timer of the page fire that runs for seconds, before it is opened: what is shown for a while stays."""
        self.page.add_init_script(HOLD_LONG_TIMERS)

    def stop_clock(self) -> None:
        """Stop the page's clock, before it is opened: no timer of the page fires unless the test moves the clock."""
        now_s = time.time()
        self.page.clock.install(time=now_s - CLOCK_ADVANCE_S)
        self.page.clock.pause_at(now_s)

    def move_clock_until(self, condition: Callable[[], object], step_ms: int) -> None:
        """Let the timers of a stopped clock fire, and look after each step."""

        def moved() -> object:
            self.page.clock.run_for(step_ms)
            return condition()

        self.wait_until(moved)

    def says_unreachable(self) -> bool:
        """Whether the header says that Hermes does not answer."""
        return self.page.locator("#hermes-status-light .label").inner_text() == "not reachable"

    @property
    def unexpected(self) -> list[str]:
        """The faults that no test brought about."""
        return [fault for fault in self.faults if not any(words in fault for words in self.expected)]


@dataclass
class Card:
    """A socket's card on the Connect panel. Its state is told at once, its figures only while the panel is shown."""

    page: Page
    name: str

    def expect_state(self, state: str) -> None:
        """It is in this state, whatever the page's language calls that."""
        untold = ", :not([data-state])" if state == "closed" else ""  # it says nothing before its first connection
        card = self.page.locator(f"form[data-socket={self.name}]:is([data-state={state}]{untold})")
        expect(card, f"{self.name} is not {state}").to_have_count(1)

    def part(self, selector: str) -> str:
        """The text of a part."""
        return self.page.locator(f"[data-socket={self.name}] {selector}").inner_text()


expect.set_options(timeout=TIMEOUT_MS)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium; the one without windows of its own needs half the processor's time."""
    executable = needs("chromium-headless-shell", "chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        yield running
        running.close()


@contextlib.contextmanager
def console_in(browser: Browser, program: Program, **options: Any) -> Iterator[Console]:
    """A console in a browser profile of its own, made with these options; nothing may go wrong in it."""
    context = browser.new_context(**({"locale": "en-GB"} | options))
    context.set_default_timeout(TIMEOUT_MS)
    try:
        console = Console(context.new_page(), f"{program.url}/")
        console.watch()
        yield console
    finally:
        context.close()
    assert console.unexpected == [], console.unexpected


def save_picture(page: Page, name: str, *, whole: bool = False) -> None:
    """Keep a screenshot in artifacts/, of what is in view or of the whole page."""
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / f"console-{name}.png").write_bytes(page.screenshot(full_page=whole))


def api_key(program: Program) -> str:
    """The key that a Hermes in --dev has printed."""
    return program.wait_for(r"X-API-Key: (\w+)")[1]


def notify(program: Program, **fields: str) -> None:
    """As a backend service would; somebody must have got it."""
    notice = {"user_id": "123", "title": "New alert", "message": "Sensor X is hot", "type": "warning"} | fields
    headers = {"Content-Type": "application/json", "X-API-Key": api_key(program)}
    request = urllib.request.Request(f"{program.url}/notify", json.dumps(notice).encode(), headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_MS / 1_000) as response:
        assert json.load(response)["sent"] is True


def metric(program: Program, line: str) -> float:
    """A figure of /metrics; 0 where it is not there yet."""
    with urllib.request.urlopen(f"{program.url}/metrics", timeout=TIMEOUT_MS / 1_000) as response:
        match = re.search(rf"^{re.escape(line)} (\S+)$", response.read().decode(), re.MULTILINE)
    return float(match[1]) if match else 0.0
