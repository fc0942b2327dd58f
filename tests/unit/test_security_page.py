"""The security page names tests that make test runs, and the defaults that the settings have."""

import functools
import re
from pathlib import Path

import pytest

from tests.support.paths import CHECKOUT

PAGE = (CHECKOUT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)))


@functools.cache
def files_of_tests() -> tuple[Path, ...]:
    """Return all files of tests, found in one walk: a walk for each name is much slower."""
    return tuple(path for path in (CHECKOUT / "tests").rglob("test_*.py") if "node_modules" not in path.parts)


def test_the_page_names_tests() -> None:
    """Each table of attacks has some."""
    tables = PAGE.partition("## Attacks")[2].partition("\n## ")[0].split("\n### ")[1:]
    assert len(tables) >= 6
    for table in tables:
        rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
        assert all("::test_" in row for row in rows), table[:40]


@pytest.mark.parametrize(("file", "test"), NAMED, ids="::".join)
def test_a_named_test_runs_in_make_test(file: str, test: str) -> None:
    """It is in a file of this name below ``tests``, and not one of the slow ones."""
    definition = re.compile(rf"((?:^@.*\n(?:^[ )\]].*\n)*)*)^(?:async )?def {test}\(", re.MULTILINE)
    paths = [path for path in files_of_tests() if path.name == file]
    [(path, found)] = [(path, match) for path in paths for match in definition.finditer(path.read_text())]
    marks = found[1]
    assert "@pytest.mark.slow\n" not in marks
    assert "console" not in path.parts or "@pytest.mark.smoke\n" in marks
