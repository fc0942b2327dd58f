"""The two pages of a soak: the console itself, and one of applications that use the client module as its docs say."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, WebSocket

from tests.support.consoles import Console

# What Chromium writes to its console of connections that fail, and of /ready while the broker is away.
NETWORK_FAULTS = ("net::ERR_", "WebSocket connection to", "status of 503")
CONSOLE_USER = "123"  # ana's, whose token --dev fills in
CLIENTS_USER = "soak"
NOTIFIED_ROUTES = ("/ws/notifications", "/ws")
CLIENT_ROUTES = ("/ws/notifications", "/ws", "/ws/tenant/acme", "/ws/device/climate-01")
TTL_S = 10  # so that the clients' tokens are refreshed every five seconds, five before their end

CLIENTS = """
async ({ routes, apiKey, user, ttl }) => {
  const { HermesClient } = await import('/static/hermes-client.js');
  const soak = window.soak = { late: false, refreshed: 0, clients: [] };
  const headers = { 'Content-Type': 'application/json', 'X-API-Key': apiKey };
  const body = JSON.stringify({ user_id: user, username: 'soak', tenant_id: 'acme', ttl_s: ttl });
  const getToken = async (reason) => {
    if (reason === 'expiring' && soak.late) return null;
    // or the fetches that never end take all the connections that a browser opens to one server
    const answer = await fetch('/dev/token', { method: 'POST', headers, body, signal: AbortSignal.timeout(10_000) });
    if (!answer.ok) throw new Error(`no token: ${answer.status}`);
    return (await answer.json()).token;
  };
  for (const route of routes) {
    const client = new HermesClient({ url: route, getToken });
    const seen = { route, client, opens: 0, ids: [], expired: 0 };
    client.on('state', ({ state }) => { seen.opens += state === 'open' ? 1 : 0; });
    client.on('notification', ({ id }) => seen.ids.push(id));
    client.on('refreshed', () => { soak.refreshed += 1; });
    client.on('error', ({ message }) => { seen.expired += message.includes('token_expired') ? 1 : 0; });
    soak.clients.push(seen);
    client.connect();
  }
}
"""
CLIENTS_STATE = """
() => soak.clients.map(({ route, client, opens, expired }) => (
  { name: `client ${route}`, open: client.state === 'open' && client.link.up, opens, expired, state: client.state }))
"""
CONSOLE_STATE = """
() => [...document.querySelectorAll('form.socket')].map((card) => ({
  name: `console ${card.dataset.socket}`, open: card.dataset.state === 'open', state: card.dataset.state ?? 'closed',
  opens: Number(card.querySelector('.tries').textContent), expired: 0,
}))
"""
TITLES = """
() => [...document.querySelectorAll('#history > li')].map((item) => /Number [0-9]+-[0-9]{6}/.exec(item.textContent)[0])
"""
PASTE = """
(token) => {
  const field = document.querySelector('#token-value');
  field.value = token;
  field.dispatchEvent(new Event('change', { bubbles: true }));
}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A socket as its page sees it."""

    name: str
    open: bool
    opens: int  # how often it has opened so far
    expired: int  # how often it was closed because its token had expired
    state: str


@dataclass
class SoakedConsole:
    """The real console. What comes is read on the wire, and in its history."""

    console: Console
    received: dict[str, Counter[str]] = field(default_factory=dict)  # by route: how often each id came

    @classmethod
    def open(cls, context: BrowserContext, url: str) -> "SoakedConsole":
        """A console on its Connect panel, on its way to opening its sockets."""
        console = Console(context.new_page(), f"{url}/", expected=NETWORK_FAULTS)
        console.watch()
        soaked = cls(console)
        console.page.on("websocket", soaked._listen)
        console.open("connect")
        return soaked

    def _listen(self, socket: WebSocket) -> None:
        route = "/" + socket.url.partition("://")[2].partition("/")[2].partition("?")[0]
        if route in NOTIFIED_ROUTES:
            socket.on("framereceived", lambda frame: self._count(route, frame))

    def _count(self, route: str, frame: str | bytes) -> None:
        value: dict[str, Any] = json.loads(frame)
        if value.get("channel") == "notifications":
            self.received.setdefault(route, Counter())[value["id"]] += 1

    def lines(self) -> list[Line]:
        """Its four sockets."""
        return [Line(**line) for line in self.console.page.evaluate(CONSOLE_STATE)]

    def paste_token(self, token: str) -> None:
        """As its user does."""
        self.console.page.evaluate(PASTE, token)

    def titles(self) -> list[str]:
        """What its history shows, newest first."""
        self.console.show("notifications")
        titles: list[str] = self.console.page.evaluate(TITLES)
        return titles


@dataclass
class SoakedClients:
    """Clients of :data:`CLIENTS_USER`; what comes is what the applications are told."""

    console: Console  # for its watch over the page

    @classmethod
    def open(cls, context: BrowserContext, url: str, api_key: str) -> "SoakedClients":
        """A page of the same origin with a client for each route."""
        console = Console(context.new_page(), f"{url}/health", expected=NETWORK_FAULTS)
        console.watch()
        console.page.route("**/favicon.ico", lambda route: route.fulfill(status=204))  # asked for: /health is no page
        console.open()
        given = {"routes": CLIENT_ROUTES, "apiKey": api_key, "user": CLIENTS_USER, "ttl": TTL_S}
        console.page.evaluate(CLIENTS, given)
        return cls(console)

    @property
    def page(self) -> Page:
        """Where they live."""
        return self.console.page

    def lines(self) -> list[Line]:
        """All of them."""
        return [Line(**line) for line in self.page.evaluate(CLIENTS_STATE)]

    def be_late(self, late: bool) -> None:
        """Whether they let their tokens expire before they get new ones."""
        self.page.evaluate("late => { soak.late = late; }", late)

    @property
    def refreshed(self) -> int:
        """How often a token was renewed on an open socket."""
        count: int = self.page.evaluate("soak.refreshed")
        return count

    @property
    def repeats(self) -> int:
        """What the clients held back because it had come before."""
        count: int = self.page.evaluate("soak.clients.reduce((sum, { client }) => sum + client.counts.duplicates, 0)")
        return count

    @property
    def received(self) -> dict[str, Counter[str]]:
        """By route: how often each id came."""
        found = self.page.evaluate("soak.clients.map(({ route, ids }) => [route, ids])")
        return {route: Counter(ids) for route, ids in found if route in NOTIFIED_ROUTES}


def new_context(browser: Browser) -> BrowserContext:
    """One network for both pages, which is offline for both at once."""
    return browser.new_context(viewport={"width": 1280, "height": 900})
