"""``POST /dev/token`` and ``POST /dev/drill``, which exist only with ``--dev``.

Both need the API key, as ``/notify`` does; with ``--dev`` there always is one. A page of another origin, also one with
a host name that resolves to this machine (DNS rebinding), does not have the key; a browser sends neither the key's
header nor JSON to another origin without a preflight request.
"""

from hermes.errors import RequestError
from hermes.web.api_handler import ApiHandler, authorize, check_content_type
from hermes.web.gateway_parts import DevAction, GatewayParts
from hermes.web.request_body import parse_json


class DevHandler(ApiHandler):
    """Call ``action`` with the parsed body and respond with its result.

    ``action`` may raise `RequestError`.
    """

    def initialize(self, gateway: GatewayParts, action: DevAction) -> None:
        """Store the gateway's parts and the action."""
        self._gateway = gateway
        self._action = action

    def post(self) -> None:
        """Respond with the action's result."""
        try:
            authorize(self.request, self._gateway)
            check_content_type(self.request)
            self.write_json(200, self._action(parse_json(self.request.body)))
        except RequestError as error:
            self.write_fault(error)

    get = ApiHandler.other_method
