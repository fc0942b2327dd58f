"""``POST /dev/token`` and ``POST /dev/drill``, which exist only with ``--dev``.

Both need an API key without restrictions; with ``--dev`` there always is one. Both also need a request that is
certainly local, neither through a proxy nor from a page of another origin; so does the page of the console, which hands
out the key.
"""

from hermes.auth.api_keys import Caller
from hermes.errors import RequestError
from hermes.web.api_handler import ApiHandler, check_content_type
from hermes.web.gateway_parts import DevAction, GatewayParts
from hermes.web.origins.local_caller import reason_to_reject
from hermes.web.request_body import parse_json


class DevHandler(ApiHandler):
    """Call ``action`` with the parsed body and respond with its result.

    ``action`` may raise `RequestError`.
    """

    def initialize(self, gateway: GatewayParts, action: DevAction) -> None:  # type: ignore[override]
        """Store the gateway's parts and the action."""
        super().initialize(gateway)
        self._action = action

    def check_caller(self) -> Caller:
        """Return the caller.

        Raises `RequestError` as for every endpoint, and 403 for a key with fewer scopes or a tenant, and for a request
        that is not certainly local.
        """
        caller = super().check_caller()
        if not caller.is_unrestricted:
            raise RequestError(403, "forbidden", f"the key {caller.name} is restricted; --dev needs one that is not")
        if (reason := reason_to_reject(self.request)) is not None:
            raise RequestError(
                403, "not_local", f"with --dev, {reason}: open the console on this machine, without a proxy"
            )
        return caller

    def post(self) -> None:
        """Respond with the action's result."""
        try:
            check_content_type(self.request)
            self.write_json(200, self._action(parse_json(self.request.body)))
        except RequestError as error:
            self.write_fault(error)
