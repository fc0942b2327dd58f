"""permessage-deflate without context takeover (RFC 7692).

One deflated frame serves all sockets. The response to every offer has both ``*_no_context_takeover``. A client must
accept what it did not ask for (RFC 7692 §7.1.1). No state is held between messages, which saves 83 KiB for each socket.
"""

from tornado.httputil import HTTPServerRequest

NO_CONTEXT_TAKEOVER = ("server_no_context_takeover", "client_no_context_takeover")
OFFERS_MAX_CHARS = 1_024  # of Sec-WebSocket-Extensions; a browser sends 50
_FULL_WINDOW = "15"

Parameters = dict[str, str | None]


def acceptable_offer(request: HTTPServerRequest) -> Parameters | None:
    """Return the parameters of the first permessage-deflate offer if it is acceptable.

    None for a malformed offer, and for one that asks for a smaller window than the shared frames use: they must be
    answered without the extension. An offer of over `OFFERS_MAX_CHARS` is not read.
    """
    offers = request.headers.get("Sec-WebSocket-Extensions", "")
    if not offers or len(offers) > OFFERS_MAX_CHARS:
        return None
    for offer in offers.split(","):
        name, *parameters = [part.strip() for part in offer.split(";")]
        if name == "permessage-deflate":
            return _parsed(parameters)
    return None


def _parsed(parameters: list[str]) -> Parameters | None:
    parsed: Parameters = {}
    for parameter in parameters:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        known = (
            (name in NO_CONTEXT_TAKEOVER and not equals)
            or (name == "client_max_window_bits" and (not equals or value in map(str, range(8, 16))))
            or (name == "server_max_window_bits" and value == _FULL_WINDOW)
        )
        if not known or name in parsed:
            return None
        parsed[name] = value if equals else None
    return parsed


def response_to(offer: Parameters) -> str:
    """Return the value of the response's ``Sec-WebSocket-Extensions`` (RFC 7692 §7.1)."""
    agreed = {name: value for name, value in offer.items() if value is not None} | dict.fromkeys(NO_CONTEXT_TAKEOVER)
    parameters = [name if value is None else f"{name}={value}" for name, value in agreed.items()]
    return "; ".join(["permessage-deflate", *parameters])
