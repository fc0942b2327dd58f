"""A gateway with each of the two HTTP parsers, for tests that must hold with both.

A test file imports the fixture: ``from tests.support.http_parsers import hermes as hermes``.
"""

from functools import partial

import pytest
from tornado.ioloop import IOLoop

from tests.support.gateways import Hermes, MakeHermes

PARSERS = ("httptools", "tornado")


@pytest.fixture(params=PARSERS)
def hermes(request: pytest.FixtureRequest, io_loop: IOLoop, make_hermes: MakeHermes) -> Hermes:
    """Run a gateway without MQTT, with one of the parsers."""
    running: Hermes = io_loop.run_sync(partial(make_hermes, http_parser=request.param))
    return running


def parsed_by_tornado(hermes: Hermes) -> bool:
    """Return whether the requests of this gateway are parsed by Tornado, which cannot do all that httptools can."""
    return hermes.gateway.settings.http_parser == "tornado"
