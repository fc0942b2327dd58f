"""The security page names tests that exist, and the defaults that the settings have."""

import re

import pytest

from tests.support.paths import CHECKOUT

PAGE = (CHECKOUT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)))


def test_the_page_names_tests() -> None:
    """Each table of attacks has some."""
    tables = PAGE.partition("## Attacks")[2].partition("\n## ")[0].split("\n### ")[1:]
    assert len(tables) >= 6
    for table in tables:
        rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
        assert all("::test_" in row for row in rows), table[:40]


@pytest.mark.parametrize(("file", "test"), NAMED, ids="::".join)
def test_a_named_test_exists(file: str, test: str) -> None:
    """In a file of this name below ``tests``."""
    found = [path for path in (CHECKOUT / "tests").rglob(file) if "node_modules" not in path.parts]
    assert any(re.search(rf"^(async )?def {test}\(", path.read_text(), re.MULTILINE) for path in found)
