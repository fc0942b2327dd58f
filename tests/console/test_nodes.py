"""The nodes of a site in the console, in a real Chromium: two and three nodes on a real NATS server."""

import contextlib
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.support.axe import axe_script, violations
from tests.support.consoles import Console, console_in, save_picture
from tests.support.gateways import KEY, SECRET, token
from tests.support.nats import NatsServer, nats_server
from tests.support.page_layout import overhanging
from tests.support.programs import Program, hermes

pytestmark = [pytest.mark.browser, pytest.mark.broker]

LISTENS = r"Hermes \S+ on http"
OTHER_SECRET = "of a node with other token keys: thirty-two bytes and more"


@dataclass(frozen=True)
class Site:
    """A NATS server, and the folder of the nodes."""

    nats: NatsServer
    folder: Path

    def node(self, name: str, secret: str = SECRET) -> contextlib.AbstractContextManager[Program]:
        """Run a node."""
        keys = self.folder / "api-keys"
        keys.write_text(f"{KEY}\n")
        flags = ("--port", "0", "--mqtt-url", "off", "--nats-url", self.nats.url, "--node-name", name)
        folder = str(self.folder / name)
        return hermes("serve", *flags, "--api-key-file", str(keys), HERMES_JWT_SECRET=secret, XDG_STATE_HOME=folder)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site without a node."""
    with nats_server(tmp_path) as nats:
        yield Site(nats, tmp_path)


def enter_key(console: Console) -> None:
    """Open the console as an operator does, and show the overview."""
    console.open("connect")
    console.page.fill("#token-value", token(tenant_id="acme"))
    console.page.fill("#key-value", KEY)
    console.page.locator("#key-value").blur()
    console.page.locator("[data-socket=notifications] .toggle").click()
    console.card("notifications").expect_state("open")
    console.show("overview")


def row(console: Console, node: str) -> Locator:
    """Return the row of a node."""
    return console.page.locator(f"#nodes tr[data-node={node}]")


def expect_state(console: Console, node: str, label: str, light: str) -> None:
    """Expect the state of a node: its word and the colour of its light."""
    expect(row(console, node).locator(".node-state .label")).to_have_text(label)
    expect(row(console, node).locator(".node-state")).to_have_attribute("data-state", light)


def expect_tile(console: Console, label: str, light: str) -> None:
    """Expect the state of the site."""
    expect(console.page.locator("#tile-nodes .label")).to_have_text(label)
    expect(console.page.locator("#tile-nodes")).to_have_attribute("data-state", light)


@pytest.mark.smoke
def test_each_node_is_shown_and_one_that_is_killed(browser: Browser, site: Site) -> None:
    """With its state, users and sockets; charts and totals are those of the chosen one."""
    with site.node("a") as a, site.node("b") as b, console_in(browser, a) as console:
        b.wait_for(LISTENS)
        enter_key(console)
        expect_tile(console, "2 of 2 joined", "up")
        expect_state(console, "b", "joined", "up")
        expect(row(console, "a").locator(".badge")).to_be_visible()
        expect(row(console, "b").locator(".badge")).to_be_hidden()
        for node, count in (("a", "1"), ("b", "0")):
            for kind in ("users", "sockets"):
                expect(row(console, node).locator(f".{kind}")).to_have_text(count)
        sockets = console.page.locator("#totals > div", has_text="Sockets open").locator("dd")
        expect(sockets).to_have_text(re.compile("^1 / "))
        console.page.select_option("#nodes select", "b")
        expect(sockets).to_have_text(re.compile("^0 / "))
        b.end(signal.SIGKILL)
        expect_state(console, "b", "no answer", "down")
        expect(row(console, "b").locator(".detail")).to_contain_text("last heard")
        expect_tile(console, "1 of 2 joined", "waiting")
        expect(console.page.locator("#tile-nodes .detail")).to_have_text("b: no answer")
        expect(console.page.locator("#live-region")).to_contain_text("Nodes: 1 of 2 joined; b: no answer")
        expect(console.page.locator("#node-totals")).to_be_hidden()


def test_a_lost_node_returns_and_nats_too(browser: Browser, site: Site) -> None:
    """Each state is shown until it ends, without a reload of the page."""
    with site.node("a") as a, console_in(browser, a) as console:
        with site.node("b") as b:
            b.wait_for(LISTENS)
            enter_key(console)
            expect_tile(console, "2 of 2 joined", "up")
            b.end(signal.SIGKILL)
        expect_state(console, "b", "lost", "down")
        expect_tile(console, "1 of 2 joined", "waiting")
        with site.node("b"), site.node("c") as c:
            expect_state(console, "b", "joined", "up")
            expect_tile(console, "3 of 3 joined", "up")
            c.end()
            expect_state(console, "c", "stopped", "unknown")
            expect_tile(console, "2 of 2 joined", "up")
            site.nats.stop()
            expect_state(console, "a", "alone", "down")
            expect_state(console, "b", "not known", "unknown")
            expect(row(console, "a").locator(".problems")).to_contain_text("this node works alone")
            expect_tile(console, "0 of 2 joined", "down")
            expect(console.page.locator("#hermes-status-light")).to_have_attribute("data-state", "waiting")
            site.nats.start()
            expect_tile(console, "2 of 2 joined", "up")
            expect_state(console, "a", "joined", "up")
            expect(row(console, "a").locator(".problems")).to_be_empty()
        a.end(signal.SIGKILL)
        console.expected = ("net::ERR_", "WebSocket connection to")
        expect(console.page.locator("#nodes")).to_be_hidden()
        expect_tile(console, "unknown", "unknown")


@pytest.mark.parametrize(
    ("theme", "language", "width"),
    [("light", "en", 1280), ("dark", "en", 390), ("light", "es", 390), ("dark", "es", 1280)],
)
def test_the_nodes_conform_to_wcag(browser: Browser, site: Site, theme: str, language: str, width: int) -> None:
    """One with other token keys, one that was stopped, one that hangs."""
    window = {"viewport": {"width": width, "height": 900}, "reduced_motion": "reduce"}
    with contextlib.ExitStack() as stack:
        first, *others = [
            stack.enter_context(site.node(name, secret))
            for name, secret in (
                ("plant-1", SECRET),
                ("plant-2", SECRET),
                ("plant-3", OTHER_SECRET),
                ("plant-4", SECRET),
            )
        ]
        console = stack.enter_context(console_in(browser, first, **window))
        for node in others:
            node.wait_for(LISTENS)
        page = console.page
        chosen = {"hermes_theme": theme, "hermes_language": language}
        page.context.add_cookies([{"name": name, "value": value, "url": first.url} for name, value in chosen.items()])
        page.add_init_script(axe_script())
        enter_key(console)
        expect(page.locator("#nodes tbody tr")).to_have_count(4)
        expect(page.locator("#nodes .node-state[data-state=up]")).to_have_count(3)
        expect(row(console, "plant-3").locator(".problems")).not_to_be_empty()
        others[2].end()
        expect(row(console, "plant-4").locator(".node-state")).to_have_attribute("data-state", "unknown")
        others[0].process.send_signal(signal.SIGSTOP)
        stack.callback(others[0].process.send_signal, signal.SIGCONT)
        expect(row(console, "plant-2").locator(".node-state")).to_have_attribute("data-state", "down")
        found = violations(page) + overhanging(page)
        save_picture(page, f"nodes-{theme}-{language}-{width}")
    assert found == []
