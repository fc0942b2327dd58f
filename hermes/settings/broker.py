"""The listener of the embedded broker for devices, as frozen values."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

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
