"""The embedded broker: mosquitto as a supervised child, on loopback only.

It ends with Hermes however Hermes ends (see `hermes.mqtt.leash`), and comes back on the same port when it dies.
"""

import asyncio
import logging
import os
import socket
import sys
import threading
from collections import deque
from pathlib import Path

from hermes.errors import BrokerUnavailable
from hermes.metrics import Metrics
from hermes.mqtt.backoff import Backoff
from hermes.mqtt.mosquitto import child_user, configuration, find_mosquitto
from hermes.mqtt_url import PLAIN_PORT, MqttUrl

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
POLL_INTERVAL_S = 0.02
FIRST_RESTART_S = 0.5
HEALTHY_S = 10.0  # it lived this long: the next restart is quick again
LAST_LINES = 20

LEASH = Path(__file__).with_name("leash.py")


class EmbeddedBroker:
    """A mosquitto child. ``port`` None takes 1883 if that is free, else any free one.

    ``start`` must be called on the process's main thread: the child dies with the thread that started it.
    """

    def __init__(self, *, metrics: Metrics, port: int | None = None, program: str = "mosquitto") -> None:
        self._metrics = metrics
        self._wanted_port = port
        self._program = program
        self._path = ""
        self._configuration: int | None = None  # a file descriptor
        self._user: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._reader: asyncio.Task[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._backoff = Backoff(first_s=FIRST_RESTART_S, draw=lambda: 1.0)  # one child: nobody to spread from
        self.port = 0
        self.version = ""

    @property
    def url(self) -> MqttUrl:
        """Where it listens."""
        return MqttUrl(HOST, self.port)

    @property
    def pid(self) -> int | None:
        """The child's process id while there is a child."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Start the child and wait until it accepts connections.

        Raises `BrokerUnavailable`: mosquitto is missing or unusable, the port is taken, or its own last words.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded broker must be started on the main thread")
        mosquitto = await asyncio.to_thread(find_mosquitto, self._program)
        self._path, self.version = mosquitto.path, mosquitto.version
        self.port = _port(self._wanted_port)
        self._write_configuration()
        try:
            await self._spawn()
        except BaseException:
            await self.stop()
            raise
        logger.info("embedded mosquitto %s listens on %s", self.version, self.url)
        self._supervisor = asyncio.create_task(self._supervise(), name="hermes-broker-supervisor")

    async def stop(self) -> None:
        """End the child, with SIGKILL if it does not heed SIGTERM. Harmless if not started."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
        await self._end_child()
        configuration, self._configuration = self._configuration, None
        if configuration is not None:
            os.close(configuration)

    def _write_configuration(self) -> None:
        """A file in memory that the child inherits: a killed Hermes leaves nothing behind."""
        user = child_user()
        self._user = None if user is None else user.pw_name
        self._configuration = os.memfd_create("mosquitto.conf")
        with open(self._configuration, "w", closefd=False) as file:
            file.write(configuration(port=self.port, user=self._user))
        os.fchmod(self._configuration, 0o444)  # the child opens it anew, under root as another user

    async def _spawn(self) -> None:
        """Start the child by way of the leash and wait until it accepts."""
        assert self._configuration is not None
        self._lines.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(LEASH),
            str(os.getpid()),
            self._user or "",
            self._path,
            "-c",
            f"/proc/self/fd/{self._configuration}",
            pass_fds=(self._configuration,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for Hermes, which then ends the child in its own time
        )
        assert self._process.stdout is not None
        self._reader = asyncio.create_task(self._read_lines(self._process.stdout), name="hermes-broker-log")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._accepting(self._process)
        except TimeoutError:
            raise BrokerUnavailable(f"mosquitto does not answer on {self.url}{self._last_words()}") from None

    async def _accepting(self, process: asyncio.subprocess.Process) -> None:
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection(HOST, self.port)
            except OSError:
                await asyncio.sleep(POLL_INTERVAL_S)
                continue
            writer.close()
            if process.returncode is None:
                return
        assert self._reader is not None
        await asyncio.wait([self._reader])
        raise BrokerUnavailable(f"mosquitto ended with status {process.returncode}{self._last_words()}")

    def _last_words(self) -> str:
        return ": " + " | ".join(self._lines) if self._lines else ""

    async def _read_lines(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the stream's limit: it has been thrown away
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._lines.append(text)
            logger.log(logging.WARNING if "Error" in text else logging.DEBUG, "mosquitto: %s", text)

    async def _supervise(self) -> None:
        """Restart the child whenever it ends, at first quickly, then with longer and longer waits."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            assert self._process is not None
            code = await self._process.wait()
            if loop.time() - began_s >= HEALTHY_S:
                self._backoff.reset()
            wait_s = self._backoff.wait_s()
            logger.warning("the embedded broker ended with status %s; restarting it in %.1f s", code, wait_s)
            await asyncio.sleep(wait_s)
            self._metrics.broker_restarts.inc()
            await self._respawn()

    async def _respawn(self) -> None:
        """One restart; where it fails no child is left, which is the next thing to be noticed."""
        try:
            await self._spawn()
        except BrokerUnavailable as error:
            logger.warning("the embedded broker did not come back: %s", error)
            await self._end_child()
        except OSError:
            logger.exception("the embedded broker could not be started")

    async def _end_child(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._reader is not None:
            await asyncio.wait([self._reader])


def _port(wanted: int | None) -> int:
    if wanted is not None:
        if not _is_free(wanted):
            raise BrokerUnavailable(f"port {wanted} of {HOST} is taken; choose another for the embedded broker")
        return wanted
    return PLAIN_PORT if _is_free(PLAIN_PORT) else _any_free_port()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as mosquitto does: TIME_WAIT is no obstacle
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
