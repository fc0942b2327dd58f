"""The overview in a real Chromium: lamps, charts, totals, and who may see them."""

import os
import re
import signal
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from tests.support.consoles import SOCKETS, Console, metric, notify
from tests.support.gateways import KEY
from tests.support.programs import Program, free_port, hermes, wait_until

DRAWN = "path => (path.getAttribute('d') ?? '').length"


def test_every_lamp_is_lit_and_the_figures_move(console: Console) -> None:
    """In --dev without a click: Hermes, the broker, the four sockets, five charts with lines, the totals."""
    console.open()
    page = console.page
    expect(page.locator("#tile-hermes")).to_have_attribute("data-state", "up")
    expect(page.locator("#tile-mqtt")).to_have_attribute("data-state", "up", timeout=10_000)
    expect(page.locator("#tile-mqtt .detail")).to_have_text("embedded broker")
    expect(page.locator("#tile-hermes .detail")).to_have_text(re.compile(r"up for \d+ s"))
    for name in SOCKETS:
        expect(page.locator(f"[data-tile={name}]")).to_have_attribute("data-state", "open")
    expect(page.locator("#overview .chart")).to_have_count(5)
    arrived = page.locator("#node-charts .chart", has_text="MQTT").locator(".line").first
    wait_until(lambda: arrived.evaluate(DRAWN) > 60)
    received = page.locator("#totals > div", has_text="MQTT received").locator("dd")
    before = received.inner_text()
    expect(received).not_to_have_text(before)


def test_a_chart_has_a_scale_with_its_unit_a_time_axis_and_a_legend(console: Console) -> None:
    """And a name for screen readers."""
    console.open()
    chart = console.page.locator("#page-charts .chart")
    expect(chart.locator("svg")).to_have_attribute("role", "img")
    expect(chart.get_by_role("img", name="Frames to this page")).to_be_visible()
    expect(chart.locator(".grid text", has_text="/s")).to_have_count(1)
    expect(chart.locator(".grid text", has_text="now")).to_have_count(1)
    expect(chart.locator(".grid text", has_text="−30 s")).to_have_count(1)
    expect(chart.locator(".key")).to_have_text([re.compile(name) for name in ("Notif", "Tenant", "Device", "Combined")])


def test_what_is_sent_is_counted(console: Console, dev: Program) -> None:
    """A notification shows among the answers of /notify within two seconds."""
    console.open()
    console.expect_all_open()
    answers = console.page.locator("#totals > div", has_text="/notify").locator("dd")
    expect(answers).to_have_text(re.compile(r"none|200: \d+"))
    count = metric(dev, 'hermes_notify_requests_total{status="200"}')
    notify(dev)
    expect(answers).to_have_text(f"200: {count + 1:.0f}", timeout=3_000)


def test_figures_of_the_node_need_the_operators_key(production_console: Console) -> None:
    """With the right one they come, and the hint goes."""
    console = production_console
    console.open("connect")
    page = console.page
    page.fill("#key-value", KEY)
    page.locator("#key-value").blur()
    console.show("overview")
    expect(page.locator("#node-totals")).to_be_visible()
    expect(page.locator("#overview-hint")).to_be_hidden()
    expect(page.locator("#tile-mqtt .label")).to_have_text("off")


def test_a_killed_broker_shows_and_heals_by_itself(console: Console, dev: Program) -> None:
    """The lamp goes down and up again, data moves again, no socket closes."""
    console.open()
    console.expect_all_open()
    page = console.page
    expect(page.locator("#mqtt-status-light .label")).to_have_text("up", timeout=10_000)
    (broker,) = _children(dev.process.pid, "mosquitto")
    os.kill(broker, signal.SIGKILL)
    expect(page.locator("#staleness-banner")).to_contain_text("stale since", timeout=10_000)
    wait_until(lambda: _children(dev.process.pid, "mosquitto") not in ([], [broker]), 20)
    expect(page.locator("#mqtt-status-light .label")).to_have_text("up", timeout=20_000)
    before = metric(dev, "hermes_deliveries_total")
    wait_until(lambda: metric(dev, "hermes_deliveries_total") > before)
    console.expect_all_open()
    assert metric(dev, "hermes_broker_restarts_total") >= 1


def _children(pid: int, name: str) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if name in Path(f"/proc/{child}/comm").read_text()]


def test_the_lamp_says_since_when_the_broker_is_away(context: BrowserContext, tmp_path: Path) -> None:
    """And why, as long as it is."""
    port = str(free_port())
    words = ("serve", "--dev", "--port", "0", "--mqtt-url", f"mqtt://127.0.0.1:{port}")
    with hermes(*words, XDG_STATE_HOME=str(tmp_path)) as program:
        page = context.new_page()
        page.goto(program.url)
        expect(page.locator("#mqtt-status-light .label")).to_have_text("down", timeout=10_000)
        expect(page.locator("#mqtt-status-light .detail")).to_contain_text("since")
        expect(page.locator("#tile-mqtt .detail")).to_contain_text("since")


def test_a_hermes_that_is_gone_is_said_to_be_gone(context: BrowserContext, tmp_path: Path) -> None:
    """Since when; and nothing is claimed of the broker."""
    with hermes("serve", "--dev", "--port", "0", "--mqtt-url", "off", XDG_STATE_HOME=str(tmp_path)) as program:
        page = context.new_page()
        page.goto(program.url)
        expect(page.locator("#tile-hermes .label")).to_have_text("reachable")
        program.end(signal.SIGKILL)
        expect(page.locator("#tile-hermes .label")).to_have_text("not reachable", timeout=10_000)
        expect(page.locator("#tile-hermes .detail")).to_contain_text("since")
        expect(page.locator("#tile-mqtt .label")).to_have_text("unknown")
        expect(page.locator("#node-charts")).to_be_hidden()
