"""Check a page against WCAG with axe-core."""

import json
from typing import Any

from playwright.sync_api import Page

from tests.support.npm import FOLDER, npm

SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice")
# target-size is of WCAG 2.2 AA and off by default
OPTIONS = {
    "runOnly": {"type": "tag", "values": TAGS},
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
    "reporter": "v1",
}


def axe_script() -> str:
    """Return the pinned axe-core; npm installs it if it is missing."""
    npm()
    return SCRIPT.read_text()


def violations(page: Page, within: str = "html") -> list[str]:
    """Return one line for each element that violates a rule, in the whole page or within this element.

    The page needs :func:`axe_script` as an init script, because its CSP does not apply to init scripts.
    """
    found = page.evaluate("([within, options]) => axe.run(within, options)", [within, OPTIONS])
    return [line for rule in found["violations"] for line in _lines(rule)]


def _lines(rule: dict[str, Any]) -> list[str]:
    def summary(node: dict[str, Any]) -> str:
        return " ".join(node["failureSummary"].split("\n")[1:]).strip()

    return [f"{rule['id']} ({rule['impact']}): {json.dumps(node['target'])}: {summary(node)}" for node in rule["nodes"]]
