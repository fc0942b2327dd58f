"""The pages for contributors name only files and make targets that exist."""

import re
from pathlib import Path

import pytest

from tests.support.paths import CHECKOUT

GITHUB = CHECKOUT / ".github"
PAGES = (
    CHECKOUT / "CONTRIBUTING.md",
    CHECKOUT / "SECURITY.md",
    CHECKOUT / ".pre-commit-config.yaml",
    *GITHUB.rglob("*.yml"),
    *GITHUB.rglob("*.md"),
    *(CHECKOUT / "examples").glob("*.md"),
    *(CHECKOUT / "examples").glob("*/*.md"),
)
SOURCES = ("hermes", "tests", "static", "docs", "examples", "bench", "templates")
FILE_NAME = re.compile(r"[\w-][\w.-]*\.(py|md|js|mjs|ts|json|yml|yaml|toml|cfg|service)")
PATH = re.compile(r"[\w.-]+(/[\w.-]+)*/?")


def spans(page: Path) -> list[str]:
    """Return the code spans of a page, those of its fenced blocks left out."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


def is_path(span: str) -> bool:
    """Whether a code span looks like a path within the repository, or like the name of a file."""
    return PATH.fullmatch(span) is not None and ("/" in span or FILE_NAME.fullmatch(span) is not None)


def exists(page: Path, span: str) -> bool:
    """Whether a path exists, seen from the top or from the page; a bare file name may be anywhere in the sources."""
    if (CHECKOUT / span).exists() or (page.parent / span).exists():
        return True
    return "/" not in span and any(any((CHECKOUT / folder).rglob(span)) for folder in SOURCES)


def test_every_path_in_the_contributing_guide_exists() -> None:
    """Each code span that looks like one."""
    page = CHECKOUT / "CONTRIBUTING.md"
    paths = {span for span in spans(page) if is_path(span)}
    assert len(paths) > 25
    assert sorted(path for path in paths if not exists(page, path)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    """In code spans, fenced blocks and the steps of a workflow."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|run: |entry: )make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE))
    assert named - targets == set()
