"""The two pages of a soak: the console, and a page of clients that use the documented client module."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, WebSocket

from tests.support.consoles import Console

# Chromium's log lines for failed connections, for /ready while the broker does not run, and for the question why a
# socket did not open, if Hermes is back before it is asked.
NETWORK_FAULTS = ("net::ERR_", "WebSocket connection to", "status of 503", "status of 405")
CONSOLE_USER = "123"  # ana, the user of the token that --dev fills in
CLIENTS_USER = "soak"
NOTIFIED_ROUTES = ("/ws/notifications", "/ws")
CLIENT_ROUTES = ("/ws/notifications", "/ws", "/ws/tenant/acme", "/ws/device/climate-01")
TTL_S = 10  # the clients refresh their tokens every 5 s, 5 s before they expire

CLIENTS = """
async ({ routes, apiKey, user, ttl }) => {
  const { HermesClient } = await import('/static/hermes-client.js');
  const soak = window.soak = { late: false, refreshed: 0, clients: [] };
  const headers = { 'Content-Type': 'application/json', 'X-API-Key': apiKey };
  const body = JSON.stringify({ user_id: user, username: 'soak', tenant_id: 'acme', ttl_s: ttl });
  const getToken = async (reason) => {
    if (reason === 'expiring' && soak.late) return null;
    // without a time-out, pending requests use up the browser's connections to one server
    const response = await fetch('/dev/token', { method: 'POST', headers, body, signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`no token: ${response.status}`);
    return (await response.json()).token;
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
    """State of one socket, as its page reports it."""

    name: str
    open: bool
    opens: int  # number of times it has opened
    expired: int  # number of times it was closed because its token had expired
    state: str


@dataclass
class SoakedConsole:
    """The console; notifications are counted in its WebSocket frames and in its history.

    A frame that comes again at another socket of the route counts once: a page does not handle what arrives after it
    has closed a socket, so the inbox repeats it. The history shows whether the page has handled both.
    """

    console: Console
    received: dict[str, Counter[str]] = field(default_factory=dict)  # by route: number of frames of each id

    @classmethod
    def open(cls, context: BrowserContext, url: str) -> "SoakedConsole":
        """Open the console on its Connect panel; its sockets begin to connect."""
        console = Console(context.new_page(), f"{url}/", expected=NETWORK_FAULTS)
        console.watch()
        soaked = cls(console)
        console.page.on("websocket", soaked._listen)
        console.open("connect")
        return soaked

    def _listen(self, socket: WebSocket) -> None:
        route = "/" + socket.url.partition("://")[2].partition("/")[2].partition("?")[0]
        if route in NOTIFIED_ROUTES:
            ids: set[str] = set()
            socket.on("framereceived", lambda frame: self._count(route, ids, frame))

    def _count(self, route: str, ids: set[str], frame: str | bytes) -> None:
        """Count a frame; ``ids`` are those that this socket has received."""
        value: dict[str, Any] = json.loads(frame)
        if value.get("channel") == "notifications":
            received, id = self.received.setdefault(route, Counter()), value["id"]
            received[id] += id in ids or not received[id]
            ids.add(id)

    def lines(self) -> list[Line]:
        """Return the four sockets of the console."""
        return [Line(**line) for line in self.console.page.evaluate(CONSOLE_STATE)]

    def paste_token(self, token: str) -> None:
        """Paste a token into the token field, as a user does."""
        self.console.page.evaluate(PASTE, token)

    def titles(self) -> list[str]:
        """Return the titles in the history, newest first."""
        self.console.show("notifications")
        titles: list[str] = self.console.page.evaluate(TITLES)
        return titles


@dataclass
class SoakedClients:
    """Clients of :data:`CLIENTS_USER`; notifications are counted in the events of the client module."""

    console: Console  # records the faults of the page

    @classmethod
    def open(cls, context: BrowserContext, url: str, api_key: str) -> "SoakedClients":
        """Open a page of the same origin with a client for each route."""
        console = Console(context.new_page(), f"{url}/health", expected=NETWORK_FAULTS)
        console.watch()
        console.page.route(
            "**/favicon.ico", lambda route: route.fulfill(status=204)
        )  # Chromium requests it for /health
        console.open()
        given = {"routes": CLIENT_ROUTES, "apiKey": api_key, "user": CLIENTS_USER, "ttl": TTL_S}
        console.page.evaluate(CLIENTS, given)
        return cls(console)

    @property
    def page(self) -> Page:
        """The page of the clients."""
        return self.console.page

    def lines(self) -> list[Line]:
        """Return the sockets of all clients."""
        return [Line(**line) for line in self.page.evaluate(CLIENTS_STATE)]

    def be_late(self, late: bool) -> None:
        """Choose whether the clients let their tokens expire before they request new ones."""
        self.page.evaluate("late => { soak.late = late; }", late)

    @property
    def refreshed(self) -> int:
        """Number of tokens that were refreshed on an open socket."""
        count: int = self.page.evaluate("soak.refreshed")
        return count

    @property
    def repeats(self) -> int:
        """Number of duplicates that the clients suppressed."""
        count: int = self.page.evaluate("soak.clients.reduce((sum, { client }) => sum + client.counts.duplicates, 0)")
        return count

    @property
    def received(self) -> dict[str, Counter[str]]:
        """Number of notifications of each id, by route."""
        found = self.page.evaluate("soak.clients.map(({ route, ids }) => [route, ids])")
        return {route: Counter(ids) for route, ids in found if route in NOTIFIED_ROUTES}


def new_context(browser: Browser) -> BrowserContext:
    """Return a browser context for both pages; offline mode applies to both."""
    return browser.new_context(viewport={"width": 1280, "height": 900})
