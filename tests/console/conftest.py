"""Fixtures of the tests in a real Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.support.consoles import Console, chromium
from tests.support.programs import Program


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of a file; while it runs, no other event loop can."""
    with chromium() as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of the test's own."""
    made = browser.new_context(locale="en-GB")
    yield made
    made.close()


@pytest.fixture
def console(context: BrowserContext, dev: Program) -> Iterator[Console]:
    """The console of the --dev server; at the end nothing may have gone wrong in it."""
    made = Console(context.new_page(), f"{dev.url}/")
    made.watch()
    yield made
    assert made.unexpected == []


@pytest.fixture
def production_console(context: BrowserContext, production: Program) -> Iterator[Console]:
    """The same of a server that is not in --dev."""
    made = Console(context.new_page(), f"{production.url}/")
    made.watch()
    yield made
    assert made.unexpected == []
