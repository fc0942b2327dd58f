"""Test files and programs without a measured coverage: measuring takes half as long again as the tests themselves.

What they reach in Hermes others reach too, but for a line here and there. CONTRIBUTING.md explains how to find out.
"""

import functools
import importlib
import os
import pkgutil
import warnings
from pathlib import Path

import pytest
from coverage import Coverage
from coverage.exceptions import CoverageWarning

import hermes
from tests.support.paths import CHECKOUT

VARIABLE = "COVERAGE_PROCESS_CONFIG"  # lets coverage measure the programs that are started
TESTS = CHECKOUT / "tests"
UNMEASURED = (
    "bench",
    "console",
    "examples",
    "fuzz",
    "soak",
    "integration/test_bursts.py",
    "integration/test_cluster_history.py",
    "integration/test_faults.py",
    "integration/test_http_errors.py",
    "integration/test_http_smuggling.py",
    "integration/test_inbox_crash.py",
    "integration/test_inbox_extremes.py",
    "integration/test_inbox_faults.py",
    "integration/test_isolation.py",
    "integration/test_last_values.py",
    "integration/test_limits.py",
    "integration/test_listener.py",
    "integration/test_mqtt_client.py",
    "integration/test_mqtt_subscriptions.py",
    "integration/test_mqtt_to_sockets.py",
    "integration/test_notify_access.py",
    "integration/test_notify_requests.py",
    "integration/test_notify_sent.py",
    "integration/test_packaging.py",
    "integration/test_pages.py",
    "integration/test_paho_client.py",
    "integration/test_response_headers.py",
    "integration/test_server.py",
    "integration/test_service.py",
    "integration/test_slow_sockets.py",
    "integration/test_sockets_closing.py",
    "integration/test_sockets_frames.py",
    "integration/test_sockets_handshake.py",
    "integration/test_sockets_routes.py",
    "integration/test_sockets_snapshot.py",
    "integration/test_sockets_tokens.py",
    "integration/test_status_command.py",
    "integration/test_status_pages.py",
    "integration/test_uvloop.py",
    "unit/broker/test_acl.py",
    "unit/delivery/test_frames.py",
    "unit/inbox/test_store_model.py",
    "unit/ingest/test_inbound_queue.py",
    "unit/ingest/test_payload.py",
    "unit/quotas/test_fair_queue.py",
    "unit/test_docstrings.py",
    "unit/test_import.py",
    "unit/test_json_nesting.py",
    "unit/test_layers.py",
    "unit/test_log.py",
    "unit/topics/test_filters.py",
    "unit/topics/test_isolation.py",
    "unit/topics/test_json_pointer.py",
    "unit/topics/test_presets.py",
    "unit/topics/test_reachability.py",
    "unit/topics/test_template.py",
    "unit/web/http/test_parser.py",
    "unit/web/test_raw_json.py",
    "unit/web/origins/test_trusted_proxies.py",
)
PATHS = tuple(TESTS / name for name in UNMEASURED)


class CoverageSwitch:
    """Plugin of pytest: measures the files that are not in the list, and the programs that a few tests start.

    These tests have the marker ``measured_programs``. The collection of the tests is not measured either: all modules
    are imported before.
    """

    def __init__(self, *, runs_tests: bool) -> None:
        self._measuring = Coverage.current()
        self._of_programs = os.environ.get(VARIABLE)
        self._is_on = True
        if runs_tests and self._measuring is not None:  # the process that starts others passes the variable to them
            for module in pkgutil.walk_packages(hermes.__path__, "hermes."):
                if module.name != "hermes.__main__":  # it runs the command
                    importlib.import_module(module.name)
            self._switch(is_on=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Switch before the first fixture of a test."""
        self._switch(is_on=is_measured(item.path))
        os.environ.pop(VARIABLE, None)
        if self._of_programs is not None and item.get_closest_marker("measured_programs"):
            os.environ[VARIABLE] = self._of_programs

    def _switch(self, *, is_on: bool) -> None:
        if self._measuring is None or is_on == self._is_on:
            return
        self._is_on = is_on
        if is_on:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CoverageWarning)  # that Hermes has been imported before
                self._measuring.start()
        else:
            self._measuring.stop()


@functools.cache
def is_measured(path: Path) -> bool:
    """Return whether coverage counts what the tests of this file reach."""
    return not any(path.is_relative_to(each) for each in PATHS)
