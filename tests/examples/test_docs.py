"""The programs on the pages: each is part of a file that another test runs or compiles."""

import re
from collections.abc import Iterator

import pytest

from tests.support.page_commands import blocks
from tests.support.paths import CHECKOUT

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
FILES = (".html", ".ts", ".tsx", ".js", ".mjs", ".go", ".php", ".cs", ".py")
LANGUAGES = {"html", "js", "jsx", "ts", "tsx", "javascript", "typescript", "go", "php", "csharp", "python"}
TESTED_ELSEWHERE = {"docs/guide/python.md"}  # tests/integration/test_public_api.py runs its programs
OF_OTHERS = {"docs/guide/single-sign-on.md"}  # a program that runs at the identity provider


def programs() -> Iterator[object]:
    """Every block of a programming language, with its page."""
    for page in PAGES:
        name = str(page.relative_to(CHECKOUT))
        if name not in TESTED_ELSEWHERE | OF_OTHERS:
            for number, (language, text) in enumerate(blocks(page), 1):
                if language in LANGUAGES:
                    yield pytest.param(text, id=f"{name} {number} {language}")


def bare(text: str) -> str:
    """The text without indentation: a page may show the body of a function."""
    return re.sub(r"^[ \t]+", "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def examples() -> list[str]:
    """The text of each program in examples/."""
    found = [path for path in (CHECKOUT / "examples").rglob("*") if path.suffix in FILES]
    return [bare(path.read_text()) for path in found if "node_modules" not in path.parts and not path.is_symlink()]


@pytest.mark.parametrize("text", programs())
def test_a_program_of_a_page_is_part_of_an_example(text: str, examples: list[str]) -> None:
    """Change both: the file in examples/ is the one that is run or compiled."""
    assert any(bare(text) in example for example in examples)
