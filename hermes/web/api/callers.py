"""Find out who sends a request: an API key, or a client on this machine.

The checks are, in order: too many wrong keys of this address (429), no valid key (401), a key without the scope (403).
A handler checks the method between the first and the second.
"""

from tornado.httputil import HTTPServerRequest

from hermes.auth.api_keys import LOCAL, Caller, Scope
from hermes.errors import RequestError
from hermes.quotas.addresses import client_key
from hermes.web import credentials
from hermes.web.gateway_parts import GatewayParts
from hermes.web.origins.local_caller import reason_to_reject


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
    reason = reason_to_reject(request)
    return RequestError(401, "unauthorized", f"without keys, {reason}; configure --api-key-file and send a key")


def check_scope(caller: Caller, scope: Scope) -> None:
    """Raise `RequestError` 403 if the key of a caller does not have this scope."""
    if scope not in caller.scopes:
        raise RequestError(403, "forbidden", f"the key {caller.name} does not have the scope {scope}")
