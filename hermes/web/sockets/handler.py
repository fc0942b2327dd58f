"""Floor 3: what the four WebSocket routes have in common. A handler reads the request, asks who it is, and gives the
hub a session.

Everything up to the session happens without an await: Tornado runs `on_close` before `open` for a client that
leaves during one, and never again.
"""

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import orjson
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from hermes.auth.principal import Principal
from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.client_actions import Ack, Action, Ping, Refresh, parse_action
from hermes.delivery.frames import reply
from hermes.delivery.last_values import LastValue
from hermes.delivery.messages import LinkStatus
from hermes.delivery.reconnect_delay import retry_ms
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
    ClientError,
    Close,
    SocketRejected,
)
from hermes.web import credentials
from hermes.web.gateway_parts import GatewayParts
from hermes.web.sockets.deflate import SharedDeflateProtocol, acceptable_offer
from hermes.web.sockets.transport import WebSocketTransport

logger = logging.getLogger(__name__)

MESSAGE_MAX_BYTES = 65_536
DISCARD_MAX_BYTES = 1_048_576  # read and thrown away, so that the 1009 arrives; beyond it Tornado cuts
ERRORS_MAX = 20  # the twentieth in ten seconds closes
ERRORS_WINDOW_S = 10.0


class SocketHandler(WebSocketHandler):
    """What the four routes have in common; each says which channels its principal may hear."""

    # Slots, because more entries in the handler's dict than Tornado makes cost every socket 1.5 KiB.
    __slots__ = ("_counted", "_errors", "_session", "gateway")

    route = ""
    carries_telemetry = True

    def initialize(self, gateway: GatewayParts) -> None:
        """Take the shared objects."""
        self.gateway = gateway
        self._session: Session | None = None
        self._counted = False
        self._errors: deque[float] | None = None  # made at the first: most clients never err

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """The channels of this route for this principal; raises `SocketRejected` where it may not be open to them."""
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
        origins = self.gateway.origins
        own = origin.lower().partition("://")[2] == self.request.headers.get("Host", "").lower()
        return own or "*" in origins or origin.lower() in origins

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """``hermes.v1`` wherever it is offered, also before a refusal: a browser would not see that otherwise."""
        return credentials.SUBPROTOCOL if credentials.SUBPROTOCOL in subprotocols else None

    def get_compression_options(self) -> dict[str, Any] | None:
        """None answers the handshake without permessage-deflate."""
        return {} if self.gateway.settings.compress and acceptable_offer(self.request) else None

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
        except SocketRejected as refusal:
            self._refuse(refusal)
        except Exception:
            logger.exception("%s: open failed", self.route)
            self._close(INTERNAL_ERROR)

    def _admit(self) -> None:
        gateway = self.gateway
        if gateway.socket_limit.stopping:
            raise SocketRejected(STOPPING)
        if gateway.socket_limit.exceeded:
            raise SocketRejected(SERVER_FULL)
        principal = gateway.token_verifier.verify(credentials.token(self.request))
        audience = self.channels_for(principal)
        session = Session(
            principal=principal, transport=self._transport(), limits=gateway.outbox_limits, metrics=gateway.metrics
        )
        replay = self.subscribe(session, audience)
        self._session = session
        gateway.metrics.sockets_open.labels(self.route).inc()
        logger.info("%s: open for user %s (%s)", self.route, principal.user_id, principal.username)
        session.replay(replay)

    def subscribe(self, session: Session, audience: Iterable[Channel]) -> list[LastValue]:
        """Let the session hear this audience; what it should be told of what is new to it. One turn of the loop: what
        is published from here on is live.
        """
        link = self.gateway.link
        fresh = self.gateway.hub.subscribe(session, audience)
        replay = [] if self._declines_snapshot else self.gateway.last_values.for_channels(fresh)
        if channels.LINK in fresh and link.is_down:
            replay.append(LastValue(LinkStatus(up=False, since_ms=link.changed_ms)))
        return replay

    @property
    def _declines_snapshot(self) -> bool:
        return self.request.query_arguments.get("snapshot", [])[-1:] == [b"0"]

    def _transport(self) -> WebSocketTransport:
        assert isinstance(self.ws_connection, SharedDeflateProtocol)
        return WebSocketTransport(self.ws_connection, self._drained, carries_telemetry=self.carries_telemetry)

    def _drained(self) -> None:
        if self._session is not None:
            self._session.drained()

    def _refuse(self, refusal: SocketRejected) -> None:
        self.gateway.metrics.sockets_refused.labels(refusal.close.word).inc()
        logger.info("%s: refused from %s: %s", self.route, self.request.remote_ip, refusal)
        self._close(refusal.close)

    @property
    def asked_tenant(self) -> str | None:
        """The URL's ``?tenant_id=``."""
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
        except ClientError as fault:
            self._answer_fault(session, fault)
        except SocketRejected as refusal:
            logger.info("%s: user %s: %s", self.route, session.principal.user_id, refusal)
            session.close(refusal.close)
        except Exception:
            logger.exception("%s: a frame of user %s failed", self.route, session.principal.user_id)
            session.close(INTERNAL_ERROR)

    def _act(self, session: Session, text: str) -> None:
        action = parse_action(text)
        self.gateway.metrics.client_frames.labels(type(action).__name__.lower()).inc()
        match action:
            case Ping(echo):
                self.answer(session, echo | {"action": "pong"})
            case Ack(notification_id):
                logger.debug("%s: user %s acknowledged %s", self.route, session.principal.user_id, notification_id)
            case Refresh(token):
                self._refresh(session, token)
            case _:
                self.on_subscribe_action(session, action)

    def answer(self, session: Session, fields: dict[str, Any]) -> None:
        """Send the answer to one action; raises `ClientError` where it cannot be printed."""
        try:
            frame = reply(fields)
        except orjson.JSONEncodeError:
            raise ClientError("invalid", "the values to echo are nested too deeply") from None
        session.send(frame)

    def _refresh(self, session: Session, token: str) -> None:
        principal = self.gateway.token_verifier.verify(token)
        if principal.user_id != session.principal.user_id:
            raise SocketRejected(FORBIDDEN, "the new token is another user's")
        audience = self.channels_for(principal)
        session.principal = principal
        replay = self.subscribe(session, audience)
        expires_at = principal.expires_at
        self.answer(
            session,
            {"action": "refreshed", "expires": None if expires_at is None else round(expires_at * 1000)},
        )
        session.replay(replay)

    def on_subscribe_action(self, session: Session, action: Action) -> None:
        """``subscribe`` or ``unsubscribe``; raises `ClientError` on all routes but one."""
        raise ClientError("not_here", "subscribe and unsubscribe are for /ws only")

    def _answer_fault(self, session: Session, fault: ClientError) -> None:
        now = asyncio.get_running_loop().time()
        if self._errors is None:
            self._errors = deque(maxlen=ERRORS_MAX)
        self._errors.append(now)
        if len(self._errors) == ERRORS_MAX and now - self._errors[0] < ERRORS_WINDOW_S:
            logger.info(
                "%s: user %s: too many errors, the last: %s",
                self.route,
                session.principal.user_id,
                fault.code,
            )
            session.close(TOO_MANY_ERRORS)
        else:
            self.answer(session, {"action": "error", "code": fault.code, "message": fault.message})

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
            logger.info("%s: from %s: %s", self.route, self.request.remote_ip, value)
        else:
            logger.error("%s: failed", self.route, exc_info=(typ, value, tb))  # type: ignore[arg-type]

    # -- the end ------------------------------------------------------------------------------------------------

    def _close(self, close: Close) -> None:
        retry = retry_ms(len(self.gateway.hub.sessions)) if close in (SERVER_FULL, STOPPING) else None
        self.close(close.code, close.reason(retry))

    def _count_in(self) -> None:
        self.gateway.socket_limit.open += 1
        self._counted = True

    def on_close(self) -> None:
        """The connection has ended, whoever ended it; may come twice, or without an `open`."""
        if self._counted:
            self._counted = False
            self.gateway.socket_limit.open -= 1
        session, self._session = self._session, None
        if session is None:
            return
        self.gateway.hub.unsubscribe(session)
        session.closed = True
        self.gateway.metrics.sockets_open.labels(self.route).dec()
        code, reason = session.ended or (self.close_code or 1006, self.close_reason or "")
        self.gateway.metrics.sockets_closed.labels(str(code) if code in CODES else "other").inc()
        logger.info(
            "%s: closed for user %s: %s %s",
            self.route,
            session.principal.user_id,
            code,
            reason,
        )


def _acceptable(message: str | bytes) -> str:
    """The text of a client's frame; raises `SocketRejected` for binary ones and for those that are too big."""
    if isinstance(message, bytes):
        raise SocketRejected(BINARY_NOT_SUPPORTED)
    if len(message) * 4 > MESSAGE_MAX_BYTES and len(message.encode()) > MESSAGE_MAX_BYTES:
        raise SocketRejected(MESSAGE_TOO_BIG)
    return message
