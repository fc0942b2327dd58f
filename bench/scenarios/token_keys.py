"""What a handshake costs with each kind of key, compared with a shared secret."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.contenders.hermes import Hermes, hermes
from bench.figures import Figure, Mark
from bench.load.requests import Total, upgrade
from bench.processes import allow_open_files

FILES_RESERVED = 128
NO_LIMIT = (
    *("--max-connects-per-address-s", "0", "--max-sockets-per-address", "0", "--max-sockets-per-user", "0"),
    *("--max-sockets", "100000", "--max-http-connections", "0"),
)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Sign = Callable[[dict[str, object]], str]

MARKS = {"RS256": Mark(at_most=1.15), "ES256": Mark(at_most=1.4), "EdDSA": Mark(at_most=1.5)}


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """``rounds`` of ``handshakes`` each, by turns of the algorithms, at one Hermes that has a key for each of them."""

    summary: ClassVar[str] = "CPU of handshakes with tokens of RS256, ES256 and EdDSA, against HS256"
    handshakes: int = 1_500
    rounds: int = 3
    connections: int = 32
    remembered: int = 32  # tokens that come again and again

    def run(self) -> list[Figure]:
        """CPU a handshake with tokens never seen before and with remembered ones, and the ratios to HS256."""
        allow_open_files(2 * self.handshakes + FILES_RESERVED)  # some of the round before may not be closed yet
        private: dict[str, PrivateKey] = {
            "RS256": rsa.generate_private_key(65_537, 2_048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
        with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
            path = Path(folder, "keys.pem")
            public = [key.public_key() for key in private.values()]
            path.write_bytes(
                b"".join(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in public)
            )
            with hermes("--jwt-public-key-file", str(path), *NO_LIMIT) as server:
                signers: dict[str, Sign] = {"HS256": lambda claims: jwt.encode(claims, server.mint.secret, "HS256")}
                for algorithm, key in private.items():
                    signers[algorithm] = lambda claims, key=key, name=algorithm: jwt.encode(claims, key, name)  # type: ignore[misc]
                new = self._by_turns(server, signers, "never seen", self.handshakes)
                known = self._by_turns(server, signers, "remembered", self.remembered)
        return [*self._figures("tokens never seen", new, MARKS), *self._figures("remembered tokens", known, {})]

    def _by_turns(self, server: Hermes, signers: dict[str, Sign], what: str, tokens: int) -> dict[str, Total]:
        sums = {algorithm: Total() for algorithm in signers}
        for turn in range(self.rounds):
            for algorithm, sign in signers.items():
                paths = [_path(sign, f"{what}-{turn}-{number}") for number in range(tokens)]
                if tokens < self.handshakes:
                    self._open(server, paths, count=len(paths), total=None)  # now they are known
                self._open(server, paths, count=self.handshakes, total=sums[algorithm])
        return sums

    def _open(self, server: Hermes, paths: Sequence[str], *, count: int, total: Total | None) -> None:
        asked = upgrade(
            server.port, paths, connections=self.connections, count=count, kept=0, server_pid=server.child.pid
        ).only(101, count)
        if total is not None:
            total.add(asked)

    def _figures(self, what: str, sums: dict[str, Total], marks: dict[str, Mark]) -> list[Figure]:
        base_us = sums["HS256"].cpu_us
        return [
            *(Figure(name, f"CPU a handshake, {what}", total.cpu_us, "µs") for name, total in sums.items()),
            *(
                Figure(f"{name} : HS256", f"CPU a handshake, {what}", total.cpu_us / base_us, "", marks.get(name))
                for name, total in sums.items()
                if name != "HS256"
            ),
        ]


def _path(sign: Sign, user_id: str) -> str:
    now_s = int(time.time())
    claims: dict[str, object] = {"user_id": user_id, "username": "bench", "exp": now_s + 3_600, "iat": now_s}
    return f"/ws/notifications?token={sign(claims)}"
