"""The Devices panel with sockets that the test plays and a clock that the test moves."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect

from tests.support.consoles import CLOCK_ADVANCE_S, Console, console_in
from tests.support.page_sockets import PATHS, play_sockets, receive, receive_texts
from tests.support.programs import Program

NOON = 1_763_812_800_000  # 2025-11-22 12:00:00 UTC
SECOND = 1_000
WINDOW = {"width": 1280, "height": 900}


@dataclass(frozen=True, slots=True)
class DevicePanel:
    """The page with a stopped clock; `send` moves it by one second, after which all frames are painted."""

    console: Console
    sockets: dict[str, list[WebSocketRoute]]  # those of each name, as the page opened them

    @property
    def page(self) -> Page:
        """The page itself."""
        return self.console.page

    def send(self, *frames: dict[str, object], on: str = "tenant") -> None:
        """Let the newest socket of this name receive these frames, then move the clock by one second."""
        receive(self.page, on, frames)
        self.pass_time(SECOND)

    def send_texts(self, *texts: str, on: str = "tenant") -> None:
        """Let the newest socket of this name receive frames with exactly these texts, as `send` does."""
        receive_texts(self.page, on, texts)
        self.pass_time(SECOND)

    def pass_time(self, ms: int) -> None:
        """Move the page's clock; timers fire on the way."""
        self.page.clock.run_for(ms)

    def wait_for_sockets(self, name: str, number: int) -> None:
        """Wait until the page has opened the socket of this name this number of times."""
        self.console.wait_until(lambda: len(self.sockets[name]) >= number)
        assert len(self.sockets[name]) == number
        self.console.card(name).expect_state("open")

    @property
    def feed(self) -> Locator:
        """The banner in the header that shows if the device data is stale."""
        return self.page.locator("#staleness-banner")

    def row(self, series: str) -> Locator:
        """The row of one series."""
        return self.page.locator(
            "#devices-rows tr", has=self.page.locator(".series", has_text=re.compile(f"^{series}$"))
        )

    def expect_age(self, series: str, text: str | re.Pattern[str]) -> None:
        """Expect this text in the age column of the row."""
        expect(self.row(series).locator(".age")).to_have_text(text)

    def expect_freshness(self, series: str, freshness: str) -> None:
        """Expect that the row is marked with this freshness, such as ``live``."""
        expect(self.row(series)).to_have_attribute("data-freshness", freshness)

    def expect_feed(self, text: str | re.Pattern[str]) -> None:
        """Expect exactly this text in the banner of the header."""
        expect(self.feed).to_be_visible()
        expect(self.feed).to_have_text(text)


@contextlib.contextmanager
def device_panel(browser: Browser, program: Program, *names: str) -> Iterator[DevicePanel]:
    """The panel at noon UTC, in Tokyo; the sockets of these names are open, and the others are refused."""
    with console_in(browser, program, timezone_id="Asia/Tokyo", viewport=WINDOW) as console:
        page = console.page
        page.clock.install(time=NOON / 1_000 - CLOCK_ADVANCE_S)
        page.clock.pause_at(NOON / 1_000)
        for name in ("tenant", "combined"):
            if name not in names:
                page.route_web_socket(re.compile(rf"{PATHS[name]}(\?.*)?$"), _refuse)
        panel = DevicePanel(console, play_sockets(page, *names))
        console.open("devices")
        # the real notifications socket lives by the moved clock too: its heartbeat or its handshake may be overdue, and
        # then the page asks whether its origin is refused, which is answered with 405 if it is not
        question = f"405 (Method Not Allowed) ({console.url}ws/notifications)"
        console.expected = ("WebSocket is closed before the connection is established", question)
        for name in names:
            console.card(name).expect_state("open")
        yield panel


def _refuse(socket: WebSocketRoute) -> None:
    """Close the socket as Hermes does if the token does not allow it."""
    socket.close(code=1008, reason="forbidden")


def device(series: str, data: object, **more: object) -> dict[str, object]:
    """A device frame of acme's d1."""
    address = {"channel": "device", "tenant_id": "acme", "device_id": "d1", "series": series, "topic": f"t/{series}"}
    return {**address, "data": data, "timestamp": NOON, **more}


def presence(*, online: bool | None, since: int | None, device_id: str = "d1") -> dict[str, object]:
    """A status frame of one of acme's devices."""
    return {"channel": "status", "tenant_id": "acme", "device_id": device_id, "online": online, "since": since}


def link(state: str, since: int) -> dict[str, object]:
    """A status frame of the link to the broker."""
    return {"channel": "status", "mqtt": state, "since": since}
