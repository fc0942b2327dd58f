"""``GET /presence``: whether a user has open sockets, on all nodes."""

from collections.abc import Mapping
from typing import Any

from hermes.auth.api_keys import Scope
from hermes.delivery.request_model import ID_TEXT_MAX_CHARS, invalid_fields
from hermes.errors import RequestError
from hermes.ids import TenantId, UserId
from hermes.observe.presence import UserPresence
from hermes.web.api_handler import ApiHandler
from hermes.web.gateway_parts import GatewayParts


class PresenceHandler(ApiHandler):
    """``GET /presence?user_id=``.

    A key with a tenant sees the sockets of tokens of its tenant only.
    """

    methods = ("GET", "HEAD")
    scope = Scope.PRESENCE

    async def get(self) -> None:
        """Respond with the sockets by route, and since when there is one."""
        try:
            body = await self._body()
        except RequestError as error:
            self.write_fault(error)
        else:
            self.write_json(200, body)

    head = get

    async def _body(self) -> dict[str, Any]:
        given = self.get_query_argument("user_id", "", strip=False)
        if not 1 <= len(given) <= ID_TEXT_MAX_CHARS:
            raise invalid_fields({"user_id": f"1 to {ID_TEXT_MAX_CHARS} characters"})
        assert self.caller is not None  # `prepare` has found it
        user_id, only_tenant = UserId(given), self.caller.tenant_id
        found = self.gateway.presence.of(user_id, only_tenant=only_tenant)
        cluster = self.gateway.cluster
        if cluster is None:
            return {"user_id": user_id} | found.fields()
        answers = await cluster.ask("presence", {"user_id": user_id, "only_tenant": only_tenant})
        every = [found, *map(UserPresence.from_fields, answers.by_node.values())]
        uncertain = {"uncertain": answers.silent} if answers.silent else {}
        return {"user_id": user_id} | UserPresence.merged(every).fields() | uncertain


def presence_of(gateway: GatewayParts, question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to the question of another node."""
    user_id, only_tenant = question.get("user_id"), question.get("only_tenant")
    if not isinstance(user_id, str) or not isinstance(only_tenant, str | None):
        return UserPresence({}, None, None).fields()
    tenant_id = None if only_tenant is None else TenantId(only_tenant)
    return gateway.presence.of(UserId(user_id), only_tenant=tenant_id).fields()
