"""Hermes beside Centrifugo, a server in Go, with the same client."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders import Contender, centrifugo
from bench.contenders.centrifugo import BATCH, CHANNEL, PUBLISH, Centrifugo
from bench.contenders.hermes import Hermes, hermes, hermes_broadcasts
from bench.figures import Figure, Mark
from bench.load.requests import Asked, Total, post, upgrade
from bench.processes import NotInstalledError, allow_open_files
from bench.scenarios.delivery import deliver
from bench.scenarios.idle_memory import IdleMemory

FILES_RESERVED = 128
NOTIFICATION = {"user_id": "1", "title": "A door is open", "message": "Cold room 4, since 08:15"}


@dataclass(frozen=True, slots=True)
class BesideCentrifugo:
    """``rounds`` of ``requests`` and ``handshakes``, by turns. There is no subscriber to what is posted."""

    summary: ClassVar[str] = "requests, handshakes with a token, memory and fan-out of Hermes and Centrifugo"
    requests: int = 4_000
    handshakes: int = 2_000
    rounds: int = 3
    connections: int = 32
    batch: int = 500
    sockets: int = 1_000
    for_s: float = 3.0

    def run(self) -> list[Figure]:
        """Answers a second, latencies, CPU, memory. Without Centrifugo there is nothing to compare with."""
        try:
            with ExitStack() as stack:
                peer = stack.enter_context(centrifugo.centrifugo())
                ours = stack.enter_context(hermes())
                figures = [*self._posts(ours, peer), *self._handshakes(ours, peer)]
            return [*figures, *self._memory(), *self._fan_out()]
        except NotInstalledError as error:
            print(f"bench: centrifugo is left out: {error}", file=sys.stderr, flush=True)
            return []

    # -- requests -----------------------------------------------------------------------------------------------------

    def _posts(self, ours: Hermes, peer: Centrifugo) -> Iterator[Figure]:
        one = {ours.name: json.dumps(NOTIFICATION), peer.name: json.dumps(_publication())}
        paths = {ours.name: "/notify", peer.name: PUBLISH}
        many, single = self._by_turns((ours, peer), paths, one, (self.connections, 1))
        yield from _pair(f"requests, {self.connections} connections", many, Mark(at_least=0.15))
        yield Figure(
            "Hermes : Centrifugo", "latency p50, 1 connection", single[0].p50_ms / single[1].p50_ms, "", Mark(at_most=3)
        )
        yield Figure("Hermes", "latency p50, 1 connection", single[0].p50_ms, "ms")
        yield Figure("Centrifugo", "latency p50, 1 connection", single[1].p50_ms, "ms")
        batches = {
            ours.name: json.dumps([NOTIFICATION] * self.batch),
            peer.name: json.dumps({"commands": [{"publish": _publication()}] * self.batch}),
        }
        (arrays,) = self._by_turns((ours, peer), {ours.name: "/notify", peer.name: BATCH}, batches, (2,))
        yield from _pair(f"arrays of {self.batch}", arrays, None)

    def _by_turns(
        self,
        contenders: Sequence[Hermes | Centrifugo],
        paths: dict[str, str],
        bodies: dict[str, str],
        connections: Iterable[int],
    ) -> list[list[Total]]:
        totals = []
        for number in connections:
            sums = [Total() for _ in contenders]
            for _ in range(self.rounds):
                for contender, total in zip(contenders, sums, strict=True):
                    body = bodies[contender.name].encode()
                    count = max(1, self.requests // (self.batch if len(body) > 10_000 else 1))
                    asked = post(
                        contender.port,
                        paths[contender.name],
                        [body],
                        headers=[f"X-API-Key: {contender.api_key}"],
                        connections=number,
                        count=count,
                        server_pid=contender.child.pid,
                    )
                    total.add(asked.only(200, count))
            totals.append(sums)
        return totals

    # -- sockets ------------------------------------------------------------------------------------------------------

    def _handshakes(self, ours: Hermes, peer: Centrifugo) -> Iterator[Figure]:
        allow_open_files(self.handshakes + FILES_RESERVED)
        contenders: Sequence[Contender] = (ours, peer)
        sums = [Total() for _ in contenders]
        for turn in range(self.rounds):
            for contender, total in zip(contenders, sums, strict=True):
                total.add(self._open(contender, turn))
        yield from _pair("handshakes, tokens never seen", sums, None)

    def _open(self, contender: Contender, turn: int) -> Asked:
        paths = [contender.user_socket(f"{turn}-{number}") for number in range(self.handshakes)]
        asked = upgrade(
            contender.port,
            paths,
            connections=self.connections,
            count=self.handshakes,
            kept=self.connections,
            server_pid=contender.child.pid,
        )
        return asked.only(101, self.handshakes)

    def _memory(self) -> Iterator[Figure]:
        idle = IdleMemory(sockets=self.sockets)
        ours = idle.kib_a_socket(hermes(), deflate=False)
        peer = idle.kib_a_socket(centrifugo.centrifugo(), deflate=False, speaks_first=True)
        yield Figure("Hermes", "a socket", ours, "KiB")
        yield Figure("Centrifugo", "a socket", peer, "KiB")
        yield Figure("Hermes : Centrifugo", "a socket", ours / peer)

    def _fan_out(self) -> Iterator[Figure]:
        ours = deliver(hermes_broadcasts, sockets=self.sockets, for_s=self.for_s)
        peer = deliver(centrifugo.broadcaster, sockets=self.sockets, for_s=self.for_s)
        yield Figure("Hermes", "CPU per delivery, one message at a time", ours.server_us, "µs")
        yield Figure("Centrifugo", "CPU per delivery, one message at a time", peer.server_us, "µs")
        yield Figure("Hermes : Centrifugo", "CPU per delivery, one message at a time", ours.server_us / peer.server_us)
        yield Figure("Hermes", "delivered, one message at a time", ours.seen.deliveries_per_s, "1/s")
        yield Figure("Centrifugo", "delivered, one message at a time", peer.seen.deliveries_per_s, "1/s")


def _publication() -> dict[str, object]:
    return {"channel": CHANNEL, "data": {name: NOTIFICATION[name] for name in ("title", "message")}}


def _pair(what: str, sums: Sequence[Total], mark: Mark | None) -> Iterator[Figure]:
    ours, peer = sums
    yield Figure("Hermes", what, ours.per_s, "1/s")
    yield Figure("Centrifugo", what, peer.per_s, "1/s")
    yield Figure("Hermes : Centrifugo", what, ours.per_s / peer.per_s, "", mark)
    yield Figure("Hermes", f"CPU, {what}", ours.cpu_us, "µs")
    yield Figure("Centrifugo", f"CPU, {what}", peer.cpu_us, "µs")
    yield Figure("Hermes : Centrifugo", f"CPU, {what}", ours.cpu_us / peer.cpu_us)
