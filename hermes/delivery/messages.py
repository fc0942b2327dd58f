"""The messages that Hermes delivers, as validated values.

The sources are ``POST /notify`` for `Notification` and `Broadcast`, MQTT for the others. ``data`` is JSON text: it is
validated when it is received, and then passed on unchanged.
"""

import os
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, StringConstraints

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.request_model import IdText, RequestModel, invalid_fields
from hermes.errors import RequestError
from hermes.ids import DeviceId, TenantId, UserId
from hermes.json_nesting import MAX_CONTAINERS, MAX_DEPTH, nested_too_deeply

Series = tuple[TenantId, DeviceId, str] | tuple[TenantId, DeviceId] | tuple[()]

Severity = Literal["info", "warning", "error", "success"]

TITLE_MAX_CHARS = 256
MESSAGE_MAX_CHARS = 16_384
NOTIFICATION_ID_MAX_CHARS = 64
TTL_MAX_S = 31_536_000  # a year
PRIORITY_DEFAULT = 3
DATA_MAX_BYTES = 65_536  # the limit of a single request, so that the elements of an array are not larger


NO_TENANT = TenantId("")  # of tokens without one: an empty string is no id


def now_ms() -> int:
    """Return the time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification to one user.

    ``data`` is the text of a JSON object, or None. The last three are used with an inbox only: ``expires_ms`` is
    the end of the stored row if the sender set one (Unix milliseconds), ``priority`` is 1 to 5, and ``replaces`` the id
    of the notification that it takes the place of.
    """

    user_id: UserId
    id: str
    title: str
    message: str
    type: Severity
    timestamp_ms: int
    data: bytes | None = None
    expires_ms: int | None = None
    priority: int = PRIORITY_DEFAULT
    replaces: str | None = None

    kind = "notification"

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The user's channel."""
        return (channels.user(self.user_id),)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A notification to every ``/ws`` socket of a tenant.

    The other fields are those of `Notification`.
    """

    tenant_id: TenantId
    id: str
    title: str
    message: str
    type: Severity
    timestamp_ms: int
    data: bytes | None = None
    expires_ms: int | None = None
    priority: int = PRIORITY_DEFAULT
    replaces: str | None = None

    kind = "broadcast"

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The tenant's channel of broadcasts."""
        return (channels.broadcast(self.tenant_id),)


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """One value that a device published.

    ``data`` is the text of one JSON value; ``encoding`` is ``text`` or ``base64`` if the payload was not JSON,
    otherwise empty. ``timestamp_ms`` is when Hermes received it (Unix milliseconds); None for a retained value, of
    unknown age. ``historical`` marks a value that the device sends late, after newer ones: it does not become the last
    value. ``clears`` marks an empty payload: it deletes the last value. ``device_name`` is the name by which people
    know the device, if its template reads one from the payload.
    """

    tenant_id: TenantId
    device_id: DeviceId
    series: str
    topic: str
    data: bytes
    timestamp_ms: int | None
    encoding: Literal["", "text", "base64"] = ""
    retained: bool = False
    historical: bool = False
    clears: bool = False
    device_name: str = ""

    kind = "device"

    @property
    def series_key(self) -> Series:
        """The key of the value that a newer one replaces."""
        return (self.tenant_id, self.device_id, self.series)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the tenant and of the device, and two for superusers."""
        return (
            channels.tenant(self.tenant_id),
            channels.device(self.tenant_id, self.device_id),
            channels.device_anywhere(self.device_id),
            channels.TENANTS,
        )


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """The presence of a device: whether it is online; None if that is not known.

    ``since_ms`` is when Hermes received the change (Unix milliseconds); None for a retained message, of unknown age.
    ``topic`` is the one that reported it, if one did.
    """

    tenant_id: TenantId
    device_id: DeviceId
    online: bool | None
    since_ms: int | None
    topic: str = field(default="", compare=False)

    kind = "device_status"

    @property
    def series_key(self) -> Series:
        """The key of the value that a newer one replaces."""
        return (self.tenant_id, self.device_id)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the device's data."""
        return (
            channels.tenant(self.tenant_id),
            channels.device(self.tenant_id, self.device_id),
            channels.device_anywhere(self.device_id),
            channels.TENANTS,
        )


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """Whether the MQTT link is up, and since when (Unix milliseconds)."""

    up: bool
    since_ms: int

    kind = "link_status"

    @property
    def series_key(self) -> Series:
        """The key of the value that a newer one replaces."""
        return ()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channel of every socket that carries device data."""
        return (channels.LINK,)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The first acknowledgement of a row, or of all rows up to ``upto``.

    ``seq`` is its own number, ``acked_ms`` its time (Unix milliseconds). ``bound_tenant`` is the only tenant that could
    read the row; for ``upto`` it is the tenant of the reader, and its rows and those without one are meant. A socket of
    the same user in another tenant has other rows up to that number, so it does not get this.
    """

    seq: int
    user_id: UserId
    acked_ms: int
    notification_id: str | None = None
    upto: int | None = None
    bound_tenant: TenantId | None = None

    kind = "acked"

    @property
    def only_tenant(self) -> TenantId | None:
        """The only tenant with sockets that get it; None if all sockets of the user do."""
        return self.bound_tenant if self.upto is None else self.bound_tenant or NO_TENANT

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channel of what happens to the user's rows."""
        return (channels.user_changes(self.user_id),)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A row that was withdrawn: its id, and the number of the withdrawal itself.

    Exactly one of ``user_id`` and ``tenant_id`` is set; ``bound_tenant`` is the only tenant that could read the row.
    """

    notification_id: str
    seq: int
    user_id: UserId | None
    tenant_id: TenantId | None
    bound_tenant: TenantId | None

    kind = "withdrawn"

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channel of what happens to the rows of this user or tenant."""
        if self.user_id is not None:
            return (channels.user_changes(self.user_id),)
        assert self.tenant_id is not None
        return (channels.broadcast_changes(self.tenant_id),)


@dataclass(frozen=True, slots=True)
class EncodedMessage:
    """The JSON text of the frame of a notification or a broadcast, and its channel.

    ``kind`` is that of the message. ``seq`` is the number of a row that this node has stored; None for a message of
    another node.
    """

    kind: str
    channel: Channel
    text: bytes
    seq: int | None = None

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channel of the user or tenant."""
        return (self.channel,)


Message = (
    Notification | Broadcast | DeviceMessage | DeviceStatus | LinkStatus | Acknowledgement | Withdrawal | EncodedMessage
)


def id_in_order() -> str:
    """Return a new id that follows the earlier ones.

    It is as those of UUID version 7 (RFC 9562 §5.7). Rows that are stored together are then together in the index of
    ids. 80 bits of it cannot be guessed.
    """
    return now_ms().to_bytes(6, "big").hex() + os.urandom(10).hex()


class NotificationRequest(RequestModel):
    """The body of ``POST /notify``, or one element of its array."""

    user_id: IdText | StrictInt | None = None
    tenant_id: IdText | StrictInt | None = None
    title: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=TITLE_MAX_CHARS)]
    message: Annotated[str, StringConstraints(strict=True, max_length=MESSAGE_MAX_CHARS)]
    type: Severity = "info"
    id: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=NOTIFICATION_ID_MAX_CHARS)] = Field(
        default_factory=id_in_order
    )
    data: dict[str, Any] | None = None
    ttl_s: Annotated[StrictInt, Field(ge=0, le=TTL_MAX_S)] | None = None
    replaces: (
        Annotated[str, StringConstraints(strict=True, min_length=1, max_length=NOTIFICATION_ID_MAX_CHARS)] | None
    ) = None
    priority: Annotated[StrictInt, Field(ge=1, le=5)] = PRIORITY_DEFAULT
    require: Literal["stored"] | None = None


STORE_FIELDS = frozenset({"ttl_s", "replaces", "priority", "require"})  # that need an inbox


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a notification is stored.

    ``ttl_s`` is its end in seconds: None for the default, 0 to store no row.

    With ``required`` it is not delivered if it cannot be stored.
    """

    ttl_s: int | None = None
    required: bool = False


def parse_notification(value: object, *, data: bytes | None) -> Notification | Broadcast:
    """Return the message that a parsed JSON value describes, without an inbox.

    ``data`` is the unchanged text of the value's own ``data`` member, None if it has none. Raises `RequestError` 422
    ``invalid`` that names each faulty field.
    """
    request = _parse(value, data)
    if not STORE_FIELDS.isdisjoint(request.model_fields_set):
        needless = sorted(STORE_FIELDS & request.model_fields_set)
        raise invalid_fields(dict.fromkeys(needless, "needs --inbox"))
    return _message(request, data if request.data is not None else None)


def parse_stored_notification(value: object, *, data: bytes | None) -> tuple[Notification | Broadcast, StoreOptions]:
    """Return the message that a parsed JSON value describes, and how to store it.

    As `parse_notification`.
    """
    request = _parse(value, data)
    message = _message(request, data if request.data is not None else None)
    options = StoreOptions(ttl_s=request.ttl_s, required=request.require is not None)
    return message, options


def _parse(value: object, data: bytes | None) -> NotificationRequest:
    request = NotificationRequest.from_json(value, expected="a JSON object, or an array of 1 to 1,000 of them")
    if data is not None and len(data) > DATA_MAX_BYTES:
        raise invalid_fields({"data": f"at most {DATA_MAX_BYTES} bytes"})
    if data is not None and nested_too_deeply(data):
        raise data_too_deep()
    if (request.user_id is None) == (request.tenant_id is None):
        raise invalid_fields({"user_id": "give exactly one of user_id and tenant_id"})
    return request


def data_too_deep() -> RequestError:
    """Return the error for a ``data`` with too many levels, arrays or objects."""
    return invalid_fields(
        {"data": f"at most {MAX_DEPTH} levels, and {MAX_CONTAINERS:,} arrays and objects in a request"}
    )


def _message(request: NotificationRequest, data: bytes | None) -> Notification | Broadcast:
    timestamp_ms = now_ms()
    expires_ms = timestamp_ms + 1_000 * request.ttl_s if request.ttl_s else None
    if request.user_id is not None:
        return Notification(
            user_id=UserId(str(request.user_id)),
            id=request.id,
            title=request.title,
            message=request.message,
            type=request.type,
            timestamp_ms=timestamp_ms,
            data=data,
            expires_ms=expires_ms,
            priority=request.priority,
            replaces=request.replaces,
        )
    return Broadcast(
        tenant_id=TenantId(str(request.tenant_id)),
        id=request.id,
        title=request.title,
        message=request.message,
        type=request.type,
        timestamp_ms=timestamp_ms,
        data=data,
        expires_ms=expires_ms,
        priority=request.priority,
        replaces=request.replaces,
    )
