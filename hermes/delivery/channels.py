"""Floor 2: the addresses of the hub.

A channel is a tagged tuple: cheap to hash, and two kinds never collide whatever their ids hold.
"""

from typing import NewType

from hermes.ids import DeviceId, TenantId, UserId

Channel = NewType("Channel", tuple[str, ...])


LINK = Channel(("link",))  # the state of the MQTT link


def user(user_id: UserId) -> Channel:
    """The notifications of one user."""
    return Channel(("user", user_id))


def tenant(tenant_id: TenantId) -> Channel:
    """The data of all devices of one tenant."""
    return Channel(("tenant", tenant_id))


def broadcast(tenant_id: TenantId) -> Channel:
    """What is said to all of one tenant's ``/ws`` sockets."""
    return Channel(("broadcast", tenant_id))


def device(tenant_id: TenantId, device_id: DeviceId) -> Channel:
    """The data of one device of one tenant."""
    return Channel(("device", tenant_id, device_id))


def device_anywhere(device_id: DeviceId) -> Channel:
    """The data of the devices of this id in every tenant; superusers only."""
    return Channel(("device", device_id))


def whole(channel: Channel) -> Channel | None:
    """The channel that brings all that this one brings, and more; None where there is none."""
    return tenant(TenantId(channel[1])) if channel[0] == "device" and len(channel) == 3 else None
