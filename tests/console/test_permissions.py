"""What the API key of the user may do, in a real Chromium: shown, and the rest greyed out."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.consoles import Console, console_in
from tests.support.gateways import SECRET, token
from tests.support.programs import Program, hermes

pytestmark = pytest.mark.browser

NOTIFIER, MONITOR, ACME = "key-of-the-notifier", "key-of-prometheus", "key-of-the-tenant-acme"
FILE = f"notifier {NOTIFIER} notify\nprometheus {MONITOR} metrics,status\nacme {ACME} notify tenant=acme\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Hermes with restricted keys."""
    keys = tmp_path_factory.mktemp("keys") / "api-keys"
    keys.write_text(FILE)
    arguments = ("serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(keys))
    with hermes(*arguments, HERMES_JWT_SECRET=SECRET) as running:
        yield running


@pytest.fixture
def console(browser: Browser, program: Program) -> Iterator[Console]:
    """Its console, with the token of a user; nothing that the key may not do is asked of Hermes."""
    with console_in(browser, program) as opened:
        opened.open("connect")
        opened.page.fill("#token-value", token(tenant_id="acme"))
        opened.page.locator("#token-value").blur()
        yield opened


def enter(console: Console, key: str) -> None:
    """Enter a key on the panel *Connect*."""
    console.show("connect")
    console.page.fill("#key-value", key)
    console.page.locator("#key-value").blur()


def test_a_key_without_status_shows_no_figures(console: Console) -> None:
    """The page says why, and sends none of the requests that Hermes would refuse."""
    page = console.page
    enter(console, NOTIFIER)
    expect(page.locator("#key-summary")).to_have_text("Key notifier, may: notify.")
    console.show("overview")
    expect(page.locator("#overview-hint .text")).to_contain_text("notifier does not have the scope status")
    expect(page.locator("#node-totals")).to_be_hidden()
    console.show("notifications")
    expect(page.locator("#notify-permission")).to_be_empty()
    page.fill("#notify [name=addressee]", "123")
    page.click("#notify [type=submit]")
    expect(page.locator("#notify-answer")).to_contain_text('"status":"success"')


@pytest.mark.smoke
def test_a_key_without_notify_cannot_send(console: Console) -> None:
    """The form and the drill that sends are greyed out; with another key they work again."""
    page = console.page
    enter(console, MONITOR)
    expect(page.locator("#key-summary")).to_have_text("Key prometheus, may: metrics, status.")
    console.show("notifications")
    button = page.locator("#notify [type=submit]")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#notify-permission")).to_contain_text("does not have the scope notify")
    button.click(force=True)
    expect(page.locator("#notify-answer")).to_be_empty()
    console.show("drills")
    expect(page.locator("[data-drill=burst] button")).to_be_disabled()
    expect(page.locator("[data-drill=crowd] button")).to_be_enabled()
    expect(page.locator("#drills-limits")).to_contain_text("prometheus may not do everything")
    console.show("overview")
    expect(page.locator("#node-totals")).to_be_visible()
    enter(console, NOTIFIER)
    console.show("notifications")
    expect(button).to_have_attribute("aria-disabled", "false")
    console.show("drills")
    expect(page.locator("[data-drill=burst] button")).to_be_enabled()


def test_the_tenant_of_a_key_is_shown(console: Console) -> None:
    """Where it is entered, and where one sends with it."""
    enter(console, ACME)
    expect(console.page.locator("#key-summary")).to_have_text("Key acme, for tenant acme only, may: notify.")
    console.show("notifications")
    expect(console.page.locator("#notify-permission")).to_have_text("The key acme reaches sockets of tenant acme only.")


def test_a_key_that_hermes_does_not_know_is_named_so(console: Console) -> None:
    """Below its field."""
    console.expected = ("401",)
    enter(console, "wrong-key-of-a-stranger")
    expect(console.page.locator("#key-summary")).to_contain_text("rejects this API key")
    enter(console, "")
    expect(console.page.locator("#key-summary")).to_be_empty()
