"""Decide whether a request is certainly local.

Then it is from this machine, and from no page of another origin. That is the rule of ``/notify`` without keys;
everything else that is only for this machine asks the same function.
"""

import functools
import re

from tornado.httputil import HTTPServerRequest

from hermes.auth.origins import WEB_PORTS, parse_authority, parse_origin
from hermes.settings.fields import is_loopback

# What proxies, tunnels and content networks add, with hyphens or underscores. `Via` and `Cdn-Loop` are for every proxy
# (RFC 9110 §7.6.3, RFC 8586); the others have their names by convention.
_FORWARDING = re.compile(
    r".*(forwarded|real-ip|client-?ip|connecting-ip|remote-addr|remote-ip|proxy).*|via|cdn-loop|x-scheme"
    r"|(cf|fly|x-envoy|x-amzn|x-ingress|x-original)-.+"
)
_OWN_PAGES = (None, "same-origin", "none")  # Sec-Fetch-Site of the console, and of an address that a user entered
NAME_MAX_CHARS = 64  # of a header; none that proxies add is longer


def reason_to_reject(request: HTTPServerRequest) -> str | None:
    """Return why a request may not be from this machine; None if it is.

    A loopback ``Host`` protects against DNS rebinding, the origin against other pages. Proxies speak HTTP/1.0 unless
    they are told otherwise (nginx), and clients do not.
    """
    if not is_loopback(request.remote_ip):
        return "only clients on this machine are accepted"
    if not is_loopback(request.host_name):
        return "the Host header must be a loopback address"
    if request.version == "HTTP/1.0":
        return "HTTP/1.0, which proxies use, is rejected"
    for name in request.headers:
        if len(name) <= NAME_MAX_CHARS and _is_forwarding(name):
            return f"requests from a proxy are rejected ({name})"
    if request.headers.get("Sec-Fetch-Site") not in _OWN_PAGES or not _is_own_page(request):
        return "requests from pages of other origins are rejected"
    return None


@functools.lru_cache(512)
def _is_forwarding(name: str) -> bool:
    return _FORWARDING.fullmatch(name.lower().replace("_", "-")) is not None


def _is_own_page(request: HTTPServerRequest) -> bool:
    text = request.headers.get("Origin")
    if text is None:
        return True
    origin = parse_origin(text)
    return origin is not None and origin.scheme in WEB_PORTS and parse_authority(request.host, origin.scheme) == origin
