"""A request with a small JSON body, which is collected in bounded memory."""

from tornado.web import stream_request_body

from hermes.errors import RequestError
from hermes.web.api_handler import ApiHandler, check_content_type
from hermes.web.gateway_parts import GatewayParts
from hermes.web.request_body import BoundedBody, parse_json, set_body_max

BODY_MAX_BYTES = 4_096
DISCARD_MAX_BYTES = 1_048_576


@stream_request_body
class JsonBodyHandler(ApiHandler):
    """Check the caller, then collect the body; `json` returns its value."""

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        super().initialize(gateway)
        self._body = BoundedBody(BODY_MAX_BYTES)

    def prepare(self) -> None:
        """Check the caller before the body arrives."""
        set_body_max(self.request, DISCARD_MAX_BYTES)
        super().prepare()

    def data_received(self, chunk: bytes) -> None:
        """Store one chunk of the body."""
        self._body.add(chunk)

    def json(self) -> object:
        """Return the value of the body. Raises `RequestError` 415, 413 or 400."""
        check_content_type(self.request)
        if self._body.too_large:
            raise RequestError(413, "too_large", f"at most {BODY_MAX_BYTES} bytes")
        return parse_json(self._body.content())
