"""``GET /receipts`` and ``DELETE /notify``."""

from dataclasses import dataclass
from typing import Any

from hermes.auth.api_keys import Caller, Scope
from hermes.delivery.request_model import invalid_fields
from hermes.errors import RequestError
from hermes.ids import TenantId, UserId
from hermes.inbox.inbox import InboxUnavailable, ReceiptRecord
from hermes.inbox.parts import InboxParts
from hermes.web.api_handler import ApiHandler
from hermes.web.inbox.reader_api import unavailable


@dataclass(frozen=True, slots=True)
class Target:
    """The id of a notification and, if it is given, its recipient."""

    id: str
    user_id: UserId | None = None
    tenant_id: TenantId | None = None


def target_of(handler: ApiHandler, path_id: str | None) -> Target:
    """Return what a request is about; raises `RequestError` 422."""
    id = path_id if path_id is not None else handler.query_text("id")
    user_id, tenant_id = handler.query_text("user_id"), handler.query_text("tenant_id")
    if not id:
        raise invalid_fields({"id": "give the id of the notification"})
    if (user_id and tenant_id) or (path_id is None and not user_id and not tenant_id):
        raise invalid_fields({"user_id": "give one of user_id and tenant_id"})
    return Target(id, UserId(user_id) if user_id else None, TenantId(tenant_id) if tenant_id else None)


async def find(inbox: InboxParts, caller: Caller | None, target: Target) -> ReceiptRecord:
    """Return the receipt of what a caller has sent; with ``status`` of all.

    Raises `RequestError` 404 ``not_found``, also for what others have sent, and 409 ``ambiguous``.
    """
    assert caller is not None
    sees_all = Scope.STATUS in caller.scopes and caller.tenant_id is None
    seen = await inbox.store.receipts(
        target.id,
        user_id=target.user_id,
        tenant_id=target.tenant_id,
        sender=None if sees_all else caller.name,
        bound_tenant=caller.tenant_id,  # its name may have been that of a key of another tenant
    )
    if not seen:
        raise RequestError(404, "not_found", "no such notification")
    if len(seen) > 1:
        raise RequestError(409, "ambiguous", "several recipients have this id: add user_id or tenant_id")
    return seen[0]


async def withdraw(handler: ApiHandler, inbox: InboxParts, path_id: str | None) -> None:
    """Answer ``DELETE``: withdraw the notification."""
    try:
        receipt = await find(inbox, handler.caller, target_of(handler, path_id))
        withdrawn = await inbox.read_state.withdraw(receipt)
    except InboxUnavailable as failure:
        handler.write_fault(unavailable(failure))
    except RequestError as error:
        handler.write_fault(error)
    else:
        handler.write_json(200, {"status": "success", "withdrawn": withdrawn})


class ReceiptsHandler(ApiHandler):
    """``GET /receipts?id=&user_id=`` or ``/receipts/{id}``."""

    methods = ("GET", "HEAD")
    scope = Scope.RECEIPTS

    async def get(self, path_id: str | None = None) -> None:
        """Respond with what is known of the notification."""
        assert self.gateway.inbox is not None  # without one the routes do not exist
        try:
            receipt = await find(self.gateway.inbox, self.caller, target_of(self, path_id))
        except InboxUnavailable as failure:
            self.write_fault(unavailable(failure))
        except RequestError as error:
            self.write_fault(error)
        else:
            self.write_json(200, receipt_body(receipt))

    head = get


class WithdrawHandler(ApiHandler):
    """``DELETE /notify/{id}``, if one recipient has that id."""

    methods = ("DELETE",)
    scope = Scope.NOTIFY

    async def delete(self, path_id: str) -> None:
        """Withdraw the notification."""
        assert self.gateway.inbox is not None  # without one the routes do not exist
        await withdraw(self, self.gateway.inbox, path_id)


def receipt_body(receipt: ReceiptRecord) -> dict[str, Any]:
    """Return the JSON form of a receipt."""
    owner = {"user_id": receipt.user_id} if receipt.user_id is not None else {"tenant_id": receipt.tenant_id}
    return {
        "id": receipt.id,
        **owner,
        "stored": True,
        "seq": receipt.seq,
        "sockets": receipt.sockets,
        "acked_at": receipt.acked_ms,
        "withdrawn": receipt.withdrawn,
        "expires": receipt.expires_ms,
    }
