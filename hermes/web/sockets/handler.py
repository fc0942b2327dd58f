"""Common behaviour of the four WebSocket routes.

The handler verifies the token, subscribes a session to the channels of its route and handles the client's actions.
There is no await before the session is subscribed: if the client left during one, Tornado would call `on_close`
before `open`, and never again.
"""

import logging
import zlib
from collections import deque
from collections.abc import Iterable
from time import monotonic
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
from hermes.delivery.frames import reply as reply_frame
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
from hermes.web.sockets.deflate_probe import deflate_works
from hermes.web.sockets.transport import WebSocketTransport

logger = logging.getLogger(__name__)

MESSAGE_MAX_BYTES = 65_536
DISCARD_MAX_BYTES = 1_048_576  # read and discarded, so that the 1009 arrives; past it Tornado ends the connection
ERRORS_MAX = 20  # the twentieth error within the window closes the socket
ERRORS_WINDOW_S = 10.0


class SocketHandler(WebSocketHandler):
    """Common behaviour of the four routes; each defines its own channels."""

    # Slots, because any entry of ours in the handler's dict, beside those of Tornado, costs every socket 1.5 KiB.
    __slots__ = ("_counted", "_errors", "_session", "gateway")

    route = ""
    carries_telemetry = True

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        self.gateway = gateway
        self._session: Session | None = None
        self._counted = False
        self._errors: deque[float] | None = None  # created at the first error: most clients make none

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Return the channels of this route for a principal.

        Raises `SocketRejected` if the principal may not use the route.
        """
        raise NotImplementedError

    # -- the handshake ------------------------------------------------------------------------------------------

    @property
    def max_message_size(self) -> int:
        """Size in bytes at which Tornado ends the connection.

        `on_message` checks the smaller limit of Hermes.
        """
        return DISCARD_MAX_BYTES

    def prepare(self) -> None:
        """Reject an Origin that is not a URL with 403; Tornado would respond with 500."""
        origin = self.request.headers.get("Origin")
        try:
            if origin is not None:
                urlsplit(origin)
        except ValueError:
            raise HTTPError(403, "the Origin header is not a URL") from None

    def check_origin(self, origin: str) -> bool:
        """Accept the origin of this server and those of ``--origin``."""
        origins = self.gateway.origins
        own = origin.lower().partition("://")[2] == self.request.headers.get("Host", "").lower()
        return own or "*" in origins or origin.lower() in origins

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Select ``hermes.v1`` if it is offered, also for a socket that is then rejected.

        Without it a browser would fail the handshake and not see the close code.
        """
        return credentials.SUBPROTOCOL if credentials.SUBPROTOCOL in subprotocols else None

    def get_compression_options(self) -> dict[str, Any] | None:
        """Return None to respond to the handshake without permessage-deflate."""
        compress = self.gateway.settings.compress and deflate_works() and acceptable_offer(self.request)
        return {} if compress else None

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Return Tornado's protocol 13 with compressed frames that all sockets can share."""
        protocol = super().get_websocket_protocol()
        if isinstance(protocol, WebSocketProtocol13):
            return SharedDeflateProtocol(self, False, protocol.params)
        return None

    def open(self, *path: str) -> None:
        """Verify the token, then subscribe the session or close the socket.

        The handshake is accepted before: a browser shows no reason for a rejected handshake.
        """
        self._count_open()
        try:
            self._admit()
        except SocketRejected as rejection:
            self._reject(rejection)
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
        wanted = self.channels_for(principal)
        session = Session(
            principal=principal, transport=self._transport(), limits=gateway.outbox_limits, metrics=gateway.metrics
        )
        replay = self.subscribe(session, wanted)
        self._session = session
        gateway.metrics.sockets_open.labels(self.route).inc()
        logger.info("%s: open for user %s (%s)", self.route, principal.user_id, principal.username)
        session.replay(replay)

    def subscribe(self, session: Session, wanted: Iterable[Channel]) -> list[LastValue]:
        """Subscribe the session to exactly these channels; return what to replay.

        These are the last values of the channels that are new to it. Both happen in one iteration of the loop: every
        message published later is delivered live.
        """
        link = self.gateway.link
        added = self.gateway.hub.subscribe(session, wanted)
        replay = [] if self._declines_snapshot else self.gateway.last_values.for_channels(added)
        if channels.LINK in added and link.is_down:
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

    def _reject(self, rejection: SocketRejected) -> None:
        self.gateway.metrics.sockets_refused.labels(rejection.close.word).inc()
        logger.info("%s: rejected from %s: %s", self.route, self.request.remote_ip, rejection)
        self._close(rejection.close)

    @property
    def requested_tenant(self) -> str | None:
        """The tenant of the URL's ``?tenant_id=``; None if it is absent."""
        given = self.request.query_arguments.get("tenant_id")
        return given[-1].decode("utf-8", "replace") if given else None

    # -- frames from the client ---------------------------------------------------------------------------------

    def on_message(self, message: str | bytes) -> None:
        """Handle one frame of the client; frames after a close are ignored."""
        session = self._session
        if session is None or session.closed:
            return
        try:
            self._handle_action(session, _checked_text(message))
        except ClientError as error:
            self._handle_error(session, error)
        except SocketRejected as rejection:
            logger.info("%s: user %s: %s", self.route, session.principal.user_id, rejection)
            session.close(rejection.close)
        except Exception:
            logger.exception("%s: a frame of user %s failed", self.route, session.principal.user_id)
            session.close(INTERNAL_ERROR)

    def _handle_action(self, session: Session, text: str) -> None:
        action = parse_action(text)
        self.gateway.metrics.client_frames.labels(type(action).__name__.lower()).inc()
        match action:
            case Ping(echo):
                self.reply(session, echo | {"action": "pong"})
            case Ack(notification_id):
                logger.debug("%s: user %s acknowledged %s", self.route, session.principal.user_id, notification_id)
            case Refresh(token):
                self._refresh(session, token)
            case _:
                self.on_subscribe_action(session, action)

    def reply(self, session: Session, fields: dict[str, Any]) -> None:
        """Send the reply to one action; raises `ClientError` if it cannot be encoded."""
        try:
            frame = reply_frame(fields)
        except orjson.JSONEncodeError:
            raise ClientError("invalid", "the values to echo are nested too deeply") from None
        session.send(frame)

    def _refresh(self, session: Session, token: str) -> None:
        principal = self.gateway.token_verifier.verify(token)
        if principal.user_id != session.principal.user_id:
            raise SocketRejected(FORBIDDEN, "the new token is for another user")
        wanted = self.channels_for(principal)
        session.principal = principal
        replay = self.subscribe(session, wanted)
        expires_at = principal.expires_at
        self.reply(
            session,
            {"action": "refreshed", "expires": None if expires_at is None else round(expires_at * 1000)},
        )
        session.replay(replay)

    def on_subscribe_action(self, session: Session, action: Action) -> None:
        """Handle ``subscribe`` and ``unsubscribe``, actions of the combined feed only.

        Every other route raises `ClientError`.
        """
        raise ClientError("not_here", "subscribe and unsubscribe are for /ws only")

    def _handle_error(self, session: Session, error: ClientError) -> None:
        now_s = monotonic()
        if self._errors is None:
            self._errors = deque(maxlen=ERRORS_MAX)
        self._errors.append(now_s)
        if len(self._errors) == ERRORS_MAX and now_s - self._errors[0] < ERRORS_WINDOW_S:
            logger.info(
                "%s: user %s: too many errors, the last: %s",
                self.route,
                session.principal.user_id,
                error.code,
            )
            session.close(TOO_MANY_ERRORS)
        else:
            self.reply(session, {"action": "error", "code": error.code, "message": error.message})

    def on_pong(self, data: bytes) -> None:
        """Handle the client's response to a protocol ping."""
        if self._session is not None:
            self._session.pong()

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log an exception that Tornado caught.

        Invalid deflate data of a client is not an error of Hermes. Tornado's own log line would contain the URL, and
        with it the token.
        """
        if isinstance(value, zlib.error | HTTPError):
            logger.info("%s: from %s: %s", self.route, self.request.remote_ip, value)
        else:
            logger.error("%s: failed", self.route, exc_info=(typ, value, tb))  # type: ignore[arg-type]

    # -- the end ------------------------------------------------------------------------------------------------

    def _close(self, close: Close) -> None:
        retry = retry_ms(len(self.gateway.hub.sessions)) if close in (SERVER_FULL, STOPPING) else None
        self.close(close.code, close.reason(retry))

    def _count_open(self) -> None:
        self.gateway.socket_limit.open += 1
        self._counted = True

    def on_close(self) -> None:
        """Unsubscribe the session after either side has closed.

        Tornado may call this twice, or without `open`.
        """
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


def _checked_text(message: str | bytes) -> str:
    """Return the text of a client's frame.

    Raises `SocketRejected` if the frame is binary or too large.
    """
    if isinstance(message, bytes):
        raise SocketRejected(BINARY_NOT_SUPPORTED)
    if len(message) * 4 > MESSAGE_MAX_BYTES and len(message.encode()) > MESSAGE_MAX_BYTES:
        raise SocketRejected(MESSAGE_TOO_BIG)
    return message
