"""Appearance of the console's panels: WCAG by axe-core, and nothing beyond the window's edges."""

import contextlib
import json
import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.support.axe import axe_script, violations
from tests.support.consoles import (
    DEVICE_PAGE,
    PANELS,
    TIMEOUT_MS,
    Console,
    console_in,
    notify,
    save_picture,
)
from tests.support.device_panel import device
from tests.support.gateways import token
from tests.support.page_layout import overhanging
from tests.support.page_sockets import play_sockets, receive
from tests.support.programs import Program

pytestmark = pytest.mark.browser

VIEWS = (*PANELS, DEVICE_PAGE)
HEIGHT = 900
WIDTHS = (390, 1280, 2560)
# Each pair of a theme, a language and a width comes up: contrast hangs on the first, names on the second, targets and
# scrolling on the third, and hardly anything on all three.
LOOKS = [
    pytest.param("light", "es", 390, marks=pytest.mark.smoke),
    ("light", "en", 1280),
    ("dark", "es", 1280),
    ("dark", "en", 390),
]


@contextlib.contextmanager
def console_of_looks(
    browser: Browser, dev: Program, *, theme: str, language: str = "en", width: int = 1280
) -> Iterator[Console]:
    """Open a page in this theme and language, without animations, so that screenshots are stable."""
    window = {"width": width, "height": HEIGHT}
    chosen = {"hermes_theme": theme, "hermes_language": language}
    with console_in(browser, dev, viewport=window, reduced_motion="reduce") as console:
        console.page.context.add_cookies(
            [{"name": name, "value": value, "url": dev.url} for name, value in chosen.items()]
        )
        yield console


def settle(page: Page) -> None:
    """Wait until short animations have ended."""
    page.evaluate(
        "() => document.getAnimations().forEach(each => each.effect.getTiming().iterations < Infinity && each.finish())"
    )


def expect_data(console: Console) -> None:
    """Wait until all sockets are open and most values have arrived."""
    console.expect_all_open()
    expect(console.page.locator("#devices-shown")).to_have_text(re.compile(r"[3-9]\d"))


@pytest.mark.parametrize(("theme", "language", "width"), LOOKS)
def test_every_panel_conforms_to_wcag_and_fits_its_window(
    browser: Browser, dev: Program, theme: str, language: str, width: int
) -> None:
    """WCAG 2.2 A and AA and axe-core's best practices, without exception."""
    found = {}
    with console_of_looks(browser, dev, theme=theme, language=language, width=width) as console:
        console.page.add_init_script(axe_script())
        console.open()
        expect_data(console)
        for type in ("info", "warning", "error", "success"):
            notify(dev, title=f"Of type {type}", type=type)
        expect(console.page.locator("#history > li")).to_have_count(4)
        for view in VIEWS:
            console.show(view)
            settle(console.page)
            found[view] = violations(console.page) + overhanging(console.page)
    assert {view: faults for view, faults in found.items() if faults} == {}


def device_frame(number: int) -> str:
    """Return a frame with a value of device ``number``."""
    address = {"channel": "device", "tenant_id": "acme", "series": "temp", "topic": "t"}
    return json.dumps(
        {**address, "device_id": f"d{number}", "data": {"value": number}, "timestamp": int(time.time() * 1000)}
    )


def go_down(socket: WebSocketRoute) -> None:
    """Send some values, then the status that the broker is disconnected."""
    socket.on_message(lambda message: socket.send('{"action":"pong"}'))
    for number in range(5):
        socket.send(device_frame(number))
    socket.send(json.dumps({"channel": "status", "mqtt": "down", "since": int(time.time() * 1000) - 60_000}))


def cause_faults(console: Console) -> None:
    """Cause a refused socket, a waiting one, stale values and a failed drill."""
    page = console.page
    page.route_web_socket(re.compile("/ws/device/"), lambda socket: socket.close(code=1008, reason="token_invalid"))
    page.route_web_socket(re.compile("/ws/tenant/"), go_down)
    page.route_web_socket(
        re.compile(r"/ws(\?.*)?$"), lambda socket: socket.close(code=1013, reason="server_full;retry_ms=60000")
    )
    fault = {"status": "error", "error": {"code": "internal_error", "message": "of the test"}}
    page.route("**/dev/drill", lambda route: route.fulfill(status=500, json=fault))
    console.expected = ("500",)


def act_out(console: Console, dev: Program) -> Iterator[str]:
    """Bring each panel into its worst state and yield its name."""
    page = console.page
    console.card("device").expect_state("refused")
    console.card("combined").expect_state("waiting")
    expect(page.locator("#staleness-banner")).to_be_visible()
    console.show("connect")
    expect(page.locator("#errors li")).not_to_have_count(0)
    yield "connect"
    console.show("overview")
    yield "overview"
    console.show("devices")
    yield "devices"
    console.show("notifications")
    for type in ("info", "warning", "error", "success"):
        notify(dev, title=f"Of type {type}", type=type)
    expect(page.locator("#toasts > *")).not_to_have_count(0)
    yield "notifications"
    console.show("token-inspector")
    page.fill("#inspector-token", token(exp=int(time.time()) - 60))
    page.click("#inspector-ask")
    expect(page.locator("#inspector-routes [data-verdict=bad]")).not_to_have_count(0)
    yield "token-inspector"
    console.show("drills")
    for drill, verdict in (("burst", "good"), ("drop", "bad")):
        page.locator(f"[data-drill={drill}] button").press("Enter")  # toasts may cover the button
        expect(page.locator(f"[data-drill={drill}] [data-verdict={verdict}]")).to_be_visible()
    yield "drills"
    console.show("log")
    yield "log"


@pytest.mark.parametrize(("theme", "language", "width"), [("light", "en", 390), ("dark", "es", 1280)])
def test_a_console_that_shows_faults_conforms_to_wcag(
    browser: Browser, dev: Program, theme: str, language: str, width: int
) -> None:
    """With toasts, errors, a refused socket, a countdown, stale values and verdicts of both kinds on the screen."""
    found = {}
    with console_of_looks(browser, dev, theme=theme, language=language, width=width) as console:
        console.page.add_init_script(axe_script())
        cause_faults(console)
        console.open()
        for view in act_out(console, dev):
            settle(console.page)
            found[view] = violations(console.page) + overhanging(console.page)
            console.page.evaluate("scrollTo(0, 0)")  # otherwise the sticky header is in the middle of the screenshot
            save_picture(console.page, f"trouble-{view}-{theme}-{width}", whole=True)
    assert {view: faults for view, faults in found.items() if faults} == {}


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1280)])
def test_devices_with_names_and_choices_conform_to_wcag(
    browser: Browser, quiet: Program, theme: str, width: int
) -> None:
    """The sorted table, a device with a choice of numbers, a filter without a match, and the socket of all tenants."""
    found = {}
    with console_of_looks(browser, quiet, theme=theme, width=width) as console:
        console.page.add_init_script(axe_script())
        play_sockets(console.page, "tenant", "combined", "tenants")
        console.open("devices")
        console.card("tenant").expect_state("open")
        for view in named_devices(console):
            settle(console.page)
            found[view] = violations(console.page) + overhanging(console.page)
    assert {view: faults for view, faults in found.items() if faults} == {}


def named_devices(console: Console) -> Iterator[str]:
    """Show each view of devices that have names and messages with several numbers."""
    page = console.page
    air = {"battery": 100, "humidity": 45, "linkquality": 120, "temperature": 21.5, "voltage": 3000}
    for number in range(2):
        named = {"device_id": f"eui-70b3d57ed005{number}", "device_name": "Boiler room, first floor"}
        receive(page, "tenant", [device("air", air, **named), device("state", "open", **named)])
    page.locator("th.device button").click()
    yield "devices"
    console.show("devices/acme/eui-70b3d57ed0050")
    expect(page.locator(".chart-choice:visible")).to_have_count(1)
    yield "device"
    console.show("devices")
    page.fill("#devices-filter", "nothing like this")
    yield "no match"
    console.show("connect")
    page.select_option("#token-picker", label="root (user 1, tenant acme, superuser)")
    expect(page.locator("form[data-socket=tenants]")).to_be_visible()
    yield "connect"
    console.show("overview")
    yield "overview"


def test_no_panel_scrolls_sideways_or_leaves_its_window(browser: Browser, dev: Program) -> None:
    """From a phone to a wall, with the longer words of Spanish."""
    found = {}
    with console_of_looks(browser, dev, theme="light", language="es") as console:
        for view, width in views_in_each_width(console, dev):
            found[view, width] = overhanging(console.page)
    assert {view: faults for view, faults in found.items() if faults} == {}


def views_in_each_width(console: Console, dev: Program) -> Iterator[tuple[str, int]]:
    """Show each panel in each width, with data, a notification and an entry in the history."""
    console.open()
    expect_data(console)
    notify(dev)
    expect(console.page.locator("#history > li")).to_have_count(1)
    for width in WIDTHS:
        console.page.set_viewport_size({"width": width, "height": HEIGHT})
        for view in VIEWS:
            console.show(view)
            settle(console.page)
            yield view, width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_picture_of_each_panel_stays_in_artifacts(browser: Browser, dev: Program, theme: str) -> None:
    """In each theme and width; nothing leaves its window there either."""
    found = {}
    with console_of_looks(browser, dev, theme=theme) as console:
        for view, width in views_in_each_width(console, dev):
            found[view, width] = overhanging(console.page)
            save_picture(console.page, f"{view.replace('/', '-')}-{theme}-{width}")
    assert {view: faults for view, faults in found.items() if faults} == {}


def test_a_csp_violation_counts_as_a_fault_of_the_page(console: Console) -> None:
    """An inline script, an inline style and an image of another origin each fail a test."""
    console.open()
    console.page.evaluate("""() => {
      document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.owned = 1' }));
      document.body.setAttribute('style', 'color: red');
      document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/' }));
    }""")
    for directive in ("script-src-elem", "style-src-attr", "img-src"):
        wait_for_fault(console, f"CSP report: {directive}")
    console.expected = ("CSP", "Content Security Policy", "left the origin: http://127.0.0.1:9/")
    assert console.page.evaluate("window.owned") is None


def wait_for_fault(console: Console, text: str) -> None:
    """Wait for a fault with this text; it arrives as an event."""
    if not any(text in fault for fault in console.faults):
        console.page.wait_for_event("console", lambda line: text in line.text, timeout=TIMEOUT_MS)
