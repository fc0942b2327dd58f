"""The log in a real Chromium: every frame in and out, masked tokens, and its cost."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.support.consoles import SOCKETS, Console, console_in, notify
from tests.support.gateways import token
from tests.support.page_sockets import play_sockets, receive
from tests.support.programs import Program, wait_until

pytestmark = pytest.mark.browser

PAINT_EVERY_MS = 200

COUNT_PAINTS = """
window.paints = 0;
new MutationObserver(() => { paints += 1; }).observe(document.querySelector('#log-lines'), { childList: true });
"""

CLOCKS = """
window.clocks = new Map();
const { setInterval: start, clearInterval: stop } = window;
window.setInterval = (run, ms) => {
  const id = start(run, ms);
  clocks.set(id, ms);
  return id;
};
window.clearInterval = (id) => {
  clocks.delete(id);
  stop(id);
};
"""


@pytest.fixture
def log(console: Console) -> Console:
    """The panel, with all sockets open."""
    console.open("log")
    console.expect_all_open()
    return console


@pytest.fixture(scope="module")
def played_log(shared_browser: Browser, quiet: Program) -> Iterator[Console]:
    """The panel; its clock stands, and its sockets receive what the test lets them receive."""
    with console_in(shared_browser, quiet) as console:
        console.stop_clock()
        play_sockets(console.page, *SOCKETS)
        console.open("log")
        for name in ("notifications", "tenant", "combined"):
            console.card(name).expect_state("open")
        expect(console.page.locator("#log-count")).not_to_be_empty()
        yield console


@pytest.fixture
def played(played_log: Console) -> Iterator[Console]:
    """The same for one test, with an empty log."""
    choose(played_log)
    played_log.page.click("#log-clear")
    expect(played_log.page.locator("#log-lines > li")).to_have_count(0)
    yield played_log
    assert played_log.unexpected == []


def receive_lines(console: Console, first: int, end: int) -> None:
    """Let the page receive frames numbered ``first`` to ``end`` - 1 and paint them."""
    receive(console.page, "notifications", [{"action": "note", "n": number} for number in range(first, end)])
    console.page.clock.run_for(PAINT_EVERY_MS)


def choose(console: Console, *, text: str = "", socket: str = "", kind: str = "") -> None:
    """Set the three filters."""
    console.page.fill("#log-filter", text)
    console.page.select_option("#log-socket", socket)
    console.page.select_option("#log-kind", kind)


@pytest.mark.smoke
def test_frames_in_and_out_and_notes_are_shown_with_their_time(log: Console, dev: Program) -> None:
    """And with their sockets: a message that two of them bring is one line."""
    notify(dev, title="Seen in the log")
    page = log.page
    choose(log, text="Seen in the log", socket="notifications")
    line = page.locator("#log-lines > li")
    expect(line).to_have_count(1)
    names = "(Notifications, Combined feed|Combined feed, Notifications)"
    expect(line).to_contain_text(re.compile(rf"^\d\d:\d\d:\d\d\.\d{{3}}{names}in\{{"))
    choose(log, text="Seen in the log")
    expect(line).to_have_count(1)
    choose(log, kind="out", socket="tenant")
    expect(page.locator("#log-lines > li").first).to_contain_text('{"action":"ping"}')
    choose(log, kind="note", socket="combined")
    expect(page.locator("#log-lines > li").first).to_contain_text("connecting")


@pytest.mark.smoke
def test_the_log_contains_no_token(log: Console) -> None:
    """Not the one in use, one in a frame or a pasted one; nor does the copied text."""
    stray = token(user_id="stray")
    sockets: list[WebSocketRoute] = []

    def answer(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.on_message(lambda _: socket.send(f'{{"action":"pong","note":"{stray}"}}'))

    page = log.page
    page.route_web_socket(re.compile(r"/ws/notifications(\?.*)?$"), answer)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    log.show("connect")
    page.fill("#token-value", token(tenant_id="acme"))
    page.locator("#token-value").blur()
    log.show("log")
    choose(log, text="note")
    expect(page.locator("#log-lines > li", has_text='"note":"…"').first).to_be_visible()
    choose(log)
    page.click("#log-copy")
    expect(page.locator("#log-copied")).to_contain_text("lines copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert len(copied.splitlines()) > 20
    assert "eyJ" not in copied
    count = page.locator("#log-count").inner_text()
    sockets[-1].send('{"action":"pong"}')
    expect(page.locator("#log-count")).not_to_have_text(count)
    expect(page.locator("#log-copied")).to_have_text(re.compile(r"^\d+ lines copied\.$"))
    assert "eyJ" not in page.locator("#log-lines").inner_text()


def test_a_message_that_several_sockets_bring_is_one_line(played: Console) -> None:
    """It names them, also those that bring it after it was painted; a filter by each of them finds it."""
    lines = played.page.locator("#log-lines > li")
    frame = {"channel": "device", "tenant_id": "acme", "device_id": "d1", "series": "t", "data": 1, "timestamp": 1}
    receive(played.page, "tenant", [frame, frame])
    played.page.clock.run_for(PAINT_EVERY_MS)
    expect(lines.locator(".sockets")).to_have_text(["Tenant", "Tenant"])
    choose(played, socket="combined")
    expect(lines).to_have_count(0)
    receive(played.page, "combined", [frame])
    played.page.clock.run_for(PAINT_EVERY_MS)
    expect(lines.locator(".sockets")).to_have_text(["Tenant, Combined feed"])
    choose(played)
    receive(played.page, "notifications", [frame])
    played.page.clock.run_for(PAINT_EVERY_MS)
    expect(lines.locator(".sockets")).to_have_text(["Tenant, Combined feed, Notifications", "Tenant"])


def test_a_pause_freezes_the_lines_and_counts_new_ones(played: Console) -> None:
    """The new lines are shown after the pause."""
    page = played.page
    lines = page.locator("#log-lines > li")
    receive_lines(played, 0, 20)
    expect(lines.last).to_contain_text('"n":19')
    page.click("#log-pause")
    count = lines.count()
    receive_lines(played, 20, 27)
    expect(page.locator("#log-count")).to_have_text(re.compile(r"Paused; 7 new lines"))
    assert lines.count() == count
    choose(played, text="a")
    choose(played)
    expect(lines).to_have_count(count)
    expect(lines.last).to_contain_text('"n":19')  # a filter shows no line that is newer than the pause
    page.click("#log-pause")
    expect(lines).to_have_count(count + 7)


def at_end(console: Console) -> bool:
    """Return whether the newest line is visible."""
    rest = "list => list.scrollHeight - list.scrollTop - list.clientHeight"
    left: float = console.page.locator("#log-lines").evaluate(rest)
    return left < 40


def test_it_scrolls_to_the_newest_line_unless_the_user_has_scrolled_up(played: Console) -> None:
    """Then new lines do not move the view; older lines can be reached, and at the end it scrolls again."""
    page = played.page
    lines = page.locator("#log-lines > li")
    receive_lines(played, 0, 800)
    expect(lines.last).to_contain_text('"n":799')
    wait_until(lambda: at_end(played))
    page.locator("#log-lines").evaluate("list => { list.scrollTop = list.scrollHeight / 2; }")
    first, count = lines.first.inner_text(), lines.count()
    receive_lines(played, 800, 1_400)
    expect(page.locator("#log-count")).to_have_text(re.compile(r"^600 newer lines"))
    assert (lines.first.inner_text(), lines.count()) == (first, count)
    page.locator("#log-lines").press("Home")
    expect(lines).to_have_count(2 * count)
    assert lines.nth(count).inner_text() == first
    page.locator("#log-lines").evaluate("list => { list.scrollTop = list.scrollHeight; }")
    page.clock.run_for(PAINT_EVERY_MS)
    expect(lines.last).to_contain_text('"n":1399')
    expect(lines).to_have_count(300)
    wait_until(lambda: at_end(played))


def test_a_long_frame_is_truncated_and_shown_complete_on_demand(log: Console, dev: Program) -> None:
    """It is exported complete."""
    page = log.page
    notify(dev, title="Long", message="x" * 5_000 + " the end")
    choose(log, text="the end", socket="notifications")
    line = page.locator("#log-lines > li")
    assert "the end" not in line.locator("summary").inner_text()
    line.locator("summary").press("Enter")
    expect(line.locator("details > code")).to_be_visible()
    assert "the end" in line.locator("details > code").inner_text()
    with page.expect_download() as download:
        page.click("#log-save")
    (saved,) = download.value.path().read_text().splitlines()
    assert "x" * 5_000 in saved


def test_clearing_empties_it(played: Console) -> None:
    """New lines are shown."""
    lines = played.page.locator("#log-lines > li")
    receive_lines(played, 0, 30)
    expect(lines).to_have_count(30)
    played.page.click("#log-clear")
    expect(lines).to_have_count(0)
    receive_lines(played, 30, 32)
    expect(lines).to_have_count(2)


def test_showing_it_again_starts_no_second_timer(console: Console) -> None:
    """A fragment with a slash shows the panel again; a hidden panel has no timer."""
    console.page.add_init_script(CLOCKS)
    console.open("overview")
    page = console.page
    without = page.evaluate("clocks.size")
    for fragment in ("log", "log/a", "log/b"):
        console.show(fragment)
        expect(page.locator("#log-count")).not_to_be_empty()
    assert page.evaluate("[...clocks.values()].filter((ms) => ms === 200).length") == 1
    console.show("overview")
    wait_until(lambda: page.evaluate("clocks.size") == without)


@pytest.mark.smoke
def test_it_is_bounded(played: Console) -> None:
    """At most 2,000 lines are stored and 300 are in the page, also after a burst of thousands."""
    page = played.page
    receive_lines(played, 0, 3_000)
    expect(page.locator("#log-count")).to_have_text(re.compile(r"Newest 300 of 2,000 lines shown; 2,000 stored\."))
    assert page.locator("#log-lines > li").count() == 300


def test_many_lines_are_painted_at_once(played: Console) -> None:
    """If each were painted alone, 500 messages per second would block the page."""
    page = played.page
    page.evaluate(COUNT_PAINTS)
    for first in range(0, 1_500, 500):
        receive_lines(played, first, first + 500)
    expect(page.locator("#log-count")).to_contain_text("300")
    assert page.evaluate("paints") == 3


WRITE_TO_A_LOG_OF_ITS_OWN = """
async (text) => {
  const { LogBuffer } = await import('/static/console/log/log-buffer.js');
  const lines = new LogBuffer();
  lines.add({ at: 0, socket: 'combined', kind: 'in', text });
  return lines.filtered[0].text;
}
"""
MEASURE_A_LOG_OF_ITS_OWN = """
async (text) => {
  const { LogBuffer } = await import('/static/console/log/log-buffer.js');
  const lines = new LogBuffer();
  const elapsed = () => {
    const start = performance.now();
    lines.add({ at: 0, socket: 'combined', kind: 'in', text });
    return performance.now() - start;
  };
  return Math.min(elapsed(), elapsed(), elapsed(), elapsed(), elapsed());
}
"""


@pytest.fixture(scope="module")
def scripts(shared_browser: Browser, quiet: Program) -> Iterator[Page]:
    """A page of the same origin without the console, to load single modules."""
    with console_in(shared_browser, quiet) as console:
        console.page.route(
            "**/favicon.ico", lambda route: route.fulfill(status=204)
        )  # Chromium requests it for /health
        console.page.goto(f"{quiet.url}/health")
        yield console.page


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("say eyJh.eyJi.sig-_1!", "say …!"),
        ("Bearer_eyJh.eyJi.sig", "Bearer_…"),
        ("host.example.eyJh.eyJi.sig.more", "host.example.….more"),
        ("eyJh.eyJi.", "…"),
        ("eyJa.b.c,eyJd.e.f", "…,…"),
        ("eyJa.b", "eyJa.b"),
        ("1.2.3 a.b.c", "1.2.3 a.b.c"),
    ],
)
def test_text_that_looks_like_a_token_is_masked(scripts: Page, text: str, masked: str) -> None:
    """At any position; other text is not."""
    assert scripts.evaluate(WRITE_TO_A_LOG_OF_ITS_OWN, text) == masked


@pytest.mark.parametrize("text", ["eyJ" * 6_000, "eyJ." * 6_000, "eyJ.a.b." * 3_000, "." * 20_000])
def test_masking_needs_linear_time_for_text_similar_to_tokens(scripts: Page, text: str) -> None:
    """A crafted frame must not block the page: it needs about the time of any text of its length.

    A pattern that restarts at each position needs a second and more; this one a fraction of a millisecond.
    """
    plain_ms: float = scripts.evaluate(MEASURE_A_LOG_OF_ITS_OWN, "x " * (len(text) // 2))
    assert scripts.evaluate(MEASURE_A_LOG_OF_ITS_OWN, text) < 100 * max(1.0, plain_ms)


@pytest.mark.smoke
def test_in_production_the_log_contains_no_pasted_token(production_console: Console) -> None:
    """Not while it opens sockets and not when it is refused."""
    console = production_console
    console.open("connect")
    page = console.page
    page.fill("#token-value", token(user_id="7", tenant_id="acme"))
    page.locator("[data-socket=notifications] .toggle").click()
    console.card("notifications").expect_state("open")
    page.fill("#token-value", token(user_id="7", secret="another secret, longer than thirty-two bytes"))
    page.locator("#token-value").blur()
    console.card("notifications").expect_state("refused")
    page.locator("[data-socket=combined] .toggle").click()
    console.card("combined").expect_state("refused")
    console.show("log")
    choose(console, socket="combined", kind="note")
    expect(page.locator("#log-lines > li", has_text="refused").first).to_be_visible()
    choose(console)
    with page.expect_download() as download:
        page.click("#log-save")
    saved = download.value.path().read_text()
    assert " notifications out " in saved
    assert "eyJ" not in saved
    assert "eyJ" not in page.locator("#log-lines").inner_text()
