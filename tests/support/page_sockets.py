"""Sockets of a page that the test controls: it answers their handshakes and sends any frames.

Playwright carries each frame of a `WebSocketRoute` to the page by itself, a millisecond each; `receive` hands the page
thousands of frames at once.
"""

import json
import re
from collections.abc import Sequence
from functools import partial

from playwright.sync_api import Page, WebSocketRoute

PATHS = {
    "notifications": "/ws/notifications",
    "tenant": "/ws/tenant/[^/]*",
    "device": "/ws/device/[^/]*",
    "combined": "/ws",
    "tenants": "/ws/tenants",
}
# A ping is answered within the page: its clock may run on by minutes before an answer from here could arrive.
KEEP_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    sockets.push(this);
  }

  send(text) {
    if (!new RegExp('^(PATHS)$').test(new URL(this.url).pathname)) return super.send(text);
    const pong = new MessageEvent('message', { data: '{"action":"pong"}' });
    if (JSON.parse(text).action === 'ping') queueMicrotask(() => this.dispatchEvent(pong));
  }
};
"""
RECEIVE = """
([path, frames]) => {
  const socket = sockets.findLast(({ url }) => new RegExp(`^${path}$`).test(new URL(url).pathname));
  for (const data of frames) socket.dispatchEvent(new MessageEvent('message', { data }));
}
"""


def play_sockets(page: Page, *names: str) -> dict[str, list[WebSocketRoute]]:
    """Answer the handshakes and the pings of these sockets; call it before the page is opened.

    Returns the sockets of each name in the order in which the page opened them.
    """
    opened: dict[str, list[WebSocketRoute]] = {name: [] for name in names}
    for name in names:
        page.route_web_socket(re.compile(rf"{PATHS[name]}(\?.*)?$"), partial(list.append, opened[name]))
    page.add_init_script(KEEP_SOCKETS.replace("PATHS", "|".join(PATHS[name] for name in names)))
    return opened


def receive(page: Page, name: str, frames: Sequence[object]) -> None:
    """Let the newest socket of this name receive these frames, one after the other."""
    receive_texts(page, name, [json.dumps(frame, separators=(",", ":")) for frame in frames])


def receive_texts(page: Page, name: str, texts: Sequence[str]) -> None:
    """Let the newest socket of this name receive frames with exactly these texts."""
    page.evaluate(RECEIVE, [PATHS[name], list(texts)])
