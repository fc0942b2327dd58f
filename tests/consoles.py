"""The console in a real Chromium, as tests look at it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import needs

SOCKETS = ("notifications", "tenant", "device", "legacy")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Console:
    """A page of the console, and what it should never do."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()  # of the faults, those that a test brings about

    def watch(self) -> None:
        """Remember script errors, CSP reports and requests that leave the origin."""
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "console", lambda line: self.faults.append(line.text) if line.type in ("error", "warning") else None
        )
        self.page.on("request", lambda request: self._check_origin(request.url))
        self.page.on("websocket", lambda socket: self._check_origin(socket.url))

    def _check_origin(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.url).netloc and not url.startswith("data:"):
            self.faults.append(f"left the origin: {url}")

    def open(self) -> None:
        """Load the page and, in --dev, wait for its four sockets."""
        self.page.goto(self.url)

    def card(self, name: str) -> "Card":
        """One of the four sockets."""
        return Card(self.page, name)

    def expect_all_open(self, timeout_ms: float = 5_000) -> None:
        """All four sockets are open."""
        for name in SOCKETS:
            self.card(name).expect_state("open", timeout_ms)

    @property
    def unexpected(self) -> list[str]:
        """The faults that no test brought about."""
        return [fault for fault in self.faults if not any(words in fault for words in self.expected)]


@dataclass
class Card:
    """A socket's card."""

    page: Page
    name: str

    def expect_state(self, state: str, timeout_ms: float = 5_000) -> None:
        """It shows this state."""
        expect(self.page.locator(f"[data-socket={self.name}] .word")).to_have_text(state, timeout=timeout_ms)

    def part(self, selector: str) -> str:
        """The text of a part."""
        return self.page.locator(f"[data-socket={self.name}] {selector}").inner_text()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium."""
    executable = needs("chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        yield running
        running.close()
