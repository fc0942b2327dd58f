"""The inbox in a real Chromium: its panel, the receipts behind what was sent, the figures of the store."""

import itertools
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Request, Route, expect

from tests.support.axe import axe_script, violations
from tests.support.consoles import TIMEOUT_MS, Console, console_in, save_picture
from tests.support.gateways import SECRET, token
from tests.support.page_layout import overhanging
from tests.support.programs import Program, hermes

pytestmark = pytest.mark.browser

KEY, SENDER = "key-of-the-operator", "key-of-the-sender"
FILE = f"operator {KEY}\nsender {SENDER} notify,status\n"
STEP_MS = 250  # of the page's clock between two checks: requests end after some seconds of it
A_MINUTE_MS = 60_000
USERS = itertools.count(1)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Hermes with an inbox; each test has a user of its own."""
    folder = tmp_path_factory.mktemp("inbox")
    keys = folder / "api-keys"
    keys.write_text(FILE)
    words = ("serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(keys))
    with hermes(*words, "--inbox", str(folder / "inbox.db"), HERMES_JWT_SECRET=SECRET) as running:
        yield running


@dataclass
class Site:
    """A console, and what other programs do with the same Hermes."""

    console: Console
    url: str
    user: str
    clock_is_stopped: bool = True
    requests: list[Request] = field(default_factory=list)

    def call(self, path: str, body: object = None, *, method: str | None = None, as_user: bool = False) -> Any:
        """Send a request with the key, or with a token of the user; return the JSON of the answer."""
        given = {"Authorization": f"Bearer {self.token}"} if as_user else {"X-API-Key": KEY}
        data = None if body is None else json.dumps(body).encode()
        headers = given | {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT_MS / 1_000) as response:
            return json.load(response)

    @property
    def token(self) -> str:
        """A token of the user."""
        return token(user_id=self.user, tenant_id=self.tenant)

    @property
    def tenant(self) -> str:
        """The tenant of this user alone."""
        return f"tenant-of-{self.user}"

    def send(self, *ids: str, **fields: object) -> None:
        """Store a notification with each of these ids."""
        note = {"user_id": self.user, "message": "", **fields}
        answer = self.call("/notify", [{**note, "id": id, "title": f"Title {id}"} for id in ids])
        assert [result["stored"] for result in answer["results"]] == [True] * len(ids)

    def open(self, panel: str, *, key: str = KEY, token: str | None = None) -> None:
        """Load the page, enter token and key, and show a panel."""
        self.console.open("connect")
        page = self.console.page
        page.on("request", lambda request: self.requests.append(request))
        page.fill("#token-value", self.token if token is None else token)
        page.fill("#key-value", key)
        page.locator("#key-value").blur()
        self.move_clock_until(page.locator("#key-summary").inner_text)
        self.console.show(panel)

    def asked(self, path: str) -> int:
        """Return how often the page has requested this path."""
        return sum(urlsplit(request.url).path == path for request in self.requests)

    def move_clock_until(self, condition: Callable[[], object]) -> None:
        """Move the page's clock, if it is stopped, until a condition is true."""
        if self.clock_is_stopped:
            self.console.move_clock_until(condition, STEP_MS)
        else:
            self.console.wait_until(condition)

    def move_clock_until_shown(self, locator: Locator, text: str) -> None:
        """Move the page's clock until an element has this text."""
        self.move_clock_until(lambda: text in "".join(locator.all_inner_texts()))


@pytest.fixture
def site(browser: Browser, program: Program) -> Iterator[Site]:
    """A console, not opened yet; a fault in the page fails the test."""
    with console_in(browser, program) as console:
        console.stop_clock()
        yield Site(console, program.url, f"user-{next(USERS)}")


def rows(site: Site) -> Locator:
    """The rows of the inbox."""
    return site.console.page.locator("#inbox ol > li")


@pytest.mark.smoke
def test_the_inbox_is_read_in_pages_and_acknowledged(site: Site) -> None:
    """Oldest first; one by keyboard, then all that are shown."""
    site.send(*(f"n{number}" for number in range(103)))
    site.open("inbox")
    page = site.console.page
    panel = page.locator("#inbox")
    expect(rows(site)).to_have_count(100)
    expect(rows(site).locator("strong").first).to_have_text("Title n0")
    expect(panel).to_contain_text("103 not acknowledged, 100 shown.")
    panel.get_by_role("button", name="Show the next 100").click()
    expect(rows(site)).to_have_count(103)
    expect(panel.get_by_role("button", name="Show the next 100")).to_be_hidden()
    panel.get_by_role("button", name="Acknowledge Title n0", exact=True).press("Enter")
    expect(rows(site).first).to_have_attribute("data-state", "acked")
    expect(panel.get_by_role("button", name="Acknowledge Title n1", exact=True)).to_be_focused()
    expect(panel).to_contain_text("102 not acknowledged, 103 shown.")
    panel.get_by_role("button", name="Acknowledge all that are shown").click()
    expect(panel).to_contain_text("0 not acknowledged, 103 shown.")
    expect(rows(site).get_by_role("button")).to_have_count(0)
    assert site.call("/inbox?broadcasts=1", as_user=True)["unread"] == 0


def test_the_panel_follows_what_others_do_while_it_is_shown(site: Site) -> None:
    """New rows, acknowledgements of another device, a withdrawal; hidden, it asks nothing."""
    site.send("one", "two", priority=5)
    site.open("inbox")
    expect(rows(site)).to_have_count(2)
    expect(rows(site).first).to_contain_text("priority 5")
    site.call("/ack", {"notification_id": "one"}, as_user=True)
    site.call(f"/notify?{urlencode({'id': 'two', 'user_id': site.user})}", method="DELETE")
    site.call("/notify", {"tenant_id": site.tenant, "title": "For all", "message": ""})
    site.move_clock_until_shown(rows(site), f"to all users of {site.tenant}")
    expect(rows(site).nth(0)).to_contain_text("acknowledged")
    expect(rows(site).nth(1)).to_contain_text("withdrawn")
    expect(site.console.page.locator("#inbox")).to_contain_text("1 not acknowledged, 3 shown.")
    site.console.show("connect")
    asked = site.asked("/inbox")
    site.console.page.clock.run_for(A_MINUTE_MS)
    assert site.asked("/inbox") == asked


def test_a_gap_is_explained(site: Site) -> None:
    """After a purge there is nothing, and the page says that something is lost."""
    site.send("one")
    site.call("/inbox/purge", {"user_id": site.user})
    site.open("inbox")
    expect(site.console.page.locator("#inbox .warn")).to_contain_text("There is a gap")
    expect(site.console.page.locator("#inbox .empty")).to_have_text("Nothing is stored for this user.")


@pytest.mark.smoke
def test_a_refused_token_is_sent_once(site: Site) -> None:
    """Each wrong one counts against this address; with another token the panel works again."""
    site.console.expected = ("401",)
    site.send("one")
    site.open("inbox", token=token(user_id=site.user, exp=1_700_000_000))
    fault = site.console.page.locator("#inbox .bad")
    expect(fault).to_contain_text("401 token_expired")
    site.console.page.clock.run_for(A_MINUTE_MS)
    assert site.asked("/inbox") == 1
    site.console.show("connect")
    site.console.page.fill("#token-value", site.token)
    site.console.page.locator("#token-value").blur()
    site.console.show("inbox")
    expect(rows(site)).to_have_count(1)
    expect(fault).to_be_empty()


def test_without_an_inbox_the_panel_says_what_is_not_possible(production_console: Console) -> None:
    """In one line; the form has no fields that Hermes would refuse, and the drill cannot run."""
    page = production_console.page
    production_console.open("inbox")
    expect(page.locator("#inbox")).to_contain_text("This Hermes has no inbox")
    expect(page.locator("#inbox button")).to_have_count(0)
    production_console.show("notifications")
    expect(page.locator("#notify [type=submit]")).to_be_enabled()
    expect(page.locator("#notify [name=ttl_s]")).to_have_count(0)
    production_console.show("drills")
    expect(page.locator("[data-drill=inbox] button")).to_be_disabled()
    assert page.locator("#tile-inbox").count() == 0


def test_receipts_show_what_became_of_a_notification(site: Site) -> None:
    """Stored, acknowledged; after that the page asks no more."""
    page = site.console.page
    send_by_form(site)
    sent = page.locator(".sent li")
    expect(page.locator("#notify-answer")).to_contain_text("No recipient has an open socket. It is stored.")
    site.move_clock_until_shown(sent, "not acknowledged yet")
    expect(sent).to_contain_text("0 sockets took it")
    site.call("/ack", {"notification_id": sent.get_attribute("data-id")}, as_user=True)
    site.move_clock_until(lambda: sent.get_attribute("data-state") == "acked")
    asked = site.asked("/receipts")
    page.clock.run_for(A_MINUTE_MS)
    assert site.asked("/receipts") == asked


@pytest.mark.smoke
def test_a_sent_notification_is_withdrawn(site: Site) -> None:
    """The button that had the focus is gone; the focus goes to the heading."""
    page = site.console.page
    send_by_form(site)
    sent = page.locator(".sent li")
    sent.get_by_role("button", name="Withdraw").press("Enter")
    expect(sent).to_contain_text("withdrawn")
    expect(sent.get_by_role("button")).to_be_hidden()
    expect(page.locator("#sent-heading")).to_be_focused()
    assert site.call("/inbox", as_user=True)["frames"] == []


def test_receipts_are_asked_for_ever_more_rarely_and_only_while_shown(site: Site) -> None:
    """After ten minutes not at all."""
    page = site.console.page
    send_by_form(site)
    sent = page.locator(".sent li")
    site.move_clock_until_shown(sent, "not acknowledged yet")
    site.console.show("connect")
    asked = site.asked("/receipts")
    page.clock.run_for(A_MINUTE_MS)
    assert site.asked("/receipts") == asked
    site.console.show("notifications")
    site.console.wait_until(lambda: pass_minutes(site, 1) and site.asked("/receipts") > asked)
    pass_minutes(site, 11)
    asked = site.asked("/receipts")
    assert asked < 60
    pass_minutes(site, 5)
    assert site.asked("/receipts") == asked


def pass_minutes(site: Site, number: int) -> bool:
    """Move the clock in steps, with time for the answers between them."""
    for _ in range(number * 6):
        site.console.page.clock.run_for(10_000)
        site.console.page.evaluate("fetch('health').then(() => 0)")
    return True


def test_the_form_offers_what_an_inbox_can_do(site: Site) -> None:
    """In the request and in its command; what Hermes refuses is marked."""
    page = site.console.page
    send_by_form(site)
    first = page.locator(".sent li").get_attribute("data-id") or ""
    page.fill("#notify [name=ttl_s]", "3600")
    page.select_option("#notify [name=priority]", "5")
    page.fill("#notify [name=replaces]", first)
    page.check("#notify [name=require]")
    expect(page.locator("#notify-curl")).to_contain_text('"ttl_s":3600,"priority":5,')
    assert page.locator("#notify-ids option").get_attribute("value") == first
    page.click("#notify [type=submit]")
    expect(page.locator("#notify-answer")).to_contain_text('"replaced":true')
    (frame,) = site.call("/inbox", as_user=True)["frames"]
    assert (frame["priority"], frame["replaces"]) == (5, first)
    site.console.expected = ("422",)
    page.fill("#notify [name=ttl_s]", "soon")
    page.click("#notify [type=submit]")
    expect(page.locator("#notify-answer")).to_contain_text("ttl_s:")
    expect(page.locator("#notify [aria-invalid=true]")).to_have_attribute("name", "ttl_s")
    page.fill("#notify [name=ttl_s]", "0")
    page.uncheck("#notify [name=require]")
    page.click("#notify [type=submit]")
    expect(page.locator("#notify-answer")).to_contain_text("It is not stored for later.")


def test_a_key_without_the_scopes_is_told_what_it_may_not_see(site: Site) -> None:
    """Receipts and the figures of the store; no request is sent that Hermes would refuse."""
    page = site.console.page
    send_by_form(site, key=SENDER)
    expect(page.locator(".sent li")).to_have_count(1)
    expect(page.locator("#notify")).to_contain_text("sender does not have the scope receipts")
    site.console.show("overview")
    move_clock_until_store_shows(site, "sender does not have the scope inbox")
    site.move_clock_until(lambda: page.locator("#tile-inbox .label").inner_text() == "up")
    page.clock.run_for(A_MINUTE_MS)
    assert (site.asked("/receipts"), site.asked("/inbox/stats")) == (0, 0)


def move_clock_until_store_shows(site: Site, text: str) -> None:
    """Scroll to the figures of the store, which the charts above move, until they have this text."""
    store = site.console.page.locator("#node-inbox")

    def shown() -> bool:
        store.evaluate("each => each.scrollIntoView()")
        return text in store.inner_text()

    site.move_clock_until(shown)


def send_by_form(site: Site, *, key: str = KEY) -> None:
    """Send a notification to the user of the token with the form; it is stored."""
    site.open("notifications", key=key)
    page = site.console.page
    expect(page.locator("#notify [type=submit]")).to_be_enabled()
    expect(page.locator("#notify [name=addressee]")).to_have_value(site.user)
    page.click("#notify [type=submit]")
    expect(page.locator(".sent li")).not_to_have_count(0)


def test_the_overview_shows_the_figures_of_the_store(site: Site) -> None:
    """And that it fails, with the reason; read only while they are in view."""
    page = site.console.page
    site.send("one")
    site.open("overview")
    move_clock_until_store_shows(site, "It stores what is sent.")
    move_clock_until_store_shows(site, site.call("/inbox/stats")["epoch"])
    page.route("**/status", fail_store)
    move_clock_until_store_shows(site, "It cannot store what is sent: no space left")
    expect(page.locator("#tile-inbox")).to_have_attribute("data-state", "down")
    expect(page.locator("#tile-inbox .detail")).to_have_text("no space left")
    expect(page.locator("#tile-hermes .detail")).to_have_text("inbox: no space left")
    expect(page.locator("#tile-mqtt .label")).to_have_text("off")
    page.unroute_all(behavior="wait")
    site.console.show("connect")
    asked = site.asked("/inbox/stats")
    page.clock.run_for(A_MINUTE_MS)
    assert site.asked("/inbox/stats") == asked


@pytest.mark.parametrize(("theme", "language", "width"), [("light", "en", 390), ("dark", "es", 1280)])
def test_all_of_it_conforms_to_wcag(browser: Browser, program: Program, theme: str, language: str, width: int) -> None:
    """The panel with rows in each state and a gap, the form with receipts, a store that fails."""
    found = {}
    window = {"width": width, "height": 900}
    with console_in(browser, program, viewport=window, reduced_motion="reduce") as console:
        chosen = {"hermes_theme": theme, "hermes_language": language}
        console.page.context.add_cookies(
            [{"name": name, "value": value, "url": program.url} for name, value in chosen.items()]
        )
        console.page.add_init_script(axe_script())
        for view in views(
            Site(console, program.url, f"user-{next(USERS)}", clock_is_stopped=False)
        ):  # axe-core has timers
            found[view] = violations(console.page) + overhanging(console.page)
            console.page.evaluate("scrollTo(0, 0)")
            save_picture(console.page, f"inbox-{view}-{theme}-{width}", whole=True)
    assert {view: faults for view, faults in found.items() if faults} == {}


def views(site: Site) -> Iterator[str]:
    """Show each view of the inbox in its worst state, and yield its name."""
    page = site.console.page
    site.send("purged")
    site.call("/inbox/purge", {"user_id": site.user})
    site.send("acked", "withdrawn", "unread", priority=5, ttl_s=86_400, message="A longer text, " * 20)
    site.call("/ack", {"notification_id": "acked"}, as_user=True)
    send_by_form(site)
    site.move_clock_until(lambda: page.locator(".sent li").inner_text().count("·") > 3)
    page.get_by_role("button", name=re.compile("^(Withdraw|Retirar) ")).press("Enter")
    expect(page.locator(".sent li")).to_have_attribute("data-state", "withdrawn")
    page.click("#notify [type=submit]")
    expect(page.locator(".sent li")).to_have_count(2)
    yield "notifications"
    site.console.show("inbox")
    expect(rows(site)).to_have_count(4)
    site.call(f"/notify?{urlencode({'id': 'withdrawn', 'user_id': site.user})}", method="DELETE")
    withdrawn = page.locator("#inbox li[data-state=ended]")
    site.move_clock_until(withdrawn.is_visible)
    yield "inbox"
    page.route("**/status", fail_store)
    site.console.show("overview")
    move_clock_until_store_shows(site, "no space left")
    move_clock_until_store_shows(site, site.call("/inbox/stats")["epoch"])
    yield "overview"
    page.unroute_all(behavior="wait")


def fail_store(route: Route) -> None:
    """Answer the figures of a node that cannot store."""
    response = route.fetch()
    missing = ["inbox: no space left"]
    route.fulfill(response=response, json={**response.json(), "ready": False, "missing": missing})
