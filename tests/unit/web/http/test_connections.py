"""`OpenConnections`: how many there are, and what takes too long."""

from collections.abc import Callable

import pytest
from tornado.web import Application

from hermes.errors import RequestError
from hermes.metrics import Metrics, by_label, total
from hermes.web.http import connections as module
from hermes.web.http.connections import HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, OpenConnections, Phase
from tests.support.gateways import eventually


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class FakeConnection:
    """A connection that records how it ended."""

    def __init__(self, connections: OpenConnections) -> None:
        self.phase = Phase.HEAD
        self.ended = ""
        self.stands_still: str | None = None  # what `check` returns
        self._connections = connections
        connections.add(self)

    def time_out(self) -> None:
        """End, as a connection that has sent nothing."""
        self._end("time")

    def check(self, now_s: float) -> str | None:
        """End if the test says so."""
        if self.stands_still is not None:
            self._end("check")
        return self.stands_still

    def abort(self) -> None:
        """End; may be repeated."""
        if not self.ended:
            self._end("abort")

    def _end(self, how: str) -> None:
        assert not self.ended
        self.ended = how
        self._connections.remove(self)


class Site:
    """Open connections with their clock and metrics."""

    def __init__(self, limit: int = 0) -> None:
        self.metrics = Metrics()
        self.clock = Clock()
        self.connections = OpenConnections(Application(), limit, metrics=self.metrics, clock=self.clock)

    def open(self, *phases: Phase) -> list[FakeConnection]:
        """Open a connection for each phase, one second after the other."""
        opened = []
        for phase in phases:
            connection = FakeConnection(self.connections)
            opened.append(connection)
            if phase is not Phase.HEAD:
                self.connections.move(connection, phase)
            self.clock.now_s += 1
        return opened

    @property
    def closed(self) -> dict[str, float]:
        """How many were closed, by cause."""
        return by_label(self.metrics.http_closed)


HEAD, IDLE, BUSY = Phase.HEAD, Phase.IDLE, Phase.BUSY


def endings(opened: list[FakeConnection]) -> list[str]:
    """Return how each connection ended."""
    return [connection.ended for connection in opened]


@pytest.mark.gen_test
async def test_connections_are_counted() -> None:
    """Together, and those with a request under way."""
    site = Site()
    opened = site.open(HEAD, IDLE, BUSY, BUSY)
    assert (len(site.connections), site.connections.busy) == (4, 2)
    assert total(site.metrics.http_connections) == 4
    site.connections.move(opened[2], IDLE)
    assert (len(site.connections), site.connections.busy) == (4, 1)
    assert opened[2].phase is IDLE
    for connection in opened:
        connection.abort()
    assert (len(site.connections), site.connections.busy) == (0, 0)
    assert total(site.metrics.http_connections) == 0
    assert site.closed == {}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("phases", "closed"),
    [
        ((HEAD, IDLE, BUSY, IDLE), 1),
        ((BUSY, HEAD, HEAD, BUSY), 1),
        ((BUSY, HEAD, BUSY, IDLE), 3),
        ((BUSY, BUSY, BUSY, BUSY), 0),
    ],
    ids=["the longest idle", "else the oldest head", "idle before head", "else the oldest request"],
)
async def test_at_the_limit_a_new_connection_takes_the_place_of_another(phases: tuple[Phase, ...], closed: int) -> None:
    """So the number never exceeds the limit."""
    site = Site(limit=4)
    opened = site.open(*phases)
    assert endings(opened) == [""] * 4
    site.open(HEAD)
    assert [index for index, how in enumerate(endings(opened)) if how] == [closed]
    assert opened[closed].ended == "abort"
    assert len(site.connections) == 4
    assert site.closed == {"limit": 1}


@pytest.mark.gen_test
async def test_the_one_that_became_idle_first_is_the_longest_idle() -> None:
    """Not the one that was opened first."""
    site = Site(limit=3)
    opened = site.open(IDLE, IDLE, IDLE)
    site.connections.move(opened[0], BUSY)
    site.connections.move(opened[0], IDLE)
    site.open(HEAD)
    assert endings(opened) == ["", "abort", ""]


@pytest.mark.gen_test
async def test_without_a_limit_any_number_may_be_open() -> None:
    """Zero is no limit."""
    site = Site()
    opened = site.open(*[HEAD, IDLE, BUSY] * 100)
    assert len(site.connections) == 300
    assert not any(endings(opened))


@pytest.mark.gen_test
@pytest.mark.parametrize(("phase", "timeout_s"), [(HEAD, HEAD_TIMEOUT_S), (IDLE, IDLE_TIMEOUT_S)])
async def test_a_sweep_closes_what_has_waited_too_long(phase: Phase, timeout_s: float) -> None:
    """Only that, from the time at which the phase began."""
    site = Site()
    opened = site.open(phase, phase, phase)
    site.clock.now_s += timeout_s - 3 - 0.5
    site.connections.sweep()
    assert endings(opened) == ["", "", ""]
    site.clock.now_s += 0.5
    site.connections.sweep()
    assert endings(opened) == ["time", "", ""]
    site.connections.move(opened[1], BUSY)
    site.connections.move(opened[1], phase)
    site.clock.now_s += 2
    site.connections.sweep()
    assert endings(opened) == ["time", "", "time"]
    assert site.closed == {phase.value: 2}


@pytest.mark.gen_test
async def test_a_sweep_asks_each_request_that_is_under_way() -> None:
    """It ends itself if it stands still, and says what did."""
    site = Site()
    opened = site.open(BUSY, BUSY, BUSY, BUSY, IDLE)
    opened[1].stands_still = "body"
    opened[2].stands_still = "response"
    opened[4].stands_still = "body"
    site.connections.sweep()
    assert endings(opened) == ["", "check", "check", "", ""]
    assert site.closed == {"body": 1, "response": 1}


@pytest.mark.gen_test
async def test_it_sweeps_again_and_again_until_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop may be repeated."""
    monkeypatch.setattr(module, "SWEEP_INTERVAL_S", 0.01)
    site = Site()
    site.connections.start()
    for _ in range(3):
        (connection,) = site.open(HEAD)
        site.clock.now_s += HEAD_TIMEOUT_S
        ended: Callable[[], object] = lambda each=connection: each.ended  # type: ignore[misc]  # noqa: E731
        await eventually(ended)
    site.connections.stop()
    site.connections.stop()
    assert site.connections._timer is None


@pytest.mark.gen_test
async def test_the_end_closes_what_has_no_request_under_way() -> None:
    """Then all the rest."""
    site = Site()
    opened = site.open(HEAD, IDLE, BUSY)
    assert not site.connections.closing
    site.connections.finish()
    assert site.connections.closing
    assert endings(opened) == ["abort", "abort", ""]
    site.connections.abort()
    assert endings(opened) == ["abort", "abort", "abort"]
    assert len(site.connections) == 0


@pytest.mark.gen_test
async def test_rejected_requests_are_counted_and_logged_by_status(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each status, with the reason and the address."""
    caplog.set_level("INFO")
    site = Site()
    for status in (400, 431, 400):
        site.connections.count_rejected(RequestError(status, "bad_request", f"reason {status}"), "192.0.2.7")
    assert by_label(site.metrics.http_rejected) == {"400": 2, "431": 1}
    assert caplog.messages == ["400 from 192.0.2.7: reason 400", "431 from 192.0.2.7: reason 431"]
