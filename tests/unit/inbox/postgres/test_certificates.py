"""TLS to PostgreSQL with the CA certificates of the system."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.support.certificates import LOOPBACK, Authority
from tests.support.inboxes import inbox_at
from tests.support.postgres import Databases
from tests.support.programs import needs

pytest.importorskip("psycopg")

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_certificates_of_the_system_are_those_of_python(
    postgres: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With ``sslrootcert=system``: the libpq of psycopg has an OpenSSL of its own, which looks elsewhere."""
    authority, nowhere = Authority(tmp_path), str(tmp_path / "nowhere")
    signed = authority.sign("database", LOOPBACK)
    file, folder = (str(authority.certificate), nowhere) if kind == "file" else (nowhere, hashed(authority, tmp_path))
    defaults = ssl.DefaultVerifyPaths(file, folder, "SSL_CERT_FILE", nowhere, "SSL_CERT_DIR", nowhere)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: defaults)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "")  # so that what the inbox sets is removed afterwards
        monkeypatch.delenv(name)
    postgres.empty()
    url = f"{postgres.server.tcp_url(postgres.main)}?sslrootcert=system"

    async def problem() -> str | None:
        inbox = inbox_at(url)
        await inbox.start()
        await inbox.stop()
        return inbox.problem

    postgres.server.serve_tls(signed.certificate, signed.key)
    try:
        assert asyncio.run(problem()) is None
    finally:
        postgres.server.end_tls()


def hashed(authority: Authority, directory: Path) -> str:
    """Return a folder with the certificate under the name by which OpenSSL looks for it."""
    folder = directory / "folder"
    folder.mkdir()
    command = [needs("openssl"), "x509", "-hash", "-noout", "-in", str(authority.certificate)]
    digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    shutil.copy(authority.certificate, folder / f"{digest}.0")
    return str(folder)
