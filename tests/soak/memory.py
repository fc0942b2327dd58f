"""Soak of the memory: Hermes at half load; neither its memory nor what any line of Python holds may grow.

``make test-all`` runs it for 30 minutes; ``python -m tests.soak.memory --seconds 180`` for another time. The load is
device data to sockets of its tenant, notifications, and sockets that open and close. The rate of the device data is
adapted each second, so that Hermes uses half a core on any machine. The first third of the time is warm-up.

Other programs can leave Hermes less than half a core. Then messages wait, and the memory that they need stays with the
process afterwards. Only then a slope that is too large is measured again, once, for as long as before.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
import tracemalloc
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from tornado.websocket import websocket_connect

from tests.support.brokers import mosquitto
from tests.support.gateways import KEY, SECRET, TIMEOUT_S, token
from tests.support.paths import CHECKOUT
from tests.support.processes import cpu_s, rss_bytes
from tests.support.programs import Program, wait_until
from tests.support.raw_socket import RawSocket, open_at

SLOPE_MAX = 4 * 1024 * 1024  # bytes an hour
LINE_MAX = 64 * 1024
LINES_SHOWN = 5
READERS = 10
DEVICES = 50
SETTLE_TIMEOUT_S = 600.0  # reached only in a test that fails
STEP_S = 0.05
REOPEN_S = 0.2
HALF = 0.5  # of a core
KEEPS_UP = 0.9  # of what was sent in a second is received in it
FASTER, SLOWER = 1.25, 0.8  # at most, in one second
RATE_FIRST = 500.0
RATE_MAX = 20_000.0


@dataclass(frozen=True)
class Measured:
    """The result: bytes an hour by least squares, and the lines that hold more at the end than after the warm-up."""

    slope: float
    disturbed_slope: float | None  # of the time before, in which messages waited for other programs
    growth: tuple[tuple[str, int], ...]  # the largest first
    rate_per_s: float
    samples: tuple[tuple[float, int], ...]

    def report(self) -> str:
        """Return the result as text of several lines."""
        lines = [f"{path}: {size:+} bytes" for path, size in self.growth]
        begin, end = self.samples[0][1], self.samples[-1][1]
        if self.disturbed_slope is not None:
            lines.append(f"measured again: {self.disturbed_slope / 1024**2:+.2f} MiB/h while messages waited")
        return "\n".join(
            [
                f"{self.slope / 1024**2:+.2f} MiB/h, RSS {begin / 1024**2:.1f} to {end / 1024**2:.1f} MiB, "
                f"{self.rate_per_s:.0f} messages/s to {READERS} sockets",
                *lines,
            ]
        )


class Load:
    """The clients of one Hermes: what they send, and what they read."""

    def __init__(self, program: Program, broker_port: int) -> None:
        self._program = program
        self._port = int(program.url.rpartition(":")[2])
        self.rate_per_s = RATE_FIRST
        self._running = True
        self.was_behind = False
        self._due = 0.0
        self.sent = 0
        self._devices = Client(CallbackAPIVersion.VERSION2)
        self._devices.connect("127.0.0.1", broker_port)
        self._devices.loop_start()

    def settle(self) -> None:
        """Wait until Hermes has no socket and handles no message."""
        handled: list[str] = []

        def is_idle() -> bool:
            time.sleep(STEP_S)
            lines = _get(f"{self._program.url}/metrics").splitlines()
            now = [line for line in lines if line.startswith(("hermes_mqtt_received_total", "hermes_mqtt_queued"))]
            open_sockets = sum(float(line.split()[1]) for line in lines if line.startswith("hermes_sockets_open{"))
            idle = not self._devices.want_write() and not open_sockets and now == handled
            handled[:] = now
            return idle and "hermes_mqtt_queued 0.0" in now

        wait_until(is_idle, SETTLE_TIMEOUT_S)

    def stop(self) -> None:
        """End the publisher."""
        self._devices.disconnect()
        self._devices.loop_stop()

    async def run(self, seconds: float, samples: list[tuple[float, int]]) -> None:
        """Cause the load for this time; append the time and the resident memory each second."""
        sockets = [await open_at(self._port, "/ws/tenant/acme", token(tenant_id="acme")) for _ in range(READERS)]
        self._running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                for each in (*map(_discard, sockets), self._publish(), self._open_and_close()):
                    tasks.create_task(each)
                await self._sample(seconds, samples)
                self._running = False
                for socket in sockets:
                    socket.writer.transport.abort()  # its reader then sees the end
        finally:
            self._running = False

    async def _sample(self, seconds: float, samples: list[tuple[float, int]]) -> None:
        """Append samples, and adapt the rate."""
        pid, ends_s = self._program.process.pid, time.monotonic() + seconds
        before_s, before_cpu_s = time.monotonic(), cpu_s(pid)
        sent, received = self.sent, await asyncio.to_thread(self._received)
        while time.monotonic() < ends_s:
            await asyncio.sleep(1)
            now_s, now_cpu_s = time.monotonic(), cpu_s(pid)
            used = (now_cpu_s - before_cpu_s) / (now_s - before_s)
            before_s, before_cpu_s = now_s, now_cpu_s
            now_sent, now_received = self.sent, await asyncio.to_thread(self._received)
            if now_received - received < KEEPS_UP * (now_sent - sent):
                used = 1.0  # other programs leave it less than half a core: messages would wait without end
                self.was_behind = True
            sent, received = now_sent, now_received
            self.rate_per_s = min(RATE_MAX, self.rate_per_s * min(FASTER, max(SLOWER, HALF / max(used, 0.01))))
            samples.append((now_s, rss_bytes(pid)))

    def _received(self) -> float:
        lines = _get(f"{self._program.url}/metrics").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("hermes_mqtt_received_total "))

    async def _publish(self) -> None:
        """Publish as many messages as are due, in steps."""
        while self._running:
            await asyncio.sleep(STEP_S)
            if self._devices.want_write():
                continue  # this process or the broker is the slower one
            self._due += self.rate_per_s * STEP_S
            while self._due >= 1:
                self._due -= 1
                self.sent += 1
                self._devices.publish(f"tenants/acme/devices/d{self.sent % DEVICES}/temp", str(self.sent))

    async def _open_and_close(self) -> None:
        """Open a socket, notify it, read, and close it, again and again."""
        given = token()
        while self._running:
            await asyncio.sleep(REOPEN_S)
            socket = await websocket_connect(f"ws://127.0.0.1:{self._port}/ws/notifications?token={given}")
            await asyncio.to_thread(self._notify)
            async with asyncio.timeout(TIMEOUT_S):
                await socket.read_message()
                socket.close()
                while await socket.read_message() is not None:
                    pass

    def _notify(self) -> None:
        headers = {"Content-Type": "application/json", "X-API-Key": KEY}
        body = json.dumps({"user_id": "123", "title": "n", "message": ""}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self._program.url}/notify", body, headers)) as response:
            response.read()


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        text: str = response.read().decode()
        return text


async def _discard(socket: RawSocket) -> None:
    while await socket.reader.read(65_536):
        pass


def slope_per_hour(samples: list[tuple[float, int]]) -> float:
    """Return the slope of the least squares line, in bytes an hour."""
    times = [time_s for time_s, _ in samples]
    mean_s, mean = sum(times) / len(times), sum(size for _, size in samples) / len(samples)
    over = sum((time_s - mean_s) * (size - mean) for time_s, size in samples)
    return 3_600 * over / sum((time_s - mean_s) ** 2 for time_s in times)


def growing_lines(first: Path, last: Path) -> tuple[tuple[str, int], ...]:
    """Return the lines that hold most bytes more in the second snapshot; tracemalloc itself is not counted."""
    own = [tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, "*traced_server*")]
    before, after = (tracemalloc.Snapshot.load(str(path)).filter_traces(own) for path in (first, last))
    changes = after.compare_to(before, "lineno")
    largest = sorted(changes, key=lambda change: change.size_diff, reverse=True)[:LINES_SHOWN]
    return tuple((str(change.traceback[0]), change.size_diff) for change in largest)


@contextlib.contextmanager
def traced_hermes(folder: Path, broker_port: int) -> Iterator[Program]:
    """Run Hermes with tracemalloc; its clients need not answer pings."""
    keys = folder / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"{KEY}\n")
    arguments = ["serve", "--port", "0", "--mqtt-url", f"mqtt://127.0.0.1:{broker_port}", "--api-key-file", str(keys)]
    launcher = (sys.executable, "-m", "tests.soak.traced_server", str(folder))
    program = Program(
        [*arguments, "--ping-timeout-s", "3600", "--log-level", "warning"],
        {"HERMES_JWT_SECRET": SECRET},
        launcher=launcher,
        cwd=CHECKOUT,
    )
    try:
        yield program
    finally:
        program.end()


def soak(folder: Path, *, seconds: float) -> Measured:
    """Run a soak and measure its last two thirds, or two further thirds if other programs disturbed these."""
    snapshots = folder / "1", folder / "2"
    samples: list[tuple[float, int]] = []
    with mosquitto(folder) as broker, traced_hermes(folder, broker.port) as program:
        load = Load(program, broker.port)
        try:
            asyncio.run(load.run(seconds / 4, []))
            load.settle()
            program.process.send_signal(signal.SIGUSR1)
            wait_until(snapshots[0].exists)
            asyncio.run(load.run(seconds / 12, []))  # the snapshot has freed memory, which is used again now
            warm_up, begins_s, load.was_behind = load.sent, time.monotonic(), False
            asyncio.run(load.run(seconds * 2 / 3, samples))
            disturbed_slope = None
            if load.was_behind and (slope := slope_per_hour(samples)) > SLOPE_MAX:
                disturbed_slope = slope
                samples.clear()
                load.settle()
                program.process.send_signal(signal.SIGUSR2)
                asyncio.run(load.run(seconds * 2 / 3, samples))
            rate_per_s = (load.sent - warm_up) / (time.monotonic() - begins_s)
            load.settle()
            program.process.send_signal(signal.SIGUSR1)
            wait_until(snapshots[1].exists)
        finally:
            load.stop()
    growth = growing_lines(*snapshots)
    return Measured(slope_per_hour(samples), disturbed_slope, growth, rate_per_s, tuple(samples))


def main() -> int:
    """Run ``python -m tests.soak.memory``; return 0 if the memory did not grow."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.memory", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds",
        type=float,
        default=1_800.0,
        help="duration with the warm-up (default: 1800), 5/3 of it if other programs disturb it",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = soak(Path(folder), seconds=options.seconds)
    print(measured.report())
    return 1 if measured.slope > SLOPE_MAX or measured.growth[0][1] > LINE_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
