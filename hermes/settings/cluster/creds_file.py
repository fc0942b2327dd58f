"""The file with the JWT of a NATS user, and the key that signs for it.

A *creds file*, as ``nsc`` writes it, has the JWT of a user and the seed of the user's key, an Ed25519 key pair in the
form of NATS (*NKEY*): base32 of a prefix, 32 bytes and a CRC-16. The server sends a random ``nonce``, and the client
signs it. Source: https://docs.nats.io/reference/reference-protocols/nats-protocol/nats-client-dev, section NKEYS.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path

from hermes.settings import private_file

SEED_BYTES = 32
SEED_PREFIX = 18 << 3  # the letter S
USER_PREFIX = 20 << 3  # the letter U
_BLOCK = re.compile(r"-{3,}\s*BEGIN ([A-Z ]+)-{3,}\s*(\S+)\s*-{3,}\s*END [A-Z ]+-{3,}", re.ASCII)


@dataclass(frozen=True, slots=True)
class UserKey:
    """The JWT of a user, and the seed that signs for it."""

    jwt: str
    seed: bytes = field(repr=False)

    def sign(self, nonce: str) -> str:
        """Return the signature of a nonce, base64url without padding."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # 30 ms, only with such a file

        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(nonce.encode())
        return base64.urlsafe_b64encode(signature).decode().rstrip("=")


def read_user_key(path: Path, *, insecure: bool = False) -> UserKey:
    """Return the key of a creds file.

    Raises OSError, and ValueError that says what is wrong and repeats nothing of the file. ``insecure`` accepts a file
    that others may read.
    """
    blocks = {name.strip(): text for name, text in _BLOCK.findall(private_file.read_text(path, insecure=insecure))}
    jwt, seed = blocks.get("NATS USER JWT"), blocks.get("USER NKEY SEED")
    if jwt is None or seed is None:
        raise ValueError(
            f"{path} is not a creds file of NATS: it needs the blocks NATS USER JWT and USER NKEY SEED, as "
            "`nsc generate creds` writes them"
        )
    try:
        return UserKey(jwt, decode_seed(seed))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def decode_seed(text: str) -> bytes:
    """Return the 32 bytes of a user's seed, ``SU…``. Raises ValueError."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raise ValueError("the seed is not base32") from None
    if len(raw) != SEED_BYTES + 4 or int.from_bytes(raw[-2:], "little") != binascii.crc_hqx(raw[:-2], 0):
        raise ValueError("the seed is not complete: its checksum is wrong")
    if raw[0] & 0xF8 != SEED_PREFIX or (raw[0] & 0x07) << 5 | (raw[1] & 0xF8) >> 3 != USER_PREFIX:
        raise ValueError("the seed is not that of a user: it must begin with SU")
    return raw[2:-2]
