"""``python -m bench.compare REVISION``: is this checkout more expensive than an older one?

Both are started in turn, in pairs; the order within a pair alternates. Each measurement is CPU per unit (or memory per
socket) of the server process alone, so it depends little on what else the machine does. The table has the median of the
ratios new : old and the interval between the second lowest and the second highest one, which holds the true median
with a probability of 97.9 % for 10 pairs (sign test). "Not worse by N %" is: the median ratio is at most 1 + N %, or
the interval contains 1.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.contenders import TENANT
from bench.contenders.broker import broker
from bench.contenders.hermes import hermes, hermes_broadcasts
from bench.load.requests import post, upgrade
from bench.load.swarm import MqttSource, Swarm
from bench.processes import CHECKOUT, BenchError, allow_open_files
from bench.scenarios.delivery import deliver
from bench.scenarios.idle_memory import IdleMemory
from bench.scenarios.mqtt_fan_out import device_topics

PAIRS = 10
SOCKETS = 1_000
FILES_RESERVED = 128
NOTIFICATION = b'{"user_id":"1","title":"A door is open","message":"Cold room 4, since 08:15","type":"warning"}'

Measure = Callable[[Path], float]


def fan_out(checkout: Path, *, for_s: float = 3.0) -> float:
    """Return the CPU of one delivery in µs: one message at a time to 1,000 sockets."""
    return deliver(partial(hermes_broadcasts, checkout=checkout), sockets=SOCKETS, for_s=for_s).server_us


def notify(checkout: Path, *, count: int = 6_000) -> float:
    """Return the CPU of one ``POST /notify`` in µs: one by one over 16 connections, to a user with one socket."""
    with hermes(checkout=checkout) as server:
        ask = partial(
            post,
            server.port,
            "/notify",
            [NOTIFICATION],
            headers=[f"X-API-Key: {server.api_key}"],
            connections=16,
            listeners=[server.user_socket("1")],
            frames_each=1,
            server_pid=server.child.pid,
        )
        ask(count=count // 10)
        asked = ask(count=count).only(200, count)
        return 1e6 * asked.server_cpu_s / count


def mqtt(checkout: Path, *, rate_per_s: int = 10_000, for_s: float = 4.0) -> float:
    """Return the CPU of one delivery in µs: 10,000 MQTT messages a second to 100 sockets of their tenant."""
    with broker() as mosquitto, hermes(mqtt_url=mosquitto.url, checkout=checkout) as server:
        swarm = Swarm(
            port=server.port,
            paths=[server.tenant_socket(TENANT)],
            sockets=100,
            source=MqttSource(mosquitto.port, device_topics()),
            messages=int(rate_per_s * for_s),
            rate_per_s=rate_per_s,
            for_s=for_s + 20,
            grace_s=20,
        )
        with swarm.opened() as opened:
            before_ns = server.child.cpu_ns
            seen = opened.run().complete()
            return (server.child.cpu_ns - before_ns) / 1e3 / seen.delivered


def memory(checkout: Path) -> float:
    """Return the resident memory of one idle socket in KiB."""
    allow_open_files(SOCKETS + FILES_RESERVED)
    return IdleMemory(sockets=SOCKETS).kib_a_socket(hermes(checkout=checkout), deflate=False)


def handshake(checkout: Path, *, known: bool, count: int = 3_000) -> float:
    """Return the CPU of one handshake in µs: with tokens never seen before, or with 32 that come again and again."""
    allow_open_files(count + FILES_RESERVED)
    with hermes(checkout=checkout) as server:
        warm = [server.user_socket(f"known-{number}") for number in range(32)]
        upgrade(server.port, warm, connections=1, count=len(warm), kept=1).only(101, len(warm))
        paths = warm if known else [server.user_socket(f"new-{number}") for number in range(count)]
        asked = upgrade(server.port, paths, connections=32, count=count, kept=count, server_pid=server.child.pid)
        return 1e6 * asked.only(101, count).server_cpu_s / count


MEASURES: Mapping[str, Measure] = {
    "fan-out": fan_out,
    "notify": notify,
    "mqtt": mqtt,
    "memory": memory,
    "handshake, new token": partial(handshake, known=False),
    "handshake, known token": partial(handshake, known=True),
}


@contextlib.contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Check the revision out into a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="hermes-compare-") as name:
        folder = Path(name, "checkout")
        add = ["git", "-C", str(CHECKOUT), "worktree", "add", "--quiet", "--detach", str(folder), revision]
        if subprocess.run(add, check=False).returncode:
            raise BenchError(f"git cannot check out {revision}")
        try:
            yield folder
        finally:
            subprocess.run(["git", "-C", str(CHECKOUT), "worktree", "remove", "--force", str(folder)], check=False)


def pairs(measure: Measure, old: Path, new: Path, number: int) -> list[tuple[float, float]]:
    """Return the figures (old, new) of each pair."""
    found = []
    for index in range(number):
        first, second = (old, new) if index % 2 == 0 else (new, old)
        values = {path: measure(path) for path in (first, second)}
        found.append((values[old], values[new]))
    return found


def row(name: str, found: Sequence[tuple[float, float]]) -> str:
    """Return one line of the table."""
    ratios = sorted(new / old for old, new in found)
    edge = 1 if len(ratios) > 4 else 0
    old, new = (statistics.median(values) for values in zip(*found, strict=True))
    interval = f"{ratios[edge]:.3f} – {ratios[-1 - edge]:.3f}"
    return f"| {name} | {old:.2f} | {new:.2f} | {statistics.median(ratios):.3f} | {interval} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a measurement failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("revision", help="the older revision, such as v0.1.0")
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"{', '.join(MEASURES)} (all)")
    parser.add_argument("--pairs", type=int, default=PAIRS, metavar="N", help=f"pairs of starts ({PAIRS})")
    options = parser.parse_args(arguments)
    if unknown := set(options.measures) - set(MEASURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    try:
        with checked_out(options.revision) as old:
            print(f"| per unit | {options.revision} | this | new : old | interval |\n|---|---|---|---|---|", flush=True)
            for name in options.measures or MEASURES:
                print(row(name, pairs(MEASURES[name], old, CHECKOUT, options.pairs)), flush=True)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
