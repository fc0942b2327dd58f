"""The Devices panel in a real Chromium: its table of thousands, its filter, and the page of one device; the test plays
the sockets.
"""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.support.consoles import Console
from tests.support.device_panel import NOON, SECOND, DevicePanel, device, device_panel, presence
from tests.support.programs import Program

pytestmark = pytest.mark.browser

MANY = 5_000
ROWS_IN_PAGE_MAX = 60  # in a window 900 pixels high
SERIES_MAX = 20_000
TABS = 40  # more than a window has rows
STRIP = "region => [...region.querySelectorAll('#devices-rows tr')].map(row => Number(row.ariaRowIndex))"
IN_VIEW = """region => {
  const box = region.getBoundingClientRect();
  const head = region.querySelector('thead').getBoundingClientRect().height;
  return [...region.querySelectorAll('#devices-rows tr')].filter((row) => {
    const { top, bottom } = row.getBoundingClientRect();
    return bottom > box.top + head && top < box.bottom;
  }).map((row) => row.querySelector('a').textContent);
}"""

BELOW_THE_HEAD = """link => link.getBoundingClientRect().top
  >= document.querySelector('#devices-scroll thead').getBoundingClientRect().bottom"""


@pytest.fixture
def played(browser: Browser, quiet: Program) -> Iterator[DevicePanel]:
    """The panel, with its tenant and combined sockets open."""
    with device_panel(browser, quiet, "tenant", "combined") as panel:
        yield panel


@pytest.fixture(scope="module")
def shared_panel(shared_browser: Browser, quiet: Program) -> Iterator[DevicePanel]:
    """One page for all tests of a device or a series that no other test knows."""
    with device_panel(shared_browser, quiet, "tenant", "combined") as panel:
        yield panel


@pytest.fixture
def shared(shared_panel: DevicePanel) -> Iterator[DevicePanel]:
    """The shared page for one test, with the table on it."""
    shared_panel.console.show("devices")
    yield shared_panel
    assert shared_panel.console.unexpected == []


@pytest.fixture(scope="module")
def filled_panel(shared_browser: Browser, quiet: Program) -> Iterator[DevicePanel]:
    """One page with 500 devices for all tests that only go through them."""
    with device_panel(shared_browser, quiet, "tenant", "combined") as panel:
        fill(panel, 500)
        yield panel


@pytest.fixture
def filled(filled_panel: DevicePanel) -> Iterator[DevicePanel]:
    """The filled page for one test, with the first rows in view."""
    filled_panel.console.show("devices")
    scroll(filled_panel, 0)
    yield filled_panel
    assert filled_panel.console.unexpected == []


def fill(played: DevicePanel, count: int = MANY) -> None:
    """Let the page receive this number of devices with one series each."""
    played.send(*(device("temp", number, device_id=name(number)) for number in range(count)))
    expect(played.page.locator("#devices-count")).to_have_text(f"{count:,}")


def name(number: int) -> str:
    """Return the name of a device; the names sort like their numbers."""
    return f"d{number:05}"


def rows(played: DevicePanel) -> Locator:
    """Return the rows that are in the page."""
    return played.page.locator("#devices-rows tr")


def region(played: DevicePanel) -> Locator:
    """Return the element that scrolls."""
    return played.page.locator("#devices-scroll")


def scroll(played: DevicePanel, top: int) -> None:
    """Scroll to this distance from the top; return when the rows there are in the page."""
    region(played).evaluate("(region, top) => { region.scrollTop = top; }", top)
    played.page.wait_for_function("""() => {
      const region = document.querySelector('#devices-scroll');
      const { top, bottom } = region.getBoundingClientRect();
      const rows = [...region.querySelectorAll('#devices-rows tr')].map((row) => row.getBoundingClientRect());
      return rows[0].top <= top + 40 && rows.at(-1).bottom >= bottom - 40;
    }""")


def points(played: DevicePanel, series: str) -> list[tuple[float, float]]:
    """Return the points of a sparkline."""
    line = played.row(series).locator(".sparkline polyline").get_attribute("points") or ""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]


def test_only_the_rows_in_view_are_in_the_page(played: DevicePanel) -> None:
    """Of 5,000; ARIA attributes give the number of rows and the index of each row in the page."""
    fill(played)
    expect(rows(played).first).to_contain_text(name(0))
    assert rows(played).count() < ROWS_IN_PAGE_MAX
    expect(played.page.locator("#devices-scroll table")).to_have_attribute("aria-rowcount", f"{MANY + 1}")
    for top in (0, 50_000, 10_000_000):
        scroll(played, top)
        assert rows(played).count() < ROWS_IN_PAGE_MAX
        indices = region(played).evaluate(STRIP)
        assert indices == list(range(indices[0], indices[0] + len(indices)))
        names = [link.text_content() for link in rows(played).locator("a").all()]
        assert names == [name(index - 2) for index in indices]
    assert region(played).evaluate(IN_VIEW)[-1] == name(MANY - 1)


def test_the_filter_searches_tenant_device_series_and_topic(played: DevicePanel) -> None:
    """It ignores case and shows how many rows match; an empty filter shows all."""
    played.send(device("temp", 1), device("humidity", 2))
    played.send(device("volt", 3, tenant_id="globex", device_id="pump-1", topic="hall/7/x"))
    expect(rows(played)).to_have_count(3)
    for text in ("globex", "PUMP", "volt", "hall/7", "  pump "):
        played.page.fill("#devices-filter", text)
        expect(rows(played)).to_have_count(1)
        expect(rows(played)).to_contain_text("pump-1")
        expect(played.page.locator("#devices-shown")).to_have_text("1 of 3 series")
    played.send(device("temp", 9, device_id="pump-2", tenant_id="globex", topic="hall/7/volt"), device("late", 1))
    expect(rows(played)).to_have_count(2)
    played.page.fill("#devices-filter", "")
    expect(rows(played)).to_have_count(5)


def test_the_choice_is_of_stale_values_or_of_offline_devices(played: DevicePanel) -> None:
    """The rows change when the state of a value or a device changes."""
    played.send(device("temp", 1), device("power", 5, device_id="d2"), presence(online=False, since=None))
    played.send(device("temp", 1), on="combined")
    expect(rows(played)).to_have_count(2)
    played.page.select_option("#devices-choice", "offline")
    expect(rows(played)).to_have_count(1)
    expect(rows(played)).to_contain_text("d1")
    played.page.select_option("#devices-choice", "stale")
    expect(rows(played)).to_have_count(0)
    played.sockets["tenant"][-1].close(code=1001, reason="stopping;retry_ms=60000")
    played.console.card("tenant").expect_state("waiting")
    played.pass_time(SECOND)
    expect(rows(played)).to_have_count(1)
    expect(rows(played)).to_contain_text("d2")
    played.send(device("power", 6, device_id="d2"), on="combined")
    expect(rows(played)).to_have_count(0)


def test_the_sparkline_follows_the_numbers_in_the_data(shared: DevicePanel) -> None:
    """Those of the charted member; what has none adds no point, and 60 are kept."""
    shared.send(*(device("drawn", {"value": number, "min": 0}) for number in (1, 3, 2)))
    shared.send(device("drawn", "warm"), device("drawn", {"on": True}))
    expect(shared.row("drawn").locator(".value")).to_have_text('{"on":true}')
    low, high, middle = (y for _, y in points(shared, "drawn"))
    assert low > middle > high
    shared.send(*(device("drawn", {"value": number}) for number in range(70)))
    expect(shared.row("drawn").locator(".value")).to_have_text("69")
    assert len(points(shared, "drawn")) == 60


def test_the_rate_is_that_of_the_last_minute(shared: DevicePanel) -> None:
    """Per second if it is one at the least, else per minute; reshared values are none, and skipped ones count."""
    shared.send(device("fast", 0), *(device("fast", number, skipped=2) for number in range(1, 30)))
    shared.send(device("slow", 1), device("once", 1), device("kept", 1, snapshot=True))
    shared.send(device("slow", 2))
    expect(shared.row("slow")).to_be_visible()
    shared.pass_time(27_000)
    for series, words in {"fast": r"(2\.9|3|3\.1)/s", "slow": r"(2|2\.1)/min", "once": "–", "kept": "–"}.items():
        expect(shared.row(series).locator(".rate")).to_have_text(re.compile(f"^{words}$"))
    shared.pass_time(75_000)
    expect(shared.row("fast").locator(".rate")).to_have_text("0/min")


def test_what_two_sockets_bring_counts_once(shared: DevicePanel) -> None:
    """Also if the second lags behind: what it brings again does not stand in the sparkline twice."""
    frames = [device("twice", number, timestamp=NOON + number) for number in range(5)]
    shared.send(*frames)
    expect(shared.row("twice").locator(".value")).to_have_text("4")
    shared.send(*frames, device("last", 1), on="combined")
    expect(shared.row("last")).to_be_visible()
    expect(shared.row("twice").locator(".value")).to_have_text("4")
    assert len(points(shared, "twice")) == 5


def test_equal_values_of_one_socket_each_count(shared: DevicePanel) -> None:
    """A device may say the same twice within a millisecond."""
    shared.send(device("equal", 7), device("equal", 7), device("equal", 7))
    expect(shared.row("equal").locator(".sparkline polyline")).to_have_attribute("points", re.compile(r"^\S+ \S+ \S+$"))


def test_nothing_moves_when_values_change_or_series_are_added(played: DevicePanel) -> None:
    """The order and the scroll position stay, for changes above, in and below the view."""
    fill(played, 500)
    scroll(played, 9_000)
    before = region(played).evaluate(IN_VIEW)
    top = region(played).evaluate("region => region.scrollTop")
    middle = int(before[5].removeprefix("d"))
    played.send(*(device("temp", "changed", device_id=name(number)) for number in (0, middle, 499)))
    played.send(device("temp", 1, device_id="d99999"))
    expect(rows(played).filter(has_text=name(middle)).locator(".value")).to_have_text("changed")
    expect(played.page.locator("#devices-count")).to_have_text("501")
    assert region(played).evaluate(IN_VIEW) == before
    assert region(played).evaluate("region => region.scrollTop") == top


@pytest.mark.smoke
def test_the_table_is_bounded_and_shows_its_limit(played: DevicePanel) -> None:
    """At most 20,000 series; those in the table are still updated."""
    played.send(*(device("", number, device_id=name(number)) for number in range(SERIES_MAX + 100)))
    full = played.page.locator("#devices-full")
    expect(full).to_contain_text("20,000 series: 100 more")
    played.send(device("", "changed", device_id=name(SERIES_MAX - 1)))
    scroll(played, 10_000_000)
    expect(rows(played).last.locator(".value")).to_have_text("changed")
    assert rows(played).count() < ROWS_IN_PAGE_MAX


def test_since_when_is_never_cut_off(played: DevicePanel) -> None:
    """An operator needs this part of the row most when something is wrong."""
    played.send(device("temp", 1), device("retained", 1, snapshot=True, retained=True, timestamp=None))
    midnight = played.page.evaluate("new Date().setHours(0, 0, 0, 0)")
    played.send(presence(online=False, since=midnight), {"channel": "status", "mqtt": "down", "since": midnight})
    expect(played.row("temp").locator(".age")).to_have_text(re.compile(r"^stale: \d+ (s|min) ago \([\d:]+\)$"))
    expect(played.row("retained").locator(".age")).to_have_text("stale: age unknown (retained)")
    for part in played.page.locator("#devices-rows :is(.age, .offline)").all():
        assert part.evaluate("part => part.scrollWidth <= part.clientWidth"), part.text_content()


@pytest.mark.smoke
def test_markup_in_data_stays_text(played: DevicePanel) -> None:
    """In the table, in its filter and on the page of the device."""
    evil = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
    played.send(device(evil, evil, device_id=evil, tenant_id=evil, topic=evil))
    for part in ("tenant", "device", "series", "value", "topic"):
        expect(rows(played).locator(f".{part}")).to_have_text(evil)
    rows(played).locator("a").click()
    expect(played.page.locator("#device-name")).to_have_text(evil)
    expect(played.page.locator("#device-series h3")).to_have_text(evil)
    played.send(device(evil, 2, device_id=evil, tenant_id=evil, topic=evil))
    expect(played.page.locator("#device-frames li")).to_contain_text(json.dumps(evil))
    assert played.page.evaluate("window.owned") is None


def test_a_hidden_panel_is_not_painted(played: DevicePanel) -> None:
    """It is painted when it is shown."""
    page = played.page
    played.send(device("temp", "old"))
    expect(played.row("temp").locator(".value")).to_have_text("old")
    played.console.show("log")
    played.send(device("temp", "new"), device("humidity", 1), device("pressure", 2, device_id="d2"))
    expect(page.locator("#devices-shown")).to_have_text("3 series")
    expect(page.locator("#devices-count")).to_have_text("2")
    assert played.row("temp").locator(".value").text_content() == "old"
    played.console.show("devices")
    expect(played.row("temp").locator(".value")).to_have_text("new")


# -- by keyboard ----------------------------------------------------------------------------------------------------


def test_the_keyboard_scrolls_the_table(filled: DevicePanel) -> None:
    """Its region takes the focus."""
    region(filled).focus()
    filled.page.keyboard.press("End")
    expect(rows(filled).last).to_contain_text(name(499))


def test_tab_visits_each_device_in_order(filled: DevicePanel) -> None:
    """Also those that were not in the page at first; each once, and each in view. Before them come the headings."""
    filled.page.locator("#devices-scroll th button").last.focus()
    for number in range(TABS):
        filled.page.keyboard.press("Tab")
        focused = filled.page.locator("#devices-rows a:focus")
        expect(focused).to_have_text(name(number))
        expect(focused).to_be_in_viewport()


def test_tab_goes_back_up_without_the_head_in_the_way(filled: DevicePanel) -> None:
    """Each focused link stands below the head, which sticks."""
    scroll(filled, 9_000)
    links = rows(filled).locator("a")
    last = links.last.text_content() or ""
    links.last.focus()
    for number in range(int(last.removeprefix("d")) - 1, int(last.removeprefix("d")) - TABS, -1):
        filled.page.keyboard.press("Shift+Tab")
        focused = filled.page.locator("#devices-rows a:focus")
        expect(focused).to_have_text(name(number))
        expect(focused).to_be_in_viewport()
        assert focused.evaluate(BELOW_THE_HEAD)


def test_the_focused_link_never_changes_its_target(played: DevicePanel) -> None:
    """It moves with its row; when the row leaves the page, the region gets the focus."""
    fill(played, 500)
    page = played.page
    rows(played).locator("a", has_text=name(10)).focus()
    played.send(device("temp", 1, device_id="a1"))
    expect(rows(played).first).to_contain_text("a1")
    expect(page.locator("#devices-rows a:focus")).to_have_text(name(10))
    scroll(played, 300)
    expect(page.locator("#devices-rows a:focus")).to_have_text(name(10))
    scroll(played, 9_000)
    expect(region(played)).to_be_focused()


# -- one device -----------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_a_devices_page_shows_all_of_it(played: DevicePanel) -> None:
    """Presence, each series with value, age and chart, and the socket address; nothing of other devices."""
    odd = "plant 1/ü%"
    page = played.page
    played.send(*(device("temp", {"value": 20 + number, "unit": "°C"}, device_id=odd) for number in range(5)))
    played.send(device("state", "open", device_id=odd), device("temp", 5))
    played.send(presence(online=False, since=None, device_id=odd))
    expect(rows(played)).to_have_count(3)  # the rows are complete
    rows(played).locator("a", has_text=odd).first.click()
    expect(page).to_have_url(re.compile(r"#devices/acme/plant%201%2F%C3%BC%25$"))
    expect(page.locator("#device-name")).to_have_text(odd)
    expect(page.locator("#device-presence")).to_have_text("offline")
    expect(page.locator("#device-url")).to_have_text(
        re.compile(r"^ws://127.0.0.1:\d+/ws/device\?device_id=plant%201%2F%C3%BC%25$")
    )
    cards = page.locator("#device-series > *")
    expect(cards).to_have_count(2)
    temp = cards.filter(has_text="temp")
    expect(temp).to_contain_text('{"value":24,"unit":"°C"}')
    expect(temp).to_contain_text(re.compile(r"\d (s|min) · "))
    expect(temp.locator("path.line")).to_have_attribute("d", re.compile(r"^M.*(L.*){4}$"))
    expect(temp.get_by_role("img", name=f"{odd} temp")).to_be_visible()
    expect(cards.filter(has_text="open").locator("svg")).to_have_count(0)
    expect(page.locator("#device-unknown")).to_be_hidden()
    played.send(device("temp", {"value": 25, "unit": "°C"}, device_id=odd))
    expect(temp).to_contain_text('{"value":25,"unit":"°C"}')


def test_a_series_that_turns_numeric_gets_its_chart(shared: DevicePanel) -> None:
    """And a frame without a number adds no point to it."""
    page = shared.page
    shared.console.show("devices/acme/turning")
    shared.send(device("temp", "starting", device_id="turning"))
    expect(page.locator("#device-series")).to_contain_text("starting")
    shared.send(*(device("temp", data, device_id="turning") for data in (1, 2, "pause", None)))
    expect(page.locator("#device-series")).to_contain_text("null")
    shared.send(device("temp", None, device_id="turning", cleared=True))
    expect(page.locator("#device-series")).to_contain_text("(cleared)")
    expect(page.locator("#device-series path.line")).to_have_attribute("d", re.compile(r"^M[^ML]*L[^ML]*$"))


def test_an_unknown_device_says_so_and_waits(shared: DevicePanel) -> None:
    """A bookmark may be older than the page's first value."""
    page = shared.page
    shared.console.show("devices/acme/unknown")
    expect(page.locator("#device-unknown")).to_be_visible()
    shared.send(device("temp", 21, device_id="unknown"))
    expect(page.locator("#device-series")).to_contain_text("21")
    expect(page.locator("#device-unknown")).to_be_hidden()


def test_an_unknown_device_can_be_offline(shared: DevicePanel) -> None:
    """Its presence may be all that is known of it."""
    page = shared.page
    shared.send(presence(online=False, since=None, device_id="gone"))
    shared.console.show("devices/acme/gone")
    expect(page.locator("#device-presence")).to_have_text("offline")


def test_the_newest_hundred_frames_can_be_paused_and_copied(shared: DevicePanel) -> None:
    """The newest first, whole; while paused what is shown stays and is what is copied, and nothing is lost after it."""
    shared.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = shared.page
    shared.console.show("devices/acme/talking")
    shared.send(*(device("temp", number, device_id="talking") for number in range(120)))
    shared.send(device("temp", 1, device_id="other"))
    frames = page.locator("#device-frames li")
    expect(frames.first).to_contain_text(re.compile(r'^[\d:]+ Tenant \{.*"data":119'))
    expect(frames).to_have_count(100)
    expect(frames.last).to_contain_text('"data":20')
    page.click("#device-pause")
    expect(page.locator("#device-pause")).to_have_attribute("aria-pressed", "true")
    shared.send(device("temp", 120, device_id="talking"))
    expect(page.locator("#device-series")).to_contain_text("120")
    expect(frames.first).to_contain_text('"data":119')
    page.click("#device-copy")
    expect(page.locator("#device-copied")).to_have_text("Copied.")
    copied = [json.loads(line)["data"] for line in page.evaluate("navigator.clipboard.readText()").splitlines()]
    assert sorted(copied) == list(range(20, 120))
    page.click("#device-pause")
    shared.pass_time(SECOND)
    expect(frames.first).to_contain_text('"data":120')
    expect(frames).to_have_count(100)


def test_a_frame_that_two_sockets_bring_is_listed_once(shared: DevicePanel) -> None:
    """With the names of both; a frame that one of them brings twice is listed twice."""
    page = shared.page
    shared.console.show("devices/acme/doubled")
    frame = device("temp", 1, device_id="doubled")
    shared.send(frame, frame)
    shared.send(frame, on="combined")
    items = page.locator("#device-frames li")
    expect(items).to_have_count(2)
    expect(items.locator("span")).to_have_text(["Tenant", "Tenant, Combined feed"])


def test_its_sockets_address_can_be_copied(shared: DevicePanel) -> None:
    """With one press."""
    shared.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = shared.page
    shared.console.show("devices/acme/d1")
    page.click("#device-url-copy")
    expect(page.locator("#device-url-copied")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#device-url").text_content()


def test_the_way_back_leads_to_the_same_place(filled: DevicePanel) -> None:
    """The focus goes to the device's name and back to its link, and the table stands where it stood."""
    page = filled.page
    scroll(filled, 9_000)
    top = region(filled).evaluate("region => region.scrollTop")
    before = region(filled).evaluate(IN_VIEW)
    rows(filled).locator("a", has_text=before[5]).click()
    expect(page.locator("#device-name")).to_be_focused()
    page.get_by_role("link", name="All devices").click()
    expect(page.locator("#devices-rows a:focus")).to_have_text(before[5])
    assert region(filled).evaluate("region => region.scrollTop") == top
    assert region(filled).evaluate(IN_VIEW) == before


# -- with a real Hermes ---------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_rows_update_in_place(console: Console) -> None:
    """The values change without a click."""
    console.open("devices")
    table = console.page.locator("#devices-rows tr")
    expect(table.nth(12)).to_be_visible()
    first = table.first
    named, whole = first.locator("a").inner_text(), first.inner_text()
    expect(first).not_to_have_text(whole, use_inner_text=True)
    assert first.locator("a").inner_text() == named
