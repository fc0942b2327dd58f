"""Floor 3: the four WebSocket routes. A handler reads the request, asks who it is, and gives the hub a session.

Everything up to the session happens without an await: Tornado runs `on_close` before `open` for a client that
leaves during one, and never again.
"""

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import orjson
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from hermes.auth import Authenticator, Principal, check_requested_tenant, check_tenant, device_tenant
from hermes.delivery import channels
from hermes.delivery.actions import Ack, Action, Ping, Refresh, Subscribe, Unsubscribe, parse_action
from hermes.delivery.channels import Channel
from hermes.delivery.frames import reply
from hermes.delivery.hub import Hub
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.retry import retry_ms
from hermes.delivery.session import Session
from hermes.errors import (
    BINARY_NOT_SUPPORTED,
    CODES,
    FORBIDDEN,
    INTERNAL_ERROR,
    MESSAGE_TOO_BIG,
    SERVER_FULL,
    STOPPING,
    TOO_MANY_ERRORS,
    ClientFault,
    Close,
    Refused,
)
from hermes.ids import DeviceId, TenantId
from hermes.metrics import Metrics
from hermes.web import credentials
from hermes.web.deflate import SharedDeflateProtocol, acceptable_offer
from hermes.web.transport import WebSocketTransport

log = logging.getLogger(__name__)

MESSAGE_MAX_BYTES = 65_536
DISCARD_MAX_BYTES = 1_048_576  # read and thrown away, so that the 1009 arrives; beyond it Tornado cuts
ERRORS_MAX = 20  # the twentieth in ten seconds closes
ERRORS_WINDOW_S = 10.0
DEVICES_MAX = 1_000  # named devices of one /ws socket
DEVICES_MAX_BYTES = 65_536  # of all their names: each subscribe is answered with the whole list


@dataclass(slots=True)
class Occupancy:
    """How many sockets there are, refused ones that are still closing included, and how many may be."""

    limit: int
    open: int = 0
    stopping: bool = False

    @property
    def over(self) -> bool:
        """One more than may be: the last one counted must leave."""
        return self.open > self.limit


@dataclass(frozen=True, slots=True)
class SocketContext:
    """The shared objects that every socket works with."""

    authenticator: Authenticator
    hub: Hub
    metrics: Metrics
    occupancy: Occupancy
    limits: OutboxLimits
    origins: frozenset[str]
    compress: bool


class SocketHandler(WebSocketHandler):
    """What the four routes have in common; each says which channels its principal may hear."""

    # Slots, because more entries in the handler's dict than Tornado makes cost every socket 1.5 KiB.
    __slots__ = ("_context", "_counted", "_errors", "_session")

    route = ""
    carries_telemetry = True

    def initialize(self, context: SocketContext) -> None:
        """Take the shared objects."""
        self._context = context
        self._session: Session | None = None
        self._counted = False
        self._errors: deque[float] | None = None  # made at the first: most clients never err

    def audience(self, principal: Principal) -> Iterable[Channel]:
        """The channels of this route for this principal; raises `Refused` where it may not be open to them."""
        raise NotImplementedError

    # -- the handshake ------------------------------------------------------------------------------------------

    @property
    def max_message_size(self) -> int:
        """Bytes that are read before the connection is cut; what is acceptable is checked in `on_message`."""
        return DISCARD_MAX_BYTES

    def prepare(self) -> None:
        """An origin that is no URL is nobody's; Tornado would answer 500."""
        origin = self.request.headers.get("Origin")
        try:
            if origin is not None:
                urlsplit(origin)
        except ValueError:
            raise HTTPError(403, "the Origin header is no URL") from None

    def check_origin(self, origin: str) -> bool:
        """The page's own origin, and those that ``--origin`` names."""
        origins = self._context.origins
        own = origin.lower().partition("://")[2] == self.request.headers.get("Host", "").lower()
        return own or "*" in origins or origin.lower() in origins

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """``hermes.v1`` wherever it is offered, also before a refusal: a browser would not see that otherwise."""
        return credentials.SUBPROTOCOL if credentials.SUBPROTOCOL in subprotocols else None

    def get_compression_options(self) -> dict[str, Any] | None:
        """None answers the handshake without permessage-deflate."""
        return {} if self._context.compress and acceptable_offer(self.request) else None

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Tornado's protocol 13 with compression that all sockets can share."""
        protocol = super().get_websocket_protocol()
        if isinstance(protocol, WebSocketProtocol13):
            return SharedDeflateProtocol(self, False, protocol.params)
        return None

    def open(self, *path: str) -> None:
        """The handshake is accepted: now look at the token, because a refused handshake tells a browser nothing."""
        self._count_in()
        try:
            self._admit()
        except Refused as refusal:
            self._refuse(refusal)
        except Exception:
            log.exception("%s: open failed", self.route)
            self._close(INTERNAL_ERROR)

    def _admit(self) -> None:
        context = self._context
        if context.occupancy.stopping:
            raise Refused(STOPPING)
        if context.occupancy.over:
            raise Refused(SERVER_FULL)
        principal = context.authenticator.principal(credentials.token(self.request))
        audience = self.audience(principal)
        session = Session(
            principal=principal, transport=self._transport(), limits=context.limits, metrics=context.metrics
        )
        context.hub.subscribe(session, audience)
        self._session = session
        context.metrics.sockets_open.labels(self.route).inc()
        log.info("%s: open for user %s (%s)", self.route, principal.user_id, principal.username)

    def _transport(self) -> WebSocketTransport:
        assert isinstance(self.ws_connection, SharedDeflateProtocol)
        return WebSocketTransport(self.ws_connection, self._drained, carries_telemetry=self.carries_telemetry)

    def _drained(self) -> None:
        if self._session is not None:
            self._session.drained()

    def _refuse(self, refusal: Refused) -> None:
        self._context.metrics.sockets_refused.labels(refusal.close.word).inc()
        log.info("%s: refused from %s: %s", self.route, self.request.remote_ip, refusal)
        self._close(refusal.close)

    @property
    def _asked_tenant(self) -> str | None:
        asked = self.request.query_arguments.get("tenant_id")
        return asked[-1].decode("utf-8", "replace") if asked else None

    # -- frames from the client ---------------------------------------------------------------------------------

    def on_message(self, message: str | bytes) -> None:
        """One frame of the client; what comes after a close is ignored."""
        session = self._session
        if session is None or session.closed:
            return
        try:
            self._act(session, _acceptable(message))
        except ClientFault as fault:
            self._answer_fault(session, fault)
        except Refused as refusal:
            log.info("%s: user %s: %s", self.route, session.principal.user_id, refusal)
            session.close(refusal.close)
        except Exception:
            log.exception("%s: a frame of user %s failed", self.route, session.principal.user_id)
            session.close(INTERNAL_ERROR)

    def _act(self, session: Session, text: str) -> None:
        action = parse_action(text)
        self._context.metrics.client_frames.labels(type(action).__name__.lower()).inc()
        match action:
            case Ping(echo):
                self._answer(session, echo | {"action": "pong"})
            case Ack(notification_id):
                log.debug("%s: user %s acknowledged %s", self.route, session.principal.user_id, notification_id)
            case Refresh(token):
                self._refresh(session, token)
            case _:
                self._narrow(session, action)

    def _answer(self, session: Session, fields: dict[str, Any]) -> None:
        try:
            frame = reply(fields)
        except orjson.JSONEncodeError:
            raise ClientFault("invalid", "the values to echo are nested too deeply") from None
        session.send(frame)

    def _refresh(self, session: Session, token: str) -> None:
        principal = self._context.authenticator.principal(token)
        if principal.user_id != session.principal.user_id:
            raise Refused(FORBIDDEN, "the new token is another user's")
        audience = self.audience(principal)
        session.principal = principal
        self._context.hub.subscribe(session, audience)
        expires_at = principal.expires_at
        self._answer(
            session,
            {"action": "refreshed", "expires": None if expires_at is None else round(expires_at * 1000)},
        )

    def _narrow(self, session: Session, action: Action) -> None:
        raise ClientFault("not_here", "subscribe and unsubscribe are for /ws only")

    def _answer_fault(self, session: Session, fault: ClientFault) -> None:
        now = asyncio.get_running_loop().time()
        if self._errors is None:
            self._errors = deque(maxlen=ERRORS_MAX)
        self._errors.append(now)
        if len(self._errors) == ERRORS_MAX and now - self._errors[0] < ERRORS_WINDOW_S:
            log.info(
                "%s: user %s: too many errors, the last: %s",
                self.route,
                session.principal.user_id,
                fault.code,
            )
            session.close(TOO_MANY_ERRORS)
        else:
            self._answer(session, {"action": "error", "code": fault.code, "message": fault.message})

    def on_pong(self, data: bytes) -> None:
        """The answer to a protocol ping."""
        if self._session is not None:
            self._session.pong()

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """What Tornado could not handle: a client's broken deflate data is no fault of ours. Tornado's own line
        would show the URL, and with it the token.
        """
        if isinstance(value, zlib.error | HTTPError):
            log.info("%s: from %s: %s", self.route, self.request.remote_ip, value)
        else:
            log.error("%s: failed", self.route, exc_info=(typ, value, tb))  # type: ignore[arg-type]

    # -- the end ------------------------------------------------------------------------------------------------

    def _close(self, close: Close) -> None:
        retry = retry_ms(len(self._context.hub.sessions)) if close in (SERVER_FULL, STOPPING) else None
        self.close(close.code, close.reason(retry))

    def _count_in(self) -> None:
        self._context.occupancy.open += 1
        self._counted = True

    def on_close(self) -> None:
        """The connection has ended, whoever ended it; may come twice, or without an `open`."""
        if self._counted:
            self._counted = False
            self._context.occupancy.open -= 1
        session, self._session = self._session, None
        if session is None:
            return
        self._context.hub.unsubscribe(session)
        session.closed = True
        self._context.metrics.sockets_open.labels(self.route).dec()
        code, reason = session.ended or (self.close_code or 1006, self.close_reason or "")
        self._context.metrics.sockets_closed.labels(str(code) if code in CODES else "other").inc()
        log.info(
            "%s: closed for user %s: %s %s",
            self.route,
            session.principal.user_id,
            code,
            reason,
        )


class NotificationsSocket(SocketHandler):
    """``/ws/notifications``: the user's notifications, nothing else."""

    __slots__ = ()

    route = "/ws/notifications"
    carries_telemetry = False

    def audience(self, principal: Principal) -> Iterable[Channel]:
        """Any valid token."""
        check_requested_tenant(principal, self._asked_tenant)
        return (channels.user(principal.user_id),)


class TenantSocket(SocketHandler):
    """``/ws/tenant/{tenant_id}``: the data of all the tenant's devices."""

    __slots__ = ()

    route = "/ws/tenant"

    def audience(self, principal: Principal) -> Iterable[Channel]:
        """A token of that tenant, or a superuser's."""
        check_requested_tenant(principal, self._asked_tenant)
        tenant_id = TenantId(self.path_args[0])
        check_tenant(principal, tenant_id)
        return (channels.tenant(tenant_id),)


class DeviceSocket(SocketHandler):
    """``/ws/device/{device_id}``: one device's data; an unknown id is open and silent."""

    __slots__ = ()

    route = "/ws/device"

    def audience(self, principal: Principal) -> Iterable[Channel]:
        """A token with a tenant means the id within it; a superuser's means it in every tenant, or the asked one."""
        device_id = DeviceId(self.path_args[0])
        tenant_id = device_tenant(principal, self._asked_tenant)
        if tenant_id is None:
            return (channels.device_anywhere(device_id),)
        return (channels.device(tenant_id, device_id),)


class LegacySocket(SocketHandler):
    """``/ws``: the tenant's device data and broadcasts, and the user's notifications."""

    __slots__ = ("_devices", "_devices_bytes")

    route = "/ws"

    def initialize(self, context: SocketContext) -> None:
        """Take the shared objects; no device is named yet."""
        super().initialize(context)
        self._devices: dict[DeviceId, int] = {}  # in the order in which they were named, each with its size
        self._devices_bytes = 0

    def audience(self, principal: Principal) -> Iterable[Channel]:
        """Any valid token; without a tenant only the notifications."""
        check_requested_tenant(principal, self._asked_tenant)
        heard = [channels.user(principal.user_id)]
        if principal.tenant_id is not None:
            heard.append(channels.broadcast(principal.tenant_id))
            heard += self._device_channels(principal.tenant_id)
        return heard

    def _device_channels(self, tenant_id: TenantId) -> Iterable[Channel]:
        if not self._devices:
            return (channels.tenant(tenant_id),)
        return [channels.device(tenant_id, device_id) for device_id in self._devices]

    def _narrow(self, session: Session, action: Action) -> None:
        named = len(self._devices)
        match action:
            case Subscribe(device_id) if device_id not in self._devices:
                self._name(device_id)
            case Unsubscribe(device_id):
                self._devices_bytes -= self._devices.pop(device_id, 0)
        if len(self._devices) != named:
            self._context.hub.subscribe(session, self.audience(session.principal))
        self._answer(session, {"action": "subscribed", "devices": list(self._devices)})

    def _name(self, device_id: DeviceId) -> None:
        size_bytes = len(orjson.dumps(device_id)) + 1  # as it stands in the answer, with a comma
        if len(self._devices) >= DEVICES_MAX:
            raise ClientFault("invalid", f"at most {DEVICES_MAX} devices can be named")
        if self._devices_bytes + size_bytes > DEVICES_MAX_BYTES:
            raise ClientFault("invalid", f"the devices' names take more than {DEVICES_MAX_BYTES} bytes in all")
        self._devices[device_id] = size_bytes
        self._devices_bytes += size_bytes


def _acceptable(message: str | bytes) -> str:
    """The text of a client's frame; raises `Refused` for binary ones and for those that are too big."""
    if isinstance(message, bytes):
        raise Refused(BINARY_NOT_SUPPORTED)
    if len(message) * 4 > MESSAGE_MAX_BYTES and len(message.encode()) > MESSAGE_MAX_BYTES:
        raise Refused(MESSAGE_TOO_BIG)
    return message
