"""The drills in a real Chromium against a real Hermes: each causes a fault and checks the recovery."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.support.consoles import Console, console_in
from tests.support.gateways import KEY, token
from tests.support.programs import Program, hermes

pytestmark = pytest.mark.browser

# name and the text that its outcome must contain
DRILLS = {
    "drop": "Close seen by the client: 1006",
    "expiry": "Close seen by the client: 1008 token_expired",
    "refresh": "The socket stayed open",
    "error": "Close seen by the client: 1011 internal_error",
    "restart": r"Close seen by the client: 1001 stopping;retry_ms=\d+",
    "pong": "Close seen by the client: 1006",
    "frozen": r"the other socket received \d+ values",
    "broker": "notified of both",
    "storm": "All 200 reconnected",
    "crowd": "All 100 reconnected",
    "burst": "100 notifications in",
    "inbox": "5 notifications sent to the closed client",
}
SHORT = ("drop", "burst", "inbox")
OUTCOME_TIMEOUT_MS = 180_000  # of all drills together; reached only in a test that fails
STEP_MS = 10  # of the page's clock between two checks, so that it runs slower than the real clock
WATCH = """() => {
  const watch = new MutationObserver(() => { window.moved = true; });
  for (const card of document.querySelectorAll('form.socket')) watch.observe(card, { attributeFilter: ['data-state'] });
}"""


@pytest.fixture
def console(browser: Browser, inbox_server: Program) -> Iterator[Console]:
    """The console of a server in --dev without MQTT; the test moves its clock."""
    with console_in(browser, inbox_server) as made:
        made.stop_clock()
        yield made


def run(console: Console, name: str) -> None:
    """Press the button of a drill."""
    console.page.locator(f"[data-drill={name}]").get_by_role("button").click()


def expect_verdict(console: Console, name: str, verdict: str, text: str) -> None:
    """Expect this verdict and text in the outcome of a drill."""
    card = console.page.locator(f"[data-drill={name}]")
    expect(card.locator(".verdict")).to_be_visible()
    expect(card.locator(".outcome")).to_contain_text(re.compile(text))
    expect(card).to_have_attribute("data-verdict", verdict)


def expect_figures(console: Console, name: str) -> None:
    """The text of the outcome contains numbers."""
    figures = console.page.locator(f"[data-drill={name}] dd").all_inner_texts()
    assert figures
    assert all(re.search(r"\d", figure) for figure in figures)


@pytest.mark.smoke
def test_a_drill_passes_with_its_figures(console: Console) -> None:
    """The page's own sockets do not change."""
    console.open("drills")
    for name in ("notifications", "tenant", "combined"):
        console.card(name).expect_state("open")
    console.page.evaluate(WATCH)
    for name in SHORT:
        run(console, name)
        verdict = console.page.locator(f"[data-drill={name}] .verdict")
        console.move_clock_until(verdict.is_visible, STEP_MS)
        expect_verdict(console, name, "good", DRILLS[name])
        expect_figures(console, name)
        expect(verdict).to_have_css("font-weight", "600")  # its style does not come with another panel
    assert console.page.evaluate("window.moved") is None


def test_a_drill_ends_when_the_browser_has_closed_its_sockets(console: Console) -> None:
    """Only then the next one can start: a browser limits the sockets of a page, and those that are closing count."""
    closing: list[WebSocketRoute] = []

    def hold_close(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        socket.on_close(lambda code, reason: closing.append(socket))

    console.page.route_web_socket(re.compile(r"/ws/notifications$"), hold_close)
    console.open("drills")
    run(console, "burst")
    console.move_clock_until(console.page.locator("[data-drill=burst] .verdict").is_visible, STEP_MS)
    console.wait_until(lambda: closing)
    button = console.page.locator("[data-drill=burst] button")
    assert button.is_disabled()
    closing[0].close(code=1000)
    expect(button).to_be_enabled()


def test_all_drills_pass_one_after_the_other(browser: Browser, tmp_path: Path) -> None:
    """One button starts all and a score is shown; the page's own sockets do not change."""
    with (
        hermes("serve", "--dev", "--port", "0", XDG_STATE_HOME=str(tmp_path)) as program,
        console_in(browser, program) as console,
    ):
        console.open("drills")
        console.expect_all_open()
        page = console.page
        page.evaluate(WATCH)
        page.click("#drills-all")
        expect(page.locator("#drills-all")).to_be_disabled()
        expect(page.locator("#drills-score")).not_to_be_empty(timeout=OUTCOME_TIMEOUT_MS)
        for name, text in DRILLS.items():
            expect_verdict(console, name, "good", text)
            expect_figures(console, name)
        expect(page.locator("#drills-score")).to_have_text(f"{len(DRILLS)} of {len(DRILLS)} passed")
        assert page.evaluate("window.moved") is None
        expect(page.locator("#drills-list button:enabled")).to_have_count(len(DRILLS))


def test_a_client_that_cannot_return_fails_its_drill(console: Console) -> None:
    """The verdict names the missing event and the time limit."""
    refusing = False

    def pass_on_at_first(socket: WebSocketRoute) -> None:
        if refusing:
            socket.close(code=1013, reason="server_full;retry_ms=60000")
        else:
            socket.connect_to_server()

    console.page.route_web_socket(re.compile(r"/ws/notifications$"), pass_on_at_first)
    console.open("drills")
    console.card("notifications").expect_state("open")
    refusing = True
    run(console, "drop")
    card = console.page.locator("[data-drill=drop]")
    expect(card).to_have_attribute("data-verdict", "running")
    console.page.clock.run_for(15_000)
    expect_verdict(console, "drop", "bad", "not within 10 s: the socket of the drill is open")


def test_a_lost_notification_fails_the_burst(console: Console) -> None:
    """The server's response is that all were sent; one never arrives."""
    passed_on: list[str | bytes] = []

    def lose_one(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            if "notifications" in str(message):
                passed_on.append(message)
                if len(passed_on) == 50:
                    return
            socket.send(message)

        server.on_message(pass_on)

    console.page.route_web_socket(re.compile(r"/ws/notifications$"), lose_one)
    console.open("drills")
    run(console, "burst")
    console.move_clock_until(lambda: len(passed_on) == 100, STEP_MS)
    console.page.clock.run_for(10_000)
    expect_verdict(console, "burst", "bad", "100 notifications")
    expect(console.page.locator("[data-drill=burst] dd").first).to_have_text("1")


def test_a_row_that_comes_twice_fails_the_drill_of_the_closed_client(console: Console) -> None:
    """One of the five is delivered again."""

    def repeat_second(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        replayed: list[str | bytes] = []

        def pass_on(message: str | bytes) -> None:
            socket.send(message)
            if '"replayed":true' in str(message):
                replayed.append(message)
                if len(replayed) == 2:
                    socket.send(message)

        server.on_message(pass_on)

    console.page.route_web_socket(re.compile(r"/ws/notifications\?since="), repeat_second)
    console.open("drills")
    run(console, "inbox")
    console.move_clock_until(console.page.locator("[data-drill=inbox] .verdict").is_visible, STEP_MS)
    expect_verdict(console, "inbox", "bad", "5 notifications")
    expect(console.page.locator("[data-drill=inbox] dd").nth(2)).to_have_text("1")


@pytest.mark.smoke
def test_in_production_only_the_pages_own_drills_run(production_console: Console) -> None:
    """They use the user's token and the operator's key; the drills of the server are disabled and marked."""
    console = production_console
    console.stop_clock()
    console.open("connect")
    page = console.page
    page.fill("#token-value", token(tenant_id="acme"))
    page.fill("#key-value", KEY)
    page.locator("#key-value").blur()
    console.show("drills")
    expect(page.locator("#drills-limits")).to_contain_text("runs without --dev")
    expect(page.locator("[data-drill=drop] .badge")).to_have_text("server-side fault")
    assert page.locator("[data-drill=drop] button").is_disabled()
    assert page.locator("[data-drill=crowd] button").is_enabled()
    run(console, "burst")
    console.move_clock_until(page.locator("[data-drill=burst] .verdict").is_visible, STEP_MS)
    expect_verdict(console, "burst", "good", DRILLS["burst"])
