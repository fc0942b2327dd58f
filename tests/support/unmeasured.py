"""Run tests without measuring coverage, which takes as long again as the programs themselves."""

import contextlib
import warnings
from collections.abc import Iterator

import pytest
from coverage import Coverage
from coverage.exceptions import CoverageWarning


@contextlib.contextmanager
def unmeasured() -> Iterator[None]:
    """Measure no coverage inside, neither here nor in the programs that are started."""
    measuring = Coverage.current()
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        if measuring is not None:
            measuring.stop()
        yield
    if measuring is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CoverageWarning)  # that Hermes has been imported before
            measuring.start()
