"""Fixtures of the tests in a real Chromium.

The browser and the servers are shared by all tests of this folder that a process runs one after the other. A test that
disturbs a server starts its own server.

``make test`` runs those with the marker ``smoke``: the main path of each panel, and what a fault would make unsafe.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.support.consoles import PROFILE, TIMEOUT_MS, Console, chromium, console_in
from tests.support.gateways import KEY, SECRET
from tests.support.programs import Program, hermes

FOLDER = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests of this folder that need a browser out of the short run, except those with ``smoke``."""
    for item in items:
        needs_browser = FOLDER in item.path.parents and item.get_closest_marker("browser")
        if needs_browser and not item.get_closest_marker("smoke"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def shared_browser() -> Iterator[Browser]:
    """One Chromium for the tests of this folder; no other event loop can run at the same time."""
    with chromium() as running:
        yield running


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """The shared browser; a test that leaves a page or a profile open fails."""
    before = _pages(shared_browser)
    yield shared_browser
    after = _pages(shared_browser)
    for context in shared_browser.contexts:
        if context not in before:
            context.close()
    assert after == before, "left open"


def _pages(browser: Browser) -> dict[BrowserContext, list[Any]]:
    return {context: context.pages for context in browser.contexts}


@pytest.fixture(scope="package")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Hermes in --dev, with its broker and its simulated devices; without an inbox, which tests would share."""
    arguments = ("serve", "--dev", "--port", "0", "--inbox", "off")
    with hermes(*arguments, XDG_STATE_HOME=str(tmp_path_factory.mktemp("state"))) as program:
        program.wait_for("Ctrl-C stops it")
        yield program


@pytest.fixture(scope="package")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Hermes in --dev without MQTT and without an inbox: its sockets send nothing by themselves."""
    arguments = ("serve", "--dev", "--port", "0", "--mqtt-url", "off", "--inbox", "off")
    with hermes(*arguments, XDG_STATE_HOME=str(tmp_path_factory.mktemp("state"))) as program:
        program.wait_for("Ctrl-C stops it")
        yield program


@pytest.fixture(scope="package")
def inbox_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Hermes in --dev with an inbox, without MQTT; each test has users of its own."""
    folder = tmp_path_factory.mktemp("state")
    arguments = ("serve", "--dev", "--port", "0", "--mqtt-url", "off", "--inbox", str(folder / "inbox.db"))
    with hermes(*arguments, XDG_STATE_HOME=str(folder)) as program:
        program.wait_for("Ctrl-C stops it")
        yield program


@pytest.fixture(scope="package")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Hermes that is not in --dev, without MQTT."""
    keys = tmp_path_factory.mktemp("keys") / "api-keys"
    keys.write_text(f"{KEY}\n")
    arguments = ("serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(keys))
    with hermes(*arguments, HERMES_JWT_SECRET=SECRET) as program:
        yield program


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new browser profile for the test."""
    made = browser.new_context(**PROFILE)
    made.set_default_timeout(TIMEOUT_MS)
    yield made
    made.close()


@pytest.fixture
def console(browser: Browser, dev: Program) -> Iterator[Console]:
    """The console of the --dev server, not opened yet; a fault in the page fails the test."""
    with console_in(browser, dev) as made:
        yield made


@pytest.fixture
def production_console(browser: Browser, production: Program) -> Iterator[Console]:
    """The same for a server that is not in --dev."""
    with console_in(browser, production) as made:
        yield made
