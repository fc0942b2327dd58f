"""Values in the Devices panel: exactly as they were sent, and the number of a message that is charted."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.support.brokers import mosquitto
from tests.support.consoles import console_in
from tests.support.device_panel import NOON, SECOND, DevicePanel, device, device_panel, link, presence
from tests.support.gateways import SECRET, token
from tests.support.programs import Program, hermes

pytestmark = pytest.mark.browser

CLIMATE = {"battery": 100, "humidity": 45, "linkquality": 120, "temperature": 21.5, "extra": {"pressure": 1013}}
EXACT = [
    "9007199254740993",
    "12345678901234567890",
    "1.10",
    "-0",
    "1e2",
    "1E+02",
    "0.1000000000000000055511151231257827",
    "[1.0,2.00]",
    '{"eui":9007199254740993}',
    '{"a":1.10,"b":{"c":[1.0,-0]}}',
    '{"a":1,"a":2}',
    '{"value":1.10,"value":2.20}',
    '{"x":"\\u0041"}',
]


@pytest.fixture
def played(browser: Browser, quiet: Program) -> Iterator[DevicePanel]:
    """The panel with its tenant socket."""
    with device_panel(browser, quiet, "tenant") as panel:
        yield panel


def frame_with(data: str, series: str = "exact", **more: object) -> str:
    """Return the text of a device frame with this text as its data."""
    return json.dumps(device(series, "DATA", **more), separators=(",", ":")).replace('"DATA"', data)


def card(played: DevicePanel, series: str) -> Locator:
    """Return the card of a series on the page of the device."""
    return played.page.locator(
        "#device-series > section", has=played.page.locator("h3", has_text=re.compile(f"^{series}$"))
    )


def paths(played: DevicePanel, series: str) -> str:
    """Return the line of the chart of a series."""
    return card(played, series).locator("path.line").get_attribute("d") or ""


def test_values_are_shown_exactly_as_they_were_sent(played: DevicePanel) -> None:
    """In the table, on the page of the device, in its chart's legend, in its frames and in what is copied."""
    played.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for number, data in enumerate(EXACT):
        played.send_texts(frame_with(data, f"exact{number}"))
        expect(played.row(f"exact{number}").locator(".value")).to_have_text(data)
        assert played.row(f"exact{number}").locator(".value").get_attribute("title") == data
    played.console.show("devices/acme/d1")
    frames = [frame_with(data, f"exact{number}") for number, data in enumerate(EXACT)]
    played.send_texts(*frames)
    for number, data in enumerate(EXACT):
        expect(card(played, f"exact{number}").locator(".value")).to_have_text(data)
    for number in range(5):
        expect(card(played, f"exact{number}").locator(".key b")).to_have_text(f"{EXACT[number]} ")
    expect(card(played, "exact8").locator(".key b")).to_have_text("9007199254740993 ")
    codes = played.page.locator("#device-frames code")
    expect(codes).to_have_count(len(frames))  # the list of frames loads with the page of the device
    assert codes.all_inner_texts() == frames[::-1]
    played.page.click("#device-copy")
    expect(played.page.locator("#device-copied")).to_have_text("Copied.")
    assert played.page.evaluate("navigator.clipboard.readText()").splitlines() == frames[::-1]


def test_a_value_with_its_unit_keeps_its_digits(played: DevicePanel) -> None:
    """The row shows it without the braces; with any other member, or a repeated one, it shows the JSON."""
    played.send_texts(
        frame_with('{"value":1.10,"unit":"°C"}', "unit"),
        frame_with('{"value":1.10}', "plain"),
        frame_with('{"value":1.10,"unit":"°C","unit":"K"}', "twice"),
        frame_with('{"value":1.10,"unit":7}', "odd"),
    )
    for series, text in {
        "unit": "1.10 °C",
        "plain": "1.10",
        "twice": '{"value":1.10,"unit":"°C","unit":"K"}',
        "odd": '{"value":1.10,"unit":7}',
    }.items():
        expect(played.row(series).locator(".value")).to_have_text(text)


def test_letters_that_were_sent_escaped_are_letters(played: DevicePanel) -> None:
    """Many programs escape all but ASCII; what would change the text around it stays escaped."""
    played.send_texts(
        frame_with(r'{"a":"21 \u00b0C \ud83d\udd25","b":[1.10]}', "letters"),
        frame_with(r'{"a":"\u202e\u0000\u200b\u2066","b":"\\u00b0"}', "controls"),
    )
    expect(played.row("letters").locator(".value")).to_have_text('{"a":"21 °C \U0001f525","b":[1.10]}')
    expect(played.row("controls").locator(".value")).to_have_text(r'{"a":"\u202e\u0000\u200b\u2066","b":"\\u00b0"}')


def test_text_that_overflows_a_number_is_text(played: DevicePanel) -> None:
    """Hermes sends 1e400 as text; it adds no point."""
    played.send(device("big", "1e400", encoding="text"))
    expect(played.row("big").locator(".value")).to_have_text("1e400")
    expect(played.row("big").locator(".sparkline polyline")).to_have_attribute("points", "")


def test_the_row_of_a_long_value_begins_with_the_charted_number(played: DevicePanel) -> None:
    """Otherwise an operator would have to find the temperature in a message of a network server."""
    data = '{"dr":5,"fCnt":12,"deduplicationId":"3ac7e3c4-4401-4b8d-9386-a5c902f9202d","object":{"temperature":21.50}}'
    played.send_texts(frame_with(data, "up"))
    expect(played.row("up").locator(".value")).to_have_text(f"temperature 21.50 · {data}")
    assert played.row("up").locator(".trend").get_attribute("title") == "object/temperature"


def test_a_measurement_is_charted_by_default_and_another_number_can_be_chosen(played: DevicePanel) -> None:
    """The chart shows the earlier values of the chosen number, and begins anew for the next one."""
    played.console.show("devices/acme/d1")
    for number in range(4):
        played.send(device("air", CLIMATE | {"temperature": 20 + number, "humidity": 40 + number}))
    select = card(played, "air").get_by_label("Chart")
    expect(select.locator("option")).to_have_text(
        ["automatic: temperature", "temperature", "humidity", "extra/pressure", "battery", "linkquality"]
    )
    expect(card(played, "air").locator(".key")).to_have_text("temperature 23 ")
    select.select_option("humidity")
    expect(card(played, "air").locator(".key")).to_have_text("humidity 43 ")
    assert paths(played, "air").count("L") == 3
    played.send(device("air", CLIMATE | {"humidity": 50}))
    expect(card(played, "air").locator(".key")).to_have_text("humidity 50 ")
    assert paths(played, "air").count("L") == 4
    select.select_option("automatic")
    expect(card(played, "air").locator(".key")).to_have_text("temperature 21.5 ")


def test_the_choice_is_remembered_per_device_and_series(browser: Browser, quiet: Program) -> None:
    """After a reload and in another tab, for this series only; `automatic` forgets it."""
    with device_panel(browser, quiet, "tenant") as played:
        page = played.page
        frames = [device("air", CLIMATE), device("other", CLIMATE), device("air", CLIMATE, device_id="d2")]
        played.console.show("devices/acme/d1")
        played.send(*frames)
        card(played, "air").get_by_label("Chart").select_option("battery")
        page.reload()
        played.wait_for_sockets("tenant", 2)
        played.send(*frames)
        expect(card(played, "air").locator(".key")).to_have_text("battery 100 ")
        expect(card(played, "air").get_by_label("Chart")).to_have_value("/battery")
        expect(card(played, "other").locator(".key")).to_have_text("temperature 21.5 ")
        assert page.evaluate("Object.keys(localStorage)").count("hermes.charts") == 1
        played.console.show("devices/acme/d2")
        played.pass_time(SECOND)
        expect(card(played, "air").locator(".key")).to_have_text("temperature 21.5 ")
        played.console.show("devices/acme/d1")
        played.pass_time(SECOND)
        card(played, "air").get_by_label("Chart").select_option("automatic")
        page.reload()
        played.wait_for_sockets("tenant", 3)
        played.send(*frames)
        expect(card(played, "air").locator(".key")).to_have_text("temperature 21.5 ")


def test_a_chosen_number_that_a_message_lacks_is_waited_for(played: DevicePanel) -> None:
    """It stays chosen, and no other number is drawn in its place."""
    played.console.show("devices/acme/d1")
    played.send(device("air", {"a": 1, "b": 2}))
    card(played, "air").get_by_label("Chart").select_option("b")
    played.send(*(device("air", {"a": number}) for number in range(50)))
    expect(card(played, "air").get_by_label("Chart")).to_have_value("/b")
    assert paths(played, "air").count("M") == 1
    assert paths(played, "air").count("L") == 0


OUTAGES = ["link", "socket", "device"]


@pytest.mark.parametrize("outage", OUTAGES)
def test_charts_break_at_an_outage(played: DevicePanel, outage: str) -> None:
    """Of the link to the broker, of the socket, or of the device: no line across it, also in the table."""
    played.console.show("devices/acme/d1")
    for number in range(3):
        played.send(device("temp", number))
    if outage == "link":
        played.send(link("down", NOON))
        played.send(link("up", NOON + SECOND))
    elif outage == "device":
        played.send(presence(online=False, since=NOON))
        played.send(presence(online=True, since=NOON + SECOND))
    else:
        played.sockets["tenant"][-1].close(code=1001, reason="stopping;retry_ms=1000")
        played.console.card("tenant").expect_state("waiting")
        played.pass_time(3 * SECOND)
        played.wait_for_sockets("tenant", 2)
        played.send(device("temp", 2, snapshot=True))
    for number in range(3):
        played.send(device("temp", 10 + number, timestamp=NOON + 10 * SECOND))
    drawn = paths(played, "temp")
    assert (drawn.count("M"), drawn.count("L")) == (2, 4)
    played.console.show("devices")
    played.pass_time(SECOND)
    lines = played.row("temp").locator(".sparkline polyline")
    expect(lines).to_have_count(2)
    assert [len((line.get_attribute("points") or "").split()) for line in lines.all()] == [3, 3]


def test_a_value_from_before_an_outage_is_not_joined_to_later_ones(played: DevicePanel) -> None:
    """The first value of a page may be one that was not confirmed since."""
    played.console.show("devices/acme/d1")
    played.send(device("temp", 1, snapshot=True, stale=True, timestamp=NOON - SECOND))
    played.send(device("temp", 2), device("temp", 3, timestamp=NOON + SECOND))
    played.pass_time(SECOND)
    drawn = paths(played, "temp")
    assert (drawn.count("M"), drawn.count("L")) == (2, 1)


def test_a_chart_that_is_opened_after_an_outage_is_broken_too(played: DevicePanel) -> None:
    """Also if another number is chosen then."""
    for number in range(3):
        played.send(device("temp", {"a": number, "b": 5}))
    played.send(link("down", NOON))
    played.send(link("up", NOON + SECOND))
    for number in range(3):
        played.send(device("temp", {"a": number, "b": 6}))
    played.console.show("devices/acme/d1")
    played.pass_time(SECOND)
    drawn = paths(played, "temp")
    assert (drawn.count("M"), drawn.count("L")) == (2, 4)


@pytest.mark.smoke
@pytest.mark.broker
def test_digits_survive_from_the_device_to_the_page(browser: Browser, tmp_path: Path) -> None:
    """Of real messages through a real broker; 1e400 is no number that JSON readers can hold, so it is text."""
    with mosquitto(tmp_path) as broker:
        arguments = ("serve", "--port", "0", "--mqtt-url", f"mqtt://127.0.0.1:{broker.port}")
        with hermes(*arguments, HERMES_JWT_SECRET=SECRET) as program, console_in(browser, program) as console:
            console.expected = ("503",)
            console.open("connect")
            expect(console.page.locator("#mqtt-status-light .label")).to_have_text("up")
            console.page.fill("#token-value", token(tenant_id="acme"))
            console.page.get_by_role("button", name="Connect all", exact=True).click()
            console.card("tenant").expect_state("open")
            console.show("devices")
            for number, data in enumerate([*EXACT, "1e400"]):
                broker.publish(f"tenants/acme/devices/d1/exact{number:02}", data)
            rows = console.page.locator("#devices-rows tr .value")
            expect(rows).to_have_text([*EXACT, "1e400"])
