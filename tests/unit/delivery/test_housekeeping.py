"""The timer of all sessions."""

import asyncio
import time

import pytest

from hermes.delivery import channels
from hermes.delivery import housekeeping as sweep_module
from hermes.delivery.housekeeping import Sweep
from hermes.delivery.hub import Hub
from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.ids import UserId
from hermes.metrics import Metrics
from hermes.testing import FakeTransport
from tests.support.gateways import eventually
from tests.support.sessions import make_session


def make_sweep(hub: Hub) -> Sweep:
    """Return a sweep with the real clock."""
    metrics = Metrics()
    last_values = LastValues(limits=LastValuesLimits(), metrics=metrics)
    return Sweep(hub=hub, last_values=last_values, metrics=metrics, ping_interval_s=25, ping_timeout_s=20)


def test_an_expired_session_is_closed_and_not_before_its_expiry() -> None:
    """By the wall clock."""

    async def run() -> float:
        hub = Hub(metrics=Metrics())
        transport = FakeTransport()
        expires_at = float(int(time.time()) + 1)
        hub.subscribe(make_session(transport, expires_at=expires_at), [channels.user(UserId("123"))])
        sweep = make_sweep(hub)
        sweep.start()
        await eventually(lambda: transport.closed)
        await sweep.stop()
        return time.time() - expires_at

    assert asyncio.run(run()) >= 0


def test_a_failing_session_does_not_stop_the_sweep(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged with its traceback, and the sweep continues."""
    monkeypatch.setattr(sweep_module, "PERIOD_S", 0.05)

    async def run() -> int:
        hub = Hub(metrics=Metrics())
        session = make_session(FakeTransport())
        hub.subscribe(session, [channels.user(UserId("123"))])
        calls = 0

        def fail(**_: object) -> None:
            nonlocal calls
            calls += 1
            raise ZeroDivisionError

        monkeypatch.setattr(type(session), "sweep", lambda self, **given: fail(**given))
        sweep = make_sweep(hub)
        sweep.start()
        await eventually(lambda: calls >= 2)
        await sweep.stop()
        await sweep.stop()
        return calls

    assert asyncio.run(run()) >= 2
    assert "ZeroDivisionError" in caplog.text
