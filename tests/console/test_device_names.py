"""Names of devices in the Devices panel: text of strangers that may change, beside the id that stays."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.support.brokers import mosquitto
from tests.support.consoles import console_in
from tests.support.device_panel import NOON, SECOND, DevicePanel, device, device_panel
from tests.support.gateways import SECRET, token
from tests.support.page_layout import overhanging
from tests.support.programs import Program, hermes

pytestmark = pytest.mark.browser

HEBREW = "\u05d7\u05d3\u05e8 \u05d3\u05d5\u05d3\u05d9\u05dd"
ID_INSIDE = """cell => {
  const id = cell.querySelector('.device-id').getBoundingClientRect();
  return id.width > 8 && id.right <= cell.getBoundingClientRect().right;
}"""


@pytest.fixture
def played(browser: Browser, quiet: Program) -> Iterator[DevicePanel]:
    """The panel with its tenant socket."""
    with device_panel(browser, quiet, "tenant") as panel:
        yield panel


def label(played: DevicePanel, series: str = "temp") -> Locator:
    """Return the link with name and id."""
    return played.row(series).locator("td.device a")


def test_a_device_has_its_name_beside_its_id(played: DevicePanel) -> None:
    """In the table and on its page; its other series have the name, too."""
    played.send(device("temp", 21, device_name="Boiler room"), device("hum", 40), device("temp", 5, device_id="d2"))
    for series in ("temp", "hum"):
        expect(label(played, series).first).to_have_text("Boiler room d1")
    expect(played.page.locator("#devices-rows a", has_text="d2")).to_have_text("d2")
    label(played).first.click()
    expect(played.page.locator("#device-name")).to_have_text("Boiler room")
    expect(played.page.locator("#device-id")).to_have_text("d1")
    expect(played.page.get_by_role("img", name="Boiler room temp")).to_be_visible()
    played.console.show("devices/acme/d2")
    expect(played.page.locator("#device-name")).to_have_text("d2")
    expect(played.page.locator("#device-id")).to_be_hidden()


def test_a_name_may_change(played: DevicePanel) -> None:
    """In all rows of the device; a frame without a name, and an older one of a snapshot, change nothing."""
    played.send(device("temp", 21, device_name="Old"), device("hum", 40))
    played.send(device("temp", 22, device_name="New", timestamp=NOON + SECOND))
    expect(label(played, "hum")).to_have_text("New d1")
    played.send(device("hum", 41), device("old", 1, device_name="Old", snapshot=True, timestamp=NOON - SECOND))
    for series in ("temp", "hum", "old"):
        expect(label(played, series)).to_have_text("New d1")
    played.send(device("kept", 1, device_name="Newest", snapshot=True, timestamp=NOON + 2 * SECOND))
    expect(label(played, "hum")).to_have_text("Newest d1")
    played.send(device("hum", 42, device_name=""))
    expect(label(played, "hum")).to_have_text("d1")
    for odd in (7, None, {"name": "x"}):
        played.send(device("hum", 43, device_name=odd))
    expect(label(played, "hum")).to_have_text("d1")


def test_two_devices_may_share_a_name(played: DevicePanel) -> None:
    """Their ids tell them apart, and each link leads to its own."""
    played.send(*(device("temp", number, device_id=f"d{number}", device_name="Hall") for number in (1, 2)))
    links = played.page.locator("#devices-rows a")
    expect(links).to_have_text(["Hall d1", "Hall d2"])
    assert [link.get_attribute("href") for link in links.all()] == ["#devices/acme/d1", "#devices/acme/d2"]


def test_the_filter_finds_names(played: DevicePanel) -> None:
    """Also those that a device gets later."""
    played.send(device("temp", 21), device("temp", 5, device_id="d2", device_name="Hall"))
    played.page.fill("#devices-filter", "boiler")
    expect(played.page.locator("#devices-rows tr")).to_have_count(0)
    played.send(device("temp", 21, device_name="Boiler room"))
    expect(played.page.locator("#devices-rows a")).to_have_text("Boiler room d1")


@pytest.mark.parametrize(
    "name",
    ["W" * 10_000, "\u0639" * 10_000, "\U0001f525" * 300, f"a {HEBREW}\u202e\u2066 b", "two\nlines\ttab\x00", " " * 50],
    ids=["long", "arabic", "emoji", "bidi", "controls", "blank"],
)
def test_any_name_leaves_the_id_to_be_seen(played: DevicePanel, name: str) -> None:
    """In wide and narrow windows; a name changes neither the order nor the place of other text."""
    played.send(device("temp", 21, device_name=name))
    for width in (1280, 390):
        played.page.set_viewport_size({"width": width, "height": 900})
        played.console.show("devices")
        played.pass_time(SECOND)
        shown = label(played).locator(".device-id")
        expect(shown).to_have_text("d1")
        assert played.row("temp").locator("td.device").evaluate(ID_INSIDE)
        assert overhanging(played.page) == []
        text = label(played).text_content() or ""
        assert len(text) <= 2 * 256 + 3
        assert not re.search("[\u0000-\u001f\u202a-\u202e\u2066-\u2069]", text)
        played.console.show("devices/acme/d1")
        played.pass_time(SECOND)
        assert overhanging(played.page) == []


@pytest.mark.broker
def test_a_name_comes_from_the_device_to_the_page(browser: Browser, tmp_path: Path) -> None:
    """In a message of a network server: its name is in the row, and its temperature in the chart."""
    template = "app/{device_id}/up;tenant_id=acme;name=/info/name"
    with mosquitto(tmp_path) as broker:
        arguments = ("serve", "--port", "0", "--mqtt-url", f"mqtt://127.0.0.1:{broker.port}", "--topic", template)
        with hermes(*arguments, HERMES_JWT_SECRET=SECRET) as program, console_in(browser, program) as console:
            console.expected = ("503",)
            page = console.page
            console.open("connect")
            expect(page.locator("#mqtt-status-light .label")).to_have_text("up")
            page.fill("#token-value", token(tenant_id="acme"))
            page.get_by_role("button", name="Connect all", exact=True).click()
            console.card("tenant").expect_state("open")
            console.show("devices")
            for name, shown in (("Boiler room", "Boiler room"), ("Küche \u202e", "Küche")):
                up = {"info": {"name": name}, "dr": 5, "object": {"temperature": 21.5}}
                broker.publish("app/70b3d57ed005/up", json.dumps(up))
                link = page.locator("#devices-rows a")
                expect(link).to_have_text(f"{shown} 70b3d57ed005")
            expect(page.locator("#devices-rows .trend")).to_have_attribute("title", "object/temperature")
