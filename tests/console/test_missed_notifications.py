"""What the console shows of notifications that were sent while its page was closed, in a real Chromium."""

from collections.abc import Iterator
from functools import partial

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.axe import axe_script, violations
from tests.support.consoles import PROFILE, TIMEOUT_MS, Console
from tests.support.inbox_senders import request, send, token_of
from tests.support.programs import Program

pytestmark = pytest.mark.browser

SPY = """
window.shown = []; window.closed_ = []; window.badges = [];
window.Notification = class {
  static permission = 'granted';
  constructor(title, options) { window.shown.push(title); this.title = title; this.tag = options.tag; }
  close() { window.closed_.push(this.title); }
};
navigator.setAppBadge = async (count) => { window.badges.push(count); };
"""
ICON = "document.querySelector('link[rel=icon]').getAttribute('href')"


@pytest.fixture
def contexts(browser: Browser) -> Iterator[tuple[BrowserContext, BrowserContext]]:
    """Two devices."""
    made = browser.new_context(**PROFILE), browser.new_context(**PROFILE)
    for each in made:
        each.set_default_timeout(TIMEOUT_MS)
        each.add_init_script(SPY)
    yield made
    for each in made:
        each.close()


def open_console(context: BrowserContext, program: Program, user: str) -> Console:
    """Open the console with a token of this user; its sockets are open."""
    console = Console(context.new_page(), f"{program.url}/")
    console.watch()
    console.hold_long_timers()
    console.page.add_init_script(axe_script())
    console.page.add_init_script(f"sessionStorage.setItem('hermes.token', '{token_of(program, user)}')")
    console.open("notifications")
    for name in ("notifications", "combined"):
        console.card(name).expect_state("open")
    return console


def has_closed(page: Page, titles: list[str]) -> bool:
    """Return whether these browser notifications were closed, and no others."""
    return bool(page.evaluate("closed_") == titles)


@pytest.mark.smoke
def test_the_console_shows_one_message_for_all_that_was_missed(
    contexts: tuple[BrowserContext, BrowserContext], inbox_server: Program
) -> None:
    """The history has each; neither a toast nor a browser notification for each one."""
    user = "console"
    open_console(contexts[0], inbox_server, user).page.close()
    five = [f"n{number}" for number in range(5)]
    send(inbox_server, user, *five)
    console = open_console(contexts[0], inbox_server, user)
    page = console.page
    expect(page.locator("#history > li strong")).to_have_text([*reversed(five)])
    expect(page.locator("#toasts > *")).to_have_count(1)
    expect(page.locator("#toasts strong")).to_have_text("5 notifications while this page was away")
    assert page.evaluate("shown") == ["5 notifications while this page was away"]
    expect(page).to_have_title("(5) Hermes console")
    console.wait_until(lambda: page.evaluate("badges") == [5])
    assert page.evaluate(ICON) == "static/icons/favicon-unread.svg"
    assert violations(page) == []
    page.locator("#toasts").get_by_role("button", name="Close").click()
    expect(page.locator("#toasts > *")).to_have_count(0)
    page.reload()
    expect(page.locator("#history > li")).to_have_count(5)
    for name in ("notifications", "combined"):
        console.card(name).expect_state("open")
    assert page.locator("#toasts > *").count() == 0
    assert console.unexpected == []


def test_read_on_one_device_is_read_on_the_other(
    contexts: tuple[BrowserContext, BrowserContext], inbox_server: Program
) -> None:
    """Its messages close there, and the count follows; what is withdrawn or has expired disappears."""
    user = "devices"
    one, other = (open_console(context, inbox_server, user) for context in contexts)
    send(inbox_server, user, "a", "b", "c", type="warning")
    for console in (one, other):
        expect(console.page.locator("#toasts strong")).to_have_text(["a", "b", "c"])
        expect(console.page).to_have_title("(3) Hermes console")
    one.page.locator("#history").get_by_role("button", name="Acknowledge a").click()
    for console in (one, other):
        expect(console.page.locator("#history > li", has_text="acknowledged").locator("strong")).to_have_text(["a"])
        expect(console.page.locator("#toasts strong")).to_have_text(["b", "c"])
        expect(console.page.locator("#notifications-badge")).to_have_text("2")
        console.wait_until(partial(has_closed, console.page, ["a"]))
    request(inbox_server, "DELETE", f"/notify?id=b&user_id={user}")
    for console in (one, other):
        expect(console.page.locator("#history > li strong")).to_have_text(["c", "a"])
        expect(console.page.locator("#toasts strong")).to_have_text(["c"])
        console.wait_until(partial(has_closed, console.page, ["a", "b"]))
    send(inbox_server, user, "short", type="warning", ttl_s=2)
    send(inbox_server, user, "last", type="warning")
    for console in (one, other):
        expect(console.page.locator("#history > li strong")).to_have_text(["last", "c", "a"])
        expect(console.page.locator("#toasts strong")).to_have_text(["c", "last"])
    one.page.click("#history-ack-all")
    for console in (one, other):
        expect(console.page).to_have_title("Hermes console")
        expect(console.page.locator("#notifications-badge")).to_be_hidden()
        assert console.page.evaluate(ICON) == "static/icons/favicon.svg"
        assert console.unexpected == []
