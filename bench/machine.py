"""Where and with what the figures were taken: absolutes do not travel without it."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

from hermes import __version__
from hermes.broker.mosquitto import find_mosquitto
from hermes.errors import HermesError

LIBRARIES = ("tornado", "paho-mqtt", "orjson", "pydantic", "PyJWT", "prometheus-client")
PEER_LIBRARIES = ("websockets", "picows", "uvloop")
NODE_PACKAGE = Path(__file__).parent / "contenders" / "node" / "package.json"
MISSING = "missing"


def facts() -> list[str]:
    """Lines of text: date, machine, programs, libraries."""
    cores = len(os.sched_getaffinity(0))
    kernel = re.match(r"[\d.]+", platform.release())
    return [
        f"date: {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, "
        f"load of the machine at the start: {os.getloadavg()[0]:.2f}",
        f"machine: {_processor()}, {cores} cores, {_memory_gib():.1f} GiB, Linux {kernel[0] if kernel else '?'}",
        f"programs: Hermes {__version__}, {platform.python_implementation()} {platform.python_version()}, "
        f"mosquitto {_mosquitto()}",
        "libraries: " + ", ".join(f"{name} {_version(name)}" for name in LIBRARIES),
        "peers: " + ", ".join(_peers()),
    ]


def _peers() -> list[str]:
    """What the contenders and the load client are made with; what is missing is left out of the scenarios."""
    programs = {
        "gcc": ["gcc", "-dumpfullversion"],
        "nginx": ["nginx", "-v"],
        "nchan": ["dpkg-query", "--show", "--showformat=${Version}", "libnginx-mod-nchan"],
        "Node": ["node", "--version"],
    }
    return [
        *(f"{name} {_printed_version(command)}" for name, command in programs.items()),
        f"ws {json.loads(NODE_PACKAGE.read_text())['dependencies']['ws']}",
        *(f"{name} {_version(name)}" for name in PEER_LIBRARIES),
    ]


def _printed_version(command: list[str]) -> str:
    """Version number that this program prints."""
    program = shutil.which(command[0], path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
    if program is None:
        return MISSING
    result = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    match = re.search(r"\d+\.\d[\w.]*", result.stdout + result.stderr)
    return match[0] if match and not result.returncode else MISSING


def _processor() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return MISSING


def _mosquitto() -> str:
    try:
        return find_mosquitto().version
    except HermesError:
        return MISSING
