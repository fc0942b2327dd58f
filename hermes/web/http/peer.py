"""The other end of a connection."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection; handlers read ``remote_ip`` and ``protocol``."""

    remote_ip: str
    protocol: str = "http"
