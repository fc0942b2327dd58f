"""What a refused handshake costs, compared with one that is admitted."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders.hermes import Hermes, hermes
from bench.figures import Figure, Mark
from bench.load.requests import Asked, Total, upgrade
from bench.processes import allow_open_files
from hermes.auth.tokens import TokenSigner

FILES_RESERVED = 128
NO_PROXY = ("--trusted-proxy", "192.0.2.1")  # the client is on loopback, which is trusted by default
NO_LIMIT = ("--max-failed-auth-per-address", "0", "--max-connects-per-address-s", "0")
LIMITED = ("--max-failed-auth-per-address", "1", "--max-connects-per-address-s", "0")


@dataclass(frozen=True, slots=True)
class Refusals:
    """``rounds`` of ``handshakes`` each, by turns; each with a token never seen before, the log line included."""

    summary: ClassVar[str] = "CPU of refused handshakes: a wrong token, and an address over its limit"
    handshakes: int = 1_500
    rounds: int = 3
    connections: int = 32

    def run(self) -> list[Figure]:
        """CPU a handshake, and the ratios to an admitted one."""
        allow_open_files(self.handshakes + FILES_RESERVED)
        with ExitStack() as stack:
            open_to_all = stack.enter_context(hermes(*NO_PROXY, *NO_LIMIT))
            strict = stack.enter_context(hermes(*NO_PROXY, *LIMITED))
            wrong = Hermes(open_to_all.child, open_to_all.port, TokenSigner("w" * 48), "")
            guessed = Hermes(strict.child, strict.port, TokenSigner("w" * 48), "")
            sums = [Total(), Total(), Total()]
            for turn in range(self.rounds):
                for server, total in zip((open_to_all, wrong, guessed), sums, strict=True):
                    refused = 0 if server is open_to_all else self.handshakes
                    total.add(self._open(server, self._paths(server, turn), refused=refused))
        admitted_us, refused_us, over_us = (each.cpu_us for each in sums)
        return [
            Figure("Hermes", "CPU of an admitted handshake", admitted_us, "µs"),
            Figure("Hermes", "CPU of a refused handshake", refused_us, "µs"),
            Figure("Hermes", "CPU of a refused handshake, address over its limit", over_us, "µs"),
            Figure("refused : admitted", "CPU of a handshake", refused_us / admitted_us, "", Mark(at_most=1)),
            Figure("over the limit : admitted", "CPU of a handshake", over_us / admitted_us, "", Mark(at_most=0.8)),
        ]

    def _paths(self, server: Hermes, turn: int) -> Sequence[str]:
        return [server.user_socket(f"{turn}-{number}") for number in range(self.handshakes)]

    def _open(self, server: Hermes, paths: Sequence[str], *, refused: int) -> Asked:
        asked = upgrade(
            server.port,
            paths,
            connections=self.connections,
            count=self.handshakes,
            kept=0,
            server_pid=server.child.pid,
        )
        return asked.only(101, self.handshakes, refused=refused)
