"""Values of the rows of a PostgreSQL inbox, and what they are in Hermes.

Ids are UTF-8 in ``bytea``. A kind is one of those of the log, in `schema`.
"""

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.messages import Broadcast, Notification, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.postgres.schema import BROADCAST, BROADCAST_WITHDRAWAL, NOTIFICATION, WITHDRAWAL


def bytes_of(text: str | None) -> bytes | None:
    """Return the UTF-8 of an id; None for none."""
    return None if text is None else text.encode()


def tenant_of(value: bytes | None) -> TenantId | None:
    """Return the tenant of a column; None for none."""
    return None if value is None else TenantId(value.decode())


def address(message: Notification | Broadcast) -> tuple[int, bytes]:
    """Return the kind of its row, and the user or tenant."""
    if isinstance(message, Notification):
        return NOTIFICATION, message.user_id.encode()
    return BROADCAST, message.tenant_id.encode()


def withdrawal_of(kind: int, owner: bytes, notification_id: str, seq: int, bound: bytes | None) -> Withdrawal:
    """Return the withdrawal of a row of this kind, or with this kind itself."""
    is_personal = kind in (NOTIFICATION, WITHDRAWAL)
    return Withdrawal(
        notification_id,
        seq,
        UserId(owner.decode()) if is_personal else None,
        None if is_personal else TenantId(owner.decode()),
        tenant_of(bound),
    )


def channel_of(kind: int, owner: bytes) -> Channel:
    """Return the channel of the receivers of an entry."""
    name = owner.decode()
    if kind == NOTIFICATION:
        return channels.user(UserId(name))
    if kind == BROADCAST:
        return channels.broadcast(TenantId(name))
    if kind == BROADCAST_WITHDRAWAL:
        return channels.broadcast_changes(TenantId(name))
    return channels.user_changes(UserId(name))
