"""The client module and a Hermes with an inbox: in Node, in Chromium, and the client of version 0.1.0."""

import contextlib
import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.consoles import TIMEOUT_MS
from tests.support.inbox_senders import request, send, token_of
from tests.support.node_clients import NodeClient, node_client
from tests.support.npm import FOLDER
from tests.support.npm import npm as npm_with_packages
from tests.support.programs import Program

OLD_CLIENT = FOLDER / "hermes-client-0.1.0.js"
PAGE = """async (token) => {
  const { HermesClient, HermesHistory } = await import('/static/hermes-client.js');
  window.stored = new HermesHistory({ key: 'test' });
  window.client = new HermesClient({ url: '/ws/notifications', getToken: () => token, history: stored });
  window.seen = [];
  for (const type of ['notification', 'missed', 'acked', 'withdrawn']) {
    client.on(type, ({ id, replayed = false, count, notification_id }) => {
      seen.push([type, id ?? notification_id ?? count, replayed]);
    });
  }
  client.connect();
}"""
SEEN = "seen.map((each) => each.join(' '))"
ITEMS = "stored.items.map(({ id, acked }) => `${id} ${acked ?? false}`)"


@pytest.fixture(scope="module")
def npm() -> str:
    """The npm command, with the pinned packages installed."""
    return npm_with_packages()


def client_of(
    program: Program, user: str, history: Path, **environment: str
) -> contextlib.AbstractContextManager[NodeClient]:
    """Run a client of this user with a history in a file."""
    url = program.url.replace("http", "ws") + "/ws/notifications"
    return node_client(url, token_of(program, user), HISTORY_FILE=str(history), **environment)


def test_a_client_in_node_misses_nothing_while_it_is_away(npm: str, inbox_server: Program, tmp_path: Path) -> None:
    """Five, once, in order, with one summary; what it acknowledges is read in another client, also after a restart."""
    assert npm
    first, other = tmp_path / "first.json", tmp_path / "other.json"
    with client_of(inbox_server, "node", first) as client:
        client.wait_for("resumed")
        send(inbox_server, "node", "before")
        client.wait_for("notification")
    five = [f"n{number}" for number in range(5)]
    send(inbox_server, "node", *five)
    with client_of(inbox_server, "node", first) as client, client_of(inbox_server, "node", other) as second:
        assert client.wait_for("missed") == {"count": 5, "gap": False}
        assert [frame["id"] for frame in client.of("notification")] == five
        assert second.wait_for("missed") == {"count": 6, "gap": False}
        client.acknowledge("n2")
        second.wait_for("history", [[id, id == "n2"] for id in [*reversed(five), "before"]])
        assert second.wait_for("acked")["notification_id"] == "n2"
    with client_of(inbox_server, "node", first) as client:
        assert client.wait_for("resumed")["unread"] == 5
        client.wait_for("frame", {"action": "replay_end", "seq": client.of("resumed")[0]["to"]})
        assert client.of("notification") == client.of("missed") == []


def test_the_client_of_version_010_sees_no_unknown_frame(npm: str, inbox_server: Program, tmp_path: Path) -> None:
    """It does not resume, so nothing new is sent to it; its history works with the rows of an inbox."""
    assert npm
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    send(inbox_server, "old", "missed")
    with (
        client_of(inbox_server, "old", old, CLIENT=OLD_CLIENT.as_uri()) as client,
        client_of(inbox_server, "old", new) as resuming,
    ):
        client.wait_for("rtt")
        resuming.wait_for("missed")
        send(inbox_server, "old", "a", "b", ttl_s=3_600, priority=5)
        send(inbox_server, "old", "c", replaces="a")
        client.wait_for("history", [["c", False], ["b", False], ["a", False]])
        client.acknowledge("b")
        client.wait_for("history", [["c", False], ["b", True], ["a", False]])
        assert resuming.wait_for("acked")["notification_id"] == "b"
        request(inbox_server, "DELETE", "/notify?id=c&user_id=old")
        resuming.wait_for("history", [["b", True], ["missed", False]])
        send(inbox_server, "old", "last")
        client.wait_for("history", [[id, id == "b"] for id in ("last", "c", "b", "a")])
        kinds = {frame.get("channel", frame.get("action")) for frame in client.of("frame")}
        assert kinds == {"notifications", "pong"}
    stored = json.loads(old.read_text())
    assert [entry["id"] for entry in stored] == ["last", "c", "b", "a"]


def page_of(context: BrowserContext, program: Program, user: str) -> Page:
    """Open a page of this user on the origin of Hermes."""
    page = context.new_page()
    page.goto(f"{program.url}/health")
    page.evaluate(PAGE, token_of(program, user))
    page.wait_for_function("window.client?.state === 'open'")
    return page


@pytest.mark.smoke
@pytest.mark.browser
def test_two_pages_of_one_user(browser: Browser, inbox_server: Program) -> None:
    """The one that was closed gets five, once, in order, with one summary; what one reads is read on the other."""
    contexts = [browser.new_context(), browser.new_context()]  # two devices
    try:
        for context in contexts:
            context.set_default_timeout(TIMEOUT_MS)
        stays, closes = (page_of(context, inbox_server, "two") for context in contexts)
        send(inbox_server, "two", "before")
        for page in (stays, closes):
            page.wait_for_function(f"{SEEN}.includes('notification before false')")
        closes.close()
        five = [f"p{number}" for number in range(5)]
        send(inbox_server, "two", *five)
        back = page_of(contexts[1], inbox_server, "two")
        back.wait_for_function(f"{SEEN}.some((each) => each.startsWith('missed'))")
        assert back.evaluate(SEEN) == [*(f"notification {id} true" for id in five), "missed 5 false"]
        assert back.evaluate(ITEMS) == [f"{id} false" for id in [*reversed(five), "before"]]
        back.evaluate("client.ack('p3')")
        stays.wait_for_function(f"{ITEMS}.includes('p3 true')")
        request(inbox_server, "DELETE", "/notify?id=p4&user_id=two")
        for page in (stays, back):
            page.wait_for_function("stored.items[0].id === 'p3'")
        assert stays.evaluate(SEEN) == [
            "notification before false",
            *(f"notification {id} false" for id in five),
            "acked p3 false",
            "withdrawn p4 false",
        ]
        assert stays.evaluate("stored.unread") == back.evaluate("stored.unread") == 4
        send(inbox_server, "two", "short", ttl_s=1)
        back.wait_for_function(f"{SEEN}.includes('notification short false')")
        back.wait_for_function("stored.items.every(({ id }) => id !== 'short')")
    finally:
        for context in contexts:
            context.close()
