"""The channels of the hub: what a session can subscribe to.

A channel is a tuple that begins with its kind: cheap to hash, and two kinds never collide whatever ids they contain.
"""

from typing import NewType

from hermes.ids import DeviceId, TenantId, UserId

Channel = NewType("Channel", tuple[str, ...])


LINK = Channel(("link",))  # the state of the MQTT link
USER_CHANGES = "user_changes"
TENANTS = Channel(("tenants",))  # the data of all devices of every tenant; for superusers only


def user(user_id: UserId) -> Channel:
    """Return the channel of one user's notifications."""
    return Channel(("user", user_id))


def tenant(tenant_id: TenantId) -> Channel:
    """Return the channel of the data of all devices of one tenant."""
    return Channel(("tenant", tenant_id))


def broadcast(tenant_id: TenantId) -> Channel:
    """Return the channel of the broadcasts to one tenant's ``/ws`` sockets."""
    return Channel(("broadcast", tenant_id))


def user_changes(user_id: UserId) -> Channel:
    """Return the channel of what happens to a user's stored rows.

    It is for sockets that resumed.
    """
    return Channel((USER_CHANGES, user_id))


def broadcast_changes(tenant_id: TenantId) -> Channel:
    """Return the channel of what happens to a tenant's stored broadcasts."""
    return Channel(("broadcast_changes", tenant_id))


def user_unstored(user_id: UserId) -> Channel:
    """Return the channel of a user's notifications without a row.

    It is for sockets that are replaying: they get rows in the replay only.
    """
    return Channel(("user_unstored", user_id))


def broadcast_unstored(tenant_id: TenantId) -> Channel:
    """Return the channel of a tenant's broadcasts without a row."""
    return Channel(("broadcast_unstored", tenant_id))


def device(tenant_id: TenantId, device_id: DeviceId) -> Channel:
    """Return the channel of the data of one device of one tenant."""
    return Channel(("device", tenant_id, device_id))


def device_anywhere(device_id: DeviceId) -> Channel:
    """Return the channel of a device id in every tenant; for superusers only."""
    return Channel(("device", device_id))


def whole(channel: Channel) -> Channel | None:
    """Return the channel that includes all messages of this one, or None.

    For a device of one tenant, this is the tenant's channel.
    """
    return tenant(TenantId(channel[1])) if channel[0] == "device" and len(channel) == 3 else None
