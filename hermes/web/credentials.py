"""Find the token or the key of a request."""

from tornado.httputil import HTTPServerRequest

from hermes.errors import TOKEN_INVALID, TOKEN_MISSING, SocketRejected

SUBPROTOCOL = "hermes.v1"


def offered_subprotocols(request: HTTPServerRequest) -> list[str]:
    """Return the entries of ``Sec-WebSocket-Protocol``, in order."""
    header = request.headers.get("Sec-WebSocket-Protocol", "")
    return [entry.strip() for entry in header.split(",") if entry.strip()]


def bearer(request: HTTPServerRequest) -> str | None:
    """Return the credential of ``Authorization: Bearer …`` (RFC 6750 §2.1).

    Any other scheme is ignored.
    """
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


def token(request: HTTPServerRequest) -> str:
    """Return the one token of a WebSocket request.

    It is in ``?token=``, in the bearer header, or in the subprotocol beside ``hermes.v1``. Raises `SocketRejected`
    with ``token_missing`` if there is none, with ``token_invalid`` if there are several.
    """
    tokens = [value.decode("utf-8", "replace") for value in request.query_arguments.get("token", ())]
    if (authorization := bearer(request)) is not None:
        tokens.append(authorization)
    offered = offered_subprotocols(request)
    if SUBPROTOCOL in offered:
        tokens += [entry for entry in offered if entry != SUBPROTOCOL]
    given = [value for value in tokens if value]
    if not given:
        raise SocketRejected(TOKEN_MISSING)
    if len(given) > 1:
        raise SocketRejected(TOKEN_INVALID, "more than one token was given")
    return given[0]
