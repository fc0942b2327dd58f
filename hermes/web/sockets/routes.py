"""Floor 3: the four WebSocket routes: which channels each of them hears, and who may open it."""

from collections.abc import Iterable

import orjson

from hermes.auth.principal import Principal, check_requested_tenant, check_tenant, device_tenant
from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.client_actions import Action, Subscribe, Unsubscribe
from hermes.delivery.session import Session
from hermes.errors import ClientError
from hermes.ids import DeviceId, TenantId
from hermes.web.gateway_parts import GatewayParts
from hermes.web.sockets.handler import SocketHandler

DEVICES_MAX = 1_000  # named devices of one /ws socket
DEVICES_MAX_BYTES = 65_536  # of all their names: each subscribe is answered with the whole list


class NotificationsSocket(SocketHandler):
    """``/ws/notifications``: the user's notifications, nothing else."""

    __slots__ = ()

    route = "/ws/notifications"
    carries_telemetry = False

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Any valid token."""
        check_requested_tenant(principal, self.asked_tenant)
        return (channels.user(principal.user_id),)


class TenantSocket(SocketHandler):
    """``/ws/tenant/{tenant_id}``: the data of all the tenant's devices."""

    __slots__ = ()

    route = "/ws/tenant"

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """A token of that tenant, or a superuser's."""
        check_requested_tenant(principal, self.asked_tenant)
        tenant_id = TenantId(self.path_args[0])
        check_tenant(principal, tenant_id)
        return (channels.tenant(tenant_id), channels.LINK)


class DeviceSocket(SocketHandler):
    """``/ws/device/{device_id}``: one device's data; an unknown id is open and silent."""

    __slots__ = ()

    route = "/ws/device"

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """A token with a tenant means the id within it; a superuser's means it in every tenant, or the asked one."""
        device_id = DeviceId(self.path_args[0])
        tenant_id = device_tenant(principal, self.asked_tenant)
        if tenant_id is None:
            return (channels.device_anywhere(device_id), channels.LINK)
        return (channels.device(tenant_id, device_id), channels.LINK)


class CombinedSocket(SocketHandler):
    """``/ws``: the tenant's device data and broadcasts, and the user's notifications."""

    __slots__ = ("_devices", "_devices_bytes")

    route = "/ws"

    def initialize(self, gateway: GatewayParts) -> None:
        """Take the shared objects; no device is named yet."""
        super().initialize(gateway)
        self._devices: dict[DeviceId, int] = {}  # in the order in which they were named, each with its size
        self._devices_bytes = 0

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Any valid token; without a tenant only the notifications."""
        check_requested_tenant(principal, self.asked_tenant)
        heard = [channels.user(principal.user_id)]
        if principal.tenant_id is not None:
            heard += (channels.broadcast(principal.tenant_id), channels.LINK)
            heard += self._device_channels(principal.tenant_id)
        return heard

    def _device_channels(self, tenant_id: TenantId) -> Iterable[Channel]:
        if not self._devices:
            return (channels.tenant(tenant_id),)
        return [channels.device(tenant_id, device_id) for device_id in self._devices]

    def on_subscribe_action(self, session: Session, action: Action) -> None:
        """The first name narrows the device feed from all to the named; none left means all again."""
        named = len(self._devices)
        match action:
            case Subscribe(device_id) if device_id not in self._devices:
                self._name(device_id)
            case Unsubscribe(device_id):
                self._devices_bytes -= self._devices.pop(device_id, 0)
        replay = self.subscribe(session, self.channels_for(session.principal)) if len(self._devices) != named else []
        self.answer(session, {"action": "subscribed", "devices": list(self._devices)})
        session.replay(replay)

    def _name(self, device_id: DeviceId) -> None:
        size_bytes = len(orjson.dumps(device_id)) + 1  # as it stands in the answer, with a comma
        if len(self._devices) >= DEVICES_MAX:
            raise ClientError("invalid", f"at most {DEVICES_MAX} devices can be named")
        if self._devices_bytes + size_bytes > DEVICES_MAX_BYTES:
            raise ClientError("invalid", f"the devices' names take more than {DEVICES_MAX_BYTES} bytes in all")
        self._devices[device_id] = size_bytes
        self._devices_bytes += size_bytes
