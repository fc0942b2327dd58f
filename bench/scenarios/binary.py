"""What a frozen Hermes costs: the one file and the folder of `make binary`, against this checkout."""

import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.figures import Figure, Mark
from bench.processes import CHECKOUT, BenchError, Child, NotInstalledError, free_port

DIST = CHECKOUT / "dist"
BARE = CHECKOUT / "build" / "bare"
PYINSTALLER = CHECKOUT / "build" / "packaging" / "bin" / "pyinstaller"
START_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.001
MIB = 1_048_576
PROGRAMS: Mapping[str, Sequence[str]] = {
    "checkout": (sys.executable, "-m", "hermes"),
    "one file": (str(DIST / "hermes"),),
    "folder": (str(DIST / "hermes-onedir" / "hermes"),),
}
START_AT_MOST = {"one file": 2.6, "folder": 1.3}


@dataclass(frozen=True, slots=True)
class Binary:
    """``starts`` of each program, in turns; ``settle_s`` after a start the memory is read."""

    summary: ClassVar[str] = "start, memory and size of the one-file program and its folder (make binary)"
    starts: int = 20
    settle_s: float = 1.0

    def run(self) -> list[Figure]:
        """Medians. The marks are against the checkout, and of --version against a frozen `print`."""
        for command in PROGRAMS.values():
            if not Path(command[0]).is_file():
                raise NotInstalledError(f"{command[0]} is missing; run: make binary")
        return [*self._starts("off"), *self._starts("embedded"), *self._versions(), _size()]

    def _starts(self, mqtt_url: str) -> Iterator[Figure]:
        times_s: dict[str, list[float]] = {name: [] for name in PROGRAMS}
        memory: dict[str, list[float]] = {name: [] for name in PROGRAMS}
        for _ in range(self.starts):
            for name, command in PROGRAMS.items():
                with _serving(command, mqtt_url) as (child, start_s):
                    times_s[name].append(start_s)
                    time.sleep(self.settle_s)
                    memory[name].append(child.rss_bytes)
        own_s, own_bytes = statistics.median(times_s["checkout"]), statistics.median(memory["checkout"])
        broker = "without MQTT" if mqtt_url == "off" else "with the embedded broker"
        for name in PROGRAMS:
            start_s, resident = statistics.median(times_s[name]), statistics.median(memory[name])
            yield Figure(name, f"first HTTP 200 {broker}", start_s * 1_000, "ms")
            yield Figure(name, f"idle memory {broker}", resident / MIB, "MiB")
            if name != "checkout":
                mark = Mark(at_most=START_AT_MOST[name])
                yield Figure(f"{name} : checkout", f"first HTTP 200 {broker}", start_s / own_s, "", mark)
                more = (resident - own_bytes) / MIB
                yield Figure(f"{name} - checkout", f"idle memory {broker}", more, "MiB", Mark(at_most=6))

    def _versions(self) -> Iterator[Figure]:
        """Yield the time of ``hermes --version``, against that of a frozen program that prints one line."""
        bare = {"one file": BARE / "file" / "bare", "folder": BARE / "folder" / "bare" / "bare"}
        _build_bare()
        for name, program in bare.items():
            command = [*PROGRAMS[name], "--version"]
            times = [(_time_s(command), _time_s([str(program)])) for _ in range(self.starts)]
            own_s, bare_s = (statistics.median(column) for column in zip(*times, strict=True))
            yield Figure(name, "hermes --version", own_s * 1_000, "ms")
            yield Figure(f"{name} : frozen print", "hermes --version", own_s / bare_s, "", Mark(at_most=3))


def _size() -> Figure:
    return Figure("one file", "size", (DIST / "hermes").stat().st_size / 1e6, "MB", Mark(at_most=35))


@contextlib.contextmanager
def _serving(command: Sequence[str], mqtt_url: str) -> Iterator[tuple[Child, float]]:
    """Start ``hermes serve``; the second value is the time until the page is answered with 200."""
    port = free_port()
    words = [*command, "serve", "--port", str(port), "--mqtt-url", mqtt_url]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
    environment["HERMES_JWT_SECRET"] = "a secret of the benchmark, long enough"
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        output = Path(folder, "output")
        with output.open("wb") as log:
            began_s = time.monotonic()
            process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, cwd=CHECKOUT, env=environment)
        child = Child(process, output)
        try:
            _wait_until(lambda: _answers(port), child)
            yield child, time.monotonic() - began_s
        finally:
            child.stop()


def _wait_until(condition: Callable[[], bool], child: Child) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not condition():
        if child.ended or time.monotonic() > deadline_s:
            raise BenchError(f"no answer; the program's output:\n{child.output}")
        time.sleep(POLL_INTERVAL_S)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_TIMEOUT_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _time_s(command: Sequence[str]) -> float:
    began_s = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began_s


def _build_bare() -> None:
    """Build the frozen print as a file and as a folder, with the options of Hermes."""
    if (BARE / "folder").exists():
        return
    if not PYINSTALLER.is_file():
        raise NotInstalledError(f"{PYINSTALLER} is missing; run: make binary")
    BARE.mkdir(parents=True, exist_ok=True)
    (BARE / "bare.py").write_text('print("hermes")\n')
    for kind, option in (("file", "--onefile"), ("folder", "--onedir")):
        paths = [word for name in ("work", "spec") for word in (f"--{name}path", str(BARE / name / kind))]
        words = [str(PYINSTALLER), option, "--strip", "--log-level", "WARN", *paths, "--distpath", str(BARE / kind)]
        subprocess.run([*words, str(BARE / "bare.py")], check=True)
