"""Floor 3: ``POST /dev/token`` and ``POST /dev/drill``. Only a Hermes with ``--dev`` has these routes.

The key is what keeps strangers out, as on ``/notify``: ``--dev`` always has one. A page of another origin, also one
whose name resolves to this machine (DNS rebinding), does not know it; a browser lets it send neither the key's header
nor JSON without asking first.
"""

import orjson

from hermes.errors import RequestError
from hermes.web.api_handler import ApiHandler, authorize, check_type
from hermes.web.gateway_parts import DevAction, GatewayParts


class DevHandler(ApiHandler):
    """Hands the parsed body to ``act``, whose answer it is; ``act`` raises `RequestError`."""

    def initialize(self, gateway: GatewayParts, action: DevAction) -> None:
        """Take what it guards."""
        self._keys = gateway.api_keys
        self._action = action

    def post(self) -> None:
        """Answer."""
        try:
            authorize(self.request, self._keys)
            check_type(self.request)
            self.write_json(200, self._action(_parsed(self.request.body)))
        except RequestError as fault:
            self.write_fault(fault)

    get = ApiHandler.other_method


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, "invalid_json", f"the body is not JSON: {error}") from None
