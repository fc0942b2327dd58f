"""Fixtures of the soak tests."""

from collections.abc import Iterator

import pytest

from tests.support.unmeasured import unmeasured


@pytest.fixture(scope="package", autouse=True)
def no_coverage() -> Iterator[None]:
    """Measure no coverage: Hermes runs in programs of its own, and the tests of other folders reach the same code."""
    with unmeasured():
        yield
