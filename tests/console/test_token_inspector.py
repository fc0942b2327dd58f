"""The token inspector in a real Chromium: its own checks of a token, and those of Hermes."""

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Browser, expect

from tests.support.consoles import Console, console_in
from tests.support.gateways import SECRET, token
from tests.support.programs import Program, hermes, wait_until

pytestmark = pytest.mark.browser

DAY_S = 86_400
TTL_S = 600


@pytest.fixture(scope="module")
def opened_inspector(shared_browser: Browser, production: Program) -> Iterator[Console]:
    """The panel of a server that is not in --dev; one page for all tests that only paste tokens into it."""
    with console_in(shared_browser, production) as console:
        console.stop_clock()
        open_inspector(console)
        yield console


@pytest.fixture
def inspector(opened_inspector: Console) -> Iterator[Console]:
    """The same page for one test; a fault in the page fails the test."""
    yield opened_inspector
    assert opened_inspector.unexpected == []


def open_inspector(console: Console) -> None:
    """Open the page at this panel, and wait until its scripts are loaded."""
    console.open("token-inspector")
    expect(console.page.locator("#inspector-routes > li")).not_to_have_count(0)


def examine(console: Console, text: str) -> None:
    """Paste a token."""
    console.page.fill("#inspector-token", text)


def verdicts(console: Console, selector: str = "#inspector-checks") -> dict[str, list[str]]:
    """Return the texts of each verdict."""
    found: dict[str, list[str]] = {"good": [], "bad": [], "warning": [], "unknown": []}
    for item in console.page.locator(f"{selector} > li").all():
        verdict, text = item.locator("span").all_inner_texts()
        found[verdict].append(text)
    return found


def test_the_token_in_use_is_examined_at_once(console: Console) -> None:
    """Each check has a verdict, claims are listed, and the remaining seconds count down."""
    console.stop_clock()
    open_inspector(console)
    page = console.page
    expect(page.locator("#inspector-token")).to_have_value(re.compile(r"^eyJ"))
    found = verdicts(console)
    assert found["bad"] == []
    assert found["unknown"] == ["The signature: only Hermes can check it."]
    assert "User 123." in found["good"]
    expect(page.locator("#inspector-claims")).to_contain_text("tenant_id")
    left = page.locator("#inspector-remaining")
    expect(left).to_have_text(re.compile(r"^[\d,]+ seconds left$"))
    seconds = int(left.inner_text().split()[0].replace(",", ""))
    page.clock.run_for(1_000)
    expect(left).to_have_text(f"{seconds - 1:,} seconds left")


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
def test_the_fault_of_a_malformed_token_is_shown(inspector: Console, name: str) -> None:
    """Without a request to Hermes."""
    text, fault = BROKEN[name]
    examine(inspector, text)
    assert any(each.startswith(fault) for each in verdicts(inspector)["bad"]), verdicts(inspector)


def test_unusual_but_valid_tokens_have_warnings(inspector: Console) -> None:
    """Without expiry, without tenant, of a superuser, and with a wrong type of is_superuser."""
    examine(inspector, token(is_superuser=True))
    assert [text.partition(":")[0] for text in verdicts(inspector)["warning"]] == [
        "No tenant_id",
        "Superuser",
        "No exp",
    ]
    examine(inspector, f"Bearer {token(is_superuser='yes', tenant_id='acme')}")
    assert any(text.startswith('is_superuser is "yes"') for text in verdicts(inspector)["warning"])
    assert inspector.page.locator("#inspector-remaining").inner_text() == "Never expires."


def test_claims_keep_their_digits(inspector: Console) -> None:
    """A parsed number may be another one."""
    examine(inspector, token(user_id=9_007_199_254_740_993, ratio=1.10, serial=12_345_678_901_234_567_890, name="José"))
    claims = inspector.page.locator("#inspector-claims")
    for text in ("9007199254740993", "12345678901234567890", '"José"'):
        expect(claims).to_contain_text(text)
    assert "User 9007199254740993." in verdicts(inspector)["good"]


def test_markup_in_claims_stays_text(inspector: Console) -> None:
    """A pasted token may come from an attacker."""
    evil = "<img src=x onerror=window.owned=1>"
    examine(inspector, token(username=evil, note=evil))
    expect(inspector.page.locator("#inspector-claims")).to_contain_text(evil)
    assert inspector.page.evaluate("window.owned") is None


@pytest.mark.smoke
def test_the_page_knows_the_rules_of_the_site(browser: Browser, tmp_path: Path) -> None:
    """The tenant may be in another claim, and issuer and audience may be checked."""
    rules = ["--claim-tenant", "cs_tenant_id", "--jwt-issuer", "plant", "--jwt-audience", "hermes"]
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    with (
        hermes("serve", "--port", "0", "--mqtt-url", "off", "--jwt-secret-file", str(secret), *rules) as server,
        console_in(browser, server) as console,
    ):
        console.stop_clock()
        open_inspector(console)
        examine(console, token(cs_tenant_id="acme", tenant_id="other", iss="elsewhere"))
        found = verdicts(console)
        assert "Tenant acme." in found["good"]
        assert found["bad"] == ["The required claim aud is missing."]
        assert 'iss is "elsewhere": only Hermes can check it.' in found["unknown"]
        assert console.page.locator("#inspector-routes").inner_text().count("/ws/tenant/acme") == 1
        console.page.click("#inspector-use")
        console.show("connect")
        expect(console.page.locator("#token-summary")).to_contain_text("acme")
        expect(console.page.locator("[data-socket=tenant] input")).to_have_value("acme")


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
def test_hermes_reports_which_sockets_a_token_opens(inspector: Console, text: str, opens: list[bool]) -> None:
    """The page opens each of the four for a short time; a refusal is shown with its reason."""
    examine(inspector, text)
    assert len(verdicts(inspector, "#inspector-routes")["unknown"]) == 4
    inspector.page.click("#inspector-ask")
    wait_until(lambda: not verdicts(inspector, "#inspector-routes")["unknown"])
    shown = inspector.page.locator("#inspector-routes > li").all()
    assert [each.locator(".verdict").inner_text() == "good" for each in shown] == opens


def test_nothing_is_sent_before_the_check_by_hermes_is_requested(production_console: Console) -> None:
    """The token stays in the page."""
    console = production_console
    console.stop_clock()
    open_inspector(console)
    sockets: list[str] = []
    console.page.on("websocket", lambda socket: sockets.append(socket.url))
    examine(console, token(tenant_id="acme"))
    console.page.clock.run_for(10_000)  # the panel updates each second
    assert sockets == []
    console.page.click("#inspector-use")
    console.show("connect")
    expect(console.page.locator("#token-value")).to_have_value(re.compile("^eyJ"))


def test_a_signed_token_has_the_requested_claims(console: Console) -> None:
    """In --dev; errors in the request are shown."""
    console.stop_clock()
    open_inspector(console)
    page = console.page
    now_s: float = page.evaluate("Date.now() / 1000")
    page.fill("#inspector-sign [name=user_id]", "789")
    page.fill("#inspector-sign [name=tenant_id]", "")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.locator("#inspector-checks")).to_contain_text("User 789.")
    claims = jwt.decode(page.input_value("#inspector-token"), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] in (30, 31)  # a second may begin between the two
    expect(page.locator("#inspector-remaining")).to_have_text(f"{math.floor(claims['exp'] - now_s)} seconds left")
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
    """When a third of its time is left; the socket never closes."""
    console.page.clock.install()
    open_inspector(console)
    page = console.page
    page.fill("#inspector-sign [name=ttl_s]", f"{TTL_S}")  # by the server's clock, which the test does not move
    page.click("#inspector-demo-refresh")
    events = page.locator("#inspector-events")
    expect(events).to_contain_text("socket open")
    began_s = int(time.time())
    wait_until(lambda: int(time.time()) > began_s)  # a token of the same second would be the same
    page.clock.fast_forward(TTL_S * 1_000 * 2 // 3 + 500)
    expect(events).to_contain_text("token requested (expiring): new one until")
    expect(events).to_contain_text("Hermes accepted the new token on the open socket")
    assert "1008" not in events.inner_text()
    page.click("#inspector-demo-stop")
    expect(page.locator("#inspector-demo-stop")).to_be_hidden()


@pytest.mark.smoke
def test_a_short_lived_token_that_is_not_refreshed_ends_with_1008(console: Console) -> None:
    """The card then shows that the socket is refused."""
    open_inspector(console)
    page = console.page
    page.fill("#inspector-sign [name=ttl_s]", "2")
    page.click("#inspector-demo-expiry")
    events = page.locator("#inspector-events")
    expect(events).to_contain_text("token requested (expired): none supplied")
    expect(events).to_contain_text("1008 token_expired")
    expect(page.locator("#inspector-demo-state")).to_have_attribute("data-state", "refused")
    assert SECRET not in page.content()
