"""The embedded broker: a mosquitto that Hermes starts, supervises and restarts.

It listens on loopback and, with a `hermes.broker.device_listener`, on a second address with a password for each device;
changed accounts are reloaded without a restart. It ends with Hermes however Hermes ends (see
`hermes.broker.child_exec`), and listens on the same port after a restart.
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

from hermes.appliance.bundle import CHILD_EXEC_FLAG, bundle_dir
from hermes.backoff import Backoff
from hermes.broker.device_listener import HERMES, SIMULATOR, DeviceListener, bind_once
from hermes.broker.memfd import MemoryFile
from hermes.broker.mosquitto import (
    RELOADING,
    UNREADABLE,
    ListenerFiles,
    child_environment,
    child_user,
    configuration,
    find_mosquitto,
)
from hermes.errors import BrokerUnavailable
from hermes.metrics import Metrics
from hermes.settings.broker import BrokerListen
from hermes.settings.urls.mqtt import PLAIN_PORT, MqttUrl

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
POLL_INTERVAL_S = 0.02
FIRST_RESTART_S = 0.5
HEALTHY_S = 10.0  # after this time the next restart is quick again
RECENT_LINES = 20
REFRESH_INTERVAL_S = 1.0
# mosquitto loses a signal that arrives during a reload, and must not read a file that is being written. So the next
# reload begins this long after its log line RELOADING. It checks the password of each connected device, 0.06 ms each:
# enough for 30,000 devices.
RELOAD_INTERVAL_S = 2.0
RELOAD_TIMEOUT_S = 30.0  # without that line, as from a frozen process, the signal is sent again

LISTENER_FILES = ("passwords", "rules", "certificate", "key")
CLEAR_TEXT = (
    "the passwords and data of devices cross the network of %s as clear text: "
    "give --broker-cert-file and --broker-key-file, or trust every host on that network"
)

ERROR_LINE = re.compile(r"(\d+: )?Error\b")

CHILD_EXEC = Path(__file__).with_name("child_exec.py")
# A frozen Hermes is not an interpreter: its entry point has a flag that runs `child_exec`.
LAUNCHER = (sys.executable, CHILD_EXEC_FLAG) if bundle_dir() else (sys.executable, "-I", "-S", str(CHILD_EXEC))


class MosquittoProcess:
    """A supervised mosquitto.

    Without ``port`` it listens on 1883 if that is free, otherwise on any free port. `start` must be called on the main
    thread: the kernel kills the child when the thread that started it ends.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        port: int | None = None,
        device_listener: DeviceListener | None = None,
        program: str = "mosquitto",
    ) -> None:
        self._metrics = metrics
        self._wanted_port = port
        self._listener = device_listener
        self._program = program
        self._path = ""
        self._files: dict[str, MemoryFile] = {}
        self._user: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._lines: deque[str] = deque(maxlen=RECENT_LINES)
        self._reader: asyncio.Task[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()  # held to change the child, or a file that it reads
        self._reload_after_s = 0.0  # by the loop's clock
        self._backoff = Backoff(first_s=FIRST_RESTART_S, draw=lambda: 1.0)  # one child: no jitter needed
        self.port = 0
        self.version = ""

    @property
    def url(self) -> MqttUrl:
        """The address for Hermes itself, with a password if the broker requires one."""
        return self._url_for(HERMES)

    @property
    def simulator_url(self) -> MqttUrl:
        """The same for the simulated devices.

        They need a user of their own: of two connections of one user, the second ends the first.
        """
        return self._url_for(SIMULATOR)

    def _url_for(self, user: str) -> MqttUrl:
        if self._listener is None:
            return MqttUrl(HOST, self.port)
        return MqttUrl(HOST, self.port, username=user, password=self._listener.password)

    @property
    def pid(self) -> int | None:
        """The process id of the child, or None if no child is running."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Start the child and wait until it accepts connections.

        Raises `BrokerUnavailable`: mosquitto is missing or unusable, the port is in use, or its recent output.
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
        if self._listener is not None:
            self._watcher = asyncio.create_task(self._watch(self._listener), name="hermes-broker-watcher")
            _announce(self._listener.listen)

    async def stop(self) -> None:
        """Stop the child, if any, with SIGKILL if it ignores SIGTERM."""
        tasks = [task for task in (self._supervisor, self._watcher) if task is not None]
        self._supervisor = self._watcher = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._stop_child()
        files, self._files = self._files, {}
        for file in files.values():
            file.close()

    async def _prepare(self) -> None:
        """Choose the port, and create the files in memory that the child inherits."""
        listen = None if self._listener is None else self._listener.listen
        self.port = _port(self._wanted_port, avoid=None if listen is None else listen.port)
        if self._listener is not None:
            await asyncio.to_thread(self._listener.open)
        user = child_user()
        self._user = None if user is None else user.pw_name
        for name in ("mosquitto.conf", *(LISTENER_FILES if listen else ())):
            self._files[name] = MemoryFile(name, user=user)
        files = ListenerFiles(*(self._files[name].path for name in LISTENER_FILES)) if listen else None
        text = configuration(port=self.port, user=self._user, listen=listen, files=files)
        self._files["mosquitto.conf"].write(text.encode())

    def _write_listener_files(self) -> None:
        """Write the files for the child; not while it may be reading them."""
        listener = self._listener
        if listener is not None:
            contents = (listener.passwords, listener.rules, listener.certificate, listener.key)
            for name, content in zip(LISTENER_FILES, contents, strict=True):
                self._files[name].write(content)

    async def _spawn(self) -> None:
        """Start the child through `child_exec` and wait until it accepts connections."""
        self._lines.clear()
        self._write_listener_files()
        self._process = await asyncio.create_subprocess_exec(
            *LAUNCHER,
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
            env=child_environment(),
            start_new_session=True,  # Ctrl-C reaches Hermes only, which stops the child after its own clients
        )
        assert self._process.stdout is not None
        self._reader = asyncio.create_task(self._read_lines(self._process.stdout), name="hermes-broker-log")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._wait_until_accepting(self._process)
        except TimeoutError:
            raise BrokerUnavailable(
                f"mosquitto does not accept connections at {self.url}{self._recent_output()}"
            ) from None
        self._reload_after_s = 0.0  # it read everything before it listened

    async def _wait_until_accepting(self, process: asyncio.subprocess.Process) -> None:
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
            except ValueError:  # longer than the limit of the stream, which has discarded it
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._lines.append(text)
            # only at the beginning of the line: the rest may quote a client
            logger.log(logging.WARNING if ERROR_LINE.match(text) else logging.DEBUG, "mosquitto: %s", text)
            if text == RELOADING:
                self._reload_after_s = asyncio.get_running_loop().time() + RELOAD_INTERVAL_S
            elif self._listener is not None and UNREADABLE.match(text):
                self._fail_closed()

    def kill(self) -> bool:
        """Kill the child, which is then restarted; return False if there is none."""
        if self.pid is None:
            return False
        assert self._process is not None
        self._process.kill()
        return True

    def _fail_closed(self) -> None:
        """Kill a broker that has lost its rules: it would allow everything to everyone."""
        if self.kill():
            logger.error("mosquitto could not read its access rules, so it was killed at once")

    async def _watch(self, listener: DeviceListener) -> None:
        """Reload the child whenever accounts or certificate change."""
        while True:
            await asyncio.sleep(REFRESH_INTERVAL_S)
            async with self._changing:
                if asyncio.get_running_loop().time() >= self._reload_after_s:
                    try:
                        await self._refresh(listener)
                    except Exception:
                        logger.exception("device accounts could not be checked")

    async def _refresh(self, listener: DeviceListener) -> None:
        if not await asyncio.to_thread(listener.refresh):
            return
        self._write_listener_files()
        self._reload_after_s = asyncio.get_running_loop().time() + RELOAD_TIMEOUT_S
        if self.pid is not None:  # otherwise the next child reads the files at its start
            assert self._process is not None
            self._process.send_signal(signal.SIGHUP)
            logger.info("device accounts or certificate changed: mosquitto reloads them")

    async def _supervise(self) -> None:
        """Restart the child whenever it ends, after longer and longer waits."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            assert self._process is not None
            code = await self._process.wait()
            if loop.time() - began_s >= HEALTHY_S:
                self._backoff.reset()
            wait_s = self._backoff.next_delay_s()
            logger.warning("the embedded broker ended with status %s; restarting it in %.1f s", code, wait_s)
            await asyncio.sleep(wait_s)
            self._metrics.broker_restarts.inc()
            await self._respawn()

    async def _respawn(self) -> None:
        """Start the child again; after a failure `_supervise` retries."""
        try:
            async with self._changing:
                await self._spawn()
        except BrokerUnavailable as error:
            logger.warning("the embedded broker did not restart: %s", error)
            await self._stop_child()
        except OSError:
            logger.exception("the embedded broker could not be started")

    async def _stop_child(self) -> None:
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


def _announce(listen: BrokerListen) -> None:
    logger.info("devices connect to %s, %s", listen, "over TLS" if listen.encrypted else "without TLS")
    if listen.reveals_passwords:
        logger.warning(CLEAR_TEXT, listen)


def _port(wanted: int | None, *, avoid: int | None = None) -> int:
    if wanted is not None:
        if not _is_free(wanted):
            raise BrokerUnavailable(f"port {wanted} of {HOST} is in use; choose another for the embedded broker")
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
