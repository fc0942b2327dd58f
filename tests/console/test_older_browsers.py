"""The oldest browsers of the guide: no newer interface, syntax or style in static/, and the page works without them."""

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.consoles import DEVICE_PAGE, PANELS, Console, console_in
from tests.support.npm import FOLDER, npm, run
from tests.support.paths import CHECKOUT
from tests.support.programs import Program, needs

pytestmark = pytest.mark.browser

REMOVE = """
for (const [path, key] of %s) {
  const owner = path.split('.').reduce((found, part) => part ? found?.[part] : found, globalThis);
  const name = key.replace(/_static$/, '');
  const isMethod = Object.hasOwn(owner?.prototype ?? {}, name);
  if (name !== key || !isMethod) delete owner?.[name];
  if (name === key && isMethod) delete owner.prototype[name];
  if (path === 'Window') delete globalThis[name];
}
"""
CONDITION = re.compile(r"@supports [^{]*")  # what is behind it is newer
TOPS_OF_PARTS = """
card => [...card.children].filter((each) => each.offsetParent).map((each) => each.getBoundingClientRect().top)
"""
NO_COLOUR = "rgba(0, 0, 0, 0)"


@pytest.fixture(scope="module")
def newer() -> list[tuple[str, str]]:
    """Owner and name of each interface that one of the oldest browsers lacks."""
    npm()
    return [(owner, name) for owner, name in json.loads(run(needs("node"), "newer-interfaces.mjs"))]


@pytest.fixture
def old_console(browser: Browser, dev: Program, newer: list[tuple[str, str]]) -> Iterator[Console]:
    """The page in a browser without newer interfaces and without the styles behind ``@supports``."""
    with console_in(browser, dev) as console:
        console.page.add_init_script(REMOVE % json.dumps(newer))
        console.page.route("**/*.css", without_newer_styles)
        yield console


def without_newer_styles(route: Route) -> None:
    """Send a style sheet in which no condition is met."""
    response = route.fetch()
    route.fulfill(response=response, body=CONDITION.sub("@supports (unknown: unknown) ", response.text()))


def test_the_list_of_newer_interfaces_is_right(newer: list[tuple[str, str]]) -> None:
    """By some that came before and after the oldest browsers of package.json."""
    for each in (
        ("AbortSignal", "timeout_static"),  # Chromium 103, Safari 16
        ("AbortSignal", "any_static"),
        ("Promise", "withResolvers"),
        ("Array", "fromAsync"),
        ("Array", "findLast"),  # Firefox 104
        ("Element", "checkVisibility"),
        ("HTMLElement", "popover"),
        ("Document", "startViewTransition"),
        ("Navigator", "userAgentData"),  # only Chromium has it
        ("Iterator", "map"),
        ("Intl", "DurationFormat"),
    ):
        assert each in newer, each
    for each in (
        ("Response", "json"),  # its static method is newer
        ("", "structuredClone"),
        ("Array", "at"),
        ("", "AbortController"),
        ("", "WebSocket"),
        ("Object", "hasOwn"),
    ):
        assert each not in newer, each


def test_the_console_works_without_newer_interfaces(old_console: Console, dev: Program) -> None:
    """Every panel: sockets, lights, values, notifications, charts, the token's verdicts."""
    console, page = old_console, old_console.page
    console.open()
    console.expect_all_open()
    gone = "[AbortSignal.timeout, AbortSignal.any, Promise.withResolvers, [].findLast, window.Notification]"
    assert set(page.evaluate(gone)) == {None}
    for light in ("hermes", "mqtt"):
        expect(page.locator(f"#{light}-status-light")).to_have_attribute("data-state", "up")
    for view in (*PANELS, DEVICE_PAGE):
        console.show(view)
    expect(page.locator("#device-series .mono").first).not_to_be_empty()
    console.show("notifications")
    page.click("#notify [type=submit]")
    expect(page.locator("#notify-answer")).to_contain_text('"status":"success"')
    expect(page.locator("#toasts article")).to_have_count(1)
    console.show("token-inspector")
    page.get_by_role("button", name="Check with Hermes").click()
    expect(page.locator("#inspector-routes [data-verdict=good]")).to_have_count(4)


def colour_of(page: Page, selector: str, name: str = "backgroundColor") -> str:
    """Return a computed colour."""
    colour = page.locator(selector).first.evaluate("(element, name) => getComputedStyle(element)[name]", name)
    assert isinstance(colour, str)
    return colour


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_its_colours_and_its_order_without_newer_styles(
    browser: Browser, quiet: Program, scheme: str
) -> None:
    """In the theme of the browser, and in the one that is chosen; the cards of the sockets do not overlap."""
    with console_in(browser, quiet, color_scheme=scheme) as console:
        page = console.page
        page.route("**/*.css", without_newer_styles)
        console.open("connect")
        for name in ("notifications", "tenant", "combined"):
            console.card(name).expect_state("open")
        own = colour_of(page, "body")
        assert colour_of(page, "#hermes-status-light .light") != NO_COLOUR
        console.dress("dark" if scheme == "light" else "light")
        expect(page.locator("body")).not_to_have_css("background-color", own)
        console.dress("auto")
        expect(page.locator("body")).to_have_css("background-color", own)
        boxes = [card.bounding_box() for card in page.locator("form.socket").all()]
        for box, after in pairwise(boxes):
            assert box is not None
            assert after is not None
            assert box["x"] + box["width"] <= after["x"] or box["y"] + box["height"] <= after["y"]
        for card in page.locator("form.socket").all():
            tops = card.evaluate(TOPS_OF_PARTS)
            assert tops == sorted(tops)


def test_a_browser_of_a_system_without_a_locale_shows_times(browser: Browser, quiet: Program) -> None:
    """It names a language that is not a language tag."""
    with console_in(browser, quiet) as console:
        console.page.add_init_script("Object.defineProperty(navigator, 'languages', { get: () => ['en-US@posix'] })")
        console.open("connect")
        console.card("combined").expect_state("open")
        expect(console.page.locator("#token-summary")).to_contain_text(re.compile(r"expires .*\d"))


@pytest.mark.smoke
def test_both_themes_have_the_same_colours() -> None:
    """The dark one replaces every colour of the page, and adds none."""
    folder = CHECKOUT / "static" / "console"
    light, dark = ((folder / name).read_text() for name in ("console.css", "dark.css"))
    named = [set(re.findall(r"(--[\w-]+):\s*#", text)) for text in (light, dark)]
    assert named[0] == named[1]
    assert len(named[0]) > 20


# -- the lint -----------------------------------------------------------------------------------------------------


def output_of(command: list[str], folder: Path) -> str:
    """Return what a lint prints about a folder; it must find something."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", ["lint", "interfaces"])
def test_nothing_in_static_is_newer_than_the_oldest_browsers(script: str) -> None:
    """Neither syntax nor a style, nor an interface, with the data of caniuse and MDN."""
    run(npm(), "run", "--silent", script)


INTERFACES = (
    "fetch('/', { signal: AbortSignal.timeout(1) });",
    "AbortSignal.any([]);",
    "Promise.withResolvers();",
    "Array.fromAsync([]);",
    "Object.groupBy([], String);",
    "[1].findLast(Boolean);",
    "new Set().union(new Set());",
    "document.body.checkVisibility();",
    "document.body.showPopover();",
    "document.startViewTransition(() => {});",
    "URL.canParse('');",
    "requestIdleCallback(() => {});",
)
OLD = (
    "[1].at(-1);",
    "structuredClone({});",
    "document.body.replaceChildren();",
    "new ResizeObserver(() => {});",
    "Object.hasOwn({}, 'a');",
)
NEWER = {
    "static-block.js": "class A { static { A.b = 1; } }",
    "lookbehind.js": "/(?<=a)b/.test('ab');",
    "sets.js": "/[a--b]/v.test('a');",
    "theme.css": "a { color: light-dark(#fff, #000); }",
    "mix.css": "a { color: color-mix(in srgb, #fff, #000); }",
    "nested.css": "a { & b { color: red; } }",
    "parent.css": "a:has(b) { color: red; }",
    "range.css": "@media (width <= 700px) { a { color: red; } }",
    "small-viewport.css": "a { height: 100dvh; }",
    "container.css": "@container (min-width: 1px) { a { color: red; } }",
    "subgrid.css": "a { grid-template-rows: subgrid; }",
    "balance.css": "a { text-wrap: balance; }",
}


def test_the_lint_finds_newer_interfaces(tmp_path: Path) -> None:
    """Each of these, with its line, and none of the others; TypeScript's own libraries are not older here."""
    npm()
    (tmp_path / "all.js").write_text("\n".join((*OLD, *INTERFACES)))
    options = {"lib": ["ESNext", "DOM", "DOM.Iterable"]}
    settings = {
        "extends": str(FOLDER / "tsconfig.json"),
        "compilerOptions": options,
        "include": ["*.js"],
        "exclude": [],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    program = str(FOLDER / "newer-interfaces.mjs")
    found = output_of([needs("node"), program, str(tmp_path / "tsconfig.json")], tmp_path)
    lines = [int(line) for line in re.findall(r"^all\.js:(\d+):", found, re.MULTILINE)]
    assert lines == list(range(len(OLD) + 1, len(OLD) + len(INTERFACES) + 1)), found


def test_the_lint_finds_newer_syntax_and_styles(tmp_path: Path) -> None:
    """Each of these, and none that is guarded."""
    npm()
    static = tmp_path / "static"
    static.mkdir()
    for name, text in NEWER.items():
        (static / name).write_text(f"{text}\n")
    (static / "old.js").write_text("export class A { static b = 1; #c = 2; }\n")
    (static / "old.css").write_text("@supports (grid-template-rows: subgrid) { a { grid-template-rows: subgrid; } }\n")
    command = [
        str(FOLDER / "node_modules" / ".bin" / "eslint"),
        "--config",
        str(FOLDER / "eslint.config.mjs"),
        "static",
    ]
    found = output_of(command, tmp_path)
    assert {Path(line).name for line in found.splitlines() if line.startswith(str(tmp_path))} == set(NEWER), found
