"""The console in a real Chromium, against a real Hermes with its embedded broker and simulated devices."""

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, WebSocketRoute, expect

from tests.conftest import SECRET, token
from tests.consoles import SOCKETS, Console, chromium
from tests.programs import Program, free_port, hermes, wait_until

TYPES = ("info", "warning", "error", "success")
RESTART_TIMEOUT_MS = 40_000  # a back-off may have reached its 30 s


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this file."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Hermes in --dev."""
    with hermes("serve", "--dev", "--port", "0", XDG_STATE_HOME=str(tmp_path_factory.mktemp("state"))) as program:
        program.wait_for("Ctrl-C stops it")
        yield program


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of the test's own."""
    made = browser.new_context()
    yield made
    made.close()


@pytest.fixture
def console(context: BrowserContext, dev: Program) -> Iterator[Console]:
    """The console of the --dev server; at the end nothing may have gone wrong in it."""
    made = Console(context.new_page(), f"{dev.url}/")
    made.watch()
    yield made
    assert made.unexpected == []


def api_key(program: Program) -> str:
    """The key that it printed."""
    return program.wait_for(r"X-API-Key: (\w+)")[1]


def notify(program: Program, **fields: str) -> None:
    """As a backend service would."""
    notice = {"user_id": "123", "title": "New alert", "message": "Sensor X is hot", "type": "warning"} | fields
    headers = {"Content-Type": "application/json", "X-API-Key": api_key(program)}
    request = urllib.request.Request(f"{program.url}/notify", json.dumps(notice).encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        assert json.load(response)["sent"] is True


def metric(program: Program, line: str) -> float:
    """A figure of /metrics; 0 where it is not there yet."""
    with urllib.request.urlopen(f"{program.url}/metrics", timeout=5) as response:
        match = re.search(rf"^{re.escape(line)} (\S+)$", response.read().decode(), re.MULTILINE)
    return float(match[1]) if match else 0.0


def test_dev_opens_all_four_sockets_and_device_rows_update_in_place(console: Console) -> None:
    """A newcomer sees data move without a click."""
    console.open()
    console.expect_all_open()
    rows = console.page.locator("#devices-rows tr")
    expect(rows.nth(30)).to_be_visible(timeout=15_000)
    first = rows.first
    name, value = first.locator("td").nth(1).inner_text(), first.inner_text()
    count = rows.count()
    expect(first).not_to_have_text(value, use_inner_text=True, timeout=5_000)
    assert first.locator("td").nth(1).inner_text() == name
    console.page.wait_for_function("() => document.querySelector('[data-socket=tenant] .frames').textContent > 60")
    assert rows.count() <= count + 5
    assert re.fullmatch(r"[\d.]+ ms.*", console.card("legacy").part(".rtt"))


@pytest.mark.parametrize("kind", TYPES)
def test_a_notification_pops_up_in_under_a_second_with_its_types_icon(
    console: Console, dev: Program, kind: str
) -> None:
    """And stands in the history, once, although two sockets carry it."""
    console.open()
    console.expect_all_open()
    notify(dev, title=f"A {kind}", type=kind)
    toast = console.page.locator("#toasts > *", has_text=f"A {kind}")
    expect(toast).to_be_visible(timeout=1_000)
    icon = toast.locator("img").get_attribute("src") or ""
    assert icon.endswith(f"/icons/{kind}.svg")
    assert console.page.request.get(f"{dev.url}{icon}").ok
    expect(console.page.locator("#history > li", has_text=f"A {kind}")).to_have_count(1)


def test_acknowledging_tells_the_server(console: Console, dev: Program) -> None:
    """With ``ack``."""
    before = metric(dev, 'hermes_client_frames_total{action="ack"}')
    console.open()
    console.expect_all_open()
    notify(dev)
    console.page.locator("#toasts").get_by_role("button", name="Acknowledge").click()
    wait_until(lambda: metric(dev, 'hermes_client_frames_total{action="ack"}') == before + 1)
    expect(console.page.locator("#history > li").first).to_contain_text("acknowledged")


def test_the_history_survives_a_reload_until_it_is_cleared(console: Console, dev: Program) -> None:
    """It is this browser's own."""
    console.open()
    console.expect_all_open()
    notify(dev, title="Remember me")
    entry = console.page.locator("#history > li", has_text="Remember me")
    expect(entry).to_have_count(1)
    console.page.reload()
    expect(entry).to_have_count(1)
    console.page.click("#history-clear")
    expect(entry).to_have_count(0)
    console.page.reload()
    expect(console.page.locator("#history-empty")).to_be_visible()
    expect(entry).to_have_count(0)


NOTIFICATION_SPY = """
window.shown = []; window.asked = 0;
window.Notification = class {
  static permission = 'default';
  static async requestPermission() { window.asked += 1; return this.permission = 'granted'; }
  constructor(title, options) { window.shown.push({title, ...options}); }
};
"""


def test_the_browsers_own_notifications_are_asked_for_by_a_click_only(console: Console, dev: Program) -> None:
    """Then each notification is handed to the Notification API with the customer's tag."""
    console.page.add_init_script(NOTIFICATION_SPY)
    console.open()
    console.expect_all_open()
    notify(dev, title="Before")
    expect(console.page.locator("#history > li", has_text="Before")).to_have_count(1)
    assert console.page.evaluate("[shown, asked]") == [[], 0]
    console.page.click("#notices-allow")
    expect(console.page.locator("#notices-words")).to_contain_text("on")
    notify(dev, title="After")
    expect(console.page.locator("#history > li", has_text="After")).to_have_count(1)
    (shown,) = console.page.evaluate("shown")
    assert (shown["title"], shown["body"], shown["tag"]) == ("After", "Sensor X is hot", "hermes-notification")
    assert shown["icon"].endswith("/icons/warning.svg")
    assert console.page.evaluate("asked") == 1


def test_the_form_sends_and_shows_the_answer(console: Console) -> None:
    """Sent, not sent, and what is wrong with each field."""
    console.open()
    console.expect_all_open()
    page = console.page
    answer = page.locator("#notify-answer")
    page.fill("#notify [name=title]", "From the form")
    page.click("#notify [type=submit]")
    expect(answer).to_contain_text('{"status":"success","sent":true}')
    expect(page.locator("#toasts > *", has_text="From the form")).to_be_visible()
    page.fill("#notify [name=user_id]", "nobody-there")
    page.click("#notify [type=submit]")
    expect(answer).to_contain_text('{"status":"success","sent":false}')
    console.expected = ("422", "401")
    page.fill("#notify [name=title]", "")
    page.click("#notify [type=submit]")
    expect(answer).to_contain_text("title:")
    expect(page.locator("#notify [aria-invalid=true]")).to_have_attribute("name", "title")
    page.fill("#notify [name=api_key]", "wrong")
    page.click("#notify [type=submit]")
    expect(answer).to_contain_text("unauthorized")


def test_acknowledging_by_keyboard_goes_on_with_the_next(console: Console, dev: Program) -> None:
    """The focus is never lost in the history."""
    console.open()
    console.expect_all_open()
    page = console.page
    for title in ("First", "Second"):
        notify(dev, title=title)
    expect(page.locator("#history button")).to_have_count(2)
    page.get_by_role("button", name="Acknowledge Second").press("Enter")
    expect(page.get_by_role("button", name="Acknowledge First")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#history-clear")).to_be_focused()


def device_frame(number: int) -> str:
    """A value of device ``number``."""
    known = {"channel": "device", "tenant_id": "acme", "series": "", "topic": "t", "timestamp": None}
    return json.dumps({**known, "device_id": f"d{number:04}", "data": number})


def test_the_device_table_is_bounded_and_says_so(console: Console) -> None:
    """2,000 rows, in order; known rows still change."""

    def play_tenant(socket: WebSocketRoute) -> None:
        for number in range(2_099, -1, -1):  # those of the lowest numbers come too late
            socket.send(device_frame(number))
        socket.send(device_frame(2_099).replace('"data": 2099', '"data": "changed"'))

    console.page.route_web_socket(re.compile("/ws/tenant/"), play_tenant)
    console.page.route_web_socket(re.compile("/ws(/device/.*)?$"), lambda socket: None)
    console.open()
    expect(console.page.locator("#devices-full")).to_contain_text("2,000 rows: 100 further series")
    rows = console.page.locator("#devices-rows tr")
    expect(rows).to_have_count(2_000)
    expect(rows.first).to_contain_text("d0100")
    expect(rows.last).to_contain_text("changed")
    expect(rows.last.locator(".age")).to_have_text("unknown")


def test_a_wait_that_the_server_asks_for_is_counted_down_and_its_reason_explained(console: Console) -> None:
    """``retry_ms`` and the close code, in words; the error list counts what comes again."""
    console.page.route_web_socket(
        re.compile("/ws/tenant/"), lambda socket: socket.close(code=1013, reason="server_full;retry_ms=20000")
    )
    console.open()
    console.card("tenant").expect_state("waiting")
    note = console.page.locator("[data-socket=tenant] .note")
    expect(note).to_have_text(re.compile(r"next try in (1\d|20)\.\d s, attempt 1"))
    expect(console.page.locator("[data-socket=tenant] .close")).to_contain_text("Hermes has all the sockets")
    console.page.locator("[data-socket=tenant] .now").click()
    expect(note).to_contain_text("attempt 2")
    expect(console.page.locator("#errors li").first).to_contain_text("tenant: the server closed: 1013")
    expect(console.page.locator("#errors li").first).to_contain_text("(2 times)")


def test_markup_in_data_stays_text(console: Console, dev: Program) -> None:
    """In notifications and in devices' values."""
    console.open()
    console.expect_all_open()
    evil = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
    notify(dev, title=evil, message=evil)
    expect(console.page.locator("#history > li").first).to_contain_text(evil)
    assert console.page.evaluate("window.owned") is None


def test_a_killed_broker_shows_and_heals_by_itself(console: Console, dev: Program) -> None:
    """The lamp goes down and up again, rows move again, no socket closes."""
    console.open()
    console.expect_all_open()
    word = console.page.locator("#mqtt-lamp .word")
    expect(word).to_have_text("up", timeout=10_000)
    (broker,) = _children(dev.process.pid, "mosquitto")
    os.kill(broker, signal.SIGKILL)
    console.expected = ("503",)
    wait_until(lambda: _children(dev.process.pid, "mosquitto") not in ([], [broker]), 20)
    wait_until(lambda: metric(dev, "hermes_mqtt_connected") == 1, 20)
    expect(word).to_have_text("up", timeout=10_000)
    frames = int(console.card("legacy").part(".frames"))
    wait_until(lambda: int(console.card("legacy").part(".frames")) > frames)
    console.expect_all_open()
    assert metric(dev, "hermes_broker_restarts_total") >= 1


def _children(pid: int, name: str) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if name in Path(f"/proc/{child}/comm").read_text()]


def test_the_lamp_says_since_when_the_broker_is_away(context: BrowserContext, tmp_path: Path) -> None:
    """And why, as long as it is."""
    port = str(free_port())
    words = ("serve", "--dev", "--port", "0", "--mqtt-url", f"mqtt://127.0.0.1:{port}")
    with hermes(*words, XDG_STATE_HOME=str(tmp_path)) as program:
        page = context.new_page()
        page.goto(program.url)
        expect(page.locator("#mqtt-lamp .word")).to_have_text("down", timeout=10_000)
        expect(page.locator("#mqtt-lamp .detail")).to_contain_text("since")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_reconnects_every_socket_without_a_reload(
    context: BrowserContext, tmp_path: Path, number: signal.Signals
) -> None:
    """With a countdown and the attempt meanwhile; after an orderly stop and after a crash."""
    words = ("serve", "--dev", "--port", str(free_port()))
    page = context.new_page()
    with hermes(*words, XDG_STATE_HOME=str(tmp_path)) as first:
        console = Console(page, f"{first.url}/")
        console.open()
        console.expect_all_open()
        page.evaluate("window.untouched = true")
        first.end(number)
        countdown = re.compile(r"next try in [\d.]+ s, attempt [1-9]")
        for name in SOCKETS:
            expect(page.locator(f"[data-socket={name}] .note")).to_have_text(countdown)
        close = page.locator("[data-socket=tenant] .close")
        expect(close).to_contain_text("1001" if number is signal.SIGTERM else "1006", timeout=900)  # before it retries
        expect(page.locator("#hermes-lamp .word")).to_have_text("not reachable", timeout=10_000)
    with hermes(*words, XDG_STATE_HOME=str(tmp_path)) as second:
        assert second.url
        console.expect_all_open(RESTART_TIMEOUT_MS)
        assert page.evaluate("window.untouched") is True
        notify(second, title="After the restart")
        expect(page.locator("#toasts > *", has_text="After the restart")).to_be_visible()


@pytest.fixture
def production(tmp_path: Path, key_file: Path) -> Iterator[Program]:
    """A Hermes that is not in --dev."""
    words = ("serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(key_file))
    with hermes(*words, HERMES_JWT_SECRET=SECRET) as program:
        yield program


def test_a_refused_token_is_asked_for_anew_and_never_looped_with(context: BrowserContext, production: Program) -> None:
    """1008 stops the socket and says why; a good token pasted after it opens all."""
    console = Console(context.new_page(), f"{production.url}/")
    console.watch()
    console.open()
    page = console.page
    page.fill("[data-socket=tenant] input", "acme")
    page.fill("[data-socket=device] input", "d1")
    page.fill("#token-value", token(secret="another secret, also longer than thirty-two bytes"))
    page.get_by_role("button", name="Connect all", exact=True).click()
    for name in SOCKETS:
        console.card(name).expect_state("refused")
        assert "token" in console.card(name).part(".note")
    refused = 'hermes_sockets_refused_total{reason="token_invalid"}'
    count = metric(production, refused)
    assert 4 <= count <= 8
    page.evaluate("() => new Promise(resolve => setTimeout(resolve, 2500))")  # longer than the first back-offs
    assert metric(production, refused) == count
    page.fill("#token-value", token(tenant_id="acme"))
    page.get_by_role("button", name="Connect all", exact=True).click()
    console.expect_all_open()
    assert console.unexpected == []


def test_in_production_the_page_holds_no_secret(context: BrowserContext, production: Program) -> None:
    """Neither token nor key; both fields are empty, nothing connects by itself."""
    console = Console(context.new_page(), f"{production.url}/")
    console.watch()
    console.open()
    expect(console.page.locator("#hermes-lamp .word")).to_have_text("reachable")
    assert "eyJ" not in console.page.content()
    for selector in ("#token-value", "#notify [name=api_key]"):
        assert console.page.input_value(selector) == ""
    for name in SOCKETS:
        console.card(name).expect_state("closed")
    assert console.unexpected == []


@pytest.mark.parametrize("width", [390, 1280, 2560])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window(browser: Browser, dev: Program, width: int, scheme: str) -> None:
    """No sideways scrolling; a screenshot of each stays in artifacts/."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    console = Console(page, f"{dev.url}/")
    console.watch()
    console.open()
    console.expect_all_open()
    expect(page.locator("#devices-rows tr").nth(5)).to_be_visible(timeout=10_000)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    folder = Path(__file__).parent.parent / "artifacts"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"console-{scheme}-{width}.png")
    context.close()
    assert console.unexpected == []
