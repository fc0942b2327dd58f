"""Find out who sends a request: an API key, or a client on this machine.

The checks are, in order: too many wrong keys of this address (429), no valid key (401), a key without the scope (403).
A handler checks the method between the first and the second.
"""

from tornado.httputil import HTTPServerRequest

from hermes.auth.api_keys import LOCAL, Caller, Scope
from hermes.errors import RequestError
from hermes.quotas.addresses import client_key
from hermes.settings.fields import is_loopback
from hermes.web import credentials
from hermes.web.gateway_parts import GatewayParts

# Parts of the names of headers by which proxies and CDNs pass on the address, scheme or path of their client
_FORWARDING = ("forwarded", "client-ip", "clientip", "connecting-ip", "real-ip", "remote-addr", "remote-ip", "proxy")
_FORWARDING_NAMES = frozenset({"via", "cdn-loop", "x-ingress-path", "x-scheme", "x-original-url", "x-original-host"})
_OWN_PAGE = ("same-origin", "none")  # Sec-Fetch-Site of the page itself, and of an address that the user entered


def find_caller(request: HTTPServerRequest, gateway: GatewayParts, *, local: bool = False) -> Caller | None:
    """Return the caller of a request; None if it has no valid key.

    Without configured keys, a client on this machine needs none; with ``local``, also otherwise. Raises `RequestError`
    429 for a wrong key after many of them from its address.
    """
    offered = offered_key(request)
    if not gateway.api_keys or (local and offered is None):
        return LOCAL if reason_to_reject(request) is None else None
    if offered is None:
        return None
    caller = gateway.api_keys.find(offered)
    address = client_key(gateway.trusted_proxies.client(request)) if caller is None else ""
    if caller is None and gateway.failed_auth.blocks(address):
        gateway.failed_auth.count_unchecked(address)
        raise RequestError(429, "slow_down", "too many wrong keys from this address; wait and send a valid one")
    return caller


def offered_key(request: HTTPServerRequest) -> str | None:
    """Return the key that a request has, valid or not."""
    return request.headers.get("X-API-Key") or credentials.bearer(request)


def count_wrong_key(request: HTTPServerRequest, gateway: GatewayParts) -> None:
    """Count the key of a request without a caller, if it has one."""
    if gateway.api_keys and offered_key(request) is not None:
        gateway.failed_auth.add(client_key(gateway.trusted_proxies.client(request)))


def unauthorized(request: HTTPServerRequest, gateway: GatewayParts) -> RequestError:
    """Return the error for a request without a caller, and count its wrong key."""
    count_wrong_key(request, gateway)
    if gateway.api_keys:
        return RequestError(401, "unauthorized", "send a valid key in X-API-Key or Authorization: Bearer")
    return RequestError(401, "unauthorized", f"{reason_to_reject(request)}; configure --api-key-file and send a key")


def check_scope(caller: Caller, scope: Scope) -> None:
    """Raise `RequestError` 403 if the key of a caller does not have this scope."""
    if scope not in caller.scopes:
        raise RequestError(403, "forbidden", f"the key {caller.name} does not have the scope {scope}")


def reason_to_reject(request: HTTPServerRequest) -> str | None:
    """Return why a request without a key is rejected; None if it is certainly local.

    A loopback ``Host`` protects against DNS rebinding, the origin against other pages. Headers of proxies are rejected
    because their visitors are not on this machine.
    """
    if not is_loopback(request.remote_ip):
        return "without keys, only clients on this machine are accepted"
    if "Host" not in request.headers or not is_loopback(request.host_name):
        return "without keys, the Host header must be a loopback address"
    if (forwarding := next(filter(_is_of_proxy, request.headers), None)) is not None:
        return f"without keys, requests from a proxy are rejected ({forwarding})"
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() not in (
        f"{scheme}://{request.host.lower()}" for scheme in ("http", "https")
    ):
        return "without keys, requests from pages of other origins are rejected"
    if request.headers.get("Sec-Fetch-Site", "none").lower() not in _OWN_PAGE:
        return "without keys, requests that another site causes are rejected"
    return None


def _is_of_proxy(name: str) -> bool:
    """Return whether a header comes from a proxy; some servers write ``_`` for ``-``."""
    plain = name.lower().replace("_", "-")
    return plain in _FORWARDING_NAMES or any(part in plain for part in _FORWARDING)
