"""The console tells old values from live ones: in a real Chromium, with sockets that the test plays itself, and with
a real Hermes on a real broker that is killed.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.brokers import Broker, mosquitto
from tests.support.consoles import Console, console_in, metric, save_picture
from tests.support.device_panel import NOON, SECOND, DevicePanel, device, device_panel, link, presence
from tests.support.gateways import SECRET, token
from tests.support.programs import Program, hermes, wait_until

pytestmark = pytest.mark.browser

RETURN_SHOWN_MS = 10_000


@pytest.fixture
def played(browser: Browser, quiet: Program) -> Iterator[DevicePanel]:
    """The panel with its tenant socket."""
    with device_panel(browser, quiet, "tenant") as panel:
        yield panel


@pytest.fixture
def played_twice(browser: Browser, quiet: Program) -> Iterator[DevicePanel]:
    """The panel with its tenant and its combined socket."""
    with device_panel(browser, quiet, "tenant", "combined") as panel:
        yield panel


DOWN = "Device data is stale since 21:00:07: Hermes is not connected to the MQTT broker."
BACK = "Device data is available again since 21:03:00."


def test_a_value_of_the_snapshot_shows_when_it_came(played: DevicePanel) -> None:
    """Its original time in the browser's zone, and how long ago; the live one that follows, its age alone."""
    played.send(device("temp", 21, snapshot=True, timestamp=NOON - 125 * SECOND))
    played.expect_age("temp", re.compile(r"^2 min ago \(20:57:55\)$"))
    played.expect_freshness("temp", "snapshot")
    played.send(device("temp", 22, timestamp=NOON + SECOND))
    played.expect_age("temp", re.compile(r"^\d s$"))
    played.expect_freshness("temp", "live")
    expect(played.feed).to_be_hidden()


def test_a_value_that_the_broker_had_kept_has_no_age(played: DevicePanel) -> None:
    """Nobody knows how old it is, and that is what is said."""
    played.send(device("temp", 21, snapshot=True, retained=True, timestamp=None))
    played.expect_age("temp", "age unknown (retained)")


def test_a_snapshot_never_replaces_what_is_newer(played: DevicePanel) -> None:
    """Another socket's snapshot may arrive after the live value."""
    played.send(device("temp", "new"), device("kept", "new"))
    played.send(
        device("temp", "old", snapshot=True, timestamp=NOON - SECOND),
        device("kept", "old", snapshot=True, retained=True, timestamp=None),
        device("last", 1),
    )
    played.expect_freshness("last", "live")
    for series in ("temp", "kept"):
        expect(played.row(series).locator(".value")).to_have_text("new")
        played.expect_freshness(series, "live")


def test_while_the_link_is_down_nothing_looks_live(played: DevicePanel) -> None:
    """The header says since when, each value says its time and is dimmed; a screen reader is told."""
    played.send(device("temp", 21), device("kept", 5, snapshot=True, retained=True, timestamp=None))
    played.expect_freshness("temp", "live")
    before = played.row("temp").locator(".value").evaluate("cell => getComputedStyle(cell).color")
    played.send(link("down", NOON + 7 * SECOND))
    played.expect_feed(DOWN)
    expect(played.feed).to_have_attribute("data-state", "down")
    played.expect_age("temp", re.compile(r"^stale: \d s ago \(21:00:0\d\)$"))
    played.expect_age("kept", "stale: age unknown (retained)")
    assert played.row("temp").locator(".value").evaluate("cell => getComputedStyle(cell).color") != before
    expect(played.page.locator("#live-region")).to_contain_text(DOWN)


def test_after_the_links_return_each_value_is_stale_until_it_comes_again(played: DevicePanel) -> None:
    """The header counts them, and falls silent when all have come and the return has been read."""
    played.send(device("temp", 21), device("humidity", 40), link("down", NOON + 7 * SECOND))
    played.expect_feed(DOWN)
    played.send(link("up", NOON + 180 * SECOND))
    played.expect_feed(f"{BACK} Not updated yet, marked as stale: 2 of 2 values.")
    played.send(device("temp", 22))
    played.expect_feed(f"{BACK} Not updated yet, marked as stale: 1 of 2 values.")
    played.expect_freshness("temp", "live")
    played.expect_freshness("humidity", "stale")
    played.send(device("humidity", 41))
    played.expect_feed(BACK)
    played.expect_freshness("humidity", "live")
    played.pass_time(RETURN_SHOWN_MS)
    expect(played.feed).to_be_hidden()
    expect(played.page.locator("#live-region")).to_contain_text(BACK)


def test_a_page_opened_while_the_link_is_down_shows_no_live_value(played: DevicePanel) -> None:
    """Values come first, then the word that they are stale."""
    played.send(device("temp", 21, snapshot=True, timestamp=NOON - SECOND), link("down", NOON + 7 * SECOND))
    played.expect_feed(DOWN)
    played.expect_freshness("temp", "stale")


def test_a_value_that_overtakes_the_word_down_is_marked_nevertheless(played: DevicePanel) -> None:
    """At the next look, a second later at most."""
    played.send(link("down", NOON + 7 * SECOND), device("temp", 21))
    played.expect_freshness("temp", "stale")


def test_a_lost_socket_makes_stale_what_it_alone_brought(played: DevicePanel) -> None:
    """Since the moment it was lost; a repeated value stays stale, a newer one of the snapshot does not."""
    later = NOON + 3_700 * SECOND
    played.send(device("temp", 21), device("humidity", 40))
    played.expect_freshness("humidity", "live")
    played.page.clock.pause_at(later / 1_000)
    played.sockets["tenant"][-1].close(code=1001, reason="stopping;retry_ms=3000")
    played.expect_feed("Device data is stale since 22:01:40: no socket of this page that carries device data is open.")
    played.pass_time(SECOND)
    played.expect_age("temp", "stale: 61 min ago (21:00:00)")
    played.pass_time(3 * SECOND)
    played.wait_for_sockets("tenant", 2)
    played.send(
        device("temp", 21, snapshot=True),
        device("humidity", 41, snapshot=True, timestamp=NOON + SECOND),
    )
    expect(played.feed).to_contain_text("Not updated yet, marked as stale: 1 of 2 values.")
    played.expect_freshness("temp", "stale")
    played.expect_freshness("humidity", "snapshot")


def test_a_value_stays_live_while_another_socket_brings_it(played_twice: DevicePanel) -> None:
    """Only what nobody brings any more grows stale, and the header counts it."""
    played = played_twice
    played.send(device("temp", 21), device("alone", 1))
    played.send(device("temp", 21), on="combined")
    played.expect_freshness("alone", "live")
    toggle_tenant(played.console)
    played.pass_time(SECOND)
    played.expect_freshness("alone", "stale")
    played.expect_freshness("temp", "live")
    played.expect_feed("Not updated yet, marked as stale: 1 of 2 values.")


def toggle_tenant(console: Console) -> None:
    """Connect or disconnect the tenant socket, as its user does."""
    console.show("connect")
    console.page.locator("[data-socket=tenant] .toggle").click()
    console.show("devices")


def test_a_lost_socket_brings_nothing_even_if_it_repeated_a_stale_value(played_twice: DevicePanel) -> None:
    """It is forgotten at each loss: once another socket that went on with the series is gone too, nobody brings it."""
    played = played_twice
    played.send(device("temp", 21))
    played.expect_freshness("temp", "live")
    for opened in (2, 3):
        toggle_tenant(played.console)
        played.pass_time(SECOND)
        played.expect_freshness("temp", "stale")
        toggle_tenant(played.console)
        played.wait_for_sockets("tenant", opened)
        if opened == 2:
            played.send(device("temp", 21, snapshot=True), device("last", opened))
            played.expect_freshness("last", "live")
            played.expect_freshness("temp", "stale")
    played.send(device("temp", 22), on="combined")
    played.expect_freshness("temp", "live")
    played.sockets["combined"][-1].close(code=1001, reason="stopping;retry_ms=60000")
    played.console.card("combined").expect_state("waiting")
    played.pass_time(SECOND)
    played.expect_freshness("temp", "stale")


def test_a_device_that_is_gone_says_since_when(played: DevicePanel) -> None:
    """In each of its rows, also those that come later, and in no other device's; nobody may know since when."""
    played.send(device("temp", 21), device("temp", 5, device_id="d10"), presence(online=False, since=NOON))
    badges = played.page.locator(".offline")
    expect(badges.first).to_have_text("offline since 21:00:00")
    played.send(device("late", 1))
    expect(played.row("late").locator(".offline")).to_have_text("offline since 21:00:00")
    expect(badges.nth(2)).to_be_hidden()
    played.send(presence(online=False, since=None))
    expect(played.row("late").locator(".offline")).to_have_text("offline")
    played.send(presence(online=True, since=NOON))
    for number in range(3):
        expect(badges.nth(number)).to_be_hidden()


LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (390, 1280)]


def test_staleness_can_be_read_in_every_window(played: DevicePanel) -> None:
    """No sideways scrolling, and enough contrast; screenshots stay in artifacts/."""
    played.send(
        device("temp", {"value": 21.4, "unit": "°C"}),
        device("humidity", {"value": 40, "unit": "%"}, snapshot=True, timestamp=NOON - 125 * SECOND),
        device("state", "open", snapshot=True, retained=True, timestamp=None, encoding="text"),
        device("power", {"value": 230}, device_id="d2"),
        presence(online=False, since=NOON - 3 * SECOND, device_id="d2"),
    )
    played.expect_freshness("temp", "live")
    for scheme, width in LOOKS:
        shoot(played.page, "snapshot", scheme=scheme, width=width)
    played.send(link("down", NOON + 7 * SECOND))
    played.expect_feed(DOWN)
    for scheme, width in LOOKS:
        shoot(played.page, "stale", scheme=scheme, width=width)
        for selector in (
            "#staleness-banner",
            "[data-freshness=stale] .value",
            "[data-freshness=stale] .age",
            ".offline:visible",
        ):
            assert played.page.locator(selector).first.evaluate(CONTRAST) >= 4.5, (selector, scheme, width)
    played.send(link("up", NOON + 180 * SECOND), device("temp", {"value": 21.5, "unit": "°C"}))
    expect(played.feed).to_contain_text("3 of 4 values")
    for scheme, width in LOOKS:
        shoot(played.page, "back", scheme=scheme, width=width)


# WCAG 2.2, 1.4.3: of the text against the nearest background that is not transparent
CONTRAST = """element => {
  const luminance = (colour) => {
    const channels = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map((each) => each / 255)
      .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2];
  };
  let behind = element;
  while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
  const [dark, light] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
    .map(luminance).sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}"""


def shoot(page: Page, name: str, *, scheme: str, width: int) -> None:
    """A screenshot of the device panel in this window."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.clock.run_for(SECOND)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    save_picture(page, f"{name}-{scheme}-{width}")


# -- with a real broker ---------------------------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto of the test's own."""
    with mosquitto(tmp_path) as running:
        yield running


@pytest.mark.broker
def test_a_killed_broker_makes_values_stale_until_each_comes_again(browser: Browser, broker: Broker) -> None:
    """From the device's publish to the operator's eyes; the last value is there when the page opens."""
    words = ("serve", "--port", "0", "--mqtt-url", f"mqtt://127.0.0.1:{broker.port}", "--host", "127.0.0.1")
    with hermes(*words, HERMES_JWT_SECRET=SECRET) as program, console_in(browser, program) as console:
        console.expected = ("503",)
        played, page = DevicePanel(console, {}), console.page
        console.open("connect")
        expect(page.locator("#mqtt-status-light .label")).to_have_text("up")
        broker.publish("tenants/acme/devices/d1/temp", "21")
        broker.publish("tenants/acme/devices/d1/humidity", "40")
        broker.publish("tenants/acme/devices/d1/online", "false")
        wait_until(lambda: metric(program, "hermes_snapshot_values") >= 2)
        page.fill("[data-socket=tenant] input", "acme")
        page.fill("#token-value", token(tenant_id="acme"))
        toggle_tenant(console)
        played.expect_freshness("humidity", "snapshot")
        expect(played.row("temp").locator(".offline")).to_have_text(re.compile(r"^offline since [\d:]+$"))
        broker.publish("tenants/acme/devices/d1/temp", "22")
        played.expect_freshness("temp", "live")
        broker.stop()
        played.expect_feed(
            re.compile(r"^Device data is stale since [\d:]+: Hermes is not connected to the MQTT broker\.$")
        )
        for series in ("temp", "humidity"):
            played.expect_freshness(series, "stale")
        broker.start()
        expect(played.feed).to_contain_text("is available again")
        broker.publish("tenants/acme/devices/d1/temp", "23")
        played.expect_freshness("temp", "live")
        played.expect_freshness("humidity", "stale")
        expect(played.feed).to_contain_text("2 of 3 values")
        console.card("tenant").expect_state("open")
