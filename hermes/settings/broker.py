"""The listener of the embedded broker for devices, as frozen values."""

import contextlib
import ipaddress
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hermes.settings.tls import pair_problems

EXAMPLE = "0.0.0.0:8883 for every IPv4 address, [::]:8883 for IPv6, or 192.168.1.5:8883"


@dataclass(frozen=True, slots=True)
class BrokerListen:
    """Address and certificate of the listener, and the folder of the device accounts."""

    address: str
    port: int
    folder: Path
    cert_file: Path | None = None
    key_file: Path | None = None

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def encrypted(self) -> bool:
        """Whether devices connect with TLS."""
        return self.cert_file is not None

    @property
    def reveals_passwords(self) -> bool:
        """Whether passwords cross a network as clear text."""
        return not self.encrypted and not ipaddress.ip_address(self.address).is_loopback

    def certificate(self) -> tuple[bytes, bytes]:
        """Return the certificate (with its chain) and its key, as the files are now.

        Raises ValueError that names the files and their problem.
        """
        assert self.cert_file is not None
        assert self.key_file is not None
        with pair_problems(self.cert_file, self.key_file):
            pair = self.cert_file.read_bytes(), self.key_file.read_bytes()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with _in_memory(pair[0]) as cert, _in_memory(pair[1]) as key:  # the files may have changed since
                context.load_cert_chain(cert, key, password="")  # else OpenSSL asks the terminal
        return pair


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield a path to these bytes, for a function that accepts only paths."""
    with os.fdopen(os.memfd_create("pem"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def parse_listen(text: str) -> tuple[str, int]:
    """Return address and port of ``ADDRESS:PORT``, an IPv6 address in brackets.

    Raises ValueError that says what to write.
    """
    address, _, port = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        parsed = ipaddress.ip_address(bare)
    except ValueError:
        parsed = None
    if parsed is None or "%" in bare or (parsed.version == 6) != (bare != address):
        raise ValueError(f"{text!r} is not an address and a port; write {EXAMPLE}")
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535):
        raise ValueError(f"{text!r} has no port from 1 to 65535; write {EXAMPLE}")
    return str(parsed), int(port)
