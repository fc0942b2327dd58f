"""The request that Tornado's handlers get, made of what llhttp has checked."""

import functools
import re
import time
from dataclasses import dataclass

from tornado.escape import parse_qs_bytes
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    RequestStartLine,
    split_host_and_port,
)

from hermes.web.http.headers import Header, RequestHeaders

QUERY_FIELDS_MAX = 100  # Hermes reads four
CACHED_HOSTS = 64
CACHED_HOST_MAX_CHARS = 255  # the longest name of DNS; a stranger's longer ones are not kept
HTTP_1_0_HOST = "127.0.0.1"  # without a Host header, which HTTP/1.0 does not require; as Tornado has it

_ABSOLUTE_FORM = re.compile(r"https?://([^/?#@]+)(.*)", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9\-._~!$&'()*+;=%:\[\]]+")  # RFC 3986 §3.2.2, without the comma of two headers


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection; handlers read ``remote_ip`` and ``protocol``."""

    remote_ip: str
    protocol: str = "http"


class ParsedRequest:
    """One request, as far as it has arrived.

    ``chunks`` has the bytes of the body that no handler has got yet. ``upgrade`` is True for a WebSocket handshake: no
    more requests are read from the connection, unless the upgrade is refused.
    """

    __slots__ = ("chunks", "complete", "headers", "keep_alive", "length", "method", "target", "upgrade", "version")

    def __init__(self, method: str, target: str, version: str, headers: list[Header], *, keep_alive: bool) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.keep_alive = keep_alive
        self.length: int | None = None  # of the body, if the headers state it
        self.chunks: list[bytes] = []
        self.complete = False
        self.upgrade = False


class ServerRequest(HTTPServerRequest):
    """A request for a handler, with every public attribute that Tornado documents.

    It does not call the constructor of Tornado, which parses the target and checks the headers once more: that takes
    longer than llhttp needs for the whole request. Raises `HTTPInputError` without exactly one Host (RFC 9112 §3.2), or
    if the query has too many fields.
    """

    def __init__(self, parsed: ParsedRequest, connection: HTTPConnection, peer: Peer) -> None:
        self.headers = headers = RequestHeaders(parsed.headers)
        self.method = parsed.method
        target = parsed.target
        if not target.startswith("/"):
            target = _origin_form(target, headers, parsed.version)
        self.uri = target
        self.version = parsed.version
        self.host, self.host_name = _host(headers, parsed.version)
        self.path, _, self.query = target.partition("?")
        self.query_arguments = _arguments(self.query) if self.query else {}
        self.arguments = {name: list(values) for name, values in self.query_arguments.items()}
        self.body_arguments = {}
        self.files = {}
        self.body = b""
        self.connection = connection
        self.server_connection = None
        self.remote_ip = peer.remote_ip
        self.protocol = peer.protocol
        self._began_s = time.monotonic()

    @property
    def start_line(self) -> RequestStartLine:
        """The request line."""
        return RequestStartLine(self.method or "", self.uri or "", self.version)

    def request_time(self) -> float:
        """Return the seconds since the headers arrived."""
        return time.monotonic() - self._began_s

    def _parse_body(self) -> None:
        """Do not parse forms, as Tornado does for every handler: none of Hermes reads one."""


def _origin_form(target: str, headers: HTTPHeaders, version: str) -> str:
    """Return the path and query of an absolute-form target.

    Its host replaces that of the header (RFC 9112 §3.2.2), which must be there once nevertheless, except in HTTP/1.0.
    ``*`` and every other form are returned as they are.
    """
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        return target
    host, rest = match.groups()
    given = headers.get_list("Host")
    if (len(given) == 1 and given[0]) or (not given and version == "HTTP/1.0"):
        headers["Host"] = host
    return str(rest) if rest.startswith("/") else f"/{rest}"


def _host(headers: HTTPHeaders, version: str) -> tuple[str, str]:
    """Return the value of Host, and its host in lower case."""
    host = headers.get("Host")
    if host is None and version == "HTTP/1.0":
        host = HTTP_1_0_HOST
    if host is None or len(headers.get_list("Host")) > 1:
        raise HTTPInputError("send exactly one Host header")
    return host, _cached_host_name(host) if len(host) <= CACHED_HOST_MAX_CHARS else _host_name(host)


def _host_name(host: str) -> str:
    try:
        if _HOST.fullmatch(host) is None:
            raise ValueError
        return split_host_and_port(host.lower())[0]
    except ValueError:  # also for a port of thousands of digits
        raise HTTPInputError("the Host header is not a host") from None


_cached_host_name = functools.lru_cache(CACHED_HOSTS)(_host_name)


def _arguments(query: str) -> dict[str, list[bytes]]:
    try:
        return parse_qs_bytes(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as error:
        raise HTTPInputError(f"the query has more than {QUERY_FIELDS_MAX} fields, or cannot be read") from error
