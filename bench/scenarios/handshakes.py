"""How fast sockets can be opened: what a restart with thousands of clients costs."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders import Contender
from bench.contenders.bare_tornado import bare_tornado
from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark
from bench.load.requests import Asked, Total, upgrade
from bench.processes import allow_open_files

FILES_RESERVED = 128

Paths = Callable[[Contender, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Handshakes:
    """``rounds`` of ``handshakes`` each, by turns of Hermes and bare Tornado, so that both have the same weather.

    The sockets of one round stay open until it ends: who comes back after a restart comes to stay.
    """

    summary: ClassVar[str] = "WebSocket handshakes with JWT over 32 connections at once, against bare Tornado's without"
    handshakes: int = 1_500
    rounds: int = 3
    connections: int = 32
    remembered: int = 32  # tokens that come again and again

    def run(self) -> list[Figure]:
        """Handshakes a second, and CPU for each: with tokens never seen before, and with remembered ones."""
        allow_open_files(self.handshakes + FILES_RESERVED)  # the servers inherit it
        with ExitStack() as stack:
            contenders = (stack.enter_context(hermes()), stack.enter_context(bare_tornado()))
            for contender in contenders:
                self._open(contender, self._known(contender, 0))  # what is loaded only once; now they are known
            new = self._by_turns(contenders, self._new)
            known = self._by_turns(contenders, self._known)
        return [
            *self._figures("tokens never seen", new, Mark(at_least=0.65)),
            *self._figures("remembered tokens", known, Mark(at_least=0.75)),
        ]

    def _new(self, contender: Contender, turn: int) -> Sequence[str]:
        return [contender.user_socket(f"new-{turn}-{number}") for number in range(self.handshakes)]

    def _known(self, contender: Contender, turn: int) -> Sequence[str]:
        return [contender.user_socket(f"known-{turn}-{number}") for number in range(self.remembered)]

    def _by_turns(self, contenders: Sequence[Contender], paths: Paths) -> list[Total]:
        sums = [Total() for _ in contenders]
        for turn in range(self.rounds):
            for contender, total in zip(contenders, sums, strict=True):
                asked = paths(contender, turn)
                if len(asked) < self.handshakes:
                    upgrade(contender.port, asked, connections=1, count=len(asked), kept=1).only(101, len(asked))
                total.add(self._open(contender, asked))
        return sums

    def _open(self, contender: Contender, paths: Sequence[str]) -> Asked:
        asked = upgrade(
            contender.port,
            paths,
            connections=self.connections,
            count=self.handshakes,
            kept=self.handshakes,
            server_pid=contender.child.pid,
        )
        return asked.only(101, self.handshakes)

    def _figures(self, what: str, sums: Sequence[Total], mark: Mark) -> list[Figure]:
        ours, bare = sums
        return [
            Figure("Hermes", f"handshakes, {what}", ours.per_s, "1/s"),
            Figure("bare Tornado", f"handshakes, {what}", bare.per_s, "1/s"),
            Figure("Hermes : bare Tornado", f"handshakes, {what}", ours.per_s / bare.per_s, "", mark),
            Figure("Hermes", f"CPU a handshake, {what}", ours.cpu_us, "µs"),
            Figure("bare Tornado", f"CPU a handshake, {what}", bare.cpu_us, "µs"),
            Figure("bare Tornado : Hermes", f"CPU a handshake, {what}", bare.cpu_us / ours.cpu_us),
            Figure("Hermes", f"latency p99, {what}", ours.p99_ms, "ms"),
            Figure("Hermes", f"CPU, {what}", ours.server_percent, "% of a core"),
            Figure("client", f"CPU, {what}", ours.client_percent, "% of a core"),
        ]
