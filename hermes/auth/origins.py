"""Web origins (RFC 6454 §4): parse, normalise and compare them.

Browsers write an origin in one form only: lower case, without a default port, with the name in punycode and the address
in its shortest form. A configured origin is brought into this form, or refused if no browser could send it.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

ANY = "*"
WEB_PORTS = {"http": 80, "https": 443}  # the schemes of web pages, and their default ports
ORIGIN_MAX_CHARS = 512  # a name of DNS has 253, and an id of an extension a few dozen
CACHED_ORIGINS = 512

_PORT = r"(?::(\d{0,5}))?"
_ORIGIN = re.compile(rf"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:]+\]|[a-z0-9_.-]+){_PORT}", re.ASCII)
_AUTHORITY = re.compile(rf"(\[[0-9a-f:]+\]|[a-z0-9_.-]+){_PORT}", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_HOST_AND_PORT = re.compile(r"((?:\*\.)?\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)  # the last label of an IPv4 address (WHATWG URL §3.5)

NAME_MAX_CHARS = 253
# IDNA 2003, which Python has, maps these to others or drops them; browsers, with UTS 46, keep them
_KEPT_BY_BROWSERS = "ßς\u200c\u200d"
_SOCKET_SCHEMES = {"ws": "http", "wss": "https"}
_WITHOUT_ORIGIN = frozenset({"about", "blob", "data", "file", "filesystem", "javascript"})


class Origin(NamedTuple):
    """Scheme, host and port of a page.

    ``port`` is None for the default port of the scheme.
    """

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        """Return the origin as browsers write it."""
        return f"{self.scheme}://{self.host}" if self.port is None else f"{self.scheme}://{self.host}:{self.port}"


def parse_origin(text: str) -> Origin | None:
    """Return the origin of an ``Origin`` header; None if it is not one, as ``null``."""
    return _parsed_origin(text) if len(text) <= ORIGIN_MAX_CHARS else None


@functools.lru_cache(CACHED_ORIGINS)
def _parsed_origin(text: str) -> Origin | None:
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    return Origin(scheme, host, _port(port, scheme))


def parse_authority(text: str, scheme: str) -> Origin | None:
    """Return the origin of a server's own pages, from its ``Host``.

    None if the text is not a host.
    """
    return _parsed_authority(text, scheme) if len(text) <= ORIGIN_MAX_CHARS else None


@functools.lru_cache(CACHED_ORIGINS)
def _parsed_authority(text: str, scheme: str) -> Origin | None:
    match = _AUTHORITY.fullmatch(text.lower())
    return None if match is None else Origin(scheme, match[1], _port(match[2], scheme))


def _port(digits: str | None, scheme: str) -> int | None:
    port = int(digits) if digits else None
    return None if port == WEB_PORTS.get(scheme) else port


class AllowedOrigins:
    """The configured origins, each as `configured_origin` returns it."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        exact: set[str] = set()
        patterns: list[Origin] = []
        for value in values:
            scheme, _, host = value.partition("://*")
            if host:
                authority = parse_authority(host.removeprefix("."), scheme)
                assert authority is not None, value
                patterns.append(authority)
            else:
                exact.add(value)
        self._exact = frozenset(exact)
        self._patterns = tuple(patterns)

    @property
    def any(self) -> bool:
        """True if pages of all origins are allowed."""
        return ANY in self._exact

    def allow(self, origin: Origin | None) -> bool:
        """Return whether pages of an origin are allowed.

        None stands for text that is not an origin.
        """
        if self.any:
            return True
        if origin is None:
            return False
        return str(origin) in self._exact or any(_is_below(origin, pattern) for pattern in self._patterns)


def _is_below(origin: Origin, pattern: Origin) -> bool:
    """Return whether a host has one or more labels before that of the pattern."""
    suffix = f".{pattern.host}"
    same = (origin.scheme, origin.port) == (pattern.scheme, pattern.port)
    return same and origin.host.endswith(suffix) and len(origin.host) > len(suffix)


# -- configured origins ------------------------------------------------------------------------------------------------


def configured_origin(value: str) -> str:
    """Return a configured origin in the form that browsers send.

    It is ``*``, an origin, or ``https://*.example.org``. Raises ValueError that says what to write if no page can have
    this origin.
    """
    text = value.strip().lower()
    if text == ANY:
        return text
    if text == "null":
        raise ValueError(
            "'null' is the origin of every sandboxed frame and of files, so any page can have it; open the page by an "
            "address (https://…), or allow all origins with *"
        )
    scheme, separator, rest = text.partition("://")
    if not separator or _SCHEME.fullmatch(scheme) is None:
        raise ValueError(f"{value!r} is not an origin; write scheme and host, as in https://app.example.com, or *")
    if (page_scheme := _SOCKET_SCHEMES.get(scheme)) is not None:
        raise ValueError(f"{value!r}: no page has the scheme {scheme}; write {page_scheme}://{rest}")
    if scheme in _WITHOUT_ORIGIN:
        raise ValueError(f"{value!r}: pages of {scheme}: have no origin of their own; give them an address, https://…")
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if authority != rest:
        raise ValueError(f"{value!r} is not an origin, it has a path; write {scheme}://{authority}")
    _, at, address = authority.rpartition("@")
    if at:
        raise ValueError(f"{value!r} is not an origin, it has a user; write {scheme}://{address}")
    return _joined(value, scheme, authority)


def _joined(value: str, scheme: str, authority: str) -> str:
    match = _HOST_AND_PORT.fullmatch(authority)
    if match is None:
        raise ValueError(f"{value!r}: an IPv6 address stands in brackets, as in {scheme}://[2001:db8::1]:8080")
    host, digits = match.groups()
    if digits and not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"{value!r}: the port is not a number; write it as in {scheme}://app.example.com:8443")
    port = int(digits[:9]) if digits else None
    if port is not None and not 1 <= port <= 65_535:
        raise ValueError(f"{value!r}: a port is a number from 1 to 65535")
    wildcard = host.startswith("*.")
    name = _configured_host(value, scheme, host.removeprefix("*."), wildcard=wildcard)
    return str(Origin(scheme, f"*.{name}" if wildcard else name, None if port == WEB_PORTS.get(scheme) else port))


def _configured_host(value: str, scheme: str, host: str, *, wildcard: bool) -> str:
    if "*" in host:
        raise ValueError(f"{value!r}: * stands only for the first labels of a name, as in {scheme}://*.example.org")
    if not host:
        raise ValueError(f"{value!r} is not an origin, it has no host; write {scheme}://app.example.com")
    if host.startswith("["):
        name = _ipv6(value, host)
    elif scheme in WEB_PORTS and _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
        name = _ipv4(value, host.removesuffix("."))
    else:
        return _name(value, host)
    if wildcard:
        raise ValueError(f"{value!r}: * stands for labels of a name, which an address does not have")
    return name


def _ipv6(value: str, host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        address = None
    if address is None or address.scope_id is not None:
        raise ValueError(f"{value!r}: {host} is not an IPv6 address; write it as in http://[2001:db8::1]:8080")
    if address.ipv4_mapped is not None:  # Python writes it with dots, from 3.13 on
        return f"[::ffff:{int(address) >> 16 & 0xFFFF:x}:{int(address) & 0xFFFF:x}]"
    return f"[{address.compressed}]"


def _ipv4(value: str, host: str) -> str:
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ValueError(f"{value!r}: {host} is not an address as browsers write it, 192.168.1.5") from None


def _name(value: str, host: str) -> str:
    """Return a name in punycode, with the dot at its end if it has one."""
    if not host.isascii():
        host = _punycode(value, host)
    labels = host.removesuffix(".").split(".")
    if len(host) > NAME_MAX_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{value!r}: {host[:NAME_MAX_CHARS]!r} is not the name of a host")
    return host


def _punycode(value: str, host: str) -> str:
    try:
        if any(sign in _KEPT_BY_BROWSERS for sign in host):
            raise ValueError
        return host.encode("idna").decode("ascii").lower()
    except ValueError:  # UnicodeError among them
        raise ValueError(
            f"{value!r}: write the name in punycode (xn--…), as a browser shows it in the header Origin"
        ) from None
