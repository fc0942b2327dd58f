"""Many WebSockets and their publisher: start `swarm.c` and parse its results.

What is checked of each frame that is not deflated: its number, hence that every socket gets every message once and in
order, and its latency, from just before the publisher's write until just after the socket's read.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.load.build import compiled
from bench.processes import BenchError, Child, running

SOURCE = Path(__file__).with_name("swarm.c")
OPENING_S = 60.0
END_S = 20.0  # beyond sending time and grace


class Source(Protocol):
    """Input of the server for messages that it sends to all sockets.

    A body's ``%n`` becomes the message's number, from 0, and ``%t`` the monotonic nanoseconds at its writing.
    """

    def options(self, folder: Path) -> list[str]:
        """For the program; files that it needs go into this folder."""


@dataclass(frozen=True, slots=True)
class HttpSource:
    """``POST`` over one connection that stays open; the next request waits for the answer."""

    port: int
    path: str
    body: str
    headers: Sequence[str] = ()

    def options(self, folder: Path) -> list[str]:
        """See `Source`."""
        headers = [word for header in self.headers for word in ("--header", header)]
        return ["--source", "http", "--source-port", str(self.port), "--post", self.path, "--body", self.body, *headers]


@dataclass(frozen=True, slots=True)
class LineSource:
    """Plain TCP, a line a message: the source of the contenders written for this benchmark."""

    port: int
    body: str

    def options(self, folder: Path) -> list[str]:
        """See `Source`."""
        return ["--source", "line", "--source-port", str(self.port), "--body", self.body]


@dataclass(frozen=True, slots=True)
class MqttSource:
    """MQTT 3.1.1 at quality of service 0, to these topics in turn."""

    port: int
    topics: Sequence[str]
    body: str = '{"n":%n,"t":%t}'

    def options(self, folder: Path) -> list[str]:
        """See `Source`."""
        file = folder / "topics"
        file.write_text("".join(f"{topic}\n" for topic in self.topics))
        return ["--source", "mqtt", "--source-port", str(self.port), "--topics", str(file), "--body", self.body]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run of `swarm.c` saw. "Frozen" sockets are apart: they are in no count but those named after them."""

    sockets: int  # the frozen ones included
    messages: int  # published
    delivered: int
    lost: int
    surplus: int  # more frames than messages
    least: int  # frames of the socket that has fewest
    most: int
    out_of_order: int  # frames with a number not above the one before on the same socket
    other: int  # frames without a number, which are not deliveries
    deflated: int  # frames that could only be counted
    compressed_sockets: int  # sockets on which the server accepted the offer
    open_ns: int  # to open all sockets
    wall_ns: int  # from the first message's writing to the last frame's reading
    sending_ns: int
    late_ns: int  # how far the publisher fell behind its rate at most
    cpu_ns: int  # the client's own during the run
    bytes_received: int
    reads: int
    p50_ns: int
    p99_ns: int
    longest_ns: int
    timed: int  # frames that the three above are of
    closed: int  # close frames, of the frozen too
    cut: int  # connections that ended without one
    close_code: int  # the first one's
    refused: int  # answers of the HTTP source that were not 2xx
    plain_received: int  # by the plain MQTT subscriber
    plain_out_of_order: int
    plain_p50_ns: int
    plain_p99_ns: int
    plain_longest_ns: int
    frozen: int
    frozen_received: int
    frozen_skipped: int  # the sum of all their ``skipped``
    frozen_exact: int  # sockets of which received + skipped is what was published
    frozen_latest: int  # sockets that have the last message
    frozen_gone: int

    @property
    def wall_s(self) -> float:
        """From the first message's writing to the last frame's reading, never zero."""
        return max(1, self.wall_ns) / 1e9

    @property
    def deliveries_per_s(self) -> float:
        """Frames received, by all sockets that are not frozen."""
        return self.delivered / self.wall_s

    @property
    def cpu_percent(self) -> float:
        """The client's own, of one core."""
        return 100 * self.cpu_ns / max(1, self.wall_ns)

    def complete(self) -> "Seen":
        """Itself. Raises `BenchError` if not every socket has every message once and in order."""
        if self.lost or self.surplus or self.out_of_order or self.closed or self.cut or self.refused:
            raise BenchError(
                f"{self.messages} messages to {self.sockets} sockets: {self.lost} lost, {self.surplus} too many, "
                f"{self.out_of_order} out of order; {self.closed} sockets closed (code {self.close_code}), "
                f"{self.cut} cut, {self.refused} requests refused"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Swarm:
    """What to open, and what to publish.

    ``rate_per_s`` 0 is the closed loop: a message is written when at most ``window`` - 1 before it have not come to
    all sockets. Publishing ends after ``messages`` or after ``for_s``; frames are awaited for ``grace_s`` more, or
    until every socket is closed. Without a source another program publishes ``messages``.
    """

    port: int
    paths: Sequence[str]  # of one socket each, or one for all
    sockets: int
    source: Source | None = None
    messages: int = 1
    rate_per_s: float = 0
    window: int = 1
    for_s: float = 60
    grace_s: float = 5
    deflate: bool = False  # offer it as Chrome does
    subscription: str = (
        ""  # an MQTT topic filter: what the sockets carry is MQTT, or what the plain subscriber asks for
    )
    plain_port: int = 0  # one plain MQTT subscriber beside the sockets
    frozen: int = 0  # so many of the sockets read nothing, until
    thaw_after_s: float = 0  # so many seconds after the first message

    @contextlib.contextmanager
    def opened(self) -> Iterator["OpenSwarm"]:
        """Open all sockets. Raises `BenchError` if that fails."""
        with tempfile.TemporaryDirectory(prefix="hermes-bench-") as name:
            folder = Path(name)
            command = [str(compiled(SOURCE)), *self._options(folder)]
            with running(command, output=folder / "output", listens=True) as child:
                child.wait_for("ready\n", timeout_s=OPENING_S)
                yield OpenSwarm(child, self.for_s + self.grace_s + self.thaw_after_s + END_S)

    def run(self) -> Seen:
        """Open, publish, receive, close."""
        with self.opened() as swarm:
            return swarm.run()

    def _options(self, folder: Path) -> list[str]:
        paths = folder / "paths"
        paths.write_text("".join(f"{path}\n" for path in self.paths))
        options = ["--port", str(self.port), "--paths", str(paths), "--sockets", str(self.sockets)]
        options += ["--messages", str(self.messages), "--rate", str(self.rate_per_s), "--window", str(self.window)]
        options += ["--for-s", str(self.for_s), "--grace-s", str(self.grace_s)]
        if self.source is not None:
            options += self.source.options(folder)
        if self.deflate:
            options += ["--deflate"]
        if self.subscription:
            options += ["--subscribe", self.subscription]
            options += ["--plain-port", str(self.plain_port)] if self.plain_port else ["--mqtt-inside"]
        if self.frozen:
            options += ["--frozen", str(self.frozen), "--thaw-after-s", str(self.thaw_after_s)]
        return options


@dataclass(slots=True)
class OpenSwarm:
    """All sockets are open, and nothing is published yet."""

    child: Child
    time_limit_s: float

    def begin(self) -> None:
        """Publish from now on; whoever calls this may look at the server meanwhile, and then ask for `result`."""
        self.child.write_line("go")

    def result(self) -> Seen:
        """Wait for the end. Raises `BenchError` if the program failed."""
        code = self.child.wait_for_end(self.time_limit_s)
        last = self.child.output.strip().rpartition("\n")[2]
        if code or not last.startswith("{"):
            raise BenchError(f"the load client failed: {self.child.output}")
        return Seen(**json.loads(last))

    def run(self) -> Seen:
        """Publish, and wait for the end."""
        self.begin()
        return self.result()
