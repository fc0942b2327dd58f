"""Many requests, or many handshakes, one after the other over some connections: what `requests.c` counts.

The client is a C program because it must ask faster than any server answers; its own CPU is reported too.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import percent_of_core
from bench.load.build import compiled
from bench.processes import BenchError, running

SOURCE = Path(__file__).with_name("requests.c")
TIME_LIMIT_S = 20.0  # after it no request is begun
END_S = 30.0  # more than the program's own deadline at start and end


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of it. Times are seconds from the first request on, unless their names state otherwise."""

    statuses: Mapping[str, int]  # answers by status; "0" is what is no status
    broken: int  # requests on a connection that ended without an answer
    unanswered: int
    refused: int  # handshakes answered 101 and closed at once
    words: int  # how often the asked word stood in the answers
    began_ns: int  # of CLOCK_MONOTONIC
    answering_s: float
    p50_ms: float
    p99_ms: float
    cpu_s: float  # the client's own
    server_cpu_s: float
    closed: int  # listeners that the server closed or cut
    receiving_s: float  # until the last frame; 0.0 if none came
    frames: Sequence[int]  # of each listener

    @property
    def answers(self) -> int:
        """Of any status."""
        return sum(self.statuses.values())

    @property
    def answered_ns(self) -> int:
        """When the last answer had come, of CLOCK_MONOTONIC."""
        return self.began_ns + int(self.answering_s * 1e9)

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.answers / self.answering_s

    def only(self, status: int, count: int, *, refused: int = 0) -> "Asked":
        """Itself. Raises `BenchError` unless exactly so many answers came, all with this status, so many refused."""
        if self.statuses != {str(status): count} or self.broken or self.unanswered or self.refused != refused:
            raise BenchError(
                f"not {count} times {status}: {dict(self.statuses)}, {self.broken} broken, "
                f"{self.unanswered} unanswered, {self.refused} refused"
            )
        return self

    def sent(self, words: int, frames: Sequence[int]) -> "Asked":
        """Itself. Raises `BenchError` unless the word came so often, and each listener got exactly its frames."""
        if self.words != words or list(self.frames) != list(frames) or self.closed:
            raise BenchError(
                f"{self.words} of {words} reported as sent, {sum(self.frames)} of {sum(frames)} frames received "
                f"by {len(self.frames)} sockets, {self.closed} of them closed"
            )
        return self


@dataclass(slots=True)
class Total:
    """Several turns of one contender, taken together."""

    turns: list[Asked] = field(default_factory=list)

    def add(self, asked: Asked) -> None:
        """One more turn."""
        self.turns.append(asked)

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return sum(turn.answers for turn in self.turns) / self._answering_s

    @property
    def p50_ms(self) -> float:
        """Of the worst turn."""
        return max(turn.p50_ms for turn in self.turns)

    @property
    def p99_ms(self) -> float:
        """Of the worst turn."""
        return max(turn.p99_ms for turn in self.turns)

    @property
    def cpu_us(self) -> float:
        """The server's CPU for each answer."""
        return 1e6 * sum(turn.server_cpu_s for turn in self.turns) / sum(turn.answers for turn in self.turns)

    @property
    def server_percent(self) -> float:
        """The server's CPU meanwhile."""
        return percent_of_core(sum(turn.server_cpu_s for turn in self.turns), self._answering_s)

    @property
    def client_percent(self) -> float:
        """The client's."""
        return percent_of_core(sum(turn.cpu_s for turn in self.turns), self._answering_s)

    @property
    def _answering_s(self) -> float:
        return sum(turn.answering_s for turn in self.turns)


def post(
    port: int,
    path: str,
    bodies: Iterable[bytes],
    *,
    headers: Iterable[str] = (),
    connections: int,
    count: int,
    word: str = "",
    listeners: Sequence[str] = (),
    frames_each: int = 0,
    server_pid: int = 0,
    rate_per_s: float | None = None,
) -> Asked:
    """``count`` requests with these bodies (one line each, in turn) over connections that stay open.

    ``listeners`` are WebSockets' paths, opened beforehand; ``frames_each`` frames are awaited for every 200. With a
    rate, the connections begin requests in turn; the time of one that begins late, because the answer before it was
    late, is counted from when it should have begun.
    """
    options = ["-c", str(connections), "-n", str(count), "-u", path, "-m", word, "-e", str(frames_each)]
    for header in ("Content-Type: application/json", *headers):
        options += ["-H", header]
    if rate_per_s is not None:
        options += ["-i", str(connections / rate_per_s)]
    return _run("post", port, bodies, [*options, "-w", str(server_pid)], listeners)


def upgrade(
    port: int,
    paths: Iterable[str],
    *,
    connections: int,
    count: int,
    kept: int,
    server_pid: int = 0,
    addresses: int = 1,
    frames_each: int = 0,
    time_limit_s: float = TIME_LIMIT_S,
) -> Asked:
    """``count`` WebSocket handshakes with these paths, in turn. ``kept`` stay open; the oldest is then reset.

    They come from ``addresses`` in turn: 127.0.0.1, 127.0.0.2, … With ``frames_each`` so many text frames are awaited
    on each, and all are counted; then there must be as many connections as handshakes. It ends after ``time_limit_s``
    and a few seconds, complete or not.
    """
    options = ["-c", str(connections), "-n", str(count), "-k", str(kept), "-w", str(server_pid), "-a", str(addresses)]
    options += ["-e", str(frames_each)]
    return _run("upgrade", port, (path.encode() for path in paths), options, time_limit_s=time_limit_s)


def _run(
    mode: str,
    port: int,
    lines: Iterable[bytes],
    options: list[str],
    listeners: Sequence[str] = (),
    *,
    time_limit_s: float = TIME_LIMIT_S,
) -> Asked:
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        asked = Path(folder, "lines")
        asked.write_bytes(b"".join(line + b"\n" for line in lines))
        command = [str(compiled(SOURCE)), mode, "-p", str(port), "-f", str(asked), "-s", str(time_limit_s), *options]
        if listeners:
            opened = Path(folder, "listeners")
            opened.write_text("".join(f"{path}\n" for path in listeners))
            command += ["-r", str(opened)]
        with running(command, output=Path(folder, "output")) as client:
            client.wait_for_end(time_limit_s + END_S)
            return _asked(client.output)


def _asked(output: str) -> Asked:
    try:
        return Asked(**json.loads(output))
    except (ValueError, TypeError):
        raise BenchError(f"the client failed: {output}") from None
