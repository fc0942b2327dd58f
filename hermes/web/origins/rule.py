"""Decide which pages may open sockets.

These are the pages of Hermes' own address, and those of ``--origin``.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPServerRequest

from hermes.auth.origins import WEB_PORTS, AllowedOrigins, Origin, parse_authority, parse_origin
from hermes.log import LogThrottle, masked
from hermes.metrics import Metrics
from hermes.web.http.handler import ExplainedError
from hermes.web.origins.trusted_proxies import PROTO, TrustedProxies

logger = logging.getLogger(__name__)

SHOWN_MAX_CHARS = 200  # of a header that a stranger wrote
LOG_INTERVAL_S = 60.0  # one line per origin and host: a page tries again every few seconds
OTHER_SITES = ("cross-site", "same-site")


@dataclass(frozen=True, slots=True)
class RefusedOrigin:
    """A refused request, why it is refused and what would allow it."""

    origin: str
    host: str
    reason: str
    remedy: str
    at_ms: int

    @property
    def text(self) -> str:
        """Reason and remedy, as two sentences."""
        return f"{self.reason}. {self.remedy}"

    def facts(self) -> dict[str, Any]:
        """Return the JSON for ``GET /status``."""
        return {"origin": self.origin, "host": self.host, "at": self.at_ms, "message": self.text}


class OriginRule:
    """Decide about the origin of requests, and explain each refusal.

    ``last`` is the last refused request.
    """

    def __init__(self, allowed: Iterable[str], *, proxies: TrustedProxies, metrics: Metrics) -> None:
        self._allowed = AllowedOrigins(allowed)
        self._proxies = proxies
        self._refused = metrics.origins_refused
        self._throttle = LogThrottle(LOG_INTERVAL_S)
        self.last: RefusedOrigin | None = None

    def replace(self, allowed: Iterable[str]) -> None:
        """Allow these origins from now on."""
        self._allowed = AllowedOrigins(allowed)
        self._throttle.clear()

    def check(self, request: HTTPServerRequest) -> None:
        """Raise `ExplainedError` 403 if the origin of a request is not allowed.

        The request is then counted and logged.
        """
        refused = self._refusal(request)
        if refused is None:
            return
        self.last = refused
        self._refused.inc()
        if times := self._throttle.allow((refused.origin, refused.host)):
            logger.warning(
                "403 for %s from %s%s: %s",
                masked(request.path)[:SHOWN_MAX_CHARS],
                self._proxies.client(request),
                f" ({times} times)" if times > 1 else "",
                refused.text,
            )
        raise ExplainedError(403, "origin_refused", refused.text)

    def _refusal(self, request: HTTPServerRequest) -> RefusedOrigin | None:
        """Return why a request is refused; None if it is allowed.

        Programs send no ``Origin``. A proxy may have removed it; then ``Sec-Fetch-Site`` still tells of another site.
        """
        text = request.headers.get("Origin")
        if text is None:
            site = request.headers.get("Sec-Fetch-Site", "")
            if site not in OTHER_SITES or self._allowed.any:
                return None
            return _refused(
                request.host,
                origin="",
                reason=f"the request has no Origin, but its Sec-Fetch-Site is {site}: a page of another site sent it",
                remedy="Let the proxy pass on the header Origin",
            )
        origin = parse_origin(text)
        if self._allowed.allow(origin) or (origin is not None and self.is_own(origin, request)):
            return None
        return self._explained(request, text, origin)

    def is_own(self, origin: Origin, request: HTTPServerRequest) -> bool:
        """Return whether an origin is that of this request's own server.

        The scheme is compared if it is known; a proxy may end TLS without telling it.
        """
        if origin.scheme not in WEB_PORTS or self._proxies.scheme(request) not in (None, origin.scheme):
            return False
        return parse_authority(self._proxies.host(request)[0], origin.scheme) == origin

    def _explained(self, request: HTTPServerRequest, text: str, origin: Origin | None) -> RefusedOrigin:
        shown = text[:SHOWN_MAX_CHARS]
        host, header = self._proxies.host(request)
        scheme = self._proxies.scheme(request)
        if origin is None:
            reason = f"Origin {shown!r} is not an address of a page"
            remedy = "Open the page by http:// or https://, or allow pages of all origins with --origin '*'"
        elif origin.scheme in WEB_PORTS and parse_authority(host, origin.scheme) == origin:
            told = f"{PROTO} is {scheme}" if request.protocol != "https" else "Hermes was asked by https"
            reason = f"Origin is {shown}, but {told}"
            remedy = f"Let the proxy send the scheme of the page in {PROTO}, or allow the page with --origin {origin}"
        else:
            reason = f"Origin is {shown}, but {header} is {host[:SHOWN_MAX_CHARS]}"
            remedy = (
                f"If this is the page of Hermes itself, let the proxy send {header} as the browser sent it, with its "
                f"port (nginx: $http_host); otherwise allow the page with --origin {origin}"
            )
        return _refused(host, origin=shown, reason=reason, remedy=remedy)


def _refused(host: str, *, origin: str, reason: str, remedy: str) -> RefusedOrigin:
    return RefusedOrigin(origin, host[:SHOWN_MAX_CHARS], reason, remedy, round(time.time() * 1000))
