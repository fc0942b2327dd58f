"""The fields of the Connect panel in a real Chromium: the click that ends an input still counts."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.consoles import Console
from tests.support.gateways import token

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(console: Console) -> Console:
    """The Connect panel with all sockets open, in a window that shows all of it, so that nothing scrolls."""
    console.page.set_viewport_size({"width": 1280, "height": 1_800})
    console.open("connect")
    console.expect_all_open()
    return console


def press(page: Page, button: Locator) -> None:
    """Move the pointer to the button and hold it down."""
    button.hover()
    page.mouse.down()


def other_token(page: Page) -> str:
    """A token of another user that the server accepts."""
    value = page.locator("#token-picker option").nth(1).get_attribute("value")
    assert value
    return value


def test_a_button_that_moves_while_it_is_pressed_is_clicked(opened: Console) -> None:
    """A new token reconnects the sockets, which shows the banner above; the press on Disconnect still counts."""
    page = opened.page
    opened.expected = ("WebSocket is closed before the connection is established",)  # reconnected, then closed at once
    page.fill("#token-value", other_token(page))
    press(page, page.locator("[data-socket=combined] .toggle"))
    page.mouse.up()
    opened.card("combined").expect_state("closed")
    expect(page.locator("#token-summary")).to_contain_text("User 456")
    for name in ("notifications", "tenant"):
        opened.card(name).expect_state("open")


@pytest.mark.smoke
def test_the_button_acts_on_the_new_value(production_console: Console) -> None:
    """The change is reported before the click: Connect uses the token that was just pasted."""
    console = production_console
    console.open("connect")
    page = console.page
    page.fill("#token-value", token(tenant_id="acme"))
    press(page, page.locator("[data-socket=notifications] .toggle"))
    page.mouse.up()
    console.card("notifications").expect_state("open")


def test_a_press_that_ends_elsewhere_still_reports_the_change(opened: Console) -> None:
    """The pointer is released beside the button: no click, but the new token is in use."""
    page = opened.page
    page.fill("#token-value", other_token(page))
    press(page, page.locator("[data-socket=combined] .toggle"))
    page.mouse.move(5, 500)
    page.mouse.up()
    expect(page.locator("#token-summary")).to_contain_text("User 456")
    opened.card("combined").expect_state("open")
