"""Drain: what `Server.stop` does with open sockets."""

import asyncio
import logging
import re
from functools import partial

import pytest

from hermes.delivery import channels
from hermes.delivery.hub import Hub
from hermes.delivery.messages import Notification
from hermes.delivery.reconnect_delay import ReturnRate
from hermes.ids import UserId
from hermes.metrics import Metrics
from hermes.quotas.connection_rate import ConnectionRate
from hermes.server import Server
from hermes.testing import FakeTransport
from hermes.web.http.server import TornadoHttpServer
from hermes.web.sockets.admission import Admission, SocketLimits
from hermes.web.sockets.waiting import WaitingRequests
from tests.support.sessions import make_session


def make_server(hub: Hub, admission: Admission, *, drain_timeout_s: float) -> Server:
    """Return a server that does not listen."""
    metrics = Metrics()
    rate = ConnectionRate(per_s=lambda: 0, is_exempt=lambda address: True, held_max=lambda: 0, metrics=metrics)
    return Server(
        hub=hub,
        admission=admission,
        waiting=WaitingRequests(admission),
        connection_rate=rate,
        metrics=metrics,
        drain_timeout_s=drain_timeout_s,
        make_http=partial(TornadoHttpServer, max_connections=0, metrics=metrics),
        return_rate=ReturnRate(),
    )


def test_stop_waits_for_sockets_no_longer_than_the_drain_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """A socket that never closes is counted in the log; new sockets are rejected."""
    hub, limit, transport = Hub(metrics=Metrics()), Admission(SocketLimits(total=1)), FakeTransport()

    async def scenario() -> None:
        hub.subscribe(make_session(transport), [channels.user(UserId("123"))])
        await make_server(hub, limit, drain_timeout_s=0.05).stop()

    asyncio.run(scenario())
    assert len(hub.sessions) == 1
    assert limit.stopping
    assert transport.closed is not None
    code, reason = transport.closed
    assert (code, bool(re.fullmatch(r"stopping;retry_ms=\d+", reason))) == (1001, True)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "1 sockets did not close within 0.05 s"
    ]


def test_stop_sends_what_was_published_before() -> None:
    """The notification comes before the close frame."""
    hub, transport = Hub(metrics=Metrics()), FakeTransport()

    async def scenario() -> None:
        session = make_session(transport)
        hub.subscribe(session, [channels.user(UserId("123"))])
        server = make_server(hub, Admission(SocketLimits(total=1)), drain_timeout_s=60)
        hub.publish(Notification(UserId("123"), "n-1", "last", "", "info", 1))
        stopping = asyncio.ensure_future(server.stop())
        while transport.closed is None:
            await asyncio.sleep(0)
        assert not stopping.done()
        hub.unsubscribe(session)
        await stopping

    asyncio.run(scenario())
    (written,) = transport.written
    assert b'"title":"last"' in written
