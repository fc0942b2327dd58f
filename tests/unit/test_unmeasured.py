"""The list of the files without a measured coverage."""

from pathlib import Path

import pytest

from tests.support.unmeasured import PATHS, TESTS, is_measured


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_each_entry_exists(path: Path) -> None:
    """A file that is renamed keeps its entry."""
    assert path.exists()


def test_a_file_is_measured_if_neither_it_nor_its_folder_is_in_the_list() -> None:
    """So new files are."""
    assert is_measured(TESTS / "unit" / "test_new.py")
    assert not is_measured(TESTS / "console" / "test_new.py")
    assert not is_measured(TESTS / "integration" / "test_bursts.py")
    assert is_measured(TESTS / "integration" / "test_bursts_of_others.py")
