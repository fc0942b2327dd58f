"""Find the address of the client, also behind proxies that are trusted."""

import functools
import ipaddress
from collections.abc import Iterable

from tornado.httputil import HTTPServerRequest

IPV6_SITE_BITS = 64  # one site has a whole /64 (RFC 6177), so all of it is one client
FORWARDED_MAX = 32  # addresses of X-Forwarded-For that are read, from the right
CACHED_ADDRESSES = 4_096

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The networks whose ``X-Forwarded-For`` is believed.

    ``contain`` returns whether the text of an address is in one of them.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        self.contain = functools.lru_cache(CACHED_ADDRESSES)(self._look_up)

    def _look_up(self, text: str) -> bool:
        address = _parsed(text)
        return address is not None and any(
            address in network for network in self._networks if network.version == address.version
        )

    def client(self, request: HTTPServerRequest) -> str:
        """Return the client's address as text, for logs.

        ``X-Forwarded-For`` is read from the right: the first address that is not a trusted proxy is the client's. An
        entry that is not an address ends the search. From any other connection the header is ignored.
        """
        client = str(request.remote_ip or "")
        if not self.contain(client):
            return client
        forwarded = ",".join(request.headers.get_list("X-Forwarded-For")).split(",")
        for entry in reversed(forwarded[-FORWARDED_MAX:]):
            address = _parsed(entry.strip())
            if address is None:
                return client
            client = str(address)
            if not self.contain(client):
                return client
        return client


@functools.lru_cache(CACHED_ADDRESSES)
def client_key(address: str) -> str:
    """Return under what an address is counted: itself, or its /64 network for IPv6."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((parsed, IPV6_SITE_BITS), strict=False))
    return address


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address; None if the text is none.

    An IPv4-mapped one (RFC 4291 §2.5.5.2) is the IPv4 address.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
