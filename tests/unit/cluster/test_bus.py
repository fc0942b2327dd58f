"""The bus of one node adds nothing to the path of a notification."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

from hermes.cluster.bus import LocalBus
from hermes.delivery import channels
from hermes.delivery.hub import Hub
from hermes.delivery.messages import Notification
from hermes.ids import UserId
from hermes.metrics import Metrics
from hermes.testing import FakeTransport
from tests.support.sessions import make_session


def note() -> Notification:
    """Return a notification to the user of the session."""
    return Notification(UserId("123"), "n1", "t", "m", "info", 17)


def make_hub() -> tuple[Hub, FakeTransport]:
    """Return a hub with one session."""
    hub, transport = Hub(metrics=Metrics()), FakeTransport()
    hub.subscribe(make_session(transport), (channels.user(UserId("123")),))
    return hub, transport


def calls_of(run: Callable[[], object]) -> list[str]:
    """Return the names of the Python functions that are called."""
    found: list[str] = []

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            found.append(frame.f_code.co_qualname)

    gc.disable()  # other modules let it call Python functions
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
        gc.enable()
    return found


def steps_of(waiting: Awaitable[None]) -> int:
    """Return how often an awaitable gives the loop its turn before it ends."""
    steps, future = 0, waiting.__await__()
    while True:
        try:
            next(future)
        except StopIteration:
            return steps
        steps += 1


def test_a_notification_takes_the_same_calls_as_without_a_bus() -> None:
    """Publishing calls the hub itself; waiting for the flush costs one plain call, and no turn of the loop."""

    async def run() -> None:
        hub, _ = make_hub()
        bus = LocalBus(hub)
        assert bus.publish == hub.publish
        by_bus = calls_of(lambda: bus.publish(note()))
        hub.flush()
        assert by_bus == calls_of(lambda: hub.publish(note()))
        hub.flush()
        with_bus, without = calls_of(lambda: steps_of(bus.flushed(()))), calls_of(lambda: steps_of(hub.flushed()))
        assert sorted(set(with_bus) - set(without)) == ["LocalBus.flushed"]
        assert len(with_bus) == len(without) + 1
        assert steps_of(bus.flushed(())) == steps_of(hub.flushed()) == 0

    asyncio.run(run())


def test_the_receipt_is_complete_after_the_flush() -> None:
    """It counts the socket, and no node is uncertain."""

    async def run() -> None:
        hub, transport = make_hub()
        bus = LocalBus(hub)
        receipt = bus.publish(note())
        await bus.flushed((receipt,))
        assert (receipt.sockets, receipt.uncertain, len(transport.written)) == (1, None, 1)

    asyncio.run(run())
