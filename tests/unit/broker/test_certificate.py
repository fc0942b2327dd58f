"""The certificate of the listener is checked together with its key."""

import subprocess
from pathlib import Path

import pytest

from hermes.broker.certificate import read_certificate
from hermes.settings.broker import BrokerListen
from tests.support.programs import needs


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [needs("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


def test_the_bytes_that_were_checked_are_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files may be renewed at that moment."""
    cert, key = certificate(tmp_path, "first")
    pair = cert.read_bytes(), key.read_bytes()
    read = Path.read_bytes

    def renewed_then(path: Path) -> bytes:
        content = read(path)
        path.write_text("half of the next one")
        return content

    monkeypatch.setattr(Path, "read_bytes", renewed_then)
    listen = BrokerListen("127.0.0.1", 1, tmp_path, cert, key)
    assert read_certificate(listen) == pair
    with pytest.raises(ValueError, match="do not match"):
        read_certificate(listen)


def test_a_pair_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A key of another certificate, and a file that is missing."""
    (cert, _), (_, key) = certificate(tmp_path, "first"), certificate(tmp_path, "second")
    with pytest.raises(ValueError, match=rf"{cert} and {key} do not match"):
        read_certificate(BrokerListen("127.0.0.1", 1, tmp_path, cert, key))
    key.unlink()
    with pytest.raises(ValueError, match=rf"cannot read {cert} or {key}: No such file"):
        read_certificate(BrokerListen("127.0.0.1", 1, tmp_path, cert, key))
