"""New connections: a few in each turn of the loop, and a rest where there is no file descriptor for one."""

import asyncio
import contextlib
import errno
import http.client
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hermes.metrics import Metrics
from hermes.web import listener
from hermes.web.listener import ACCEPTED_PER_TURN, Listener
from tests.support.gateways import SECRET, eventually, token
from tests.support.programs import Program

FILES = 170
IDLE = 260
LAUNCHER = ("/bin/sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", sys.executable, "-m", "hermes")


class Scripted(socket.socket):
    """A listening socket whose next attempts to accept fail as told."""

    failures: list[OSError]
    attempts = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """A connection, or the next failure."""
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        return super().accept()


class Door:
    """An acceptor, its one listening socket, and what came in."""

    def __init__(self, *failures: OSError) -> None:
        self.listening = Scripted(socket.AF_INET, socket.SOCK_STREAM)
        self.listening.failures = list(failures)
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(128)
        self.listening.setblocking(False)
        self.address = self.listening.getsockname()
        self.metrics = Metrics()
        self.taken: list[socket.socket] = []
        self.peers: list[Any] = []
        self.acceptor = Listener(listening=[self.listening], handle=self._take, metrics=self.metrics)

    def _take(self, connection: socket.socket, address: Any) -> None:
        self.taken.append(connection)
        self.peers.append(address)

    @property
    def pauses(self) -> float | None:
        """How often it rested."""
        return self.metrics.registry.get_sample_value("hermes_accept_pauses_total")


@contextlib.asynccontextmanager
async def opened(door: Door, clients: int) -> AsyncIterator[list[socket.socket]]:
    """The door open, with this many connections waiting before it."""
    waiting = [socket.create_connection(door.address) for _ in range(clients)]
    door.acceptor.start()
    try:
        yield waiting
    finally:
        door.acceptor.stop()
        for connection in (*waiting, *door.taken):
            connection.close()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On a loop of its own."""
    asyncio.run(asyncio.wait_for(scenario(), 10))


async def turns(number: int) -> None:
    """So many turns of the loop."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.fixture
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rest that a test can wait for."""
    monkeypatch.setattr(listener, "PAUSE_S", 0.05)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said about it."""
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_every_waiting_connection_is_taken_with_its_address() -> None:
    """More of them than one turn takes."""

    async def scenario() -> None:
        door = Door()
        async with opened(door, clients=3 * ACCEPTED_PER_TURN) as waiting:
            await eventually(lambda: len(door.taken) == len(waiting))
            assert sorted(door.peers) == sorted(client.getsockname() for client in waiting)

    run(scenario)


def test_one_turn_takes_only_a_few() -> None:
    """What else is ready has its turn between them."""

    async def scenario() -> None:
        door = Door()
        async with opened(door, clients=5 * ACCEPTED_PER_TURN):
            before = 0
            while len(door.taken) < 5 * ACCEPTED_PER_TURN:
                await asyncio.sleep(0)
                assert len(door.taken) - before <= ACCEPTED_PER_TURN
                before = len(door.taken)

    run(scenario)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EMFILE, "LimitNOFILE"),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOBUFS, "No buffer space"),
    ],
)
@pytest.mark.usefixtures("short_pause")
def test_where_accepting_fails_it_rests_and_goes_on(number: int, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each rest is counted; what to mend is said once a minute, not each time."""

    async def scenario() -> None:
        door = Door(*[OSError(number, os.strerror(number))] * 3)
        async with opened(door, clients=1):
            await eventually(lambda: door.taken)
        assert door.pauses == 3

    run(scenario)
    (line,) = complaints(caplog)
    assert words in line


@pytest.mark.usefixtures("short_pause")
def test_what_to_mend_is_said_again_after_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For who looks only now."""
    monkeypatch.setattr(listener, "COMPLAINT_INTERVAL_S", 0.01)

    async def scenario() -> None:
        door = Door(*[OSError(errno.EMFILE, "")] * 3)
        async with opened(door, clients=1):
            await eventually(lambda: door.taken)

    run(scenario)
    assert len(complaints(caplog)) == 3


def test_resting_costs_nothing() -> None:
    """However many turns the loop makes before the second is over, nobody tries again."""

    async def scenario() -> None:
        door = Door(*[OSError(errno.EMFILE, "")] * 1_000)
        async with opened(door, clients=1):
            await turns(1_000)
            assert door.listening.attempts == 1

    run(scenario)


def test_a_connection_that_left_while_it_waited_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """The next one is taken in the same turn."""

    async def scenario() -> None:
        door = Door(ConnectionAbortedError(errno.ECONNABORTED, ""))
        async with opened(door, clients=1):
            await eventually(lambda: door.taken)
        assert door.pauses == 0

    run(scenario)
    assert not complaints(caplog)


@pytest.mark.parametrize("failures", [0, 1])
def test_after_its_stop_nobody_is_taken(failures: int) -> None:
    """Also out of a rest; the port is closed, and a second stop does no harm."""

    async def scenario() -> None:
        door = Door(*[OSError(errno.EMFILE, "")] * failures)
        async with opened(door, clients=1):
            await eventually(lambda: door.listening.attempts)
            taken = len(door.taken)
            door.acceptor.stop()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(door.address)
            await turns(100)
            assert len(door.taken) == taken
            assert not door.acceptor._resuming

    run(scenario)


# -- Hermes without a free file descriptor ------------------------------------------------------------------------


@pytest.fixture
def starved(key_file: Path) -> Iterator[Program]:
    """A Hermes that may open few files."""
    words = ["serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(key_file), "--max-sockets", "100"]
    program = Program(words, {"HERMES_JWT_SECRET": SECRET}, launcher=LAUNCHER)
    try:
        assert program.url
        yield program
    finally:
        program.end()


def cpu_s(program: Program) -> float:
    """The processor time that it has used."""
    fields = Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pauses(connection: http.client.HTTPConnection) -> float:
    """How often it rested, asked on a connection that is open already."""
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("hermes_accept_pauses_total")).split()[1])


async def answers(client: WebSocketClientConnection) -> None:
    """This socket is served."""
    await client.write_message('{"action":"ping"}')
    assert await asyncio.wait_for(client.read_message(), 2) == '{"action":"pong"}'


def test_without_a_file_descriptor_open_sockets_are_served_and_the_processor_rests(starved: Program) -> None:
    """One line in the log; when descriptors come free, newcomers get in."""
    url = f"{starved.url.replace('http', 'ws', 1)}/ws/notifications?token={token()}"
    port = int(starved.url.rpartition(":")[2])

    async def scenario() -> None:
        inside = await websocket_connect(url)
        monitor = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        assert pauses(monitor) == 0
        with contextlib.ExitStack() as idle:
            for _ in range(IDLE):
                idle.enter_context(socket.create_connection(("127.0.0.1", port)))
            starved.wait_for("LimitNOFILE")
            before_s = cpu_s(starved)
            for _ in range(15):
                await answers(inside)
                await asyncio.sleep(0.1)
            assert cpu_s(starved) - before_s < 0.75, "it tries in every turn"
            assert pauses(monitor) >= 2
        late = await asyncio.wait_for(websocket_connect(url), 5)
        await answers(late)
        for connection in (inside, late):
            connection.close()
            assert await connection.read_message() is None
        monitor.close()

    run(scenario)
    log = "".join(starved.errors)
    assert log.count("cannot accept connections") == 1
    assert "Traceback" not in log
