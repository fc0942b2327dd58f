"""What proxies report about a request, used only if they are trusted."""

import functools
import ipaddress
import logging
import re
from collections.abc import Iterable

from tornado.httputil import HTTPServerRequest

from hermes.auth.origins import ORIGIN_MAX_CHARS
from hermes.log import LogThrottle
from hermes.quotas.addresses import CACHED_ADDRESSES, client_key, parse_address

logger = logging.getLogger(__name__)

FORWARDED_MAX = 32  # addresses of X-Forwarded-For that are read, from the right
IGNORED_LOG_INTERVAL_S = 3_600.0  # one line per address: anyone may send these headers

HOST, PROTO, PREFIX = "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix"
INGRESS = "X-Ingress-Path"  # of Home Assistant
HEADERS = frozenset({"X-Forwarded-For", HOST, PROTO, PREFIX, INGRESS})

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+){1,8}", re.ASCII)
_PREFIX_MAX_CHARS = 512
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}  # Traefik writes the latter two
_WITH_PORT = re.compile(r"\[([^\]]+)\]:\d+|(\d+\.\d+\.\d+\.\d+):\d+", re.ASCII)  # as IIS writes an address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The networks of the trusted proxies; headers of any other address are ignored."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._throttle = LogThrottle(IGNORED_LOG_INTERVAL_S)
        self._look_up = functools.lru_cache(CACHED_ADDRESSES)(self._is_in_a_network)
        self._networks: tuple[Network, ...] = ()
        self.replace(networks)

    def replace(self, networks: Iterable[Network]) -> None:
        """Trust these networks from now on."""
        self._networks = tuple(networks)
        self._look_up.cache_clear()
        self._throttle.clear()

    def contain(self, text: str) -> bool:
        """Return whether the text of an address is in one of the networks."""
        return self._look_up(text)

    def _is_in_a_network(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(
            address in network for network in self._networks if network.version == address.version
        )

    def note(self, request: HTTPServerRequest) -> None:
        """Log a line if an address that is not trusted sends headers of a proxy."""
        if HEADERS.isdisjoint(request.headers):
            return
        address = str(request.remote_ip or "")
        if self.contain(address) or not self._throttle.allow(client_key(address)):
            return
        sent = ", ".join(sorted(HEADERS.intersection(request.headers)))
        logger.info(
            "%s from %s: ignored, because this address is not a trusted proxy; if it is one, add --trusted-proxy %s",
            *(sent, address, address),
        )

    def client(self, request: HTTPServerRequest) -> str:
        """Return the client's address as text, for logs and limits.

        ``X-Forwarded-For`` is read from the right: the first address that is not a trusted proxy is the client's. An
        entry that is not an address ends the search.
        """
        client = str(request.remote_ip or "")
        forwarded = request.headers.get("X-Forwarded-For")
        if forwarded is None or not self.contain(client):
            return client
        for entry in reversed(forwarded.split(",")[-FORWARDED_MAX:]):
            address = parse_address(_without_port(entry.strip()))
            if address is None:
                return client
            client = str(address)
            if not self.contain(client):
                return client
        return client

    def host(self, request: HTTPServerRequest) -> tuple[str, str]:
        """Return the host that the browser asked for, and the name of its header."""
        forwarded = self._value(request, HOST)
        return (request.host, "Host") if forwarded is None else (forwarded, HOST)

    def scheme(self, request: HTTPServerRequest) -> str | None:
        """Return ``http`` or ``https`` as the browser used it.

        None if Hermes does not know it. Without TLS of its own, Hermes cannot know whether a proxy has it.
        """
        forwarded = _SCHEMES.get((self._value(request, PROTO) or "").lower())
        return forwarded or ("https" if request.protocol == "https" else None)

    def prefix(self, request: HTTPServerRequest) -> str:
        """Return the path below which a proxy serves Hermes, such as ``/hermes``.

        Empty if no trusted proxy sent it.
        """
        for name in (INGRESS, PREFIX):
            value = request.headers.get(name)
            if value is not None and self._is_prefix(request, value):
                return value
        return ""

    def is_ingress(self, request: HTTPServerRequest) -> bool:
        """Return whether Home Assistant shows this page, in a frame of its own origin."""
        value = request.headers.get(INGRESS)
        return value is not None and self._is_prefix(request, value)

    def _is_prefix(self, request: HTTPServerRequest, value: str) -> bool:
        fits = len(value) <= _PREFIX_MAX_CHARS and _PREFIX.fullmatch(value) is not None
        return fits and self.contain(str(request.remote_ip or ""))

    def _value(self, request: HTTPServerRequest, name: str) -> str | None:
        """Return the last value of a header, which the nearest proxy has written."""
        value = request.headers.get(name)
        if value is None or not self.contain(str(request.remote_ip or "")):
            return None
        return value.rpartition(",")[2].strip()[: ORIGIN_MAX_CHARS + 1] or None


def _without_port(text: str) -> str:
    match = _WITH_PORT.fullmatch(text)
    return text if match is None else match[1] or match[2]
