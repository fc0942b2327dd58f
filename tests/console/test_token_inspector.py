"""The token inspector in a real Chromium: its checks of a token, and those of Hermes."""

import re
import time

import jwt
import pytest
from playwright.sync_api import expect

from tests.support.consoles import Console
from tests.support.gateways import SECRET, token
from tests.support.programs import wait_until

DAY_S = 86_400


def examine(console: Console, text: str) -> None:
    """Paste it."""
    console.page.fill("#inspector-token", text)


def verdicts(console: Console, selector: str = "#inspector-checks") -> dict[str, list[str]]:
    """The words under each verdict."""
    found: dict[str, list[str]] = {"good": [], "bad": [], "warning": [], "unknown": []}
    for item in console.page.locator(f"{selector} > li").all():
        verdict, words = item.locator("span").all_inner_texts()
        found[verdict].append(words)
    return found


def test_the_token_in_use_is_examined_at_once(console: Console) -> None:
    """Each check has its verdict; claims are listed; the seconds that are left count down."""
    console.open("token-inspector")
    page = console.page
    expect(page.locator("#inspector-token")).to_have_value(re.compile(r"^eyJ"))
    found = verdicts(console)
    assert found["bad"] == []
    assert found["unknown"] == ["The signature: only Hermes can check it."]
    assert "User 123." in found["good"]
    expect(page.locator("#inspector-claims")).to_contain_text("tenant_id")
    left = page.locator("#inspector-remaining")
    expect(left).to_have_text(re.compile(r"^[\d,]+ seconds left$"))
    text = left.inner_text()
    expect(left).not_to_have_text(text)


BROKEN = {
    "no dots": ("rubbish", "A JWT has three parts separated by dots; this has 1."),
    "no JSON": ("a.b.c", "The first part is not a JSON object"),
    "no claims": (f"{token().split('.')[0]}.W10.x", "The second part is not a JSON object"),
    "unsigned": (token().rpartition(".")[0] + ".", "The third part, the signature, is empty."),
    "algorithm": (jwt.encode({"user_id": 1, "username": "a"}, "", "none"), 'The algorithm is "none"'),
    "expired": (token(exp=int(time.time()) - DAY_S), "Expired "),
    "not yet": (token(nbf=int(time.time()) + DAY_S), "Not valid before"),
    "no user": (token(user_id=None), "The required claim user_id is missing."),
    "float id": (token(user_id=1.5), "user_id is 1.5; an id is a string or an integer."),
    "no name": (token(username=None), "The required claim username is missing"),
    "name": (token(username=""), 'username is ""'),
    "tenant": (token(tenant_id=True), "tenant_id is true"),
    "exp": (token(exp="soon"), 'exp is "soon"; it must be a number of seconds.'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_token_is_told_what_is_wrong_with_it(production_console: Console, name: str) -> None:
    """In words, without asking anybody."""
    text, words = BROKEN[name]
    console = production_console
    console.open("token-inspector")
    examine(console, text)
    assert any(each.startswith(words) for each in verdicts(console)["bad"]), verdicts(console)


def test_odd_but_good_tokens_are_pointed_out(production_console: Console) -> None:
    """No expiry, no tenant, a superuser, and one who only looks like it."""
    console = production_console
    console.open("token-inspector")
    examine(console, token(is_superuser=True))
    assert [words.partition(":")[0] for words in verdicts(console)["warning"]] == [
        "No tenant_id",
        "Superuser",
        "No exp",
    ]
    examine(console, f"Bearer {token(is_superuser='yes', tenant_id='acme')}")
    assert any(words.startswith('is_superuser is "yes"') for words in verdicts(console)["warning"])
    assert console.page.locator("#inspector-remaining").inner_text() == "Never expires."


def test_markup_in_claims_stays_text(production_console: Console) -> None:
    """A pasted token is a stranger's."""
    console = production_console
    console.open("token-inspector")
    evil = "<img src=x onerror=window.owned=1>"
    examine(console, token(username=evil, note=evil))
    expect(console.page.locator("#inspector-claims")).to_contain_text(evil)
    assert console.page.evaluate("window.owned") is None


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        (token(tenant_id="acme"), [True, True, True, True]),
        (token(), [True, False, False, True]),
        (token(secret="another secret, also longer than thirty-two bytes"), [False] * 4),
        (token(exp=int(time.time()) - 5), [False] * 4),
        (token(tenant_id="acme") + "x y", [False] * 4),
    ],
    ids=["tenant", "no tenant", "other secret", "expired", "stray characters"],
)
def test_hermes_itself_says_what_a_token_opens(production_console: Console, text: str, opens: list[bool]) -> None:
    """By opening each of the four for a moment; a refusal comes with its reason in words."""
    console = production_console
    console.open("token-inspector")
    examine(console, text)
    assert len(verdicts(console, "#inspector-routes")["unknown"]) == 4
    console.page.click("#inspector-ask")
    wait_until(lambda: not verdicts(console, "#inspector-routes")["unknown"], 12)
    shown = console.page.locator("#inspector-routes > li").all()
    assert [each.locator(".verdict").inner_text() == "good" for each in shown] == opens


def test_nothing_is_sent_before_hermes_is_asked(production_console: Console) -> None:
    """The token stays in the page."""
    console = production_console
    console.open("token-inspector")
    sockets: list[str] = []
    console.page.on("websocket", lambda socket: sockets.append(socket.url))
    examine(console, token(tenant_id="acme"))
    console.page.evaluate("() => new Promise(resolve => setTimeout(resolve, 1200))")  # a second's look passes
    assert sockets == []
    console.page.click("#inspector-use")
    console.show("connect")
    expect(console.page.locator("#token-value")).to_have_value(re.compile("^eyJ"))


def test_a_signed_token_has_the_requested_claims(console: Console) -> None:
    """In --dev; its faults are said."""
    console.open("token-inspector")
    page = console.page
    page.fill("#inspector-sign [name=user_id]", "789")
    page.fill("#inspector-sign [name=tenant_id]", "")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.locator("#inspector-checks")).to_contain_text("User 789.")
    expect(page.locator("#inspector-remaining")).to_have_text(re.compile(r"^(2\d|30) seconds left$"))
    page.click("#inspector-ask")
    expect(page.locator("#inspector-routes .verdict").first).to_have_text("good")
    assert [each.inner_text() for each in page.locator("#inspector-routes .verdict").all()] == [
        "good",
        "bad",
        "bad",
        "good",
    ]
    console.expected = ("422",)
    page.fill("#inspector-sign [name=user_id]", "x" * 2_000)
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.locator("#inspector-checks .verdict[data-verdict=bad]")).to_have_count(1)


def test_a_short_lived_token_is_refreshed_on_the_open_socket(console: Console) -> None:
    """Ten seconds before its end; the socket never closes."""
    console.page.clock.install()
    console.open("token-inspector")
    page = console.page
    page.click("#inspector-demo-refresh")
    events = page.locator("#inspector-events")
    expect(events).to_contain_text("socket open")
    began_s = int(time.time())
    wait_until(lambda: int(time.time()) > began_s + 1)  # one of the same second would be the same token
    page.clock.fast_forward(20_500)
    expect(events).to_contain_text("token requested (expiring): new one until")
    expect(events).to_contain_text("Hermes accepted the new token on the open socket")
    assert "1008" not in events.inner_text()
    page.click("#inspector-demo-stop")
    expect(page.locator("#inspector-demo-stop")).to_be_hidden()


def test_a_short_lived_token_that_nobody_renews_ends_with_1008(console: Console) -> None:
    """Then the socket is refused, and says so."""
    console.open("token-inspector")
    page = console.page
    page.fill("#inspector-sign [name=ttl_s]", "4")
    page.click("#inspector-demo-expiry")
    events = page.locator("#inspector-events")
    expect(events).to_contain_text("token requested (expired): none supplied", timeout=10_000)
    expect(events).to_contain_text("1008 token_expired")
    expect(page.locator("#inspector-demo-state")).to_have_attribute("data-state", "refused")
    assert SECRET not in page.content()
