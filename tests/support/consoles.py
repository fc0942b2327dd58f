"""The console in a real Chromium, for tests."""

import contextlib
import json
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
PANELS = ("overview", "connect", "notifications", "inbox", "devices", "token-inspector", "drills", "log")
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
# without animations: a row that flashes is drawn 60 times a second
PROFILE: dict[str, Any] = {"locale": "en-GB", "reduced_motion": "reduce"}
# The texts of Chromium's own reports differ between versions; the event is standardized
CSP_SPY = """
document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile, lineNumber }) => {
  console.error(`CSP report: ${violatedDirective} of ${blockedURI} at ${sourceFile}:${lineNumber}`);
});
"""
HOLD_LONG_TIMERS = """
const { setTimeout: startTimer } = window;
window.setTimeout = (run, ms, ...given) => (ms >= 5_000 ? 0 : startTimer(run, ms, ...given));
"""


def wait_on(page: Page, condition: Callable[[], object], why: Callable[[], str]) -> None:
    """Wait while the page's events are handled.

    Unlike `expect`, which looks only twice a second after the first quarter of one, it looks again at once.
    """
    deadline_s = time.monotonic() + TIMEOUT_MS / 1_000
    while not condition():
        assert time.monotonic() < deadline_s, why()
        page.wait_for_timeout(POLL_MS)


@dataclass
class Console:
    """A page of the console, and the faults that it reported."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()  # texts of faults that the test causes

    def watch(self) -> None:
        """Record script errors, CSP reports and requests that leave the origin."""
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
        self._wait_until_loaded()

    def show(self, panel: str) -> None:
        """Show a panel, or a part of one: ``devices/acme/climate-01``."""
        self.page.evaluate("panel => { location.hash = panel; }", panel)
        expect(self.page.locator(f"#{panel.partition('/')[0]}")).to_be_visible()
        self._wait_until_loaded()

    def _wait_until_loaded(self) -> None:
        """Wait for the scripts of the panel."""
        busy = self.page.locator("[aria-busy]")
        self.wait_until(lambda: not busy.count(), "a panel is still busy")

    def dress(self, theme: str) -> None:
        """Choose a theme as a user does, without a reload."""
        self.page.select_option("#theme", theme)

    def card(self, name: str) -> "Card":
        """Return the card of one of the four sockets."""
        return Card(self.page, name)

    def expect_all_open(self) -> None:
        """Expect that all four sockets are open; any panel may be shown."""
        for name in SOCKETS:
            self.card(name).expect_state("open")

    def wait_until(self, condition: Callable[[], object], why: str = "did not come true in time") -> None:
        """Wait while the page's events are handled."""
        wait_on(self.page, condition, lambda: why)

    def hold_long_timers(self) -> None:
        """Disable the page's timers of 5 s and more before it is opened, so that messages stay visible."""
        self.page.add_init_script(HOLD_LONG_TIMERS)

    def stop_clock(self) -> None:
        """Stop the page's clock, before it is opened: no timer of the page fires unless the test moves the clock."""
        now_s = time.time()
        self.page.clock.install(time=now_s - CLOCK_ADVANCE_S)
        self.page.clock.pause_at(now_s)

    def move_clock_until(self, condition: Callable[[], object], step_ms: int) -> None:
        """Move a stopped clock in steps until the condition is true; timers fire."""

        def moved() -> object:
            self.page.clock.run_for(step_ms)
            return condition()

        self.wait_until(moved)

    def shows_unreachable(self) -> bool:
        """Return whether the header shows that Hermes does not answer."""
        return self.page.locator("#hermes-status-light .label").inner_text() == "not reachable"

    @property
    def unexpected(self) -> list[str]:
        """The faults that the test did not cause."""
        return [fault for fault in self.faults if not any(text in fault for text in self.expected)]


@dataclass
class Card:
    """Card of a socket on the Connect panel; its figures are updated only while the panel is shown."""

    page: Page
    name: str

    def expect_state(self, state: str) -> None:
        """Expect this state, in any language of the page."""
        unset = ", :not([data-state])" if state == "closed" else ""  # without the attribute before its first connection
        card = self.page.locator(f"form[data-socket={self.name}]:is([data-state={state}]{unset})")
        any_state = self.page.locator(f"form[data-socket={self.name}]")
        wait_on(
            self.page,
            lambda: card.count() == 1,
            lambda: f"{self.name} is {any_state.get_attribute('data-state')}, not {state}",
        )

    def part(self, selector: str) -> str:
        """Return the text of a part of the card."""
        return self.page.locator(f"[data-socket={self.name}] {selector}").inner_text()


expect.set_options(timeout=TIMEOUT_MS)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium; the headless shell needs half the processor time of the full browser."""
    executable = needs("chromium-headless-shell", "chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        yield running
        running.close()


@contextlib.contextmanager
def console_in(browser: Browser, program: Program, **options: Any) -> Iterator[Console]:
    """Open a console in a new browser profile with these options; fail if the page reports a fault."""
    context = browser.new_context(**(PROFILE | options))
    context.set_default_timeout(TIMEOUT_MS)
    try:
        console = Console(context.new_page(), f"{program.url}/")
        console.watch()
        yield console
    finally:
        context.close()
    assert console.unexpected == [], console.unexpected


def save_picture(page: Page, name: str, *, whole: bool = False) -> None:
    """Save a screenshot in artifacts/, of the visible part or of the whole page."""
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / f"console-{name}.png").write_bytes(page.screenshot(full_page=whole))


def api_key(program: Program) -> str:
    """Return the key that a Hermes in --dev has printed."""
    return program.wait_for(r"X-API-Key: (\w+)")[1]


def notify(program: Program, **fields: str) -> None:
    """Send a notification as a backend service does; a socket must have received it."""
    notification = {"user_id": "123", "title": "New alert", "message": "Sensor X is hot", "type": "warning"} | fields
    headers = {"Content-Type": "application/json", "X-API-Key": api_key(program)}
    request = urllib.request.Request(f"{program.url}/notify", json.dumps(notification).encode(), headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_MS / 1_000) as response:
        assert json.load(response)["sent"] is True
