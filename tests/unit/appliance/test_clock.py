"""A clock that is certainly wrong."""

import re
from datetime import UTC, datetime

import pytest

from hermes.appliance import version
from hermes.appliance.version import RELEASED, clock_problem
from tests.support.paths import CHECKOUT


@pytest.fixture
def no_memory() -> None:
    """Forget the date of the build."""
    version.built_at.cache_clear()


def test_a_clock_before_the_build_is_a_problem_in_words() -> None:
    """As that of a machine without a battery."""
    built_s = datetime.fromisoformat(RELEASED).replace(tzinfo=UTC).timestamp()
    for now_s in (-1e9, 0.0, built_s - 1):
        assert "set the clock (timedatectl)" in (clock_problem(now_s) or "")
    assert "1970-01-01 00:00 UTC, but Hermes is from " + RELEASED in (clock_problem(0.0) or "")
    assert clock_problem(built_s) is None


def test_without_a_record_of_the_build_the_newest_release_counts() -> None:
    """The constant follows the changelog."""
    newest = re.search(r"^## \S+ – (\d{4}-\d\d-\d\d)$", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == RELEASED


@pytest.mark.usefixtures("no_memory")
def test_a_frozen_hermes_knows_its_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """The date is one of the facts of its bundle."""
    monkeypatch.setattr(version, "bundled_json", lambda name: {"built": "2030-01-02"})
    try:
        assert "Hermes is from 2030-01-02" in (clock_problem(1_800_000_000.0) or "")
    finally:
        version.built_at.cache_clear()
