"""The console works below a prefix: no template, script or style has a link that begins with a slash."""

import re
from pathlib import Path

import pytest

from tests.support.paths import CHECKOUT

TEMPLATES = sorted((CHECKOUT / "templates").rglob("*.html"))
STATIC = sorted(path for path in (CHECKOUT / "static").rglob("*") if path.suffix in (".js", ".css", ".svg", ".html"))

ATTRIBUTE = re.compile(
    r"\b(?:href|src|srcset|action|formaction|data|poster|content|manifest)\s*=\s*[\"']?\s*(/[^\"'\s>]*)",
    re.IGNORECASE,
)
STYLE = re.compile(r"(?:url\(\s*[\"']?|@import\s+[\"'])\s*(/[^\"')\s]*)", re.IGNORECASE)
STRING = re.compile(r"[\"'`](/[A-Za-z][^\"'`]*)[\"'`]")
CALL = re.compile(r"\b(?:fetch|URL|WebSocket|register|assign|replace|open|import)\(\s*[\"'`](/[^\"'`]*)")
ROOT = re.compile(r"location\.(?:origin|host|hostname)\b|\bpath=/")
COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", re.DOTALL)

# Names of routes that the page shows, or finds in an answer: it requests none of them.
LABELS = {
    "static/console/overview/overview-panel.js": {
        "/ws/notifications",
        "/ws/tenant",
        "/ws/device",
        "/ws",
        "/ws/tenants",
    },
    "static/console/token-inspector/token-inspector-panel.js": {
        "/ws/notifications",
        "/ws/tenant/${tenant}",
        "/ws/device/${device}",
        "/ws",
        "/ws/tenants",
    },
}


def links_of(path: Path) -> set[str]:
    """Return what looks like a link from the root of the host."""
    text = path.read_text()
    if path.suffix == ".js":
        text = COMMENT.sub("", text)
        found = {match[1] for pattern in (STRING, CALL) for match in pattern.finditer(text)}
        return found | {match[0] for match in ROOT.finditer(text)}
    return {match[1] for pattern in (ATTRIBUTE, STYLE) for match in pattern.finditer(text)}


@pytest.mark.parametrize("path", [*TEMPLATES, *STATIC], ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_every_link_is_relative(path: Path) -> None:
    """To the page, or to the file that has it."""
    assert links_of(path) - LABELS.get(path.relative_to(CHECKOUT).as_posix(), set()) == set()


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("page.html", '<link rel="icon" href="/static/x.svg">', {"/static/x.svg"}),
        ("page.html", "<a href=/>", {"/"}),
        ("page.html", '<img src="static/x.svg"><a href="#log">', set()),
        ("style.css", "a { background: url(/x.svg) }", {"/x.svg"}),
        ("style.css", "@import '/x.css';", {"/x.css"}),
        ("script.js", "fetch('/notify') // `/ws`", {"/notify"}),
        ("script.js", "import x from '/static/x.js';", {"/static/x.js"}),
        ("script.js", "`/ws/tenant/${id}`", {"/ws/tenant/${id}"}),
        ("script.js", "`${location.origin}/notify`", {"location.origin"}),
        ("script.js", "import x from './x.js'; text.split('/'); new URL('ws', document.baseURI)", set()),
        ("script.js", "fetch('/'); new URL('//evil', at)", {"/", "//evil"}),
    ],
)
def test_such_a_link_is_found(tmp_path: Path, name: str, text: str, found: set[str]) -> None:
    """In each kind of file."""
    (tmp_path / name).write_text(text)
    assert links_of(tmp_path / name) == found
