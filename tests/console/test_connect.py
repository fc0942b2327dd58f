"""The four sockets side by side, in a real Chromium against a real Hermes that is stopped, killed and full."""

import base64
import json
import re
import signal
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.support.consoles import SOCKETS, Console, console_in, notify
from tests.support.gateways import token
from tests.support.programs import Program, free_port, hermes, metric, wait_until

pytestmark = pytest.mark.browser

PAINT_EVERY_MS = 250
TOPS = """part => [...document.querySelectorAll(`form.socket`)]
  .map((card) => card.querySelector(`:scope > ${part}`).getBoundingClientRect().top)"""
STATUS_EVERY_MS = 1_000  # interval at which the page requests the status of Hermes
BACKOFF_MAX_MS = 30_000


@pytest.mark.smoke
def test_dev_opens_all_four_sockets_and_their_figures_move(console: Console) -> None:
    """Frames are counted without a click."""
    console.open("connect")
    console.expect_all_open()
    figures = [console.page.locator(f"[data-socket=tenant] .{name}") for name in ("frames", "bytes")]
    before = [each.inner_text() for each in figures]
    for each, text in zip(figures, before, strict=True):
        expect(each).not_to_have_text(text)
        expect(each).to_have_text(re.compile(r"^[\d,]+ / [\d,]+$"))
    for name in SOCKETS:
        expect(console.page.locator(f"[data-socket={name}] .rtt")).to_have_text(re.compile(r"^[\d.]+ ms$"))
        expect(console.page.locator(f"[data-socket={name}] .tries")).to_have_text("1")


@pytest.mark.smoke
def test_a_ping_is_answered_and_drawn(console: Console) -> None:
    """At any time, in addition to the pings of the heartbeat."""
    console.stop_clock()
    console.open("connect")
    console.expect_all_open()
    line = console.page.locator("[data-socket=combined] .rtt-chart .line")

    def points() -> int:
        number: int = line.evaluate("path => (path.getAttribute('d') ?? '').split(/[ML]/).length - 1")
        return number

    console.move_clock_until(lambda: points() == 1, PAINT_EVERY_MS)
    for count in (2, 3):
        console.page.locator("[data-socket=combined] .ping").click()
        console.move_clock_until(lambda count=count: points() == count, PAINT_EVERY_MS)  # type: ignore[misc]


KEEP_CLOSES = """
window.closes = [];
const close = document.querySelector('[data-socket=tenant] .close');
new MutationObserver(() => closes.push(close.textContent)).observe(close, { childList: true });
"""


@pytest.mark.smoke
def test_a_restart_reconnects_every_socket_without_a_reload(browser: Browser, tmp_path: Path) -> None:
    """With a countdown and the attempt meanwhile; after an orderly stop and after a crash."""
    words = ("serve", "--dev", "--mqtt-url", "off", "--inbox", "off", "--port", str(free_port()))

    def serve() -> AbstractContextManager[Program]:
        return hermes(*words, XDG_STATE_HOME=str(tmp_path))

    with serve() as first, console_in(browser, first) as console:
        console.expected = ("net::ERR_", "WebSocket connection to")
        console.stop_clock()
        console.open("connect")
        console.page.fill("[data-socket=device] input", "hall/lamp")
        console.page.locator("[data-socket=device] .toggle").click()
        console.expect_all_open()
        console.page.evaluate("window.untouched = true")
        stop(console, first, signal.SIGTERM, "1001")
        with serve() as second:
            expect_reconnected(console, second, times=2)
            stop(console, second, signal.SIGKILL, "1006")
        with serve() as third:
            expect_reconnected(console, third, times=3)
            assert console.page.evaluate("window.untouched") is True


def stop(console: Console, program: Program, number: signal.Signals, close: str) -> None:
    """End the server, and wait until every card counts down to its next attempt."""
    console.page.evaluate(KEEP_CLOSES)
    program.end(number)
    console.move_clock_until(console.shows_unreachable, STATUS_EVERY_MS)
    for name in SOCKETS:
        note = console.page.locator(f"[data-socket={name}] .note")
        expect(note).to_have_text(re.compile(r"attempt [1-9]\d* in [\d.]+ s"))
    assert close in console.page.evaluate("closes[0]")


def expect_reconnected(console: Console, program: Program, times: int) -> None:
    """After the longest back-off every socket is open, and brings notifications."""
    assert program.url
    console.page.clock.fast_forward(BACKOFF_MAX_MS)
    console.expect_all_open()
    expect(console.page.locator("[data-socket=tenant] .tries")).to_have_text(f"{times}")
    notify(program, title=f"After restart {times}")
    expect(console.page.locator("#toasts > *", has_text=f"After restart {times}")).to_be_visible()


@pytest.mark.smoke
def test_a_full_server_is_retried_after_its_delay_or_at_once_on_a_click(console: Console) -> None:
    """The page shows and uses the server's retry_ms, explains the close, and counts repeated errors."""

    def refuse(socket: WebSocketRoute) -> None:
        socket.close(code=1013, reason="server_full;retry_ms=20000")

    console.page.route_web_socket(re.compile(r"/ws/tenant/[^/]*$"), refuse)
    console.stop_clock()
    console.open("connect")
    page = console.page
    note = page.locator("[data-socket=tenant] .note")
    expect(note).to_have_text("attempt 1 in 20.0 s")
    expect(page.locator("[data-socket=tenant] .close")).to_contain_text("Hermes has reached its limit")
    page.locator("[data-socket=tenant] .now").click()
    expect(note).to_contain_text("attempt 2")
    expect(page.locator("#errors li").first).to_contain_text("Tenant: 1013 server_full: Hermes has reached its limit")
    expect(page.locator("#errors li").first).to_contain_text("(2 times)")


@pytest.mark.smoke
def test_a_refused_token_is_not_retried_until_it_is_replaced(production_console: Console, production: Program) -> None:
    """1008 stops the socket and its reason is shown; a valid token opens all sockets."""
    console, page = production_console, production_console.page
    refused = 'hermes_sockets_refused_total{reason="token_invalid"}'
    before = metric(production, refused)
    console.stop_clock()
    console.open("connect")
    page.fill("[data-socket=tenant] input", "acme")
    page.fill("[data-socket=device] input", "d1")
    page.fill("#token-value", token(secret="another secret, also longer than thirty-two bytes"))
    page.get_by_role("button", name="Connect all", exact=True).click()
    for name in SOCKETS:
        console.card(name).expect_state("refused")
        assert "token" in console.card(name).part(".note")
    count = metric(production, refused)
    assert 4 <= count - before <= 8
    page.clock.fast_forward(BACKOFF_MAX_MS)
    assert page.locator("form[data-state=refused]").count() == len(SOCKETS)
    assert metric(production, refused) == count
    page.fill("#token-value", token(tenant_id="acme"))
    page.get_by_role("button", name="Connect all", exact=True).click()
    console.expect_all_open()


def test_a_socket_without_its_id_is_not_opened(production_console: Console) -> None:
    """The field of the id gets the focus."""
    console = production_console
    console.open("connect")
    page = console.page
    page.fill("#token-value", token(tenant_id="acme"))
    page.locator("[data-socket=device] .toggle").click()
    expect(page.locator("[data-socket=device] .note")).to_have_text("enter a device id first")
    expect(page.locator("[data-socket=device] input")).to_be_focused()
    assert page.get_attribute("form[data-socket=device]", "data-state") is None


def test_the_counts_continue_after_a_disconnect_and_a_connect(console: Console) -> None:
    """Only this socket disconnects."""
    console.open("connect")
    console.expect_all_open()
    page = console.page
    frames = page.locator("[data-socket=combined] .frames")
    expect(frames).to_have_text(re.compile(r"^\d\d+ /"))
    page.locator("[data-socket=combined] .toggle").click()
    console.card("combined").expect_state("closed")
    count = int(frames.inner_text().split()[0])
    assert count >= 10
    page.locator("[data-socket=combined] .toggle").click()
    console.card("combined").expect_state("open")
    wait_until(lambda: int(frames.inner_text().replace(",", "").split()[0]) > count)
    console.expect_all_open()


def test_the_rows_of_the_cards_are_aligned(browser: Browser, dev: Program) -> None:
    """Each part of a card begins at the height of the same part of its neighbours, in both languages."""
    for language in ("en-GB", "es-ES"):
        with console_in(browser, dev, locale=language, viewport={"width": 1280, "height": 900}) as console:
            console.open("connect")
            console.expect_all_open()
            for part in (
                "h3",
                ".purpose",
                ".state",
                "dl",
                *(f"dl > :nth-child({number})" for number in range(1, 6)),
                ".rtt-chart",
                ".buttons",
            ):
                tops = console.page.evaluate(TOPS, part)
                assert len(tops) == 4
                assert max(tops) - min(tops) < 1, (language, part, tops)


def test_all_tenants_are_offered_to_superusers_only(console: Console, dev: Program) -> None:
    """As the claims of the token say; the devices of every tenant are in one table, with a column for it."""
    page = console.page
    console.open("connect")
    console.expect_all_open()
    card = page.locator("form[data-socket=tenants]")
    expect(card).to_have_count(0)
    expect(page.locator("[data-tile=tenants]")).to_have_count(0)
    page.select_option("#token-picker", label="root (user 1, tenant acme, superuser)")
    expect(card).to_be_visible()
    card.locator(".toggle").click()
    console.card("tenants").expect_state("open")
    console.show("devices")
    page.fill("#devices-filter", "globex")
    rows = page.locator("#devices-rows tr")
    expect(rows.locator(".tenant").first).to_have_text("globex")
    rows.locator("a", has_text="climate-01").first.click()
    expect(page.locator("#device-url")).to_have_text(re.compile(r"/ws/device/climate-01\?tenant_id=globex$"))
    expect(page.locator("#device-series")).to_contain_text("ppm")
    console.show("overview")
    expect(page.locator("[data-tile=tenants]")).to_be_visible()
    expect(page.locator("#page-charts .key", has_text="All tenants")).to_be_visible()
    console.show("connect")
    page.select_option("#token-picker", label="luis (user 456, tenant globex)")
    expect(card).to_have_count(0)
    wait_until(lambda: metric(dev, 'hermes_sockets_open{route="/ws/tenants"}') == 0)
    console.expect_all_open()


def test_a_large_tenant_id_keeps_its_digits(production_console: Console) -> None:
    """As a number it would be another tenant's."""
    console = production_console
    console.open("connect")
    console.page.fill("#token-value", token(tenant_id=9_007_199_254_740_993))
    console.page.locator("#token-value").blur()
    expect(console.page.locator("[data-socket=tenant] input")).to_have_value("9007199254740993")
    expect(console.page.locator("#token-summary")).to_contain_text("tenant 9007199254740993")


def test_token_and_key_are_hidden_until_a_click_shows_them(console: Console) -> None:
    """So that people near the screen cannot read them."""
    console.open("connect")
    page = console.page
    assert page.get_attribute("#token-value", "type") == "password"
    page.click("#token-show")
    for field in ("#token-value", "#key-value"):
        assert page.get_attribute(field, "type") == "text"
    expect(page.locator("#token-show")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#token-summary")).to_have_text(re.compile(r"User 123 \(ana\), tenant acme, expires"))


def test_an_id_is_stored_for_the_tab(production_console: Console) -> None:
    """It survives a reload and a change of language; the tenant of a new token replaces it."""
    console = production_console
    console.open("connect")
    page = console.page
    fields = {name: page.locator(f"form[data-socket={name}] input") for name in ("tenant", "device")}
    for name, field in fields.items():
        field.fill(f"my-{name}")
        field.press("Enter")
    page.reload()
    for name, field in fields.items():
        expect(field).to_have_value(f"my-{name}")
    page.fill("#token-value", token(tenant_id="acme"))
    page.locator("#token-value").blur()
    expect(fields["tenant"]).to_have_value("acme")
    expect(fields["device"]).to_have_value("my-device")


def test_when_a_focused_button_disappears_the_focus_stays_in_its_card(console: Console) -> None:
    """Otherwise the Tab key would start again at the top of the page."""
    console.open("connect")
    console.expect_all_open()
    page = console.page
    page.locator("form[data-socket=tenant] .ping").focus()
    page.evaluate("document.querySelector('#disconnect-all').click()")
    expect(page.locator("form[data-socket=tenant] .ping")).to_be_hidden()
    expect(page.locator("form[data-socket=tenant] .toggle")).to_be_focused()


def test_the_claims_of_a_token_are_summarized(production_console: Console) -> None:
    """The summary shows its user and expiry, from its claims, without a request to Hermes."""
    console = production_console
    console.open("connect")
    field, summary = console.page.locator("#token-value"), console.page.locator("#token-summary")
    for given, text in {
        token(): "User 123 (ana), no tenant, never expires.",
        token(tenant_id="acme", is_superuser=True): "tenant acme, superuser",
        token(exp=1_700_000_000): "EXPIRED",
        token(exp=32_503_680_000): "expires",
        unsigned(exp="soon"): "its expiry is not a number",
        "rubbish": "This is not a JWT.",
    }.items():
        field.fill(given)
        field.blur()
        expect(summary).to_contain_text(text)


def unsigned(**claims: object) -> str:
    """Return a token with claims that a library would refuse to sign."""
    parts = ({"alg": "HS256"}, {"user_id": "123", "username": "ana"} | claims)
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.c2lnbmF0dXJl"


def test_another_ready_token_moves_all_sockets(console: Console) -> None:
    """They reopen with the new token, and the fields show its tenant."""
    console.open("connect")
    console.expect_all_open()
    page = console.page
    page.select_option("#token-picker", label="luis (user 456, tenant globex)")
    expect(page.locator("[data-socket=tenant] input")).to_have_value("globex")
    expect(page.locator("[data-socket=tenant] .tries")).to_have_text("2")
    console.expect_all_open()
