"""Tests in which only the counts of references free memory."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let no garbage collection run in the test."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
