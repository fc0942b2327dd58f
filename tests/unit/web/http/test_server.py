"""`request_server`: which parser is used."""

import logging
import sys

import pytest
from tornado.web import Application

from hermes.metrics import Metrics
from hermes.web.http.httptools_server import HttptoolsServer
from hermes.web.http.server import RequestServer, TornadoHttpServer, request_server


def server(parser: str) -> RequestServer:
    """Return the server for a setting."""
    return request_server(
        Application(), parser=parser, max_connections=0, metrics=Metrics(), on_handshake=lambda seconds: None
    )


@pytest.mark.gen_test
async def test_the_setting_chooses_the_parser(caplog: pytest.LogCaptureFixture) -> None:
    """Without a line in the log."""
    assert isinstance(server("httptools"), HttptoolsServer)
    assert isinstance(server("tornado"), TornadoHttpServer)
    assert not caplog.records


@pytest.mark.gen_test
async def test_without_httptools_requests_are_parsed_by_tornado(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in the log says so, and how to install it."""
    for name in [name for name in sys.modules if name.startswith("hermes.web.http.")]:
        if name.rpartition(".")[2] in ("httptools_server", "connection", "parser"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert isinstance(server("httptools"), TornadoHttpServer)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "pip install httptools" in record.getMessage()
