"""A real Chromium that opens the console, and its measurements of the page's cost."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from bench.contenders.hermes import Hermes
from bench.processes import BenchError

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-precise-memory-info",
)
TTL_S = 3_600.0
COLLECTIONS = 3
COLLECTION_MS = 300
WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map(({ duration }) => duration)))
  .observe({ type: 'longtask', buffered: true });
window.opened = [];
addEventListener('DOMContentLoaded', () => {
  const card = document.querySelector('[data-socket=tenant]');
  new MutationObserver(() => card.dataset.state === 'open' && opened.push(Date.now()))
    .observe(card, { attributeFilter: ['data-state'] });
});
"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium. Raises `BenchError` if there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    if program is None:
        raise BenchError("chromium is missing")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass(frozen=True, slots=True)
class Console:
    """The console in a tab of its own, with a token of this tenant."""

    page: Page
    devtools: CDPSession

    def heap_bytes(self) -> float:
        """What the page's scripts hold: one collection leaves what only the end of another object frees."""
        for _ in range(COLLECTIONS):
            self.devtools.send("HeapProfiler.collectGarbage")
            self.page.wait_for_timeout(COLLECTION_MS)
        used: float = self.devtools.send("Runtime.getHeapUsage")["usedSize"]
        return used

    def longest_task_ms(self) -> float:
        """The longest task since the page was opened, of those over 50 ms; 0 if there was none."""
        longest: float = self.page.evaluate("Math.max(0, ...longTasks)")
        return longest

    def opened(self) -> list[float]:
        """When the tenant's socket was opened, each time, in Unix ms."""
        moments: list[float] = self.page.evaluate("opened")
        return moments


@contextlib.contextmanager
def console(browser: Browser, server: Hermes, *, tenant_id: str, panel: str) -> Iterator[Console]:
    """Open it at this panel, in production: its user has brought the token along."""
    token = server.mint.sign(user_id="1", username="bench", tenant_id=tenant_id, ttl_s=TTL_S)
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = context.new_page()
    page.add_init_script(f"sessionStorage.setItem('hermes.token', '{token}');{WATCH}")
    page.goto(f"http://127.0.0.1:{server.port}/#{panel}")
    yield Console(page, context.new_cdp_session(page))
    context.close()
