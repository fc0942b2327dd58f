"""Programs under measurement: each file starts one real program and gives its address."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.load.swarm import LineSource, Source
from bench.processes import Child, running

# Frames of about 160 bytes: what Hermes makes of a broadcast, and the same text for those that send what they get
TENANT = "acme"
DATA = '{"n":%n,"t":%t}'


def line(data: str) -> str:
    """A message with this in it."""
    return (
        '{"channel":"tenant","tenant_id":"acme","id":"%n","title":"Cold room","message":"Door 4 is open",'
        f'"type":"warning","timestamp":1763836800123,"data":{data}}}'
    )


class Contender(Protocol):
    """A server that runs and can be driven."""

    @property
    def name(self) -> str:
        """As the table calls it."""

    @property
    def child(self) -> Child:
        """Its process."""

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""

    def user_socket(self, user_id: str) -> str:
        """Path and query that open this user's WebSocket."""


def _one_path(_number: int) -> str:
    return "/ws"


@dataclass(frozen=True, slots=True)
class Broadcaster:
    """A server that sends each message of its source to all its sockets."""

    name: str
    child: Child
    port: int
    source: Source
    path: Callable[[int], str] = _one_path  # of socket number 0, 1, …
    subscription: str = ""  # if the sockets carry MQTT

    def paths(self, sockets: int) -> list[str]:
        """For so many."""
        return [self.path(number) for number in range(sockets)]


@contextlib.contextmanager
def line_broadcaster(name: str, command: Sequence[str], *, data: str = DATA) -> Iterator[Broadcaster]:
    """Start a program that prints ``listening on PORT source PORT`` and takes lines there; stop it at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder,
        running(command, output=Path(folder, "output")) as child,
    ):
        ports = child.wait_for(r"listening on (\d+) source (\d+)")
        yield Broadcaster(name, child, int(ports[1]), LineSource(int(ports[2]), line(data)))
