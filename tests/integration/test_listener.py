"""Accept connections: a few per iteration of the loop, and a pause when no file descriptor is free."""

import asyncio
import contextlib
import errno
import http.client
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hermes.metrics import Metrics
from hermes.web import listener
from hermes.web.listener import ACCEPTED_PER_ITERATION, READ_PER_ITERATION, Listener
from tests.support.gateways import SECRET, TIMEOUT_S, eventually, token
from tests.support.programs import Program

FILES = 170
IDLE = 260
LAUNCHER = ("/bin/sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", sys.executable, "-m", "hermes")


class FailingSocket(socket.socket):
    """A listening socket with a list of errors that its next calls of `accept` raise."""

    failures: list[OSError]
    attempts = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Raise the next error, or accept a connection."""
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        return super().accept()


class AcceptTest:
    """A listener with one listening socket, and the connections that it accepted.

    ``reads_at_once`` is what the listener is told of each connection.
    """

    def __init__(self, *failures: OSError, reads_at_once: bool = True) -> None:
        self.reads_at_once = reads_at_once
        self.listening = FailingSocket(socket.AF_INET, socket.SOCK_STREAM)
        self.listening.failures = list(failures)
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(128)
        self.listening.setblocking(False)
        self.address = self.listening.getsockname()
        self.metrics = Metrics()
        self.accepted: list[socket.socket] = []
        self.peers: list[Any] = []
        self.listener = Listener(listening=[self.listening], handle=self._handle, metrics=self.metrics)

    def _handle(self, connection: socket.socket, address: Any) -> bool:
        self.accepted.append(connection)
        self.peers.append(address)
        return self.reads_at_once

    @property
    def pauses(self) -> float | None:
        """The number of pauses so far."""
        return self.metrics.registry.get_sample_value("hermes_accept_pauses_total")


@contextlib.asynccontextmanager
async def started(test: AcceptTest, clients: int) -> AsyncIterator[list[socket.socket]]:
    """Start the listener when this number of connections is waiting; stop it at the end."""
    waiting = [socket.create_connection(test.address) for _ in range(clients)]
    test.listener.start()
    try:
        yield waiting
    finally:
        test.listener.stop()
        for connection in (*waiting, *test.accepted):
            connection.close()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on a new event loop."""
    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT_S))


async def iterate(number: int) -> None:
    """Let the loop run this number of iterations."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.fixture
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause for 50 ms, which a test can wait for."""
    monkeypatch.setattr(listener, "PAUSE_S", 0.05)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings in the log."""
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_every_waiting_connection_is_accepted_with_its_address() -> None:
    """Also if there are more than one iteration accepts."""

    async def scenario() -> None:
        test = AcceptTest()
        async with started(test, clients=3 * READ_PER_ITERATION) as waiting:
            await eventually(lambda: len(test.accepted) == len(waiting))
            assert sorted(test.peers) == sorted(client.getsockname() for client in waiting)

    run(scenario)


def test_one_iteration_reads_only_a_few_connections() -> None:
    """Other events are handled between them."""

    async def scenario() -> None:
        test = AcceptTest()
        async with started(test, clients=5 * READ_PER_ITERATION):
            before = 0
            while len(test.accepted) < 5 * READ_PER_ITERATION:
                await asyncio.sleep(0)
                assert len(test.accepted) - before <= READ_PER_ITERATION
                before = len(test.accepted)

    run(scenario)


def test_connections_that_must_wait_do_not_hold_up_those_behind_them() -> None:
    """They share the kernel's backlog with all clients, so many are accepted at once."""

    async def scenario() -> None:
        test = AcceptTest(reads_at_once=False)
        async with started(test, clients=100):
            while not test.accepted:
                await asyncio.sleep(0)
            assert len(test.accepted) == ACCEPTED_PER_ITERATION > READ_PER_ITERATION

    run(scenario)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EMFILE, "LimitNOFILE"),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOBUFS, "No buffer space"),
    ],
)
@pytest.mark.usefixtures("short_pause")
def test_a_failed_accept_pauses_and_is_repeated(number: int, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each pause is counted; the log says what to change once a minute, not each time."""

    async def scenario() -> None:
        test = AcceptTest(*[OSError(number, os.strerror(number))] * 3)
        async with started(test, clients=1):
            await eventually(lambda: test.accepted)
        assert test.pauses == 3

    run(scenario)
    (line,) = warnings(caplog)
    assert text in line


@pytest.mark.usefixtures("short_pause")
def test_the_log_line_is_repeated_after_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If accepting still fails."""
    monkeypatch.setattr(listener, "LOG_INTERVAL_S", 0.01)

    async def scenario() -> None:
        test = AcceptTest(*[OSError(errno.EMFILE, "")] * 3)
        async with started(test, clients=1):
            await eventually(lambda: test.accepted)

    run(scenario)
    assert len(warnings(caplog)) == 3


def test_during_a_pause_nothing_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of loop iterations makes no difference."""
    monkeypatch.setattr(listener, "PAUSE_S", 3_600.0)

    async def scenario() -> None:
        test = AcceptTest(*[OSError(errno.EMFILE, "")] * 1_000)
        async with started(test, clients=1):
            await iterate(1_000)
            assert test.listening.attempts == 1

    run(scenario)


def test_a_connection_that_ended_while_it_waited_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    """The next one is accepted without a pause."""

    async def scenario() -> None:
        test = AcceptTest(ConnectionAbortedError(errno.ECONNABORTED, ""))
        async with started(test, clients=1):
            await eventually(lambda: test.accepted)
        assert test.pauses == 0

    run(scenario)
    assert not warnings(caplog)


@pytest.mark.parametrize("failures", [0, 1])
def test_after_stop_no_connection_is_accepted(failures: int) -> None:
    """Also during a pause; the port is closed, and stop may be repeated."""

    async def scenario() -> None:
        test = AcceptTest(*[OSError(errno.EMFILE, "")] * failures)
        async with started(test, clients=1):
            await eventually(lambda: test.listening.attempts)
            accepted = len(test.accepted)
            test.listener.stop()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(test.address)
            await iterate(100)
            assert len(test.accepted) == accepted
            assert not test.listener._resuming

    run(scenario)


# -- hermes serve without a free file descriptor ------------------------------------------------------------------


@pytest.fixture
def starved(key_file: Path) -> Iterator[Program]:
    """Run ``hermes serve`` with a low limit of open files."""
    arguments = ["serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(key_file), "--max-sockets", "100"]
    arguments += ["--max-http-connections", "0"]  # or idle connections would be closed in time
    program = Program(arguments, {"HERMES_JWT_SECRET": SECRET}, launcher=LAUNCHER)
    try:
        assert program.url
        yield program
    finally:
        program.end()


def pauses(connection: http.client.HTTPConnection) -> float:
    """Return the number of pauses, requested on a connection that is already open."""
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("hermes_accept_pauses_total")).split()[1])


async def assert_served(client: WebSocketClientConnection) -> None:
    """Assert that a ping on this socket gets its pong."""
    await client.write_message('{"action":"ping"}')
    assert await asyncio.wait_for(client.read_message(), TIMEOUT_S) == '{"action":"pong"}'


def test_without_a_free_file_descriptor_open_sockets_are_served_and_accepting_pauses(starved: Program) -> None:
    """With one line in the log; when descriptors are free again, new connections are accepted."""
    url = f"{starved.url.replace('http', 'ws', 1)}/ws/notifications?token={token()}"
    port = int(starved.url.rpartition(":")[2])

    async def scenario() -> None:
        inside = await websocket_connect(url)
        monitor = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        assert pauses(monitor) == 0
        started_s = time.monotonic()
        with contextlib.ExitStack() as idle:
            for _ in range(IDLE):
                idle.enter_context(socket.create_connection(("127.0.0.1", port)))
            starved.wait_for("LimitNOFILE")
            while (count := pauses(monitor)) < 3:
                await assert_served(inside)
                await asyncio.sleep(0.05)
            assert count <= 1 + (time.monotonic() - started_s) / listener.PAUSE_S, "it does not pause"
        late = await asyncio.wait_for(websocket_connect(url), TIMEOUT_S)
        await assert_served(late)
        for connection in (inside, late):
            connection.close()
            assert await connection.read_message() is None
        monitor.close()

    run(scenario)
    log = "".join(starved.errors)
    assert log.count("cannot accept connections") == 1
    assert "Traceback" not in log
