"""The creds file of a NATS user."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hermes.settings.cluster.creds_file import decode_seed, read_user_key
from tests.support.creds_files import ACCOUNT, CREDS, RAW, USER, nkey


def test_the_key_of_a_creds_file_signs(tmp_path: Path) -> None:
    """Its signature is that of the seed; the example is the one of the documentation of NKEYS."""
    path = tmp_path / "user.creds"
    path.write_text(CREDS.format(jwt="eyJ0.eyJq.sig", seed=nkey(USER)))
    key = read_user_key(path)
    assert key.jwt == "eyJ0.eyJq.sig"
    signature = base64.urlsafe_b64decode(key.sign("nonce") + "==")
    Ed25519PrivateKey.from_private_bytes(RAW).public_key().verify(signature, b"nonce")
    assert "seed" not in repr(key)
    assert len(Ed25519PrivateKey.from_private_bytes(key.seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    assert decode_seed(nkey(USER)) == RAW


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        ("0189", "not base32"),
        (nkey(USER)[:-8], "not complete"),
        (nkey(USER).replace("A", "B", 1), "checksum"),
        (nkey(ACCOUNT), "not that of a user"),
    ],
)
def test_a_wrong_seed_is_explained(tmp_path: Path, seed: str, words: str) -> None:
    """The text names the file and not the seed."""
    path = tmp_path / "user.creds"
    path.write_text(CREDS.format(jwt="j", seed=seed))
    with pytest.raises(ValueError, match=words) as caught:
        read_user_key(path)
    assert str(path) in str(caught.value)
    assert seed not in str(caught.value)


def test_another_file_is_explained(tmp_path: Path) -> None:
    """A file without the blocks, and one that others may read."""
    path = tmp_path / "user.creds"
    path.write_text(nkey(USER))
    with pytest.raises(ValueError, match="not a creds file"):
        read_user_key(path)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod"):
        read_user_key(path)
