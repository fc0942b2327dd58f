"""The drills in a real Chromium against a real Hermes: each causes its fault, and is judged by what came of it."""

import re

from playwright.sync_api import WebSocketRoute, expect

from tests.support.consoles import Console
from tests.support.gateways import KEY, token

# name, what its outcome must say
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
}
OUTCOME_TIMEOUT_MS = 60_000
WATCH = """() => {
  const watch = new MutationObserver(() => { window.moved = true; });
  for (const card of document.querySelectorAll('form.socket')) watch.observe(card, { attributeFilter: ['data-state'] });
}"""


def run(console: Console, name: str) -> None:
    """Press its button."""
    console.page.locator(f"[data-drill={name}]").get_by_role("button").click()


def expect_verdict(console: Console, name: str, verdict: str, words: str) -> None:
    """Wait for its outcome."""
    card = console.page.locator(f"[data-drill={name}]")
    expect(card.locator(".verdict")).to_be_visible(timeout=OUTCOME_TIMEOUT_MS)
    expect(card.locator(".outcome")).to_contain_text(re.compile(words))
    expect(card).to_have_attribute("data-verdict", verdict)


def test_all_drills_pass_with_their_figures(console: Console) -> None:
    """On a sound Hermes, one after the other; the page's own sockets stay as they are, whatever happens."""
    console.open("drills")
    console.expect_all_open()
    page = console.page
    page.evaluate(WATCH)
    page.click("#drills-all")
    expect(page.locator("#drills-all")).to_be_disabled()
    for name, words in DRILLS.items():
        expect_verdict(console, name, "good", words)
        figures = page.locator(f"[data-drill={name}] dd").all_inner_texts()
        assert figures
        assert all(re.search(r"\d", figure) for figure in figures)
    expect(page.locator("#drills-score")).to_have_text(f"{len(DRILLS)} of {len(DRILLS)} passed")
    assert page.evaluate("window.moved") is None
    expect(page.locator("#drills-list button:enabled")).to_have_count(len(DRILLS))


def test_a_client_that_cannot_return_fails_its_drill(console: Console) -> None:
    """The verdict says what did not come, and in which time."""
    refusing = False

    def pass_on_at_first(socket: WebSocketRoute) -> None:
        if refusing:
            socket.close(code=1013, reason="server_full;retry_ms=60000")
        else:
            socket.connect_to_server()

    console.page.route_web_socket(re.compile(r"/ws/notifications$"), pass_on_at_first)
    console.open("drills")
    console.expect_all_open()
    console.page.clock.install()
    refusing = True
    run(console, "drop")
    card = console.page.locator("[data-drill=drop]")
    expect(card).to_have_attribute("data-verdict", "running")
    console.page.clock.run_for(15_000)
    expect_verdict(console, "drop", "bad", "not within 10 s: the socket of the drill is open")


def test_a_lost_notification_fails_the_burst(console: Console) -> None:
    """The server says that all were taken; one never arrives."""

    def lose_one(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        seen = 0

        def pass_on(message: str | bytes) -> None:
            nonlocal seen
            seen += "notifications" in str(message)
            if seen != 50 or "notifications" not in str(message):
                socket.send(message)

        server.on_message(pass_on)

    console.page.route_web_socket(re.compile(r"/ws/notifications$"), lose_one)
    console.open("drills")
    run(console, "burst")
    expect_verdict(console, "burst", "bad", "100 notifications")
    expect(console.page.locator("[data-drill=burst] dd").first).to_have_text("1")


def test_in_production_only_the_pages_own_drills_run(production_console: Console) -> None:
    """With the user's token and the operator's key; those of the server are marked, and cannot be pressed."""
    console = production_console
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
    expect_verdict(console, "burst", "good", DRILLS["burst"])
