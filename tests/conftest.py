"""Fixtures that many tests use: gateways on free ports, and ``hermes`` commands."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import create_server

import hypothesis
import pytest
from tornado.ioloop import IOLoop
from tornado.netutil import BlockingResolver, Resolver

from hermes import metrics
from hermes.gateway import Gateway
from hermes.settings.model import Settings
from hermes.testing import gateway_settings
from tests.support.collector import no_collector as no_collector
from tests.support.gateways import KEY, SECRET, Hermes, MakeHermes
from tests.support.http_parsers import PARSERS
from tests.support.leaks import no_leaks as no_leaks
from tests.support.postgres import inbox_databases as inbox_databases
from tests.support.postgres import mark_slow_on_postgres
from tests.support.postgres import postgres as postgres
from tests.support.postgres import postgres_cache as postgres_cache
from tests.support.programs import Program
from tests.support.programs import hermes as hermes_program
from tests.support.time_limits import patient as patient
from tests.support.unmeasured import CoverageSwitch


def pytest_configure(config: pytest.Config) -> None:
    """Occupy the MQTT port during the run: the embedded brokers of parallel tests would compete for it.

    No event loop is created implicitly, because no test would close it. The property tests have no time limit. A shell
    lets the programs that it starts in the background ignore Ctrl-C; the commands of the tests must not inherit that.
    """
    os.umask(0o077)  # secret files that others can read are refused
    os.environ.pop("STATE_DIRECTORY", None)
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="hermes-state-")  # not what the user's own Hermes stores
    config.add_cleanup(functools.partial(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.set_event_loop(None)
    profile = hypothesis.settings(
        deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.register_profile("hermes", profile, max_examples=50)
    hypothesis.settings.register_profile("fast", profile, max_examples=10)
    hypothesis.settings.register_profile("all", profile, max_examples=100)
    # of make fuzz: other input in each run
    hypothesis.settings.register_profile("long", profile, max_examples=2_000, derandomize=False)
    hypothesis.settings.load_profile(config.getoption("--hypothesis-profile") or "hermes")
    is_worker = hasattr(config, "workerinput")
    config.pluginmanager.register(CoverageSwitch(runs_tests=is_worker or config.getoption("dist", "no") == "no"))
    Resolver.configure(BlockingResolver)  # the clients connect to addresses: no thread for each event loop
    if not is_worker:
        with contextlib.suppress(OSError):  # another program uses it
            config.add_cleanup(create_server(("127.0.0.1", 1883)).close)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests out of the short run that are slow with one of their parameters; begin with the longest test."""
    mark_slow_on_postgres(items)
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


def pytest_collection_finish() -> None:
    """Let the garbage collector look at what the tests make, and not each time at all modules and all tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Restore the logging set-up that a command of the test has changed."""
    root, tornado = logging.getLogger(), logging.getLogger("tornado.general")
    handlers, level, tornado_level = root.handlers[:], root.level, tornado.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    tornado.setLevel(tornado_level)


@pytest.fixture(autouse=True)
def no_line_for_slow_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log no line for a long piece of work: on a busy machine it would stand among the lines that a test expects."""
    monkeypatch.setattr(metrics, "LONG_WORK_S", 3_600.0)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return a file with two API keys."""
    return write_keys(tmp_path)


def write_keys(folder: Path) -> Path:
    """Write a file with two API keys."""
    path = folder / "api-keys"
    path.write_text(f"{KEY}\nan-older-key-of-the-tests\n")
    return path


@pytest.fixture(scope="session")
def load_gateway_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """Return a function that loads settings; the usual ones, which are frozen, are loaded once for each parser."""
    usual = {"api_key_file": write_keys(tmp_path_factory.mktemp("keys")), "drain_timeout_s": "1"}
    loaded: dict[object, Settings] = {
        parser: gateway_settings(**usual, http_parser=parser) for parser in (None, *PARSERS)
    }

    def load(**given: object) -> Settings:
        if given.keys() <= {"http_parser"}:
            return loaded[given.get("http_parser")]
        return gateway_settings(**(usual | given))

    return load


@pytest.fixture
def make_hermes(io_loop: IOLoop, load_gateway_settings: Callable[..., Settings]) -> Iterator[MakeHermes]:
    """Start gateways with the given settings, and a clock if one is given; stop all at the end of the test."""
    running: list[Hermes] = []

    async def start(*, clock: Callable[[], float] = time.time, **given: object) -> Hermes:
        hermes = Hermes(Gateway(load_gateway_settings(**given), clock=clock))
        await hermes.gateway.start()
        running.append(hermes)
        return hermes

    yield start

    async def stop() -> None:
        await asyncio.gather(*[hermes.stop() for hermes in running])
        # Tornado's client cannot end a request for keys; it ends with the answer, or with its own time-out
        if requests := [task for task in asyncio.all_tasks() if "_HTTPConnection" in repr(task.get_coro())]:
            await asyncio.wait(requests)

    io_loop.run_sync(stop)


@pytest.fixture
def hermes(io_loop: IOLoop, make_hermes: MakeHermes) -> Hermes:
    """Run a gateway without MQTT."""
    running: Hermes = io_loop.run_sync(make_hermes)
    return running


class _ErrorRecords(logging.Handler):
    """Store the log records of errors and those with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.records.append(record)


@pytest.fixture
def complaints() -> Iterator[list[logging.LogRecord]]:
    """Yield the list of errors and tracebacks in the log; fail if any is left at the end of the test."""
    handler = _ErrorRecords()
    logging.getLogger().addHandler(handler)
    yield handler.records
    gc.collect(1)  # a task logs an exception that was not read when it is collected; the young generations are enough
    logging.getLogger().removeHandler(handler)
    assert [logging.Formatter().format(record) for record in handler.records] == []


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run ``hermes serve --dev`` for all tests of a module."""
    arguments = ("serve", "--dev", "--port", "0")
    with hermes_program(*arguments, XDG_STATE_HOME=str(tmp_path_factory.mktemp("state"))) as program:
        program.wait_for("Ctrl-C stops it")
        yield program


@pytest.fixture
def production(tmp_path: Path, key_file: Path) -> Iterator[Program]:
    """Run ``hermes serve`` without ``--dev``."""
    arguments = ("serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(key_file))
    with hermes_program(*arguments, HERMES_JWT_SECRET=SECRET) as program:
        yield program
