"""Addresses of clients, as they are counted in limits."""

import functools
import ipaddress

IPV6_SITE_BITS = 64  # one site has a whole /64 (RFC 6177), so all of it is one client
CACHED_ADDRESSES = 4_096


@functools.lru_cache(CACHED_ADDRESSES)
def client_key(address: str) -> str:
    """Return under what an address is counted.

    That is the address itself, or its /64 network for IPv6.
    """
    parsed = parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((parsed, IPV6_SITE_BITS), strict=False))
    return address


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address; None if the text is none.

    An IPv4-mapped one (RFC 4291 §2.5.5.2) is the IPv4 address.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
