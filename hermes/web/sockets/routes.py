"""The five WebSocket routes: the channels of each, and who may use it."""

from collections.abc import Iterable, Sequence

import orjson
from tornado.web import HTTPError

from hermes.auth.principal import Principal, check_requested_tenant, check_superuser, check_tenant, device_tenant
from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.client_actions import Action, Subscribe, Unsubscribe
from hermes.delivery.last_values import LastValue
from hermes.delivery.session import Session
from hermes.errors import ClientError
from hermes.ids import DeviceId, TenantId
from hermes.inbox.inbox import Reader
from hermes.inbox.resumption import row_channels
from hermes.quotas.work_budget import UNITS
from hermes.web.gateway_parts import GatewayParts
from hermes.web.sockets.handler import SocketHandler

DEVICES_MAX = 1_000  # named devices of one /ws socket
DEVICES_MAX_BYTES = 65_000  # of all their names together, as the reply has them; so all fit into one frame


class NotificationsSocket(SocketHandler):
    """``/ws/notifications``: the notifications of the user, nothing else."""

    __slots__ = ()

    route = "/ws/notifications"
    carries_telemetry = False

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Return the user's channel; any valid token may use this route."""
        check_requested_tenant(principal, self.requested_tenant)
        if self.gateway.inbox is None:
            return (channels.user(principal.user_id),)
        return row_channels(self.reader_of(principal))

    def reader_of(self, principal: Principal) -> Reader:
        """Return the user, with ``?broadcasts=1`` as a member of the tenant."""
        wants = self.request.query_arguments.get("broadcasts", [])[-1:] == [b"1"]
        return Reader(principal.user_id, principal.tenant_id, broadcasts=wants)


class TenantSocket(SocketHandler):
    """``/ws/tenant/{tenant_id}``: the data of all devices of the tenant."""

    __slots__ = ()

    route = "/ws/tenant"

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Return the tenant's channel, for a token of that tenant or of a superuser."""
        check_requested_tenant(principal, self.requested_tenant)
        tenant_id = TenantId(self.path_args[0])
        check_tenant(principal, tenant_id)
        return (channels.tenant(tenant_id), channels.LINK)


class TenantsSocket(SocketHandler):
    """``/ws/tenants``: the data of all devices of every tenant, for superusers."""

    __slots__ = ()

    route = "/ws/tenants"

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Return the channel of every tenant, for a superuser's token."""
        check_requested_tenant(principal, self.requested_tenant)
        check_superuser(principal)
        return (channels.TENANTS, channels.LINK)


class DeviceSocket(SocketHandler):
    """``/ws/device/{device_id}``: the data of one device.

    With an unknown id the socket opens and gets no frames. An id may contain slashes, because many proxies decode
    ``%2F``; ``/ws/device?device_id=`` takes every id.
    """

    __slots__ = ()

    route = "/ws/device"

    def prepare(self) -> None:
        """Respond with 404 without a device, and with 400 if path and query name two."""
        super().prepare()
        if self._device_id is None:
            raise HTTPError(404)

    @property
    def _device_id(self) -> str | None:
        """The device of the path, or of ``?device_id=``."""
        try:
            named = [each.decode() for each in self.request.query_arguments.get("device_id", [])]
        except UnicodeDecodeError:
            raise HTTPError(400) from None
        ids = {*self.path_args, *named}
        if len(ids) > 1:
            raise HTTPError(400)
        return next(iter(ids)) or None if ids else None

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Return the channel of the device in the token's tenant.

        For a superuser it is the device in the requested tenant, or, without one, in every tenant.
        """
        device_id = DeviceId(self._device_id or "")
        tenant_id = device_tenant(principal, self.requested_tenant)
        if tenant_id is None:
            return (channels.device_anywhere(device_id), channels.LINK)
        return (channels.device(tenant_id, device_id), channels.LINK)


class CombinedSocket(SocketHandler):
    """``/ws``, the combined feed.

    It has the device data and broadcasts of the tenant, and the notifications of the user.
    """

    __slots__ = ("_devices", "_devices_bytes")

    route = "/ws"

    def reader_of(self, principal: Principal) -> Reader:
        """Return the user as a member of the tenant."""
        return Reader(principal.user_id, principal.tenant_id, broadcasts=True)

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts; no device is named yet."""
        super().initialize(gateway)
        self._devices: dict[DeviceId, int] = {}  # the named devices in order, each with its size in the reply
        self._devices_bytes = 0

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Return the channels of the user and, if there is one, of the tenant."""
        check_requested_tenant(principal, self.requested_tenant)
        wanted = [channels.user(principal.user_id)]
        if principal.tenant_id is not None:
            wanted += (channels.broadcast(principal.tenant_id), channels.LINK)
            wanted += self._device_channels(principal.tenant_id)
        return wanted

    def _device_channels(self, tenant_id: TenantId) -> Iterable[Channel]:
        if not self._devices:
            return (channels.tenant(tenant_id),)
        return [channels.device(tenant_id, device_id) for device_id in self._devices]

    def on_subscribe_action(self, session: Session, action: Action) -> None:
        """Add or remove named devices.

        While none is named, the socket gets the data of all devices.
        """
        added: list[DeviceId] = []
        removed: list[DeviceId] = []
        match action:
            case Subscribe(device_ids):
                self.spend(len(device_ids) / UNITS.devices)
                added = [device_id for device_id in device_ids if device_id not in self._devices]
                self._add_devices(added)
            case Unsubscribe(device_ids):
                self.spend(len(device_ids) / UNITS.devices)
                removed = [device_id for device_id in device_ids if device_id in self._devices]
                for device_id in removed:
                    self._devices_bytes -= self._devices.pop(device_id)
        replay = self._change_feed(session, added, removed) if added or removed else []
        self.reply(session, {"action": "subscribed", "devices": list(self._devices)})
        self.replay(session, replay)

    def _change_feed(self, session: Session, added: Sequence[DeviceId], removed: Sequence[DeviceId]) -> list[LastValue]:
        """Change the channels of these devices only; return what to replay.

        The channel of the whole tenant is added if no device is named any more, and removed if one is.
        """
        tenant_id = session.principal.tenant_id
        if tenant_id is None or (self._inbox is not None and self._inbox.holds_all):
            return []  # all channels come with `resumed`
        add = [channels.device(tenant_id, device_id) for device_id in added]
        remove = [channels.device(tenant_id, device_id) for device_id in removed]
        (remove if self._devices else add).append(channels.tenant(tenant_id))
        return self.snapshot(session, self.gateway.hub.change(session, add=add, remove=remove))

    def _add_devices(self, device_ids: Sequence[DeviceId]) -> None:
        """Name devices: all of them, or none if they are too many."""
        sizes = {device_id: len(orjson.dumps(device_id)) + 1 for device_id in device_ids}  # in the reply, with a comma
        if len(self._devices) + len(sizes) > DEVICES_MAX:
            raise ClientError("invalid", f"at most {DEVICES_MAX} devices can be named")
        if self._devices_bytes + sum(sizes.values()) > DEVICES_MAX_BYTES:
            raise ClientError("invalid", f"the names of the devices have more than {DEVICES_MAX_BYTES} bytes in total")
        self._devices.update(sizes)
        self._devices_bytes += sum(sizes.values())
