"""The embedded broker: mosquitto as a supervised child, on loopback only unless there is a door for devices.

It ends with Hermes however Hermes ends (see `hermes.broker.child_exec`), and comes back on the same port when it dies.
With a `hermes.broker.device_listener` nobody is let in without a password, and what changes there is read without a
restart.
"""

import asyncio
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections import deque
from pathlib import Path

from hermes.backoff import Backoff
from hermes.broker.device_listener import HERMES, SIMULATOR, DeviceListener, bind_once
from hermes.broker.memfd import MemoryFile
from hermes.broker.mosquitto import RELOADING, UNREADABLE, DoorFiles, child_user, configuration, find_mosquitto
from hermes.errors import BrokerUnavailable
from hermes.metrics import Metrics
from hermes.settings.mqtt_url import PLAIN_PORT, MqttUrl

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
POLL_INTERVAL_S = 0.02
FIRST_RESTART_S = 0.5
HEALTHY_S = 10.0  # it lived this long: the next restart is quick again
LAST_LINES = 20
LOOK_INTERVAL_S = 1.0
# mosquitto forgets a signal that comes while it reads, and must not read what is being written: so much later than its
# word that it begins. It checks each connected device anew, 0.06 ms for one: enough for 30,000 of them.
RELOAD_INTERVAL_S = 2.0
RELOAD_TIMEOUT_S = 30.0  # without that word, as from a frozen one, it is told again

DOOR_FILES = ("passwords", "rules", "certificate", "key")
CLEAR_TEXT = (
    "devices' passwords and data cross the network of %s as clear text: "
    "give --broker-cert-file and --broker-key-file, or trust everyone on it"
)

FAULT = re.compile(r"(\d+: )?Error\b")

CHILD_EXEC = Path(__file__).with_name("child_exec.py")


class MosquittoProcess:
    """A mosquitto child. ``port`` None takes 1883 if that is free, else any free one.

    ``start`` must be called on the process's main thread: the child dies with the thread that started it.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        port: int | None = None,
        door: DeviceListener | None = None,
        program: str = "mosquitto",
    ) -> None:
        self._metrics = metrics
        self._wanted_port = port
        self._door = door
        self._program = program
        self._path = ""
        self._files: dict[str, MemoryFile] = {}
        self._user: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._reader: asyncio.Task[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()  # what the child reads, and the child itself
        self._reload_after_s = 0.0  # by the loop's clock
        self._backoff = Backoff(first_s=FIRST_RESTART_S, draw=lambda: 1.0)  # one child: nobody to spread from
        self.port = 0
        self.version = ""

    @property
    def url(self) -> MqttUrl:
        """Where it listens for Hermes itself, with Hermes' own password where nobody is let in without one."""
        return self._url_for(HERMES)

    @property
    def simulator_url(self) -> MqttUrl:
        """The same for the simulated devices: two connections of one user would end each other."""
        return self._url_for(SIMULATOR)

    def _url_for(self, user: str) -> MqttUrl:
        if self._door is None:
            return MqttUrl(HOST, self.port)
        return MqttUrl(HOST, self.port, username=user, password=self._door.password)

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
        try:
            await self._prepare()
            await self._spawn()
        except BaseException:
            await self.stop()
            raise
        logger.info("embedded mosquitto %s listens on %s", self.version, self.url)
        self._supervisor = asyncio.create_task(self._supervise(), name="hermes-broker-supervisor")
        if self._door is not None:
            self._watcher = asyncio.create_task(self._watch(self._door), name="hermes-broker-watcher")
            _announce(self._door)

    async def stop(self) -> None:
        """End the child, with SIGKILL if it does not heed SIGTERM. Harmless if not started."""
        tasks = [task for task in (self._supervisor, self._watcher) if task is not None]
        self._supervisor = self._watcher = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._end_child()
        files, self._files = self._files, {}
        for file in files.values():
            file.close()

    async def _prepare(self) -> None:
        """Choose the port, and make the files in memory that the child inherits."""
        listen = None if self._door is None else self._door.listen
        self.port = _port(self._wanted_port, avoid=None if listen is None else listen.port)
        if self._door is not None:
            await asyncio.to_thread(self._door.open)
        user = child_user()
        self._user = None if user is None else user.pw_name
        for name in ("mosquitto.conf", *(DOOR_FILES if listen else ())):
            self._files[name] = MemoryFile(name, user=user)
        files = DoorFiles(*(self._files[name].path for name in DOOR_FILES)) if listen else None
        text = configuration(port=self.port, user=self._user, listen=listen, files=files)
        self._files["mosquitto.conf"].write(text.encode())

    def _hand_over(self) -> None:
        """Write what the door lets in to where the child reads it; not while it may be reading."""
        door = self._door
        if door is not None:
            contents = (door.passwords, door.rules, door.certificate, door.key)
            for name, content in zip(DOOR_FILES, contents, strict=True):
                self._files[name].write(content)

    async def _spawn(self) -> None:
        """Start the child through `child_exec` and wait until it accepts connections."""
        self._lines.clear()
        self._hand_over()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(CHILD_EXEC),
            str(os.getpid()),
            self._user or "",
            self._path,
            "-c",
            self._files["mosquitto.conf"].path,
            pass_fds=tuple(file.descriptor for file in self._files.values()),
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
            raise BrokerUnavailable(f"mosquitto does not answer on {self.url}{self._recent_output()}") from None
        self._reload_after_s = 0.0  # it read everything before it listened

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
        raise BrokerUnavailable(f"mosquitto ended with status {process.returncode}{self._recent_output()}")

    def _recent_output(self) -> str:
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
            # only at the beginning: further behind, it may be quoted from whoever knocked
            logger.log(logging.WARNING if FAULT.match(text) else logging.DEBUG, "mosquitto: %s", text)
            if text == RELOADING:
                self._reload_after_s = asyncio.get_running_loop().time() + RELOAD_INTERVAL_S
            elif self._door is not None and UNREADABLE.match(text):
                self._fail_closed()

    def kill(self) -> bool:
        """End the child without a goodbye; it comes back as after any other end. False where there is none."""
        if self.pid is None:
            return False
        assert self._process is not None
        self._process.kill()
        return True

    def _fail_closed(self) -> None:
        """No broker is better than one that has lost its rules."""
        if self.kill():
            logger.error("mosquitto could not read its access rules, so it was ended at once")

    async def _watch(self, door: DeviceListener) -> None:
        """Look for changed accounts and certificates, and have the child read them."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            async with self._changing:
                if asyncio.get_running_loop().time() >= self._reload_after_s:
                    try:
                        await self._look(door)
                    except Exception:
                        logger.exception("device accounts could not be looked at")

    async def _look(self, door: DeviceListener) -> None:
        if not await asyncio.to_thread(door.look):
            return
        self._hand_over()
        self._reload_after_s = asyncio.get_running_loop().time() + RELOAD_TIMEOUT_S
        if self.pid is not None:  # else the next one reads them as it starts
            assert self._process is not None
            self._process.send_signal(signal.SIGHUP)
            logger.info("device accounts or certificate changed: told to mosquitto")

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
            async with self._changing:
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


def _announce(door: DeviceListener) -> None:
    listen = door.listen
    logger.info("devices connect to %s, %s", listen, "over TLS" if listen.encrypted else "without TLS")
    if listen.reveals_passwords:
        logger.warning(CLEAR_TEXT, listen)


def _port(wanted: int | None, *, avoid: int | None = None) -> int:
    if wanted is not None:
        if not _is_free(wanted):
            raise BrokerUnavailable(f"port {wanted} of {HOST} is taken; choose another for the embedded broker")
        return wanted
    return PLAIN_PORT if avoid != PLAIN_PORT and _is_free(PLAIN_PORT) else _any_free_port()


def _is_free(port: int) -> bool:
    try:
        bind_once(HOST, port)
    except OSError:
        return False
    return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
