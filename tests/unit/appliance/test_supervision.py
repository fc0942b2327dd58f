"""Status and watchdog of the service manager."""

import asyncio
import logging

import pytest

from hermes.appliance.notify_socket import NotifySocket
from hermes.appliance.supervision import FEED_INTERVAL_S, Supervision
from hermes.testing import FakeClock


class RecordingSocket(NotifySocket):
    """Records what would be sent."""

    def __init__(self, watchdog_s: float | None = None) -> None:
        super().__init__("/nowhere", watchdog_s=watchdog_s)
        self.sent: list[str] = []

    def _send(self, *fields: str) -> None:
        self.sent.append(" ".join(fields))

    def taken(self) -> list[str]:
        """Return what was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class Node:
    """What is reported of a gateway."""

    line = "MQTT up"
    healthy = True


def make(watchdog_s: float | None) -> tuple[Supervision, RecordingSocket, Node, FakeClock]:
    """Return a supervision with all its parts."""
    socket, node, clock = RecordingSocket(watchdog_s), Node(), FakeClock()
    supervision = Supervision(socket, status=lambda: node.line, answers=lambda: node.healthy, clock=clock)
    return supervision, socket, node, clock


def test_a_status_is_sent_when_it_changes() -> None:
    """Not each second."""
    supervision, socket, node, _ = make(None)
    supervision.ready()
    assert socket.taken() == ["READY=1 STATUS=MQTT up"]
    supervision.run_once(socket)
    assert socket.taken() == []
    node.line = "MQTT down"
    supervision.run_once(socket)
    supervision.run_once(socket)
    assert socket.taken() == ["STATUS=MQTT down"]
    socket.close()


@pytest.mark.parametrize(("watchdog_s", "interval_s"), [(30.0, FEED_INTERVAL_S), (6.0, 2.0), (600.0, FEED_INTERVAL_S)])
def test_the_watchdog_is_fed_in_time(watchdog_s: float, interval_s: float) -> None:
    """Every ten seconds, or three times in its time."""
    supervision, socket, _, clock = make(watchdog_s)
    supervision.ready()
    socket.taken()
    for _ in range(3):
        supervision.run_once(socket)
        assert socket.taken() == ["WATCHDOG=1"]
        clock.now_s += interval_s - 0.1
        supervision.run_once(socket)
        assert socket.taken() == []
        clock.now_s += 0.2
    socket.close()


def test_the_watchdog_is_not_fed_while_a_thread_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    """The log says why the service will be restarted."""
    supervision, socket, node, clock = make(30.0)
    node.healthy = False
    supervision.ready()
    socket.taken()
    supervision.run_once(socket)
    assert socket.taken() == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    node.healthy = True
    clock.now_s += FEED_INTERVAL_S
    supervision.run_once(socket)
    assert socket.taken() == ["WATCHDOG=1"]
    socket.close()


def test_start_reload_and_stop_are_reported_in_order() -> None:
    """The task ends with it."""

    async def scenario() -> None:
        supervision, socket, _, _ = make(30.0)
        supervision.start()
        while "WATCHDOG=1" not in socket.sent:
            await asyncio.sleep(0)
        supervision.reloading()
        supervision.ready()
        await supervision.stop()
        kinds = [text.split("=")[0] for text in socket.taken()]
        assert kinds == ["READY", "WATCHDOG", "RELOADING", "READY", "STOPPING"]

    asyncio.run(scenario())


def test_without_a_service_manager_nothing_runs() -> None:
    """As in a terminal."""

    async def scenario() -> None:
        supervision = Supervision(None, status=lambda: "", answers=lambda: True)
        supervision.start()
        supervision.reloading()
        supervision.ready()
        assert len(asyncio.all_tasks()) == 1
        await supervision.stop()

    asyncio.run(scenario())
