"""Common behaviour of the five WebSocket routes.

The handler verifies the token, subscribes a session to the channels of its route and handles the client's actions.
There is no await before the session is subscribed: if the client left during one, Tornado would call `on_close`
before `open`, and never again.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any

import orjson
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol

from hermes.auth.principal import Principal
from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.client_actions import ACTIONS_TEXT, Ack, Action, Ping, Refresh, Resume, parse_action
from hermes.delivery.frames import reply as reply_frame
from hermes.delivery.last_values import LastValue
from hermes.delivery.messages import LinkStatus, now_ms
from hermes.delivery.reconnect_delay import retry_ms
from hermes.delivery.session import Session
from hermes.errors import (
    CLIENT_CODES,
    CODES,
    CONNECTION_LOST,
    FORBIDDEN,
    INTERNAL_ERROR,
    KEYS_UNAVAILABLE,
    OTHER_CODE,
    SLOW_DOWN,
    STOPPING,
    TOKEN_INVALID,
    TOO_MANY_ERRORS,
    ClientError,
    Close,
    SocketRejected,
)
from hermes.inbox.inbox import Reader
from hermes.log import printable
from hermes.quotas.addresses import client_key
from hermes.quotas.work_budget import ACK_UNITS, REFRESH_UNITS, RESUME_UNITS, UNITS
from hermes.web import credentials
from hermes.web.gateway_parts import GatewayParts
from hermes.web.http.errors import HttpErrors
from hermes.web.sockets.admission import Place
from hermes.web.sockets.inbox_actions import InboxActions
from hermes.web.sockets.protocol import MESSAGE_MAX_BYTES, VERSION, ServerProtocol, SocketParameters, is_handshake
from hermes.web.sockets.transport import WebSocketTransport

logger = logging.getLogger(__name__)

TRY_AGAIN = 1013  # RFC 6455's registry: "Try Again Later"; these closes carry ``retry_ms``
ERRORS_MAX = 20  # the twentieth error within the window closes the socket
ERRORS_WINDOW_S = 10.0


class SocketHandler(HttpErrors, WebSocketHandler):
    """Common behaviour of the five routes; each defines its own channels."""

    # Slots, because any entry of ours in the handler's dict, beside those of Tornado, costs every socket 1.5 KiB.
    __slots__ = ("_cut", "_errors", "_inbox", "_place", "_session", "_waiting_refresh", "gateway")

    route = ""
    carries_telemetry = True

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        self.gateway = gateway
        self._session: Session | None = None
        self._place: Place | None = None  # while it is counted by `Admission`
        self._cut: Callable[[], None] | None = None  # of a refused socket
        self._waiting_refresh: Callable[[], None] | None = None  # cancels it
        self._inbox: InboxActions | None = None  # of an open socket, with an inbox
        self._errors: deque[float] | None = None  # created at the first error: most clients make none

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Return the channels of this route for a principal.

        Raises `SocketRejected` if the principal may not use the route.
        """
        raise NotImplementedError

    # -- the handshake ------------------------------------------------------------------------------------------

    @property
    def max_message_size(self) -> int:
        """Size in bytes of the largest message."""
        return MESSAGE_MAX_BYTES

    def prepare(self) -> None:
        """Respond with 403 to pages of origins that are not allowed."""
        self.gateway.origin_rule.check(self.request)

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Accept the handshake; respond with 426 to a request that is none.

        RFC 9110 §15.5.22, RFC 6455 §4.2.2.
        """
        if is_handshake(self.request.headers):
            await super().get(*args, **kwargs)
            return
        self.set_header("Upgrade", "websocket")
        self.set_header("Connection", "Upgrade")
        self.set_header("Sec-WebSocket-Version", VERSION)
        self.set_status(426)
        self.write_error(426)

    def check_origin(self, origin: str) -> bool:
        """Accept every origin: `prepare` has rejected the others."""
        return True

    def _check_cross_origin(self, check: Callable[[str], bool]) -> str | None:
        """Replace Tornado's check, which fails for text that is not a URL."""
        return None

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Select ``hermes.v1`` if it is offered, also for a socket that is then rejected.

        Without it a browser would fail the handshake and not see the close code.
        """
        return credentials.SUBPROTOCOL if credentials.SUBPROTOCOL in subprotocols else None

    def get_compression_options(self) -> dict[str, Any] | None:
        """Return None to respond to every offer without permessage-deflate."""
        return {} if self.gateway.settings.compress else None

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Return the server's end of the socket; None for another version of the protocol."""
        if self.request.headers.get("Sec-WebSocket-Version") != VERSION:
            return None
        return ServerProtocol(self, SocketParameters(self.max_message_size, self.get_compression_options()))

    def open(self, *path: str) -> None:
        """Verify the token, then subscribe the session or close the socket.

        The handshake is accepted before: a browser shows no reason for a rejected handshake.
        """
        try:
            with self.gateway.metrics.work["handshake"]:
                self._admit()
        except SocketRejected as rejection:
            self._reject(rejection)
        except Exception:
            logger.exception("%s: open failed", self.route)
            self._close(INTERNAL_ERROR)

    def _admit(self) -> None:
        gateway = self.gateway
        address = client_key(self.client_address)
        gateway.admission.check(address)
        principal = self._verified(self._opening_token(), address)
        wanted = self.channels_for(principal)
        self._place = gateway.admission.admit(principal, address)
        session = Session(
            principal=principal,
            transport=self._transport(),
            limits=gateway.outbox_limits,
            metrics=gateway.metrics,
            token=self._opening_token,  # of the request, which stays in memory anyway
            route=self.route,
            opened_ms=now_ms(),
        )
        self._session = session
        gateway.presence.opened(session)
        if gateway.inbox is not None:
            self._inbox = InboxActions(
                gateway,
                session,
                self.reader_of(principal),
                reports_end=self.request.query_arguments.get("replay_end", [])[-1:] == [b"1"],
                on_resumed=self._on_resumed,
            )
        replay = self._first_subscription(session, wanted)
        gateway.metrics.sockets_open.labels(self.route).inc()
        gateway.return_rate.admitted()
        logger.info("%s: open for user %s (%s)", self.route, principal.user_id, principal.username)
        session.replay(replay)

    def _opening_token(self) -> str:
        return credentials.token(self.request)

    @property
    def client_address(self) -> str:
        """The address of the client, also behind a trusted proxy."""
        return self.gateway.trusted_proxies.client(self.request)

    def _verified(self, token: str, address: str) -> Principal:
        """Return the principal of a token; count a wrong one.

        Raises `SocketRejected`, ``SLOW_DOWN`` if the address gave too many wrong ones and this token is not known.
        """
        verifier, failed = self.gateway.token_verifier, self.gateway.failed_auth
        if failed.blocks(address) and not verifier.is_known(token):
            if times := failed.count_unchecked(address):
                logger.info("%s: too many wrong tokens from %s: %d refused unchecked", self.route, address, times)
            raise SocketRejected(SLOW_DOWN)
        try:
            return verifier.verify(token)
        except SocketRejected as rejection:
            if rejection.close is not KEYS_UNAVAILABLE:  # it may be valid
                failed.add(address)
            raise

    def _first_subscription(self, session: Session, wanted: Iterable[Channel]) -> list[LastValue]:
        """Subscribe; with ``?since=`` only after the answer to the position."""
        since = self.request.query_arguments.get("since")
        if since is None or self._inbox is None or self._inbox.reader is None:
            return self.subscribe(session, wanted)
        self._inbox.start(since[-1].decode("utf-8", "replace"))
        return []

    def _on_resumed(self) -> None:
        session = self._session
        if session is not None and not session.closed:
            session.replay(self.subscribe(session, self.channels_for(session.principal)))

    def reader_of(self, principal: Principal) -> Reader | None:
        """Return what a principal reads of the inbox; None without notifications."""
        return None

    def subscribe(self, session: Session, wanted: Iterable[Channel]) -> list[LastValue]:
        """Subscribe the session to exactly these channels; return what to replay.

        These are the last values of the channels that are new to it. Both happen in one iteration of the loop: every
        message published later is delivered live.
        """
        if self._inbox is not None:
            wanted = self._inbox.channels(wanted)
        return self.snapshot(session, self.gateway.hub.subscribe(session, wanted))

    def snapshot(self, session: Session, added: Iterable[Channel]) -> list[LastValue]:
        """Return the last values of channels that are new to a session.

        If an earlier snapshot is not sent completely, return the values of all its channels.
        """
        of = self.gateway.hub.channels_of(session) if session.replaying else list(added)
        link = self.gateway.link
        replay = [] if self._declines_snapshot else self.gateway.last_values.for_channels(of)
        if channels.LINK in of and link.is_down:
            replay.append(LastValue(LinkStatus(up=False, since_ms=link.changed_ms)))
        return replay

    @property
    def _declines_snapshot(self) -> bool:
        return self.request.query_arguments.get("snapshot", [])[-1:] == [b"0"]

    def _transport(self) -> WebSocketTransport:
        return WebSocketTransport(self._protocol, self._drained, carries_telemetry=self.carries_telemetry)

    @property
    def _protocol(self) -> ServerProtocol:
        assert isinstance(self.ws_connection, ServerProtocol)
        return self.ws_connection

    def _drained(self) -> None:
        if self._session is not None:
            self._session.drained()

    def _reject(self, rejection: SocketRejected) -> None:
        address = self.client_address
        self.gateway.metrics.sockets_refused.labels(rejection.close.word).inc()
        if rejection.close is not SLOW_DOWN:  # one line for many of these
            logger.info("%s: rejected from %s: %s", self.route, address, rejection)
        self.gateway.connection_rate.charge_refused(address)
        self._cut = self._protocol.cut
        self.gateway.admission.add_refused(self._cut)
        self._protocol.refuse(rejection.close.code, self._reason_text(rejection.close, self._shown_detail(rejection)))

    @property
    def requested_tenant(self) -> str | None:
        """The tenant of the URL's ``?tenant_id=``; None if it is absent."""
        given = self.request.query_arguments.get("tenant_id")
        return given[-1].decode("utf-8", "replace") if given else None

    # -- frames from the client ---------------------------------------------------------------------------------

    accepts_binary = False

    @property
    def client_frames_per_s(self) -> float:
        """The rate of the client's budget."""
        return self.gateway.settings.client_frames_per_s

    def on_reading_paused(self, paused: bool) -> None:
        """Record that the client is over its budget, or is read again."""
        if paused:
            self.gateway.metrics.reading_pauses.inc()
        if self._session is not None:
            self._session.reading_paused = paused

    def fail(self, close: Close) -> None:
        """Close because of what the client sent."""
        logger.info("%s: from %s: %s", self.route, self.client_address, close.word)
        if self._session is not None:
            self._session.close(close, retry_ms() if close.code == TRY_AGAIN else None)
        else:
            self._close(close)

    def on_message(self, message: str | bytes) -> None:
        """Handle one frame of the client; frames after a close are ignored."""
        session = self._session
        if session is None or session.closed:
            return
        work = self.gateway.metrics.work["client_frame"]
        try:
            with work:
                work.detail = f"{self.route}, user {session.principal.user_id}, {len(message)} characters"
                self._handle_action(session, str(message))
        except ClientError as error:
            self._handle_error(session, error)
        except SocketRejected as rejection:
            self._end(session, rejection)
        except Exception:
            logger.exception("%s: a frame of user %s failed", self.route, session.principal.user_id)
            session.close(INTERNAL_ERROR)

    def _handle_action(self, session: Session, text: str) -> None:
        action = parse_action(text)
        self.gateway.metrics.client_frames.labels(type(action).__name__.lower()).inc()
        match action:
            case Ping(echo):
                self.reply(session, echo | {"action": "pong"})
            case Ack():
                logger.debug("%s: user %s acknowledged %s", self.route, session.principal.user_id, action)
                if self._inbox is not None:
                    self.spend(ACK_UNITS)
                    self._inbox.ack(action)
            case Resume(since):
                if self._inbox is None:
                    raise ClientError("unknown_action", ACTIONS_TEXT)
                self.spend(RESUME_UNITS)
                self._inbox.resume(since)
            case Refresh(token):
                self.spend(REFRESH_UNITS)
                self._refresh(session, token)
            case _:
                self.on_subscribe_action(session, action)

    def reply(self, session: Session, fields: dict[str, Any]) -> None:
        """Send the reply to one action; raises `ClientError` if it cannot be encoded."""
        try:
            frame = reply_frame(fields)
        except orjson.JSONEncodeError:
            raise ClientError("invalid", "the values to echo are nested too deeply") from None
        self.spend(len(frame) / UNITS.bytes)
        session.send(frame)

    def spend(self, units: float) -> None:
        """Charge the client for work that its frame caused."""
        self._protocol.spend(units)

    def replay(self, session: Session, values: list[LastValue]) -> None:
        """Send a snapshot that the client asked for, at the price of its values."""
        self.spend(len(values) / UNITS.values)
        session.replay(values)

    def _refresh(self, session: Session, token: str) -> None:
        """Replace the principal by that of a new token.

        If the key of the token may be fetched in a moment, that is waited for: the socket is open, and may stay open
        until its present token ends.
        """
        self._cancel_waiting_refresh()
        try:
            principal = self._verified(token, client_key(self.client_address))
        except SocketRejected as rejection:
            if rejection.close is not KEYS_UNAVAILABLE:
                raise
            logger.info("%s: user %s: a refresh waits: %s", self.route, session.principal.user_id, rejection.detail)
            self._waiting_refresh = self.gateway.key_ring.after_fetch(partial(self._retry_refresh, session, token))
            return
        if principal.user_id != session.principal.user_id:
            raise SocketRejected(FORBIDDEN, "the new token is for another user")
        wanted = self.channels_for(principal)
        if self._inbox is not None:
            self._inbox.read_as(self.reader_of(principal))
        replay = self.subscribe(session, wanted)
        # now: what was published before is flushed by its earlier tenant
        session.principal, session.token = principal, token
        expires_at = principal.expires_at
        self.reply(
            session,
            {"action": "refreshed", "expires": None if expires_at is None else round(expires_at * 1000)},
        )
        self.replay(session, replay)

    def _retry_refresh(self, session: Session, token: str) -> None:
        """Try a refresh again after keys were fetched."""
        self._waiting_refresh = None
        if session.closed:
            return
        try:
            with self.gateway.metrics.work["client_frame"]:
                self._refresh(session, token)
        except SocketRejected as rejection:
            self._end(session, rejection)

    def _cancel_waiting_refresh(self) -> None:
        if self._waiting_refresh is not None:
            self._waiting_refresh()
            self._waiting_refresh = None

    def _end(self, session: Session, rejection: SocketRejected) -> None:
        """Close an open socket because of its token."""
        logger.info("%s: user %s: %s", self.route, session.principal.user_id, rejection)
        retry_after_ms = retry_ms() if rejection.close.code == TRY_AGAIN else None
        session.close(rejection.close, retry_after_ms, detail=self._shown_detail(rejection))

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
            self._session.pong(data)

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log an exception that Tornado caught.

        Tornado's own log line would contain the URL, and with it the token.
        """
        if isinstance(value, HTTPError):
            super().log_exception(typ, value, tb)
        else:
            logger.error("%s: failed", self.route, exc_info=(typ, value, tb))  # type: ignore[arg-type]

    # -- the end ------------------------------------------------------------------------------------------------

    def _close(self, close: Close) -> None:
        self.close(close.code, self._reason_text(close))

    def _reason_text(self, close: Close, detail: str = "") -> str:
        gateway = self.gateway
        spreads = close.code in (TRY_AGAIN, STOPPING.code)
        retry_after_ms = gateway.return_rate.retry_ms(len(gateway.hub.sessions)) if spreads else None
        return close.reason(retry_after_ms, detail=detail)

    def _shown_detail(self, rejection: SocketRejected) -> str:
        """Return why a token is refused, for its developer; strangers get one word only."""
        is_shown = self.gateway.settings.dev and rejection.close in (TOKEN_INVALID, KEYS_UNAVAILABLE)
        return printable(rejection.detail) if is_shown else ""

    def on_close(self) -> None:
        """Unsubscribe the session after either side has closed.

        Tornado may call this twice, or without `open`.
        """
        if self._place is not None:
            self.gateway.admission.leave(self._place)
            self._place = None
        if self._cut is not None:
            self.gateway.admission.remove_refused(self._cut)
            self._cut = None
        self._cancel_waiting_refresh()
        session, self._session = self._session, None
        inbox, self._inbox = self._inbox, None  # it refers to the session, and that to this handler
        if inbox is not None:
            inbox.stop()
        if session is None:
            return
        self.gateway.hub.unsubscribe(session)
        self.gateway.presence.closed(session)
        session.closed = True
        self.gateway.metrics.sockets_open.labels(self.route).dec()
        self._record_end(session)

    def _record_end(self, session: Session) -> None:
        """Count and log how an admitted socket ended.

        It was closed by Hermes, by the client, or ended without a close frame.
        """
        metrics = self.gateway.metrics
        code, reason = session.ended or (self.close_code or CONNECTION_LOST, self.close_reason or "")
        label = str(code) if code in CODES else OTHER_CODE
        by = "by Hermes" if session.ended else "without a close frame"
        if session.ended is None and self.close_code is not None:
            by = "by the client"
            metrics.sockets_closed_by_client.labels(label).inc()
            label = label if code in CLIENT_CODES else OTHER_CODE
        metrics.sockets_closed.labels(label).inc()
        logger.info("%s: closed for user %s %s: %s %s", self.route, session.principal.user_id, by, code, reason)
