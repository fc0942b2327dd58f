"""Gateways with each of the two HTTP parsers, for tests that must hold with both.

A test file imports the fixture, and all its tests run twice, also those with the fixture ``hermes``:
``from tests.support.http_parsers import make_hermes as make_hermes``.
"""

from functools import partial

import pytest

from tests.support.gateways import Hermes, MakeHermes

PARSERS = ("httptools", "tornado")


@pytest.fixture(params=PARSERS)
def make_hermes(request: pytest.FixtureRequest, make_hermes: MakeHermes) -> MakeHermes:
    """Start gateways as the fixture of the same name does, with one of the parsers."""
    return partial(make_hermes, http_parser=request.param)


def parsed_by_tornado(hermes: Hermes) -> bool:
    """Return whether Tornado parses the requests; it cannot do all that httptools can."""
    return hermes.gateway.settings.http_parser == "tornado"
