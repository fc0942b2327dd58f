"""What the console costs its browser: first paint and weight, a busy fleet, scrolling, and how soon it is back."""

import os
import secrets
import signal
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from playwright.sync_api import Browser

from bench.contenders import TENANT
from bench.contenders.broker import Broker, broker
from bench.contenders.hermes import Hermes, hermes
from bench.figures import Figure, Mark
from bench.load.browser import Console, chromium, console
from bench.load.devices import publishing
from bench.processes import BenchError, free_port

PATIENCE_S = 60.0
POLL_S = 0.005
SETTLE_S = 10.0  # rings and caches have filled by then
KIBIBYTE = 1_024
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
WEIGHT = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter(({ initiatorType }) => initiatorType !== 'fetch').reduce((sum, each) => sum + each.transferSize, 0)"""
SCROLL = """(forMs) => new Promise((resolve) => {
  const region = document.querySelector('#devices-scroll');
  const began = performance.now();
  let frames = 0;
  const step = (now) => {
    frames += 1;
    const phase = ((now - began) / forMs * 4) % 2; // twice down and up
    region.scrollTop = (phase < 1 ? phase : 2 - phase) * (region.scrollHeight - region.clientHeight);
    if (now - began < forMs) requestAnimationFrame(step);
    else resolve(frames * 1000 / (now - began));
  };
  requestAnimationFrame(step);
})"""


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """``loads`` fresh loads; ``rate_per_s`` messages of ``devices`` for ``for_s`` with the devices' panel open;
    ``restarts`` of Hermes by SIGKILL, away for ``away_s``.
    """

    summary: ClassVar[str] = "the console in Chromium: first paint, 500 messages/s, 5,000 rows, Hermes killed"
    loads: int = 10
    devices: int = 5_000
    rate_per_s: int = 500
    for_s: float = 60.0
    scroll_s: float = 6.0
    restarts: int = 9
    away_s: float = 1.5

    def run(self) -> list[Figure]:
        """Times by the browser's own clock; a return counts from the moment at which Hermes is ready again."""
        with chromium() as browser:
            with broker() as mosquitto, hermes(mqtt_url=mosquitto.url) as server:
                paints_ms, weight_kib = self._loads(browser, server)
                with console(browser, server, tenant_id=TENANT, panel="devices") as opened:
                    longest_ms, growth, frames_per_s = self._busy(opened, mosquitto)
            back_s = self._returns(browser)
        return [
            Figure("Hermes", "first paint, median", statistics.median(paints_ms), "ms", Mark(at_most=300)),
            Figure("Hermes", "weight of the whole page", weight_kib, "KiB", Mark(at_most=150)),
            Figure("Hermes", f"longest task at {self.rate_per_s}/s", longest_ms, "ms", Mark(at_most=100)),
            Figure("Hermes", "memory at the end : at the beginning", growth, "", Mark(at_most=1.1)),
            Figure("Hermes", f"scrolling {self.devices:,} rows", frames_per_s, "frames/s", Mark(at_least=50)),
            Figure("Hermes", "client back after, median", statistics.median(back_s), "s", Mark(at_most=2)),
            Figure("Hermes", "client back after, longest", max(back_s), "s"),
        ]

    def _loads(self, browser: Browser, server: Hermes) -> tuple[list[float], float]:
        paints_ms, weight_kib = [], 0.0
        for _ in range(self.loads):
            with console(browser, server, tenant_id=TENANT, panel="overview") as opened:
                _wait(lambda page=opened.page: page.evaluate(PAINT) > 0, "nothing is painted")  # type: ignore[misc]
                paints_ms.append(opened.page.evaluate(PAINT))
                opened.page.wait_for_load_state("networkidle", timeout=PATIENCE_S * 1_000)
                weight_kib = opened.page.evaluate(WEIGHT) / KIBIBYTE
        return paints_ms, weight_kib

    def _busy(self, opened: Console, mosquitto: Broker) -> tuple[float, float, float]:
        """The longest task, how memory grew, and how fast the full table scrolls while data arrives."""
        topics = [f"tenants/{TENANT}/devices/device-{number:05}/t" for number in range(self.devices)]
        _wait(lambda: bool(opened.opened()), "the tenant's socket does not open")
        with publishing(mosquitto.port, topics, rate_per_s=self.rate_per_s):
            rows = f"Number(document.querySelector('#devices-count').textContent.replace(/\\D/g, '')) >= {self.devices}"
            _wait(lambda: opened.page.evaluate(rows), "the rows do not appear")
            time.sleep(min(SETTLE_S, self.for_s))
            before = opened.heap_bytes()
            time.sleep(self.for_s)
            after = opened.heap_bytes()
            longest_ms = opened.longest_task_ms()
            frames_per_s = opened.page.evaluate(SCROLL, self.scroll_s * 1_000)
        return longest_ms, after / before, frames_per_s

    def _returns(self, browser: Browser) -> list[float]:
        """Seconds from Hermes' being ready again until the page's socket is open, after each of the restarts."""
        port, secret, back_s = free_port(), secrets.token_urlsafe(48), []
        with ExitStack() as running:
            running.enter_context(away := ExitStack())
            server = away.enter_context(hermes(port=port, secret=secret))
            opened = running.enter_context(console(browser, server, tenant_id=TENANT, panel="connect"))
            for number in range(1, self.restarts + 1):
                _wait(lambda number=number: len(opened.opened()) >= number, "the socket does not open")  # type: ignore[misc]
                os.kill(server.child.pid, signal.SIGKILL)
                away.close()
                time.sleep(self.away_s)
                server = away.enter_context(hermes(port=port, secret=secret))
                ready_ms = time.time() * 1_000
                _wait(lambda number=number: len(opened.opened()) > number, "the socket does not come back")  # type: ignore[misc]
                back_s.append(max(0.0, opened.opened()[number] - ready_ms) / 1_000)
        return back_s


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise BenchError(what)
        time.sleep(POLL_S)
