"""The console distinguishes stale values from live ones, in a real Chromium.

The test controls the sockets, except in the last test: a real Hermes with a real broker that is killed.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.brokers import Broker, mosquitto
from tests.support.consoles import Console, console_in, save_picture
from tests.support.device_panel import NOON, SECOND, DevicePanel, device, device_panel, link, presence
from tests.support.gateways import SECRET, token
from tests.support.programs import Program, hermes, metric, wait_until

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
    """Its original time in the browser's time zone and its age; the next live value only shows its age."""
    played.send(device("temp", 21, snapshot=True, timestamp=NOON - 125 * SECOND))
    played.expect_age("temp", re.compile(r"^2 min ago \(20:57:55\)$"))
    played.expect_freshness("temp", "snapshot")
    played.send(device("temp", 22, timestamp=NOON + SECOND))
    played.expect_age("temp", re.compile(r"^\d s$"))
    played.expect_freshness("temp", "live")
    expect(played.feed).to_be_hidden()


def test_a_retained_value_has_no_age(played: DevicePanel) -> None:
    """The time of its publish is unknown, and the row shows this."""
    played.send(device("temp", 21, snapshot=True, retained=True, timestamp=None))
    played.expect_age("temp", "age unknown (retained)")


def test_a_value_that_was_not_confirmed_since_an_outage_is_stale(played: DevicePanel) -> None:
    """Until Hermes sends it again, or the device a new one."""
    played.send(*(device(series, 21, snapshot=True, stale=True, timestamp=NOON) for series in ("temp", "hum")))
    played.expect_freshness("temp", "stale")
    played.expect_freshness("hum", "stale")
    played.send(device("temp", 21, timestamp=NOON), device("hum", 22))
    played.expect_freshness("temp", "live")
    played.expect_freshness("hum", "live")


def test_a_snapshot_never_replaces_what_is_newer(played: DevicePanel) -> None:
    """The snapshot of another socket may arrive after the live value."""
    played.send(device("temp", "new"), device("retained", "new"))
    played.send(
        device("temp", "old", snapshot=True, timestamp=NOON - SECOND),
        device("retained", "old", snapshot=True, retained=True, timestamp=None),
        device("last", 1),
    )
    played.expect_freshness("last", "live")
    for series in ("temp", "retained"):
        expect(played.row(series).locator(".value")).to_have_text("new")
        played.expect_freshness(series, "live")


@pytest.mark.smoke
def test_while_the_link_is_down_nothing_looks_live(played: DevicePanel) -> None:
    """The header shows since when; each value shows its time and is dimmed, also for screen readers."""
    played.send(device("temp", 21), device("retained", 5, snapshot=True, retained=True, timestamp=None))
    played.expect_freshness("temp", "live")
    before = played.row("temp").locator(".value").evaluate("cell => getComputedStyle(cell).color")
    played.send(link("down", NOON + 7 * SECOND))
    played.expect_feed(DOWN)
    expect(played.feed).to_have_attribute("data-state", "down")
    played.expect_age("temp", re.compile(r"^stale: \d s ago \(21:00:0\d\)$"))
    played.expect_age("retained", "stale: age unknown (retained)")
    assert played.row("temp").locator(".value").evaluate("cell => getComputedStyle(cell).color") != before
    expect(played.page.locator("#live-region")).to_contain_text(DOWN)


def test_after_the_links_return_each_value_is_stale_until_it_comes_again(played: DevicePanel) -> None:
    """The header counts them; the banner disappears when all have been updated and it was shown long enough."""
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
    """The values arrive before the status that makes them stale."""
    played.send(device("temp", 21, snapshot=True, timestamp=NOON - SECOND), link("down", NOON + 7 * SECOND))
    played.expect_feed(DOWN)
    played.expect_freshness("temp", "stale")


def test_without_any_value_there_is_nothing_to_call_stale(played: DevicePanel) -> None:
    """The lights of the header show the state of the link; the banner is about values on the page."""
    played.send(link("down", NOON))
    played.sockets["tenant"][-1].close(code=1001, reason="stopping;retry_ms=1000")
    played.console.card("tenant").expect_state("waiting")
    played.pass_time(3 * SECOND)
    expect(played.feed).to_be_hidden()
    played.wait_for_sockets("tenant", 2)
    played.send(link("down", NOON), link("up", NOON + SECOND))
    expect(played.feed).to_be_hidden()
    assert "tale" not in played.page.locator("#live-region").inner_text()
    played.send(device("temp", 21))
    expect(played.feed).to_be_hidden()


def test_a_value_that_arrives_after_the_status_down_is_marked(played: DevicePanel) -> None:
    """At the next check, at most one second later."""
    played.send(link("down", NOON + 7 * SECOND), device("temp", 21))
    played.expect_freshness("temp", "stale")


def test_a_lost_socket_makes_the_values_stale_that_it_alone_received(played: DevicePanel) -> None:
    """Since the time of the loss; a repeated value stays stale, a newer one of the snapshot does not."""
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


def test_a_value_stays_live_while_another_socket_receives_it(played_twice: DevicePanel) -> None:
    """A value without any socket becomes stale, and the header counts it."""
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
    """Connect or disconnect the tenant socket, as a user does."""
    console.show("connect")
    console.page.locator("[data-socket=tenant] .toggle").click()
    console.show("devices")


def test_a_lost_socket_does_not_count_even_if_it_repeated_a_stale_value(played_twice: DevicePanel) -> None:
    """When the other socket of the series is lost too, the value becomes stale."""
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


def test_an_offline_device_shows_since_when(played: DevicePanel) -> None:
    """In each of its rows, also later ones, and not in those of other devices; the time may be unknown."""
    played.send(device("temp", 21), device("temp", 5, device_id="d10"), presence(online=False, since=NOON))
    badges = played.page.locator(".offline")
    expect(badges.first).to_have_text("offline since 21:00:00")
    played.send(device("late", 1))
    expect(played.row("late").locator(".offline")).to_have_text("offline since 21:00:00")
    expect(badges.nth(2)).to_be_hidden()
    played.send(presence(online=False, since=None))
    expect(played.row("late").locator(".offline")).to_have_text("offline")
    played.send(presence(online=None, since=NOON))
    expect(badges.nth(0)).to_be_hidden()
    played.send(presence(online=False, since=NOON), presence(online=True, since=NOON))
    for number in range(3):
        expect(badges.nth(number)).to_be_hidden()


LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (390, 1280)]


def test_staleness_can_be_read_in_every_window(played: DevicePanel) -> None:
    """Without horizontal scrolling and with enough contrast; screenshots are saved in artifacts/."""
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
    """Save a screenshot of the device panel in this window."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.clock.run_for(SECOND)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    save_picture(page, f"{name}-{scheme}-{width}")


# -- with a real broker ---------------------------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto for this test only."""
    with mosquitto(tmp_path) as running:
        yield running


@pytest.mark.smoke
@pytest.mark.broker
def test_a_killed_broker_makes_values_stale_until_each_comes_again(browser: Browser, broker: Broker) -> None:
    """From the publish of the device to the page; the last value is shown when the page opens."""
    arguments = ("serve", "--port", "0", "--mqtt-url", f"mqtt://127.0.0.1:{broker.port}", "--host", "127.0.0.1")
    with hermes(*arguments, HERMES_JWT_SECRET=SECRET) as program, console_in(browser, program) as console:
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
