"""Navigation, language, theme and size of the console's page, in a real Chromium."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.support.consoles import PANELS, Console, console_in
from tests.support.programs import Program

pytestmark = pytest.mark.browser

WEIGHT_MAX_BYTES = 110 * 1_024
WEIGHT = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter(({ initiatorType }) => initiatorType !== 'fetch').reduce((sum, each) => sum + each.transferSize, 0)"""
LATE_SCRIPTS = """performance.getEntriesByType('resource')
  .filter(({ name, initiatorType }) => name.endsWith('.js') && initiatorType === 'script')
  .map(({ name }) => new URL(name).pathname).filter((path) => path !== '/static/console/main.js')"""
ON_DEMAND = [
    f"/static/console/{name}.js"
    for name in (
        "device-page/device-page",
        "drills/drills-panel",
        "inbox/inbox-panel",
        "log/log-panel",
        "token-inspector/token-inspector-panel",
    )
]
TABS_MAX = 200
PREFETCH_AFTER_MS = 20_000
NEXT_FRAME = (
    "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"  # the page has handled a scroll
)
NOT_COVERED = """() => {
  const { left, right } = document.querySelector('#panels [aria-current]').getBoundingClientRect();
  const arrows = [...document.querySelectorAll('.more')].filter((each) => each.checkVisibility());
  const edges = arrows.map((each) => each.getBoundingClientRect());
  return left >= 0 && right <= innerWidth && edges.every((edge) => edge.right <= left + 1 || edge.left >= right - 1);
}"""
BLOCKED_STORAGE = """const at = [[window, 'sessionStorage'], [window, 'localStorage'], [Document.prototype, 'cookie']];
for (const [owner, name] of at) {
  const refuse = () => { throw new DOMException('Access is denied for this document.', 'SecurityError'); };
  Object.defineProperty(owner, name, { get: refuse, set: refuse });
}"""


@pytest.fixture(scope="module")
def opened_console(shared_browser: Browser, dev: Program) -> Iterator[Console]:
    """One page for all tests that only read it and change the panel."""
    with console_in(shared_browser, dev) as console:
        console.open()
        console.expect_all_open()
        yield console


@pytest.fixture
def opened(opened_console: Console) -> Iterator[Console]:
    """The same page for one test; a fault in the page fails the test."""
    yield opened_console
    assert opened_console.unexpected == []


@pytest.mark.smoke
def test_each_panel_is_a_link_that_shows_it_alone(console: Console) -> None:
    """The focus goes to its heading, the tab's title names it, and the way back works."""
    console.open()
    page = console.page
    for panel in PANELS[1:]:
        page.click(f"nav a[href='#{panel}']")
        expect(page.locator(f"#{panel}")).to_be_visible()
        assert page.locator("main > section:visible").count() == 1
        expect(page.locator(f"#{panel}-title")).to_be_focused()
        expect(page.locator("nav [aria-current]")).to_have_attribute("href", f"#{panel}")
        assert page.title().endswith("Hermes console")
    page.go_back()
    expect(page.locator("#drills")).to_be_visible()
    page.reload()
    expect(page.locator("#drills")).to_be_visible()


def test_a_page_without_storage_works_and_says_what_it_loses(console: Console) -> None:
    """Browsers throw when a page may not store anything."""
    console.page.add_init_script(BLOCKED_STORAGE)
    console.open()
    console.expect_all_open()
    expect(console.page.locator("#storage-banner")).to_contain_text("blocks storage")
    console.page.select_option("#theme", "dark")
    expect(console.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_fragment_that_is_no_panel_shows_the_first(console: Console) -> None:
    """An old bookmark does not show a blank page."""
    console.open("nothing/here")
    expect(console.page.locator("#overview")).to_be_visible()


def test_the_skip_link_leads_to_the_panel_and_changes_nothing(opened: Console) -> None:
    """With the keyboard only."""
    opened.show("log")
    page = opened.page
    page.locator(".skip").focus()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#log")).to_be_visible()


def test_every_panel_can_be_reached_and_left_by_keyboard(opened: Console) -> None:
    """Tab moves through a panel to the end of the page and then starts again; nothing traps the focus."""
    page = opened.page
    for panel in PANELS:
        page.locator(f"nav a[href='#{panel}']").focus()
        page.keyboard.press("Enter")
        expect(page.locator(f"#{panel}")).to_be_visible()
        for _ in range(TABS_MAX):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('.skip')"):
                break
        else:
            pytest.fail(f"{panel}: Tab never comes round")


def scroll_while_visible(console: Console, arrow: str) -> None:
    """Press an arrow until it has scrolled the row to its end and disappears."""
    row = console.page.locator("#panels")
    while console.page.locator(arrow).is_visible():
        at = row.evaluate("row => row.scrollLeft")
        console.page.click(arrow)
        console.wait_until(lambda at=at: row.evaluate("row => row.scrollLeft") != at)  # type: ignore[misc]
        console.page.evaluate(NEXT_FRAME)


def test_on_a_phone_arrows_show_that_there_are_more_panels(opened: Console) -> None:
    """They scroll the row of names, and disappear at its ends; the name of the current panel is never behind one."""
    page = opened.page
    before, after = page.locator("#panels-before"), page.locator("#panels-after")
    try:
        for width, spare in ((1280, True), (390, False)):
            page.set_viewport_size({"width": width, "height": 844})
            opened.show("overview")
            page.evaluate("document.querySelector('#panels').scrollLeft = 0")
            expect(before).to_be_hidden()
            expect(after).to_be_hidden() if spare else expect(after).to_be_visible()
        scroll_while_visible(opened, "#panels-after")
        expect(before).to_be_visible()
        expect(page.locator("#panels a").last).to_be_in_viewport(ratio=1)
        for panel in (*PANELS[::-1], *PANELS):
            opened.show(panel)
            page.wait_for_function(NOT_COVERED)
        opened.show("log")
        scroll_while_visible(opened, "#panels-before")
        expect(page.locator("#panels a").first).to_be_in_viewport(ratio=1)
    finally:
        page.set_viewport_size({"width": 1280, "height": 720})


@pytest.mark.smoke
def test_the_language_is_chosen_and_remembered(console: Console) -> None:
    """In a cookie; the server renders the page with it, so that the page does not flash."""
    console.open("connect")
    page = console.page
    expect(page.locator("#connect-title")).to_have_text("Connect")
    with page.expect_navigation():
        page.select_option("#language", "es")
    expect(page.locator("#connect-title")).to_have_text("Conexión")
    assert page.get_attribute("html", "lang") == "es"
    console.expect_all_open()
    expect(page.locator("[data-socket=tenant] .label")).to_have_text("abierto")
    page.reload()
    expect(page.locator("#connect-title")).to_have_text("Conexión")


def test_the_browsers_language_is_the_default(browser: Browser, dev: Program) -> None:
    """Without any choice."""
    with console_in(browser, dev, locale="es-ES") as console:
        console.open()
        expect(console.page.locator("#overview-title")).to_have_text("Resumen")


def test_the_theme_is_chosen_and_remembered(console: Console) -> None:
    """Instead of the system's theme, at once and after a reload."""
    console.page.emulate_media(color_scheme="light")
    console.open()
    page = console.page
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    console.dress("dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    console.dress("auto")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


@pytest.mark.smoke
def test_the_first_load_of_the_page_is_small(console: Console) -> None:
    """Size on the network, with headers."""
    console.open()
    console.expect_all_open()
    assert 40_000 < console.page.evaluate(WEIGHT) < WEIGHT_MAX_BYTES


def test_every_script_of_the_first_load_is_requested_by_the_page_itself(console: Console) -> None:
    """So that the browser does not wait for one script to request the next."""
    console.open()
    console.expect_all_open()
    assert console.page.evaluate(LATE_SCRIPTS) == []


def test_a_panel_that_cannot_be_loaded_says_so(console: Console) -> None:
    """Its scripts are loaded when it is first shown; the next time it may work."""
    console.expected = ("net::ERR_FAILED", "Failed to load resource")
    page = console.page
    page.route("**/drills/*.js", lambda route: route.abort())
    console.open("drills")
    expect(page.get_by_role("alert")).to_contain_text("could not be loaded: Hermes is not reachable")
    page.unroute("**/drills/*.js")
    console.show("overview")
    console.show("drills")
    expect(page.locator("#drills-list > li")).not_to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_panels_are_loaded_before_an_outage_can_prevent_it(console: Console) -> None:
    """Some time after the page, although none of them was shown."""
    requested: list[str] = []
    console.page.on("request", lambda request: requested.append(urlsplit(request.url).path))
    console.stop_clock()
    console.open()
    console.expect_all_open()
    assert not {*ON_DEMAND} & {*requested}
    console.page.clock.fast_forward(PREFETCH_AFTER_MS)
    console.wait_until(lambda: {*ON_DEMAND} <= {*requested})


@pytest.mark.smoke
def test_in_production_the_page_contains_no_secret_and_no_dev_function(production_console: Console) -> None:
    """Neither token nor key; nothing connects by itself, no server fault can be caused, no token can be signed."""
    console = production_console
    console.open("connect")
    page = console.page
    expect(page.locator("#hermes-status-light .label")).to_have_text("reachable")
    assert "eyJ" not in page.content()
    for selector in ("#token-value", "#key-value"):
        assert page.input_value(selector) == ""
    for name in ("notifications", "tenant", "device", "combined"):
        assert page.locator(f"form[data-socket={name}] .label").inner_text() == "closed"
    assert page.locator("#dev-badge").is_hidden()
    console.show("token-inspector")
    assert page.locator("#inspector-sign").is_hidden()
    console.show("drills")
    assert page.locator("#drills button:enabled").count() == 0
    console.show("overview")
    expect(page.locator("#overview-hint")).to_contain_text("need the API key")
    assert page.locator("#node-charts").is_hidden()


@pytest.mark.smoke
def test_token_and_key_are_stored_for_this_tab_only(production_console: Console) -> None:
    """They survive a reload; neither a cookie nor another tab contains them."""
    console = production_console
    console.open("connect")
    page = console.page
    page.fill("#key-value", "a key of the user's")
    page.locator("#key-value").blur()
    page.reload()
    expect(page.locator("#key-value")).to_have_value("a key of the user's")
    assert page.evaluate("JSON.stringify({...localStorage}) + document.cookie").find("a key") == -1
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#key-value")).to_have_value("")
    console.expected = ("401",)
    console.show("overview")
    expect(page.locator("#overview-hint")).to_contain_text("rejects this API key")


def test_without_scripts_the_page_shows_that_it_needs_them(browser: Browser, dev: Program) -> None:
    """It does not show a loading state forever."""
    with console_in(browser, dev, java_script_enabled=False) as console:
        console.open()
        expect(console.page.locator("noscript p")).to_have_text(re.compile("needs JavaScript"))
