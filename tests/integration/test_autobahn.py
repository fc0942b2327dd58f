"""The Autobahn|Testsuite against the echo route, in three modes: no case fails, each deviation is explained."""

import os
import sys
from collections import Counter

import pytest

from tests.support.autobahn import fuzz, install, python27
from tests.support.echo import COALESCED, COMPRESSED, PLAIN
from tests.support.gateways import token
from tests.support.paths import CHECKOUT
from tests.support.programs import Program

FRAMING = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")
# A thousand messages of 128 KiB each take three quarters of the time; `make autobahn` sends them too.
LARGE = tuple(f"{group}.*.{size}" for group in (12, 13) for size in (10, 15, 16, 17, 18))

CASES = {PLAIN: (FRAMING, 301), COALESCED: (FRAMING, 301), COMPRESSED: (("12.*", "13.*"), 216)}
LARGE_CASES = 60

# docs/reference/protocol.md gives the reasons
LATE_UTF8 = {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}
ANSWERS_BEFORE_A_CLOSE = {"3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"}
NON_STRICT = {PLAIN: LATE_UTF8, COALESCED: LATE_UTF8 | ANSWERS_BEFORE_A_CLOSE, COMPRESSED: set[str]()}
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}  # without an expected result: the suite only reports what happened
WINDOW_OFFERS = ("13.3.", "13.5.", "13.7.")  # a smaller window of the server, which Hermes declines


@pytest.mark.slow
@pytest.mark.parametrize("mode", CASES)
def test_no_case_of_the_autobahn_testsuite_fails(mode: str) -> None:
    """Every case is OK, except those that are listed above and explained in the documentation."""
    python = python27()
    install(python)
    everything = "AUTOBAHN_ALL" in os.environ
    cases, number = CASES[mode]
    server = Program(["-m", "tests.support.echo"], {}, launcher=(sys.executable,), cwd=CHECKOUT)
    try:
        url = f"{server.url.replace('http', 'ws')}/echo/{mode}?token={token('autobahn')}"
        results = fuzz(python, url, name=mode, cases=cases, without=() if everything else LARGE)
    finally:
        server.end()
    print(mode, dict(Counter(result.behavior for result in results.values())))
    assert len(results) == number - (LARGE_CASES if mode == COMPRESSED and not everything else 0)
    for case, result in results.items():
        assert result.behavior in allowed(mode, case), f"{case}: {result}"
        assert result.close_behavior in ("OK", "INFORMATIONAL"), f"{case}: {result}"


def allowed(mode: str, case: str) -> set[str]:
    """Return the results that are accepted."""
    if case in INFORMATIONAL:
        return {"INFORMATIONAL"}
    if case.startswith(WINDOW_OFFERS):
        return {"UNIMPLEMENTED"}
    return {"OK", "NON-STRICT"} if case in NON_STRICT[mode] else {"OK"}
