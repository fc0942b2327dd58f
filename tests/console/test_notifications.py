"""Notifications in a real Chromium: toasts, the browser's own, the history, the form and its command."""

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Route, WebSocket, expect

from tests.support.consoles import CHROMIUM_FLAGS, TIMEOUT_MS, Console, api_key, console_in, notify
from tests.support.gateways import KEY, token
from tests.support.programs import Program, metric, needs, wait_until

pytestmark = pytest.mark.browser

TYPES = ("info", "warning", "error", "success")
NOTIFICATION_SPY = """
window.shown = []; window.requests = 0;
window.Notification = class {
  static permission = 'default';
  static async requestPermission() { window.requests += 1; return this.permission = 'granted'; }
  constructor(title, options) { this.tag = options.tag; window.shown.push({title, ...options}); }
  close() {}
};
"""

ILLEGAL_CONSTRUCTOR = """
window.Notification = class {
  static permission = 'granted';
  constructor() { throw new TypeError('Illegal constructor'); }
};
"""
REGISTRATIONS = "async () => (await navigator.serviceWorker.getRegistrations()).map(({ scope }) => scope)"
SHOWN_BY_WORKER = """
async () => {
  const shown = await (await navigator.serviceWorker.getRegistration())?.getNotifications() ?? [];
  return shown.map(({ title }) => title);
}
"""
# Chromium hides a notification after some seconds, unless it waits for a click
UNTIL_A_CLICK = """
window.shown = 0;
const show = ServiceWorkerRegistration.prototype.showNotification;
ServiceWorkerRegistration.prototype.showNotification = async function (title, options) {
  await show.call(this, title, { ...options, requireInteraction: true });
  shown += 1;
};
"""
WORKER_SPY = """
window.shown = [];
ServiceWorkerRegistration.prototype.showNotification = async (title, options) => { shown.push({ title, ...options }); };
"""
CLICK = """
async () => {
  const [notification] = await self.registration.getNotifications();
  self.dispatchEvent(new NotificationEvent('notificationclick', { notification }));
}
"""
NO_WORKER = """
() => { navigator.serviceWorker.register = async () => { throw new DOMException('TLS', 'SecurityError'); }; }
"""
SEND_WITH_SHORT_PATIENCE = """
() => {
  const { setTimeout } = window;
  window.setTimeout = (run, ms, ...given) => setTimeout(run, Math.min(ms, 100), ...given);
  document.querySelector('#notify [type=submit]').click();
  window.setTimeout = setTimeout;
}
"""


CLEAR = """
() => {
  document.querySelector('#history-clear-confirm').click();
  document.querySelector('#toasts').replaceChildren();
  document.querySelector('#notify').reset();
  document.querySelector('#notify [name=addressee]').value = '123';
  document.querySelector('#notify-answer').replaceChildren();
  document.querySelector('#history-filter').value = document.querySelector('#history-type').value = '';
  document.querySelector('#history-open').checked = false;
  for (const id of ['#notify', '#history-filter']) document.querySelector(id).dispatchEvent(new Event('input'));
  document.activeElement.blur();
}
"""


@pytest.fixture
def console(browser: Browser, quiet: Program) -> Iterator[Console]:
    """The panel with its sockets open; toasts stay until they are closed."""
    with console_in(browser, quiet) as made:
        made.hold_long_timers()
        open_panel(made)
        yield made


@dataclass
class SharedPanel:
    """A panel for all tests that leave nothing in it that `CLEAR` does not remove."""

    console: Console
    received: Counter[str] = field(default_factory=Counter)  # by id, on all sockets

    def count(self, socket: WebSocket) -> None:
        """Count the notifications of this socket."""
        socket.on("framereceived", self._read)

    def _read(self, frame: str | bytes) -> None:
        self.received.update([str(json.loads(frame).get("id"))])

    def clear(self, program: Program) -> None:
        """Empty the panel after all earlier notifications have arrived over both sockets."""
        id = f"last-{self.received.total()}"
        notify(program, id=id)
        self.console.wait_until(lambda: self.received[id] == 2)
        self.console.show("notifications")
        self.console.page.evaluate(CLEAR)


@pytest.fixture(scope="module")
def shared_panel(shared_browser: Browser, quiet: Program) -> Iterator[SharedPanel]:
    """One page with its sockets open."""
    with console_in(shared_browser, quiet) as made:
        shared = SharedPanel(made)
        made.page.on("websocket", shared.count)
        made.hold_long_timers()
        open_panel(made)
        yield shared


@pytest.fixture
def panel(shared_panel: SharedPanel, quiet: Program) -> Iterator[Console]:
    """The shared panel for one test: its history, its toasts, its form and its filters are empty."""
    shared_panel.clear(quiet)
    console = shared_panel.console
    expect(console.page.locator("#history > li")).to_have_count(0)
    expect(console.page.locator("#notifications-badge")).to_be_hidden()
    yield console
    assert console.unexpected == []


def open_panel(console: Console) -> None:
    """Load the page, and wait for its sockets and its form."""
    console.page.add_init_script(NOTIFICATION_SPY)
    console.open("notifications")
    expect_open(console)
    expect(console.page.locator("#notify [type=submit]")).to_be_enabled()


def expect_open(console: Console) -> None:
    """The sockets that open by themselves are open."""
    for name in ("notifications", "tenant", "combined"):
        console.card(name).expect_state("open")


@pytest.mark.smoke
def test_a_notification_pops_up_at_once_with_its_types_icon(panel: Console, quiet: Program) -> None:
    """On any panel; the history shows it once, although two sockets receive it."""
    panel.show("devices")
    for number, kind in enumerate(TYPES, 1):
        notify(quiet, title=f"A {kind}", type=kind)
        toast = panel.page.locator("#toasts > *", has_text=f"A {kind}")
        expect(toast).to_be_visible()
        icon = toast.locator("img").get_attribute("src") or ""
        assert icon.endswith(f"/icons/{kind}.svg")
        assert panel.page.request.get(f"{quiet.url}/{icon}").ok
        expect(panel.page.locator("#history > li", has_text=f"A {kind}")).to_have_count(1)
        expect(panel.page.locator("#notifications-badge")).to_have_text(f"{number}")


def test_an_acknowledgement_is_sent_to_the_server(panel: Console, quiet: Program) -> None:
    """With ``ack``; the toast closes, and the history and the badge are updated."""
    before = metric(quiet, 'hermes_client_frames_total{action="ack"}')
    notify(quiet)
    panel.page.locator("#toasts").get_by_role("button", name="Acknowledge").click()
    wait_until(lambda: metric(quiet, 'hermes_client_frames_total{action="ack"}') == before + 1)
    expect(panel.page.locator("#history > li").first).to_contain_text("acknowledged")
    expect(panel.page.locator("#toasts > *")).to_have_count(0)
    expect(panel.page.locator("#notifications-badge")).to_be_hidden()


def test_all_are_acknowledged_by_one_button(panel: Console, quiet: Program) -> None:
    """Each of those that are shown and not acknowledged yet."""
    before = metric(quiet, 'hermes_client_frames_total{action="ack"}')
    for title in ("First", "Second", "Third"):
        notify(quiet, title=title)
    expect(panel.page.locator("#history button")).to_have_count(3)
    panel.page.click("#history-ack-all")
    expect(panel.page.locator("#history button")).to_have_count(0)
    wait_until(lambda: metric(quiet, 'hermes_client_frames_total{action="ack"}') == before + 3)


def test_acknowledging_by_keyboard_focuses_the_next(panel: Console, quiet: Program) -> None:
    """The focus stays in the history."""
    page = panel.page
    for title in ("First", "Second"):
        notify(quiet, title=title)
    expect(page.locator("#history button")).to_have_count(2)
    page.locator("#history").get_by_role("button", name="Acknowledge Second").press("Enter")
    expect(page.locator("#history").get_by_role("button", name="Acknowledge First")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#history-clear")).to_be_focused()


def test_a_new_toast_does_not_move_the_focus(panel: Console, quiet: Program) -> None:
    """Otherwise Enter could acknowledge a notification that the user has not read."""
    page = panel.page
    notify(quiet, title="Read")
    page.locator("#history").get_by_role("button", name="Acknowledge Read").focus()
    notify(quiet, title="Unread")
    expect(page.locator("#history > li")).to_have_count(2)
    expect(page.locator("#history").get_by_role("button", name="Acknowledge Read")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#history > li", has_text="acknowledged").locator("strong")).to_have_text(["Read"])


def test_the_last_toast_returns_the_focus_to_the_page(panel: Console, quiet: Program) -> None:
    """Each earlier toast moves it to the next one."""
    for title in ("First", "Second"):
        notify(quiet, title=title)
    toasts = panel.page.locator("#toasts")
    toasts.get_by_role("button", name="Acknowledge First").press("Enter")
    expect(toasts.get_by_role("button", name="Acknowledge Second")).to_be_focused()
    panel.page.keyboard.press("Enter")
    expect(panel.page.locator("#main")).to_be_focused()


def test_an_acknowledgement_that_cannot_be_sent_is_not_shown_as_sent(console: Console, quiet: Program) -> None:
    """Without an open socket; the page shows the reason, also beside the notification."""
    notify(quiet)
    expect(console.page.locator("#history > li")).to_have_count(1)
    console.page.evaluate("document.querySelector('#disconnect-all').click()")
    console.page.locator("#history button").click()
    expect(console.page.locator("#errors li").first).to_contain_text("not sent: neither")
    expect(console.page.locator("#history-error")).to_contain_text("not sent: neither")
    assert "acknowledged" not in console.page.locator("#history > li").inner_text()


@pytest.mark.smoke
def test_the_history_survives_a_reload_until_it_is_cleared(console: Console, quiet: Program) -> None:
    """The browser stores it; clearing needs a confirmation in the page."""
    page = console.page
    notify(quiet, title="Remember me")
    entry = page.locator("#history > li", has_text="Remember me")
    expect(entry).to_have_count(1)
    page.reload()
    expect(entry).to_have_count(1)
    page.click("#history-clear")
    expect(page.locator("#history-clear-cancel")).to_be_focused()
    page.click("#history-clear-cancel")
    expect(entry).to_have_count(1)
    page.click("#history-clear")
    page.click("#history-clear-confirm")
    expect(entry).to_have_count(0)
    page.reload()
    expect(page.locator("#history-empty")).to_be_visible()
    expect(entry).to_have_count(0)


def test_another_tab_sees_the_same_history(console: Console, quiet: Program) -> None:
    """Also new entries."""
    other = console.page.context.new_page()
    other.goto(f"{quiet.url}/#notifications")
    notify(quiet, title="For both")
    for page in (console.page, other):
        expect(page.locator("#history > li", has_text="For both")).to_have_count(1)
    console.page.click("#history-clear")
    console.page.click("#history-clear-confirm")
    expect(other.locator("#history > li")).to_have_count(0)


def test_the_history_is_searched_and_filtered(panel: Console, quiet: Program) -> None:
    """By text, by type, by acknowledgement."""
    page = panel.page
    for kind in TYPES:
        notify(quiet, title=f"Title of {kind}", message=f"body {kind.upper()}", type=kind)
    shown = page.locator("#history > li strong")
    expect(shown).to_have_count(4)
    page.fill("#history-filter", "WARN")
    expect(shown).to_have_text(["Title of warning"])
    expect(page.locator("#history-shown")).to_have_text("1 of 4")
    page.fill("#history-filter", "")
    page.select_option("#history-type", "error")
    expect(shown).to_have_text(["Title of error"])
    page.select_option("#history-type", "")
    page.locator("#history").get_by_role("button", name="Acknowledge Title of info").click()
    page.check("#history-open")
    expect(shown).to_have_text(["Title of success", "Title of error", "Title of warning"])


def test_the_history_is_exported_as_it_is_shown(panel: Console, quiet: Program) -> None:
    """As JSON, each with all its fields."""
    page = panel.page
    for kind in ("info", "error"):
        notify(quiet, title=f"Ünï {kind}", type=kind)
    expect(page.locator("#history > li")).to_have_count(2)
    page.select_option("#history-type", "error")
    with page.expect_download() as download:
        page.click("#history-export")
    assert download.value.suggested_filename == "hermes-notifications.json"
    (item,) = json.loads(download.value.path().read_text())
    assert (item["title"], item["type"], item["channel"]) == ("Ünï error", "error", "notifications")


def test_data_keeps_its_digits_from_the_form_to_the_export(panel: Console) -> None:
    """As it was typed: 1.10 is not 1.1, and large numbers are not rounded."""
    page = panel.page
    data = '{"serial": 9007199254740993, "t": 1.10}'
    page.fill("#notify [name=data]", data)
    expect(page.locator("#notify-curl")).to_contain_text(f'"data":{data}')
    page.click("#notify [type=submit]")
    expect(page.locator("#history > li")).to_have_count(1)
    with page.expect_download() as download:
        page.click("#history-export")
    text = download.value.path().read_text()
    assert f'"data": {data}' in text
    (item,) = json.loads(text)
    assert item["data"] == {"serial": 9_007_199_254_740_993, "t": 1.10}
    assert "data_text" not in item


@pytest.mark.smoke
def test_permission_for_browser_notifications_is_requested_by_a_click_only(console: Console, quiet: Program) -> None:
    """Then each notification is handed to the Notification API, with a tag of its own: none hides another."""
    page = console.page
    notify(quiet, title="Before")
    expect(page.locator("#history > li", has_text="Before")).to_have_count(1)
    assert page.evaluate("[shown, requests]") == [[], 0]
    page.click("#browser-notifications-allow")
    expect(page.locator("#browser-notifications-status")).to_contain_text("on")
    expect(page.locator("#history-ack-all")).to_be_focused()  # the clicked button has disappeared
    for title in ("After", "Later"):
        notify(quiet, title=title)
        expect(page.locator("#history > li", has_text=title)).to_have_count(1)
    first, second = page.evaluate("shown")
    assert (first["title"], first["body"], second["title"]) == ("After", "Sensor X is hot", "Later")
    assert re.fullmatch("hermes-notification:.+", first["tag"])
    assert first["tag"] != second["tag"]
    assert first["icon"].endswith("/icons/warning.svg")
    assert page.evaluate("requests") == 1


def test_a_service_worker_shows_notifications_where_a_page_may_not(browser: Browser, quiet: Program) -> None:
    """As on Android; it is registered at the first notification only, beside the page, and hides none by another."""
    with console_in(browser, quiet) as console:
        page = console.page
        page.add_init_script(ILLEGAL_CONSTRUCTOR + WORKER_SPY)
        console.open("notifications")
        expect_open(console)
        assert page.evaluate(REGISTRATIONS) == []
        for title in ("First", "Second"):
            notify(quiet, title=title)
        console.wait_until(lambda: len(page.evaluate("shown")) == 2)
        first, second = page.evaluate("shown")
        assert (first["title"], first["body"], second["title"]) == ("First", "Sensor X is hot", "Second")
        assert first["tag"] != second["tag"]
        assert page.evaluate(REGISTRATIONS) == [console.url]
        expect(page.locator("#browser-notifications-status")).to_have_text("Browser notifications are on.")
        (worker,) = page.context.service_workers
        assert worker.url == f"{console.url}sw.js"


@pytest.mark.smoke
def test_the_service_worker_shows_real_notifications(browser: Browser, quiet: Program) -> None:
    """In the full Chromium, which has them; a click closes one.

    On a busy machine Chromium forgets some that the worker has shown, so they are sent until it names two.
    """
    if (full := shutil.which("chromium")) is None:
        pytest.skip("chromium is missing; its headless shell has no notifications")
    flags = [*CHROMIUM_FLAGS, "--headless=new"]
    with (
        browser.browser_type.launch(executable_path=full, args=flags) as running,
        console_in(running, quiet, permissions=["notifications"]) as console,
    ):
        page = console.page
        page.add_init_script(ILLEGAL_CONSTRUCTOR + UNTIL_A_CLICK)
        console.open("notifications")
        expect_open(console)
        titles: list[str] = []
        while len(there := page.evaluate(SHOWN_BY_WORKER)) < 2:
            assert len(titles) < 20, f"of {titles} only {there} are there"
            titles.append(f"Note {len(titles)}")
            notify(quiet, title=titles[-1])
            console.wait_until(lambda: page.evaluate("shown") == len(titles), "the worker shows not each one")
        assert set(there) <= set(titles)
        (worker,) = page.context.service_workers
        worker.evaluate(CLICK)
        console.wait_until(
            lambda: len(page.evaluate(SHOWN_BY_WORKER)) == len(there) - 1, "the clicked notification stays"
        )


def test_a_service_worker_that_cannot_start_is_explained_and_tried_again(browser: Browser, quiet: Program) -> None:
    """For example because the browser does not trust the certificate."""
    with console_in(browser, quiet) as console:
        page = console.page
        page.add_init_script(ILLEGAL_CONSTRUCTOR + WORKER_SPY)
        console.open("notifications")
        expect_open(console)
        page.evaluate(NO_WORKER)
        notify(quiet, title="Lost")
        status = page.locator("#browser-notifications-status")
        expect(status).to_contain_text("Use a certificate that the browser trusts")
        page.evaluate("() => { delete navigator.serviceWorker.register; }")
        notify(quiet, title="Shown")
        console.wait_until(lambda: [each["title"] for each in page.evaluate("shown")] == ["Shown"])
        expect(status).to_have_text("Browser notifications are on.")


def test_over_http_the_page_says_why_there_are_no_notifications(browser: Browser, quiet: Program) -> None:
    """And what to do; its address is neither https nor localhost."""
    with console_in(browser, quiet) as console:
        console.url = "http://gateway.example/"
        console.expected = ("ERR_NAME_NOT_RESOLVED", "403 (Forbidden)")  # of its sockets, and when it asks why
        console.page.route("**", lambda route: forward(route, quiet.url))
        console.open("notifications")
        assert console.page.evaluate("isSecureContext") is False
        expect(console.page.locator("#browser-notifications-status")).to_contain_text("Put a TLS proxy before Hermes")
        expect(console.page.locator("#browser-notifications-allow")).to_be_hidden()
        console.page.unroute_all(behavior="wait")  # a request may be under way


def forward(route: Route, url: str) -> None:
    """Answer a request of a page at another address."""
    route.fulfill(response=route.fetch(url=url + urlsplit(route.request.url).path))


def test_a_browser_without_notifications_says_so(browser: Browser, quiet: Program) -> None:
    """As Safari on a phone; the history works."""
    with console_in(browser, quiet) as console:
        console.page.add_init_script("delete window.Notification")
        console.open("notifications")
        expect_open(console)
        expect(console.page.locator("#browser-notifications-status")).to_contain_text("no notifications for web pages")
        notify(quiet, title="In the history")
        expect(console.page.locator("#history > li", has_text="In the history")).to_have_count(1)


@pytest.mark.smoke
def test_warnings_and_errors_stay_and_four_toasts_are_the_most(browser: Browser, quiet: Program) -> None:
    """The others close after ten seconds; a toast without room is shown when there is room."""
    with console_in(browser, quiet) as console:
        console.stop_clock()
        open_panel(console)
        for number in range(5):
            notify(quiet, title=f"Warning {number}", type="warning")
        titles = console.page.locator("#toasts > :visible strong")
        expect(titles).to_have_text(["Warning 1", "Warning 2", "Warning 3", "Warning 4"])
        notify(quiet, title="Fourth", type="info")
        expect(titles).to_have_text(["Warning 2", "Warning 3", "Warning 4", "Fourth"])
        console.page.clock.run_for(11_000)
        expect(titles).to_have_text(["Warning 1", "Warning 2", "Warning 3", "Warning 4"])
        console.page.locator("#toasts").get_by_role("button", name="Acknowledge Warning 4").click()
        expect(titles).to_have_text(["Warning 0", "Warning 1", "Warning 2", "Warning 3"])


def test_the_history_keeps_its_rows(panel: Console, quiet: Program) -> None:
    """A new notification adds one row, so the user's selection and scroll position stay."""
    page = panel.page
    notify(quiet, title="Kept")
    expect(page.locator("#history > li")).to_have_count(1)
    page.evaluate("window.row = document.querySelector('#history > li')")
    notify(quiet, title="Fresh")
    expect(page.locator("#history > li strong")).to_have_text(["Fresh", "Kept"])
    assert page.evaluate("document.querySelector('#history > li:nth-child(2)') === row")


def test_the_history_keeps_two_hundred(console: Console, quiet: Program) -> None:
    """The oldest entries are removed."""
    page = console.page
    stored = [{"id": f"n{number}", "title": f"Number {number}", "type": "info"} for number in range(200)]
    page.add_init_script(f"localStorage.setItem('hermes.history.123', JSON.stringify({json.dumps(stored)}))")
    page.reload()
    expect_open(console)
    expect(page.locator("#history-count")).to_have_text("200")
    notify(quiet, title="One more")
    expect(page.locator("#history > li strong").first).to_have_text("One more")
    expect(page.locator("#history > li")).to_have_count(200)
    expect(page.locator("#history > li strong").last).to_have_text("Number 198")


def test_each_user_has_a_history_of_their_own(console: Console, quiet: Program) -> None:
    """On a shared screen users neither see nor clear the history of another user."""
    page = console.page
    titles = page.locator("#history > li strong")
    notify(quiet, title="For Ana")
    expect(titles).to_have_text(["For Ana"])
    change_user(console, "luis (user 456, tenant globex)")
    expect(titles).to_have_count(0)
    notify(quiet, user_id="456", title="For Luis")
    expect(titles).to_have_text(["For Luis"])
    page.click("#history-clear")
    page.click("#history-clear-confirm")
    expect(titles).to_have_count(0)
    change_user(console, "ana (user 123, tenant acme)")
    expect(titles).to_have_text(["For Ana"])


def change_user(console: Console, label: str) -> None:
    """Change the user with one of the ready tokens."""
    console.show("connect")
    console.page.select_option("#token-picker", label=label)
    console.card("notifications").expect_state("open")
    console.show("notifications")


@pytest.mark.smoke
def test_the_form_sends_and_shows_the_answer(console: Console) -> None:
    """Sent, not sent, and the error of each field."""
    page = console.page
    answer = page.locator("#notify-answer")
    page.fill("#notify [name=title]", "From the form")
    page.fill("#notify [name=data]", '{"n": 1}')
    page.click("#notify [type=submit]")
    expect(answer).to_contain_text(re.compile(r'200 \{"status":"success","sent":true,"id":"\w+"\}'))
    expect(page.locator("#toasts > *", has_text="From the form")).to_be_visible()
    page.fill("#notify [name=addressee]", "no-such-user")
    page.click("#notify [type=submit]")
    expect(answer).to_contain_text('"sent":false')
    console.expected = ("422", "401")
    page.fill("#notify [name=title]", "")
    page.click("#notify [type=submit]")
    expect(answer).to_contain_text("title:")
    expect(answer.locator("code")).to_contain_text(re.compile(r'^422 \{.*"fields":\{"title":'))
    expect(page.locator("#notify [aria-invalid=true]")).to_have_attribute("name", "title")
    console.show("connect")
    page.fill("#key-value", "wrong")
    page.locator("#key-value").blur()
    console.show("notifications")
    page.click("#notify [type=submit]")
    expect(answer).to_contain_text("unauthorized")


def test_sending_leaves_the_focus_where_it_is(panel: Console) -> None:
    """A second click before the answer sends nothing."""
    page = panel.page
    held: list[Route] = []
    page.route("**/notify", lambda route: held.append(route))
    button = page.locator("#notify [type=submit]")
    button.press("Enter")
    expect(page.locator("#notify-answer")).to_have_text("sending…")
    expect(button).to_have_attribute("aria-disabled", "true")
    button.press("Enter")
    expect(button).to_be_focused()
    panel.wait_until(lambda: held)
    held[0].continue_()
    expect(page.locator("#notify-answer")).to_contain_text('"sent":true')
    expect(button).to_be_focused()
    assert len(held) == 1
    page.unroute("**/notify")


def test_an_invalid_or_missing_answer_is_shown(console: Console) -> None:
    """A proxy's page with its status, and a time-out; the form can be sent again."""
    page = console.page
    console.expected = ("502",)
    page.route("**/notify", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    page.click("#notify [type=submit]")
    expect(page.locator("#notify-answer")).to_contain_text("No readable response: 502")
    page.unroute("**/notify")
    page.route("**/notify", lambda route: None)
    page.evaluate(SEND_WITH_SHORT_PATIENCE)
    expect(page.locator("#notify-answer")).to_contain_text("timed out")
    page.unroute("**/notify")
    page.click("#notify [type=submit]")
    expect(page.locator("#notify-answer")).to_contain_text('"status":"success"')


def test_a_broadcast_goes_to_the_tenant(panel: Console) -> None:
    """The history shows the tenant."""
    page = panel.page
    page.select_option("#notify [name=kind]", "tenant_id")
    page.fill("#notify [name=addressee]", "acme")
    page.fill("#notify [name=title]", "Everybody")
    page.click("#notify [type=submit]")
    expect(page.locator("#history > li", has_text="Everybody")).to_contain_text("to all users of acme")


def test_data_that_is_not_an_object_is_not_sent(panel: Console) -> None:
    """The field is marked and gets the focus."""
    for data in ("{", "[1]", "7", "null", '"text"'):
        expect_not_sent(panel, data)


def expect_not_sent(console: Console, data: str) -> None:
    """The form refuses this data."""
    page = console.page
    page.fill("#notify [name=data]", "{}")
    page.fill("#notify [name=data]", data)
    expect(page.locator("#notify-curl")).to_have_text("The data is not a JSON object; fix it first.")
    page.click("#notify [type=submit]")
    expect(page.locator("#notify-answer")).to_contain_text("not a JSON object")
    expect(page.locator("#notify [name=data]")).to_be_focused()
    expect(page.locator("#notify [name=data]")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#history > li")).to_have_count(0)


def test_the_command_does_what_the_form_does(panel: Console, quiet: Program) -> None:
    """Run in a shell with the key in a variable, with any text; the command never contains the key."""
    page = panel.page
    title = """It's "hot" $HOME `id` \\n ✓"""
    page.fill("#notify [name=title]", title)
    page.fill("#notify [name=message]", "two\nlines & 'quotes'")
    page.fill("#notify [name=data]", '{"key": "o\'clock"}')
    command = page.locator("#notify-curl").inner_text()
    assert api_key(quiet) not in command
    needs("curl")
    environment = os.environ | {"HERMES_API_KEY": api_key(quiet)}
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, check=True, timeout=TIMEOUT_MS / 1_000
    )
    assert json.loads(done.stdout)["sent"] is True
    entry = page.locator("#history > li")
    expect(entry.locator("strong")).to_have_text(title)
    assert entry.locator("p").inner_text() == "two\nlines & 'quotes'"


def test_the_command_is_copied(panel: Console) -> None:
    """To the clipboard."""
    panel.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.page.click("#notify-copy")
    expect(panel.page.locator("#notify-copied")).to_have_text("Copied.")
    assert panel.page.evaluate("navigator.clipboard.readText()").startswith("curl -sS 'http://127.0.0.1")


@pytest.mark.smoke
def test_markup_in_notifications_stays_text(panel: Console, quiet: Program) -> None:
    """In the toast and in the history."""
    evil = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
    notify(quiet, title=evil, message=evil)
    expect(panel.page.locator("#history > li").first).to_contain_text(evil)
    assert panel.page.evaluate("window.owned") is None


def test_in_production_the_users_own_key_sends(production_console: Console) -> None:
    """To the user of the pasted token."""
    console = production_console
    console.open("connect")
    page = console.page
    page.fill("#token-value", token(user_id="7", tenant_id="acme"))
    page.fill("#key-value", KEY)
    page.locator("#key-value").blur()
    page.locator("[data-socket=notifications] .toggle").click()
    console.card("notifications").expect_state("open")
    console.show("notifications")
    expect(page.locator("#notify [name=addressee]")).to_have_value("7")
    page.click("#notify [type=submit]")
    expect(page.locator("#notify-answer")).to_contain_text('"sent":true')


def test_an_addressee_that_was_typed_stays(production_console: Console) -> None:
    """Also if the key is entered later; only an empty field is filled in."""
    console = production_console
    console.open("notifications")
    page = console.page
    page.fill("#notify [name=addressee]", "42")
    console.show("connect")
    page.fill("#token-value", token(user_id="7", tenant_id="acme"))
    page.fill("#key-value", KEY)
    page.locator("#key-value").blur()
    console.show("notifications")
    expect(page.locator("#notify [name=addressee]")).to_have_value("42")
