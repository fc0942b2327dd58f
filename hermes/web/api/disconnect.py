"""``POST /disconnect`` and ``DELETE /disconnect``: end sockets, revoke tokens."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import StrictBool, StrictInt, StringConstraints

from hermes.auth.api_keys import Caller, Scope
from hermes.auth.revocation.revocation_list import KINDS, RevocationsFull, Target
from hermes.delivery.request_model import ID_TEXT_MAX_CHARS, IdText, RequestModel, invalid_fields
from hermes.errors import RequestError
from hermes.web.api_handler import ApiHandler, check_content_type
from hermes.web.request_body import parse_json
from hermes.web.sockets.disconnect import NotStored, one_target

REASON_MAX_CHARS = 256


class DisconnectRequest(RequestModel):
    """The body of ``POST /disconnect``: exactly one of the three ids."""

    user_id: IdText | StrictInt | None = None
    token_id: IdText | StrictInt | None = None
    tenant_id: IdText | StrictInt | None = None
    reason: Annotated[str, StringConstraints(strict=True, max_length=REASON_MAX_CHARS)] = ""
    revoke: StrictBool = True


class DisconnectHandler(ApiHandler):
    """Disconnect a user, a token or a tenant, and remove such a revocation.

    What a key with a tenant does reaches sockets and tokens of its tenant only.
    """

    methods = ("POST", "DELETE")
    scope = Scope.DISCONNECT

    async def post(self) -> None:
        """Respond with ``{"status","closed","revoked_until"}`` when it is stored."""
        try:
            check_content_type(self.request)
            request = DisconnectRequest.from_json(parse_json(self.request.body))
            target = _target({kind: getattr(request, kind) for kind in KINDS}, self._known_caller)
            done = await self.gateway.disconnector.disconnect(
                target, revoke=request.revoke, by=self._known_caller.name, reason=request.reason
            )
        except (RequestError, RevocationsFull, NotStored) as error:
            self.write_fault(_request_error(error))
        else:
            body = {"status": "success", "closed": done.closed, "revoked_until": done.revoked_until_s}
            self.write_json(200, body | ({"uncertain": done.uncertain} if done.uncertain else {}))

    async def delete(self) -> None:
        """Respond with ``{"status","removed"}`` when that is stored."""
        try:
            target = _target(self._query_ids(), self._known_caller)
            removed = await self.gateway.disconnector.restore(target, by=self._known_caller.name)
        except (RequestError, NotStored) as error:
            self.write_fault(_request_error(error))
        else:
            self.write_json(200, {"status": "success", "removed": removed})

    @property
    def _known_caller(self) -> Caller:
        assert self.caller is not None  # `prepare` has found it
        return self.caller

    def _query_ids(self) -> dict[str, str | None]:
        """Return the ids of the query. Raises `RequestError` for what is neither."""
        given = self.request.query_arguments
        if unknown := [name for name in given if name not in KINDS]:
            raise invalid_fields({unknown[0]: "unknown parameter"})
        ids: dict[str, str | None] = {}
        for name, values in given.items():
            try:
                (ids[name],) = (value.decode() for value in values)
            except ValueError:  # several, or not UTF-8
                raise invalid_fields({name: "give it once, in UTF-8"}) from None
            if not 1 <= len(ids[name] or "") <= ID_TEXT_MAX_CHARS:
                raise invalid_fields({name: f"1 to {ID_TEXT_MAX_CHARS} characters"})
        return ids


def _target(ids: Mapping[str, str | int | None], caller: Caller) -> Target:
    """Return the target of the request.

    Raises `RequestError`: 422 unless exactly one is given, 403 for another tenant than that of the key.
    """
    target = one_target(ids, bound_to=caller.tenant_id)
    if target.kind == "tenant_id" and caller.tenant_id not in (None, target.id):
        raise RequestError(403, "forbidden", "this key may disconnect its own tenant only")
    return target


def _request_error(error: RequestError | RevocationsFull | NotStored) -> RequestError:
    match error:
        case RevocationsFull():
            return RequestError(503, "revocations_full", str(error))
        case NotStored():
            return RequestError(503, "not_stored", str(error))
        case _:
            return error
