"""Find the address of the client, also behind proxies that are trusted."""

import functools
import ipaddress
from collections.abc import Iterable

from tornado.httputil import HTTPServerRequest

from hermes.quotas.addresses import CACHED_ADDRESSES, parse_address

FORWARDED_MAX = 32  # addresses of X-Forwarded-For that are read, from the right

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The networks of the trusted proxies.

    Hermes reads ``X-Forwarded-For`` only from them.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks: tuple[Network, ...] = ()
        self._found = functools.lru_cache(CACHED_ADDRESSES)(self._look_up)
        self.replace(networks)

    def replace(self, networks: Iterable[Network]) -> None:
        """Trust these networks from now on."""
        self._networks = tuple(networks)
        self._found.cache_clear()

    def contain(self, text: str) -> bool:
        """Return whether the text of an address is in one of the networks."""
        return self._found(text)

    def _look_up(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(
            address in network for network in self._networks if network.version == address.version
        )

    def client(self, request: HTTPServerRequest) -> str:
        """Return the client's address as text, for logs.

        ``X-Forwarded-For`` is read from the right: the first address that is not a trusted proxy is the client's. An
        entry that is not an address ends the search. From any other connection the header is ignored.
        """
        client = str(request.remote_ip or "")
        forwarded = request.headers.get("X-Forwarded-For")
        if forwarded is None or not self.contain(client):
            return client
        for entry in reversed(forwarded.split(",")[-FORWARDED_MAX:]):
            address = parse_address(entry.strip())
            if address is None:
                return client
            client = str(address)
            if not self.contain(client):
                return client
        return client
