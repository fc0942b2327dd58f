"""Sign in at an identity provider in a real Chromium: code with PKCE, tokens in memory only, renewal, sign-out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.axe import axe_script, violations
from tests.support.consoles import Console, console_in
from tests.support.issuers import CERTS, CLIENT_ID, DISCOVERY, REALM, Issuer, json_answer, running_issuer
from tests.support.programs import Program, hermes, wait_until

pytestmark = pytest.mark.browser

TOKEN_PATH = f"{REALM}/protocol/openid-connect/token"
OPEN = ("notifications", "tenant", "combined")
RULES = [
    "--claim-user",
    "sub",
    "--claim-name",
    "preferred_username",
    "--claim-superuser",
    "realm_access.roles=hermes-admin",
    "--jwt-audience",
    "hermes",
    "--oidc-client-id",
    CLIENT_ID,
    "--mqtt-url",
    "off",
    "--port",
    "0",
]


@pytest.fixture(scope="module")
def shared_issuer() -> Iterator[Issuer]:
    """Run an issuer that signs in every user who presses its button."""
    with running_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def program(shared_issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run a Hermes that has the keys of the issuer."""
    folder = str(tmp_path_factory.mktemp("state"))
    with hermes("serve", "--oidc-issuer", shared_issuer.url, *RULES, XDG_STATE_HOME=folder) as running:
        shared_issuer.wait_for_requests(CERTS, 1)
        running.wait_for("keys of .*: new first")
        yield running


@pytest.fixture
def issuer(shared_issuer: Issuer, program: Program) -> Issuer:
    """Return the issuer as it was when the program had its keys: no user is signed in."""
    shared_issuer.reset()
    return shared_issuer


@pytest.fixture
def console(browser: Browser, program: Program, issuer: Issuer) -> Iterator[Console]:
    """The console of that Hermes, on its Connect panel; the page may go to the issuer, and nowhere else."""
    with console_in(browser, program) as made:
        made.expected = (f"left the origin: {issuer.origin}/", "favicon.ico")
        made.open("connect")
        yield made


def expect_open(console: Console) -> None:
    """Expect that the sockets are open; no device is chosen."""
    for name in OPEN:
        console.card(name).expect_state("open")


def sign_in(console: Console) -> None:
    """Press the buttons of both pages, and wait until the sockets are open."""
    console.page.click("#sign-in-start")
    console.page.click("#kc-login")
    expect_open(console)


def stored(console: Console) -> str:
    """Return all that the page has stored."""
    text: str = console.page.evaluate(
        "JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie, location.href])"
    )
    return text


@pytest.mark.smoke
def test_a_user_signs_in_and_all_sockets_open(console: Console, program: Program) -> None:
    """The panel of before is shown again; neither code nor tokens stay in the address, the storage or the log."""
    sign_in(console)
    page = console.page
    expect(page).to_have_url(re.compile("/#connect$"))
    expect(page.locator("#token-summary")).to_contain_text("(ana), tenant acme, superuser")
    expect(page.locator("#sign-in-note")).to_contain_text("in the memory of this page only")
    expect(page.locator("#sign-in-start")).to_be_hidden()
    token = page.input_value("#token-value")
    assert token.startswith("eyJ")
    for secret in (token, "eyJ", "verifier", "code="):
        assert secret not in stored(console)
    assert "code=" not in "".join(program.output + program.errors)
    assert page.evaluate("fetch('https://example.org').catch(() => 'refused')") == "refused"
    console.expected = (*console.expected, "CSP report", "Content Security Policy", "example.org")


def test_the_form_is_accessible(console: Console) -> None:
    """By axe-core, before and after."""
    console.page.add_init_script(axe_script())
    console.page.reload()
    expect(console.page.locator("#sign-in-start")).to_be_visible()
    assert violations(console.page, within="#connect") == []
    sign_in(console)
    assert violations(console.page, within="#connect") == []


def test_a_reloaded_page_signs_in_again_by_itself(console: Console, issuer: Issuer) -> None:
    """Without a question, while the session of the provider lasts; it has other tokens then."""
    sign_in(console)
    first = console.page.input_value("#token-value")
    console.page.reload()
    expect_open(console)
    assert console.page.input_value("#token-value") != first
    expect(console.page).to_have_url(re.compile("/#connect$"))


def test_without_a_session_a_reloaded_page_asks(console: Console, issuer: Issuer) -> None:
    """It does not go to and fro."""
    sign_in(console)
    issuer.signed_in = False
    console.page.reload()
    expect(console.page.locator("#sign-in-note")).to_contain_text("sign in again")
    expect(console.page.locator("#sign-in-start")).to_be_enabled()
    console.page.reload()
    expect(console.page.locator("#sign-in-note")).to_contain_text("The identity provider asks who you are")


def test_tokens_are_renewed_on_open_sockets(console: Console, issuer: Issuer) -> None:
    """With the refresh token in memory, before they expire; no socket is closed."""
    issuer.token_lifetime_s = 6
    sign_in(console)
    first = console.page.input_value("#token-value")
    issuer.token_lifetime_s = 600
    opened = [console.card(name).part(".tries") for name in OPEN]
    wait_until(lambda: console.page.input_value("#token-value") != first)
    issuer.wait_for_requests(TOKEN_PATH, 2)
    console.page.wait_for_function(
        "now => performance.now() > now + 6_000", arg=console.page.evaluate("performance.now()")
    )
    expect_open(console)
    assert [console.card(name).part(".tries") for name in OPEN] == opened
    assert issuer.count(TOKEN_PATH) == 2, "all sockets share one renewal"


@pytest.mark.smoke
def test_signing_out_forgets_the_tokens_and_ends_the_session(console: Console, issuer: Issuer) -> None:
    """A reload does not sign in again."""
    sign_in(console)
    console.page.click("#sign-in-end")
    console.page.wait_for_url(console.url)
    console.show("connect")
    expect(console.page.locator("#sign-in-start")).to_be_visible()
    assert console.page.input_value("#token-value") == ""
    assert issuer.count(f"{REALM}/protocol/openid-connect/logout") == 1
    assert "eyJ" not in stored(console)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param("state=x", "does not belong to this login", marks=pytest.mark.smoke),
        ("iss=https%3A%2F%2Fevil.example", "does not belong to this login"),
        ("code=other", "refuses: Code not valid"),
    ],
)
def test_an_answer_that_does_not_belong_to_the_login_is_refused(
    console: Console, issuer: Issuer, change: str, text: str
) -> None:
    """A page that was sent here with the code of another person, or of another provider."""
    console.expected = (*console.expected, "400")
    name = change.partition("=")[0]
    issuer.change_answer = lambda back: re.sub(rf"\b{name}=[^&]*", change, back)
    console.page.click("#sign-in-start")
    console.page.click("#kc-login")
    expect(console.page.locator("#sign-in-note")).to_contain_text(text)
    assert console.page.input_value("#token-value") == ""


@pytest.mark.smoke
def test_a_forged_answer_without_a_login_is_ignored(console: Console) -> None:
    """Nothing is sent to the provider."""
    console.page.goto("about:blank")
    console.page.goto(f"{console.url}#code=forged&state=x")
    expect(console.page.locator("#sign-in-start")).to_be_enabled()
    expect(console.page).not_to_have_url(re.compile("forged"))


def test_a_provider_that_does_not_allow_the_page_is_named(console: Console, issuer: Issuer) -> None:
    """A client without the web origin of the console."""
    console.expected = (*console.expected, "CORS", "ERR_FAILED")
    issuer.behave(TOKEN_PATH, json_answer({}))
    console.page.click("#sign-in-start")
    console.page.click("#kc-login")
    expect(console.page.locator("#sign-in-note")).to_contain_text("does not allow this page (its web origins)")


@pytest.mark.smoke
def test_the_policy_names_the_provider_only_if_users_can_sign_in(console: Console, issuer: Issuer) -> None:
    """The page may connect to itself and to the origin of the token end point."""
    response = console.page.goto(console.url)
    assert response is not None
    assert f"connect-src 'self' {issuer.origin};" in response.headers["content-security-policy"]


def test_before_the_provider_has_answered_the_button_says_so(browser: Browser, tmp_path: Path) -> None:
    """It is disabled; the rest of the page works."""
    with running_issuer() as issuer:
        issuer.behave(DISCOVERY, json_answer({}, 500))
        arguments = ("serve", "--oidc-issuer", issuer.url, *RULES)
        with hermes(*arguments, XDG_STATE_HOME=str(tmp_path)) as program, console_in(browser, program) as console:
            console.expected = ("503",)
            console.open("connect")
            expect(console.page.locator("#sign-in-start")).to_be_disabled()
            expect(console.page.locator("#sign-in-note")).to_contain_text("has not answered Hermes yet")


def test_the_inspector_knows_the_claims_of_the_provider(console: Console, issuer: Issuer) -> None:
    """Paths, roles, the audience in `azp`, the key that a token names, and tokens that are no access tokens."""
    console.show("token-inspector")
    page = console.page

    def found(text: str) -> dict[str, list[str]]:
        """Examine a token; return the texts of each verdict."""
        page.fill("#inspector-token", text)
        verdicts: dict[str, list[str]] = {}
        for item in page.locator("#inspector-checks > li").all():
            verdict, line = item.locator("span").all_inner_texts()
            verdicts.setdefault(verdict, []).append(line)
        return verdicts

    of_admin = found(issuer.token())
    assert 'Signed with RS256, by the key "first".' in of_admin["good"]
    assert {"User f3c5c9e2-8e5c-4f5e-9d3b-0a1b2c3d4e5f.", "Username ana.", "Tenant acme."} <= set(of_admin["good"])
    assert of_admin["warning"] == ["Superuser: opens all tenants and devices."]
    assert "bad" not in of_admin
    of_user = found(issuer.token(realm_access={"roles": ["user"]}, preferred_username=None, aud=None, azp="hermes"))
    assert "No preferred_username: the user id is shown as the name." in of_user["good"]
    assert "Not a superuser." in of_user["good"]
    assert 'azp is "hermes": only Hermes can check it.' in of_user["unknown"]
    refused = found(issuer.token(typ="Refresh", sub=None))["bad"]
    assert refused == [
        "The required claim sub is missing.",
        "This is a token of the type Refresh: send the access token.",
    ]
