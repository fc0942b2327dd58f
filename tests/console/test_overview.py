"""The overview in a real Chromium: lamps, charts, totals, and who may see them."""

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.children import child_named, children_named
from tests.support.consoles import SOCKETS, Console, console_in, notify
from tests.support.gateways import KEY
from tests.support.programs import Program, free_port, hermes, metric, wait_until

pytestmark = pytest.mark.browser

STATUS_EVERY_MS = 1_000
KEEP_BANNERS = """() => {
  window.banners = [];
  const banner = document.querySelector('#staleness-banner');
  new MutationObserver(() => banners.push(banner.textContent)).observe(banner, { childList: true, subtree: true });
}"""
SCRIPTS_OF_NODES = """performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname)
  .filter((path) => path.includes('/node-'))"""
DRAWN = "path => (path.getAttribute('d') ?? '').length"


@pytest.mark.smoke
def test_every_lamp_is_lit_and_the_figures_move(console: Console) -> None:
    """In --dev without a click: Hermes, the broker, the four sockets, five charts with lines, the totals."""
    console.page.clock.install()
    console.open()
    page = console.page
    expect(page.locator("#tile-hermes")).to_have_attribute("data-state", "up")
    expect(page.locator("#tile-mqtt")).to_have_attribute("data-state", "up")
    expect(page.locator("#tile-mqtt .detail")).to_have_text("embedded broker")
    expect(page.locator("#tile-hermes .detail")).to_have_text(re.compile(r"up for \d+ (s|min|h)"))
    for name in SOCKETS:
        expect(page.locator(f"[data-tile={name}]")).to_have_attribute("data-state", "open")
    expect(page.locator("#overview .chart")).to_have_count(5)
    arrived = page.locator("#node-charts .chart", has_text="MQTT").locator(".line").first
    console.move_clock_until(lambda: arrived.evaluate(DRAWN) > 60, STATUS_EVERY_MS)
    received = page.locator("#totals > div", has_text="MQTT received").locator("dd")
    before = received.inner_text()
    expect(received).not_to_have_text(before)


def test_a_chart_has_a_scale_with_its_unit_a_time_axis_and_a_legend(console: Console) -> None:
    """It also has a name for screen readers."""
    console.open()
    chart = console.page.locator("#page-charts .chart")
    expect(chart.locator("svg")).to_have_attribute("role", "img")
    expect(chart.get_by_role("img", name="Frames to this page")).to_be_visible()
    expect(chart.locator(".grid text", has_text="/s")).to_have_count(1)
    expect(chart.locator(".grid text", has_text="now")).to_have_count(1)
    expect(chart.locator(".grid text", has_text="−30 s")).to_have_count(1)
    expect(chart.locator(".key")).to_have_text([re.compile(name) for name in ("Notif", "Tenant", "Device", "Combined")])


def test_what_is_sent_is_counted(console: Console, dev: Program) -> None:
    """A notification shows among the answers of /notify."""
    console.open()
    console.expect_all_open()
    answers = console.page.locator("#totals > div", has_text="/notify").locator("dd")
    expect(answers).to_have_text(re.compile(r"none|200: \d+"))
    count = metric(dev, 'hermes_notify_requests_total{status="200"}')
    notify(dev)
    expect(answers).to_have_text(f"200: {count + 1:.0f}")


def test_figures_of_the_node_need_the_operators_key(production_console: Console) -> None:
    """With the right key they are shown and the hint disappears; with one node there is no table of nodes."""
    console = production_console
    console.open("connect")
    page = console.page
    page.fill("#key-value", KEY)
    page.locator("#key-value").blur()
    console.show("overview")
    expect(page.locator("#node-totals")).to_be_visible()
    expect(page.locator("#overview-hint")).to_be_hidden()
    expect(page.locator("#tile-mqtt .label")).to_have_text("off")
    expect(page.locator("#nodes, #tile-nodes")).to_have_count(0)
    assert page.evaluate(SCRIPTS_OF_NODES) == []


@pytest.mark.smoke
@pytest.mark.broker
def test_a_killed_broker_shows_and_heals_by_itself(browser: Browser, tmp_path: Path) -> None:
    """The status light goes down and up again, data arrives again, and the sockets stay open."""
    with (
        hermes("serve", "--dev", "--port", "0", XDG_STATE_HOME=str(tmp_path)) as program,
        console_in(browser, program) as console,
    ):
        program.wait_for("Ctrl-C stops it")
        console.open()
        console.expect_all_open()
        page = console.page
        expect(page.locator("#mqtt-status-light .label")).to_have_text("up")
        page.evaluate(KEEP_BANNERS)
        broker = child_named(program.process.pid, "mosquitto")
        os.kill(broker, signal.SIGKILL)
        console.wait_until(lambda: "stale since" in "".join(page.evaluate("banners")))
        wait_until(lambda: children_named(program.process.pid, "mosquitto") not in ([], [broker]))
        expect(page.locator("#mqtt-status-light .label")).to_have_text("up")
        before = metric(program, "hermes_deliveries_total")
        wait_until(lambda: metric(program, "hermes_deliveries_total") > before)
        console.expect_all_open()
        assert page.locator("form.socket .tries").all_inner_texts() == ["1"] * len(SOCKETS)
        assert metric(program, "hermes_broker_restarts_total") >= 1


def test_the_lamps_say_since_when_the_broker_and_hermes_are_away(browser: Browser, tmp_path: Path) -> None:
    """And why, as long as they are; nothing is claimed of the broker once Hermes itself is gone."""
    words = ("serve", "--dev", "--port", "0", "--mqtt-url", f"mqtt://127.0.0.1:{free_port()}")
    with hermes(*words, XDG_STATE_HOME=str(tmp_path)) as program, console_in(browser, program) as console:
        console.expected = ("503", "net::ERR_", "WebSocket connection to")  # the first of /ready
        console.stop_clock()
        console.open()
        page = console.page
        lamp = page.locator("#mqtt-status-light")
        console.move_clock_until(lambda: lamp.locator(".label").inner_text() == "down", STATUS_EVERY_MS)
        expect(lamp.locator(".detail")).to_contain_text("since")
        expect(page.locator("#tile-mqtt .detail")).to_contain_text("since")
        expect(page.locator("#tile-hermes .label")).to_have_text("reachable")
        program.end(signal.SIGKILL)
        console.move_clock_until(console.shows_unreachable, STATUS_EVERY_MS)
        expect(page.locator("#tile-hermes .label")).to_have_text("not reachable")
        expect(page.locator("#tile-hermes .detail")).to_contain_text("since")
        expect(page.locator("#tile-mqtt .label")).to_have_text("unknown")
        expect(page.locator("#node-charts")).to_be_hidden()
