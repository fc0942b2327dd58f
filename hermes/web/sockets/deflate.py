"""permessage-deflate without context takeover (RFC 7692).

One deflated frame then serves all sockets.

`SharedDeflateProtocol` replaces one private method of Tornado, ``_create_compressors``;
`hermes.web.sockets.deflate_probe` checks that Tornado still calls it.
"""

from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

from hermes.errors import MESSAGE_TOO_BIG

NO_CONTEXT_TAKEOVER = ("server_no_context_takeover", "client_no_context_takeover")
OFFERS_MAX_CHARS = 1_024  # of Sec-WebSocket-Extensions; a browser sends 50
_FULL_WINDOW = "15"


class SharedDeflateProtocol(WebSocketProtocol13):
    """Tornado's protocol that answers compression offers without context takeover.

    It answers every offer with both ``*_no_context_takeover``. A client must accept what it did not ask for (RFC 7692
    §7.1.1). No state is held between messages, which saves 83 KiB for each socket.
    """

    __slots__ = ("compressed",)  # one more entry in Tornado's own dict would cost every socket 1.5 KiB

    compressed: bool

    def __init__(self, handler: WebSocketHandler, mask_outgoing: bool, params: Any) -> None:
        super().__init__(handler, mask_outgoing, params)
        self.compressed = False

    def _create_compressors(
        self, side: str, agreed_parameters: dict[str, Any], compression_options: dict[str, Any] | None = None
    ) -> None:
        agreed_parameters.update(dict.fromkeys(NO_CONTEXT_TAKEOVER))
        super()._create_compressors(side, agreed_parameters, compression_options)
        self.compressed = True

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Start the closing handshake.

        Tornado's own reason for a message that is too big is replaced by ours.
        """
        super().close(code, MESSAGE_TOO_BIG.word if code == MESSAGE_TOO_BIG.code else reason)


def discard_long_offers(request: HTTPServerRequest) -> None:
    """Delete the header with the offers if it is longer than any client's.

    Tornado parses the whole header: 64 KiB of commas take it a quarter of a second.
    """
    if len(request.headers.get("Sec-WebSocket-Extensions", "")) > OFFERS_MAX_CHARS:
        del request.headers["Sec-WebSocket-Extensions"]


def acceptable_offer(request: HTTPServerRequest) -> bool:
    """Return whether the request's first permessage-deflate offer is acceptable.

    A malformed offer, and one that asks for a smaller window than the shared frames use, must be answered without the
    extension. Tornado would answer 500.
    """
    for offer in request.headers.get("Sec-WebSocket-Extensions", "").split(","):
        name, *parameters = [part.strip() for part in offer.split(";")]
        if name == "permessage-deflate":
            return _well_formed(parameters)
    return False


def _well_formed(parameters: list[str]) -> bool:
    seen: set[str] = set()
    for parameter in parameters:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        if name in seen:
            return False
        seen.add(name)
        if name in NO_CONTEXT_TAKEOVER and not equals:
            continue
        if name == "client_max_window_bits" and (not equals or value in map(str, range(8, 16))):
            continue
        if name == "server_max_window_bits" and value == _FULL_WINDOW:
            continue
        return False
    return True
