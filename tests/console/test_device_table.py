"""The device table: its order, its filter in the URL, its columns, and its export as CSV."""

import csv
import io
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.support.consoles import Console
from tests.support.device_panel import NOON, SECOND, DevicePanel, device, device_panel, link, presence
from tests.support.programs import Program

pytestmark = pytest.mark.browser

COLUMNS = ("tenant", "device", "series", "value", "trend", "age", "rate", "topic")
SORT_EVERY_MS = 2_000
CUT_CELLS = """() => ['#devices-rows td', '#devices-rows .device-label bdi', '#devices-scroll th']
  .flatMap((selector) => [...document.querySelectorAll(selector)])
  .filter((cell) => cell.checkVisibility() && cell.scrollWidth > cell.clientWidth + 1)
  .map(({ className, textContent }) => `${className}: ${textContent}`)"""


@pytest.fixture
def played(browser: Browser, quiet: Program) -> Iterator[DevicePanel]:
    """The panel with its tenant socket."""
    with device_panel(browser, quiet, "tenant") as panel:
        yield panel


def rows(played: DevicePanel) -> Locator:
    """Return the rows that are in the page."""
    return played.page.locator("#devices-rows tr")


def order(played: DevicePanel) -> list[str]:
    """Return the series of the rows, from the top."""
    return rows(played).locator(".series").all_inner_texts()


def heading(played: DevicePanel, column: str) -> Locator:
    """Return the head of a column."""
    return played.page.locator(f"#devices-scroll th.{column}")


def sort_by(played: DevicePanel, column: str) -> None:
    """Press the button of a column."""
    heading(played, column).get_by_role("button").click()


# -- order ----------------------------------------------------------------------------------------------------------


def fill(played: DevicePanel) -> None:
    """Let the page receive four series that each column orders differently."""
    age = 60 * SECOND
    played.send(
        device(
            "a",
            10,
            device_id="d10",
            tenant_id="t2",
            device_name="Zoo",
            topic="x/3",
            snapshot=True,
            timestamp=NOON - age,
        ),
        device("b", 9, device_id="d9", tenant_id="t1", topic="x/1", snapshot=True, timestamp=NOON - 3 * age),
        device("c", "text", device_id="d2", tenant_id="t3", topic="x/2", snapshot=True, timestamp=None),
        device("d", -5.5, device_id="d1", tenant_id="t1", device_name="Attic", topic="x/10"),
    )
    played.send(device("d", -4.5, device_id="d1", tenant_id="t1", device_name="Attic", topic="x/10"))
    played.pass_time(3 * SECOND)


ORDERS = {
    "tenant": ("dbac", "cadb"),
    "device": ("dcba", "abcd"),
    "series": ("abcd", "dcba"),
    "value": ("dbac", "cabd"),
    "trend": ("dbac", "dbac"),
    "age": ("dabc", "badc"),
    "rate": ("dbac", "dbac"),
    "topic": ("bcad", "dacb"),
}


@pytest.mark.smoke
def test_each_column_sorts_the_rows(played: DevicePanel) -> None:
    """First ascending, then descending, then not; numbers by value, names by their number, unknown ones last."""
    fill(played)
    assert "".join(order(played)) == "dbac"
    for column, (ascending, descending) in ORDERS.items():
        for direction, expected in (("ascending", ascending), ("descending", descending)):
            sort_by(played, column)
            expect(heading(played, column)).to_have_attribute("aria-sort", direction)
            assert "".join(order(played)) == expected, (column, direction)
            assert played.page.locator("th[aria-sort]").count() == 1
        sort_by(played, column)
        assert played.page.locator("th[aria-sort]").count() == 0
        assert "".join(order(played)) == "dbac"


def test_the_keyboard_sorts(played: DevicePanel) -> None:
    """Each heading is a button; the focus stays on it."""
    fill(played)
    for key in ("Enter", "Space"):
        heading(played, "topic").get_by_role("button").press(key)
    expect(heading(played, "topic")).to_have_attribute("aria-sort", "descending")
    expect(heading(played, "topic").get_by_role("button")).to_be_focused()
    assert [played.page.locator(f"th.{column}").get_by_role("button").count() for column in COLUMNS] == [1] * 8


def test_the_order_follows_new_values(played: DevicePanel) -> None:
    """After two seconds at the latest, so that rows can be read."""
    fill(played)
    sort_by(played, "value")
    assert order(played)[0] == "d"
    played.send(device("b", -100, device_id="d9", tenant_id="t1"), device("new", -200, tenant_id="t1"))
    played.pass_time(SORT_EVERY_MS)
    assert order(played)[:2] == ["new", "b"]


def test_thousands_of_rows_can_be_sorted(played: DevicePanel) -> None:
    """Only the rows in view are in the page, in the new order."""
    played.send(*(device("temp", number * 7 % 5_000, device_id=f"d{number}") for number in range(5_000)))
    sort_by(played, "value")
    assert rows(played).locator(".value").all_inner_texts()[:5] == ["0", "1", "2", "3", "4"]
    sort_by(played, "value")
    assert rows(played).locator(".value").first.inner_text() == "4999"
    assert rows(played).count() < 60


# -- filter ---------------------------------------------------------------------------------------------------------


def test_the_filter_is_in_the_url(played: DevicePanel) -> None:
    """With the order; a link or a reload restores both, without a step in the browser's history."""
    page = played.page
    fill(played)
    steps = page.evaluate("history.length")
    page.fill("#devices-filter", "x/1 & more?#/ü")
    page.select_option("#devices-choice", "offline")
    page.fill("#devices-filter", "x/1")
    page.select_option("#devices-choice", "all")
    sort_by(played, "topic")
    sort_by(played, "topic")
    played.pass_time(SECOND)
    expect(page).to_have_url(re.compile(r"#devices\?filter=x%2F1&sort=-topic$"))
    assert page.evaluate("history.length") == steps
    page.reload()
    played.wait_for_sockets("tenant", 2)
    fill(played)
    expect(page.locator("#devices-filter")).to_have_value("x/1")
    expect(heading(played, "topic")).to_have_attribute("aria-sort", "descending")
    assert order(played) == ["d", "b"]


def test_every_filter_survives_the_url(played: DevicePanel) -> None:
    """Whatever characters it has."""
    page = played.page
    fill(played)
    odd = "a&b=c?d#e/f%20 +ü\u202e"
    page.fill("#devices-filter", odd)
    page.select_option("#devices-choice", "stale")
    played.pass_time(SECOND)
    page.reload()
    expect(page.locator("#devices-filter")).to_have_value(odd)
    expect(page.locator("#devices-choice")).to_have_value("stale")


def test_a_url_that_nobody_wrote_shows_the_table(played: DevicePanel) -> None:
    """Unknown words are passed over."""
    played.console.show("log")
    played.page.evaluate("location.hash = 'devices?filter=d1&show=nothing&sort=-constructor&x=%E0%A4%A'")
    fill(played)
    expect(played.page.locator("#devices-choice")).to_have_value("all")
    expect(played.page.locator("#devices-filter")).to_have_value("d1")
    assert order(played) == ["d", "a"]


def test_the_way_back_from_a_device_keeps_the_filter(played: DevicePanel) -> None:
    """And so does a visit to another panel."""
    page = played.page
    fill(played)
    page.fill("#devices-filter", "attic")
    played.pass_time(SECOND)
    rows(played).locator("a").click()
    page.get_by_role("link", name="All devices").click()
    expect(page.locator("#devices-list")).to_be_visible()  # from now on the URL waits for the moved clock
    played.pass_time(SECOND)
    expect(rows(played)).to_have_count(1)
    expect(page).to_have_url(re.compile(r"#devices\?filter=attic$"))
    page.click("nav a[href='#log']")
    page.click("nav a[href='#devices']")
    expect(page.locator("#devices-list")).to_be_visible()
    played.pass_time(SECOND)
    expect(page.locator("#devices-filter")).to_have_value("attic")
    expect(page).to_have_url(re.compile(r"#devices\?filter=attic$"))


def test_a_filter_that_matches_nothing_says_so(played: DevicePanel) -> None:
    """Instead of an empty table; one press shows all rows again."""
    page = played.page
    expect(page.locator("#devices-no-match")).to_be_hidden()
    fill(played)
    page.fill("#devices-filter", "nothing like this")
    expect(page.locator("#devices-no-match")).to_contain_text("No series matches this filter.")
    expect(page.locator("#devices-empty")).to_be_hidden()
    expect(page.locator("#devices-csv")).to_be_disabled()
    page.click("#devices-clear")
    expect(page.locator("#devices-no-match")).to_be_hidden()
    expect(rows(played)).to_have_count(4)
    expect(page.locator("#devices-filter")).to_be_focused()


# -- columns --------------------------------------------------------------------------------------------------------


def test_columns_are_as_wide_as_their_content(played: DevicePanel) -> None:
    """Nothing is cut off as long as there is room; a long text takes the room of no other column."""
    played.send(
        device("temperature", {"value": 21.5, "unit": "°C"}, device_id="a-device-with-a-longish-id", topic="t/one"),
        device("t", 1, tenant_id="a-longish-tenant", device_name="Boiler room, first floor", topic="t/one"),
        presence(online=False, since=NOON),
    )
    assert played.page.evaluate(CUT_CELLS) == []
    played.send(device("long", "x" * 500, device_id="y" * 300, topic="z" * 300))
    cut = played.page.evaluate(CUT_CELLS)
    assert {cell.partition(":")[0] for cell in cut} <= {
        "value",
        "device",
        "device-id",
        "topic",
        "flash-odd",
        "flash-even",
    }
    assert not [cell for cell in cut if "xxx" not in cell and "yyy" not in cell and "zzz" not in cell]


def test_columns_keep_their_widths_while_values_change(played: DevicePanel) -> None:
    """They may grow, but they do not move to and fro."""
    for _ in range(5):
        played.send(device("a", "a value of some length"), device("b", 1))  # now there is a rate
    before = heading(played, "age").bounding_box()
    for data in (1, 22, "another value"):
        played.send(device("a", data))
        assert heading(played, "age").bounding_box() == before


# -- export ---------------------------------------------------------------------------------------------------------


def exported(played: DevicePanel) -> tuple[str, list[dict[str, str]]]:
    """Return the text of the CSV file and its records."""
    with played.page.expect_download() as download:
        played.page.click("#devices-csv")
    assert download.value.suggested_filename == "hermes-devices.csv"
    text = download.value.path().read_bytes().decode()
    return text, list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_the_rows_are_exported_as_csv(played: DevicePanel) -> None:
    """Those that match the filter, in their order, each value as it was sent."""
    played.send(
        device("temp", 21, device_name='Boiler, "old"\r\nroom', device_id="d1"), presence(online=False, since=None)
    )
    played.send_texts(
        '{"channel":"device","tenant_id":"acme","device_id":"d2","series":"n","topic":"t/n",'
        f'"data":{{"eui":9007199254740993,"t":1.10}},"timestamp":{NOON}}}'
    )
    played.send(
        device("kept", "1,5", encoding="text", retained=True, snapshot=True, timestamp=None), device("hidden", 1)
    )
    played.send(device("gone", None, cleared=True))
    played.page.fill("#devices-filter", "t/")
    sort_by(played, "series")
    sort_by(played, "series")
    text, records = exported(played)
    assert text.count("\r\n") == len(records) + 1
    assert text.endswith("\r\n")
    assert [record["series"] for record in records] == ["temp", "n", "kept", "hidden", "gone"]
    temp, number, kept, _, gone = records
    assert temp == {
        "tenant_id": "acme",
        "device_id": "d1",
        "device_name": 'Boiler, "old"\ufffd\ufffdroom',
        "series": "temp",
        "value": "21",
        "encoding": "",
        "timestamp": "2025-11-22T12:00:00.000Z",
        "state": "live",
        "offline": "true",
        "topic": "t/temp",
    }
    assert number["value"] == '{"eui":9007199254740993,"t":1.10}'
    assert (kept["value"], kept["encoding"], kept["timestamp"], kept["state"]) == ("1,5", "text", "", "snapshot")
    assert (gone["value"], gone["state"]) == ("", "cleared")
    played.send(link("down", NOON))
    assert {record["state"] for record in exported(played)[1]} == {"stale", "cleared"}


FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    '=HYPERLINK("http://x","y")',
    "\uff1d1+1",
    "-",
    "+",
]
NUMBERS = ["-5", "+5", "-1.10", "-1e5", "-0", "1.10"]


@pytest.mark.smoke
def test_no_exported_cell_is_a_formula(played: DevicePanel) -> None:
    """A spreadsheet would run it; a number keeps its sign."""
    for number, data in enumerate((*FORMULAS, *NUMBERS)):
        played.send(device(f"s{number:02}", data, encoding="text"))
    played.send(device("=series", 1, device_id="=id", tenant_id="+tenant", device_name="@name", topic="-topic"))
    _, records = exported(played)
    values = {record["series"]: record["value"] for record in records}
    assert [values[f"s{number:02}"] for number in range(len(FORMULAS))] == [f"'{each}" for each in FORMULAS]
    assert [values[f"s{len(FORMULAS) + number:02}"] for number in range(len(NUMBERS))] == NUMBERS
    evil = next(record for record in records if record["device_id"] == "'=id")
    assert (evil["series"], evil["tenant_id"], evil["device_name"], evil["topic"]) == (
        "'=series",
        "'+tenant",
        "'@name",
        "'-topic",
    )


def test_a_real_table_can_be_exported(console: Console) -> None:
    """In --dev: all rows of the tenant."""
    console.open("devices")
    console.expect_all_open()
    expect(console.page.locator("#devices-shown")).to_have_text(re.compile(r"^3\d series$"))
    with console.page.expect_download() as download:
        console.page.click("#devices-csv")
    records = list(csv.DictReader(io.StringIO(download.value.path().read_text(), newline=""), strict=True))
    assert len(records) >= 30
    assert {record["tenant_id"] for record in records} == {"acme"}
