"""Python client of a running Hermes: send notifications and receive frames.

``hermes notify`` and ``hermes listen`` use it. Example, complete::

    import asyncio
    from hermes.client import HermesClient

    async def main(url: str, api_key: str, token: str) -> None:
        client = HermesClient(url, api_key=api_key, token=token)
        result = await client.notify(user_id="123", title="New alert", message="Sensor X is hot", type="warning")
        print("received by an open socket:", result.sent)
        async for frame in client.listen("notifications"):
            print(frame["type"], frame["title"])

    asyncio.run(main("http://127.0.0.1:8080", "an API key", "a token"))
"""

import asyncio
import base64
import contextlib
import inspect
import json
import logging
import math
import random
import re
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketError, websocket_connect

from hermes.backoff import Backoff
from hermes.delivery.messages import Severity
from hermes.errors import NORMAL, REVOKED, TOKEN_INVALID, TOO_MANY_ERRORS, HermesError, RequestError, may_reconnect
from hermes.settings.fields import http_url, token_text
from hermes.settings.tls import TlsOptions
from hermes.web.credentials import SUBPROTOCOL

logger = logging.getLogger(__name__)

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 30.0
HINT_MAX_S = 3_600.0  # a longer retry_ms is a mistake
PING_INTERVAL_S = 25.0
CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 10.0
REVOKED_WAIT_S = 2.0  # tokens that are signed in the second of the revocation are refused too
BACKUP_TIMEOUT_S = 3_600.0
REFRESH_BEFORE_S = 60.0  # a new token is sent so long before the present one expires, or at half of its time
RETRIED_STATUSES = (408, 429)  # of those below 500; from 500 on a proxy may be waiting for Hermes to restart

HOST_MISMATCH = (62, 64)  # OpenSSL's verification codes for another name and another address (x509_vfy.h)
NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")

TRANSIENT = (OSError, HTTPClientError, TimeoutError)  # a later attempt may succeed
REFRESHED = '{"action":"refreshed"'  # begins the answer to a refresh

Token = str | Callable[[], str | Awaitable[str]]


class ConnectionRejected(HermesError):
    """Hermes closed the socket with a code after which a reconnect would not help."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"refused: {reason} (close code {code})")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class NotifyResult:
    """The answer to a notification: its id, and whether an open socket accepted it.

    ``answer`` is the complete JSON object.
    """

    id: str
    sent: bool
    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DisconnectResult:
    """The answer to a disconnect: how many sockets were closed.

    Sign the next token with an ``iat`` after ``revoked_until`` (Unix seconds); it is None if nothing was revoked.
    ``answer`` is the complete JSON object.
    """

    closed: int
    revoked_until: int | None
    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Why a connection ended or was not opened, and the wait before the next attempt."""

    reason: str
    wait_s: float


class HermesClient:
    """A client of the Hermes at ``url``.

    ``api_key`` is for `notify`; without it Hermes must accept callers on its own machine. ``token`` is for `listen`: a
    token, or a function that returns one, also asynchronously. The function is called for each connection, before the
    token expires, and once more if Hermes refuses the token; if it raises OSError, the client tries again later.
    ``ca_file`` has the CA certificates (PEM) to trust for an ``https`` URL, instead of those of the system; ``tls`` is
    a context of your own in its place. Raises ValueError if ``url`` is not an HTTP URL, or if ``ca_file`` has none.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        token: Token | None = None,
        api_key: str | None = None,
        ca_file: str | Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = http_url(url).rstrip("/")
        self._tls = TlsOptions(Path(ca_file)).context() if tls is None and ca_file is not None else tls
        self._token = token
        self._api_key = api_key

    async def notify(
        self,
        *,
        user_id: str | int | None = None,
        tenant_id: str | int | None = None,
        title: str,
        message: str,
        type: Severity = "info",
        id: str | None = None,
        data: Mapping[str, Any] | str | None = None,
        ttl_s: int | None = None,
        replaces: str | None = None,
        priority: int | None = None,
        require: Literal["stored"] | None = None,
        wait_acked_s: int | None = None,
    ) -> NotifyResult:
        """Send a notification to a user, or a broadcast to a tenant.

        Give exactly one of ``user_id`` and ``tenant_id``. ``data`` is an object, or the text of a JSON object, which
        arrives as it is written (ValueError if it is not). The last five need an inbox; with ``wait_acked_s`` (1 to 60
        seconds) the result comes at the first acknowledgement. Raises `RequestError` with status, code and faulty
        fields if Hermes refuses it, and `HermesError` if nothing answers within 10 s, or something else than Hermes.
        """
        optional: dict[str, Any] = {"user_id": user_id, "tenant_id": tenant_id, "id": id, "ttl_s": ttl_s}
        optional |= {"replaces": replaces, "priority": priority, "require": require}
        body: dict[str, Any] = {"title": title, "message": message, "type": type}
        text = json.dumps(body | {name: value for name, value in optional.items() if value is not None})
        text = text if data is None else f'{text[:-1]}, "data": {_object_text(data)}}}'
        return await self._post(text, wait_acked_s=wait_acked_s)

    async def status(self) -> dict[str, Any]:
        """Return the figures of the node, as ``GET /status`` answers them.

        Raises `RequestError` if the API key is missing or wrong, and `HermesError` as `notify`.
        """
        url = f"{self._url}/status"
        code, answer = await self._fetch(self._request(url, headers=self._key))
        if code == 200 and isinstance(answer, dict) and "version" in answer:
            return answer
        raise _failure(url, code, answer)

    async def disconnect(
        self,
        *,
        user_id: str | int | None = None,
        token_id: str | None = None,
        tenant_id: str | int | None = None,
        revoke: bool = True,
        reason: str = "",
    ) -> DisconnectResult:
        """End the sockets of a user, a token or a tenant, and revoke their tokens.

        A token is given by its ``jti``. Give exactly one of the three. With ``revoke=False`` the clients may
        reconnect at once. The key needs the scope ``disconnect``. Raises `RequestError` and `HermesError` as
        `notify`.
        """
        body = _given(user_id=user_id, token_id=token_id, tenant_id=tenant_id) | {"revoke": revoke, "reason": reason}
        url = f"{self._url}/disconnect"
        headers = {"Content-Type": "application/json"} | self._key
        code, answer = await self._fetch(self._request(url, method="POST", headers=headers, body=json.dumps(body)))
        match answer:
            case {"status": "success", "closed": int(closed), "revoked_until": int() | None as until}:
                return DisconnectResult(closed, until, answer)
        raise _failure(url, code, answer)

    async def undo_disconnect(
        self,
        *,
        user_id: str | int | None = None,
        token_id: str | None = None,
        tenant_id: str | int | None = None,
    ) -> int:
        """Accept the revoked tokens again; return how many revocations were removed.

        Raises `RequestError` and `HermesError` as `notify`.
        """
        given = _given(user_id=user_id, token_id=token_id, tenant_id=tenant_id)
        url = f"{self._url}/disconnect?{urlencode(given)}"
        code, answer = await self._fetch(self._request(url, method="DELETE", headers=self._key))
        match answer:
            case {"status": "success", "removed": int(removed)}:
                return removed
        raise _failure(url, code, answer)

    async def inbox_stats(self) -> dict[str, Any]:
        """Return the size of the inbox, as ``GET /inbox/stats`` answers it.

        Raises `RequestError`, also if there is no inbox, and `HermesError` as `notify`.
        """
        return await self._answer(self._request(f"{self._url}/inbox/stats", headers=self._key))

    async def purge_inbox(self, user_id: str) -> int:
        """Remove everything about a user; return the number of notifications."""
        headers = self._key | {"Content-Type": "application/json"}
        body = json.dumps({"user_id": user_id})
        request = self._request(f"{self._url}/inbox/purge", method="POST", headers=headers, body=body)
        return int((await self._answer(request))["removed"])

    async def back_up_inbox(self, write: Callable[[bytes], object]) -> None:
        """Pass a copy of the inbox to ``write``, in parts."""
        request = self._request(f"{self._url}/inbox/backup", method="POST", headers=self._key, body=b"")
        request.request_timeout = BACKUP_TIMEOUT_S
        refusal: list[bytes] = []

        def receive(chunk: bytes) -> None:
            if refusal or chunk.startswith(b"{"):  # an error; a copy begins with the name of its format
                refusal.append(chunk)
            else:
                write(chunk)

        request.streaming_callback = receive
        try:
            response = await AsyncHTTPClient().fetch(request, raise_error=False)
        except TRANSIENT as error:
            raise HermesError(f"no answer from {request.url}: {_explained(error)}") from None
        if response.code != 200:
            raise _failure(request.url, response.code, json.loads(b"".join(refusal) or b"null"))

    async def _answer(self, request: HTTPRequest) -> dict[str, Any]:
        code, answer = await self._fetch(request)
        if code == 200 and isinstance(answer, dict):
            return answer
        raise _failure(request.url, code, answer)

    async def is_running(self) -> bool:
        """Return whether a Hermes answers ``GET /health``; it needs no API key."""
        try:
            return await self._fetch(self._request(f"{self._url}/health")) == (200, {"status": "ok"})
        except HermesError:
            return False

    @property
    def _key(self) -> dict[str, str]:
        return {} if self._api_key is None else {"X-API-Key": self._api_key}

    def _request(self, url: str, **options: Any) -> HTTPRequest:
        return HTTPRequest(url, request_timeout=REQUEST_TIMEOUT_S, ssl_options=self._tls, **options)

    async def _fetch(self, request: HTTPRequest) -> tuple[int, Any]:
        """Return status and JSON of the answer."""
        try:
            response = await AsyncHTTPClient().fetch(request, raise_error=False)
            return response.code, json.loads(response.body)
        except (OSError, ValueError, HTTPClientError) as error:
            advice = "" if isinstance(error, ssl.SSLError) else "; does Hermes run there?"
            raise HermesError(f"no answer from {request.url}: {_explained(error)}{advice}") from None

    async def _post(self, body: str, *, wait_acked_s: int | None = None) -> NotifyResult:
        url = f"{self._url}/notify"
        if wait_acked_s is not None:
            url += f"?wait=acked&timeout_s={wait_acked_s}"
        headers = {"Content-Type": "application/json"} | self._key
        request = self._request(url, method="POST", headers=headers, body=body)
        request.request_timeout = REQUEST_TIMEOUT_S + (wait_acked_s or 0)
        return _result(url, *await self._fetch(request))

    def listen(
        self, target: str, *, since: str | None = None, on_reconnect: Callable[[Reconnect], None] | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield each frame of a socket, parsed; reconnect when the connection ends.

        ``target`` is ``notifications``, ``tenant/ID``, ``device/ID``, ``tenants`` for the devices of every tenant,
        ``combined`` for ``/ws``, or ``all``: ``tenants`` with the token of a superuser, otherwise ``combined``. Before
        an attempt it waits up to 1 s, 2 s, 4 s and so on to 30 s, a random part of each, or as long as Hermes asks
        (``retry_ms``). ``on_reconnect`` is called before each wait; without it, a line is logged. With ``since``, a
        position of the inbox (``0``: its beginning), it resumes there, and after each reconnect where it was.

        Raises `ConnectionRejected` if Hermes closes the socket with a code that forbids to return, `HermesError` if
        something else than Hermes answers, ValueError for an unknown target or if the token is missing or not a JWT.
        """
        return _parsed(self.listen_text(target, since=since, on_reconnect=on_reconnect))

    def listen_text(
        self, target: str, *, since: str | None = None, on_reconnect: Callable[[Reconnect], None] | None = None
    ) -> AsyncGenerator[str, None]:
        """Yield each frame as `listen` does, but as the text that arrived."""
        socket_url(self._url, target)
        if self._token is None:
            raise ValueError("listen needs a token")
        socket = _Socket(
            self._url, target, token=self._token, since=since, on_reconnect=on_reconnect or _log, tls=self._tls
        )
        return socket.frames()


class _Socket:
    """A socket that is opened again whenever it ends."""

    def __init__(
        self,
        api_url: str,
        target: str,
        *,
        token: Token,
        since: str | None,
        on_reconnect: Callable[[Reconnect], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._api_url = api_url
        self._target = target
        self._url = ""
        self._since = since
        self._epoch: str | None = None  # of the inbox, after ``resumed``
        self._tls = tls
        self._source = token
        self._on_reconnect = on_reconnect
        self._backoff = Backoff(first_s=BACKOFF_FIRST_S, max_s=BACKOFF_MAX_S)
        self._token = ""
        self._refresh_at_s: float | None = None  # Unix time
        self._replaced = False  # Hermes refused the token, and a new one was requested; a frame resets it
        self._reading: asyncio.Future[str | bytes | None] | None = None

    async def frames(self) -> AsyncGenerator[str, None]:
        """Yield frames until cancelled."""
        while True:
            try:
                connection = await self._connect()
            except TRANSIENT as error:
                await self._wait(_explained(error))
                continue
            try:
                while (text := await self._next(connection)) is not None:
                    self._backoff.reset()
                    self._replaced = False
                    yield text
                    if self._since is not None:
                        self._note_position(text)
            finally:
                connection.close(NORMAL.code)
            await self._closed(connection.close_code, connection.close_reason or "")

    async def _connect(self) -> WebSocketClientConnection:
        await self._new_token()
        self._url = socket_url(self._api_url, self._target, self._token)
        if self._since is not None:
            self._url += f"?since={quote(self._since, safe=':')}"
        self._epoch = None
        self._reading = None
        request = HTTPRequest(self._url, connect_timeout=CONNECT_TIMEOUT_S, ssl_options=self._tls)
        offered = [SUBPROTOCOL, self._token]
        opening = asyncio.ensure_future(websocket_connect(request, subprotocols=offered, ping_interval=PING_INTERVAL_S))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_late)  # otherwise Tornado would leave it open
            raise
        except WebSocketError:
            raise HermesError(f"what answers at {self._url} is not Hermes") from None
        except HTTPClientError as error:
            if error.code < 500 and error.code not in RETRIED_STATUSES:
                raise HermesError(f"what answers at {self._url} is not Hermes: {error}") from None
            raise

    def _note_position(self, text: str) -> None:
        """Remember the last row that was passed on; none before ``resumed``."""
        with contextlib.suppress(ValueError):
            frame = json.loads(text)
            if frame.get("action") == "resumed":
                self._epoch = frame["epoch"]
                if frame["gap"] and not frame["from"]:
                    self._since = "0"
            elif self._epoch is not None and "seq" in frame:
                self._since = f"{self._epoch}:{frame['seq']}"

    async def _next(self, connection: WebSocketClientConnection) -> str | None:
        """Return the next frame, None at the end; refresh the token in time."""
        while True:
            if self._reading is None:
                self._reading = asyncio.ensure_future(connection.read_message())
            due_s = None if self._refresh_at_s is None else max(0.0, self._refresh_at_s - time.time())
            done, _ = await asyncio.wait({self._reading}, timeout=due_s)
            if not done:
                await self._refresh(connection)
                continue
            frame, self._reading = self._reading.result(), None
            text = frame.decode("utf-8", "replace") if isinstance(frame, bytes) else frame
            if text is None or not text.startswith(REFRESHED):
                return text

    async def _refresh(self, connection: WebSocketClientConnection) -> None:
        """Send a new token on the open socket.

        If there is none, Hermes closes the socket when the present one expires.
        """
        before = self._token
        try:
            await self._new_token()
        except TRANSIENT as error:
            logger.info("no new token: %s", error)
            self._refresh_at_s = None
            return
        if self._token == before:
            self._refresh_at_s = None
            return
        with contextlib.suppress(WebSocketClosedError):
            await connection.write_message(json.dumps({"action": "refresh", "token": self._token}))

    async def _new_token(self) -> None:
        """Get the token to use.

        Raises ValueError if it is not a JWT, and what the caller's function raises.
        """
        if isinstance(self._source, str):
            self._token = token_text(self._source)
            return
        token = self._source()
        self._token = token_text(await token if inspect.isawaitable(token) else token)
        expires_at_s = expiry(self._token)
        if expires_at_s is None:
            self._refresh_at_s = None
        else:
            left_s = expires_at_s - time.time()
            self._refresh_at_s = expires_at_s - min(REFRESH_BEFORE_S, left_s / 2)

    async def _closed(self, code: int | None, reason: str) -> None:
        """Wait, or raise `ConnectionRejected`; replace a refused token once, at once."""
        if code is not None and not may_reconnect(code):
            if self._replaced or not self._is_replaceable(code, reason):
                raise ConnectionRejected(code, reason)
            self._replaced = True
            hint_s = retry_hint_s(reason)  # of many sockets that are closed at once
            if hint_s is None and reason.startswith(REVOKED.word):
                hint_s = REVOKED_WAIT_S * random.uniform(1, 2)
            if hint_s is not None:
                await self._wait(f"closed with {code} {reason}", hint_s=hint_s)
            return
        ended = f"closed with {code} {reason}".rstrip() if code else "connection lost (1006)"
        await self._wait(ended, hint_s=retry_hint_s(reason))

    def _is_replaceable(self, code: int, reason: str) -> bool:
        """Return whether a new token may help: not against errors of this client."""
        is_refusal = code == TOKEN_INVALID.code and not reason.startswith(TOO_MANY_ERRORS.word)
        return is_refusal and not isinstance(self._source, str)

    async def _wait(self, reason: str, *, hint_s: float | None = None) -> None:
        wait_s = self._backoff.next_delay_s() if hint_s is None else hint_s
        self._on_reconnect(Reconnect(reason, wait_s))
        await asyncio.sleep(wait_s)


def _object_text(data: Mapping[str, Any] | str) -> str:
    if not isinstance(data, str):
        return json.dumps(data)
    if not isinstance(json.loads(data), dict):
        raise ValueError("data is not the text of a JSON object")
    return data


def _close_late(opening: asyncio.Future[WebSocketClientConnection]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close(NORMAL.code)


def _explained(error: Exception) -> str:
    """Return why nothing answers, and what to change if TLS is the reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = "give the certificate of its CA with --ca-file (ca_file)"
        if error.verify_code in HOST_MISMATCH:
            advice = "write a name in the URL that the certificate has"
        return f"its certificate is not trusted: {error.verify_message.rstrip('.')}; {advice}"
    if isinstance(error, ssl.SSLError) and error.reason in NOT_TLS:
        return "it does not speak TLS: write http:// in the URL"
    return str(error) or type(error).__name__


async def _parsed(frames: AsyncGenerator[str, None]) -> AsyncGenerator[dict[str, Any], None]:
    async with contextlib.aclosing(frames):
        async for text in frames:
            yield json.loads(text)


def socket_url(api_url: str, target: str, token: str = "") -> str:
    """Return the WebSocket URL of a target; that of ``all`` depends on the token.

    Raises ValueError for an unknown target.
    """
    parts = urlsplit(api_url)
    base = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}/ws"
    kind, slash, name = target.partition("/")
    if kind == "combined" and not slash:
        return base
    if kind == "all" and not slash:
        return f"{base}/tenants" if claims_of(token).get("is_superuser") is True else base
    if kind in ("notifications", "tenants") and not slash:
        return f"{base}/{kind}"
    if kind in ("tenant", "device") and name:
        return f"{base}/{kind}/{quote(name, safe='')}"
    raise ValueError(f"cannot listen to {target!r}: use notifications, tenant/ID, device/ID, tenants, combined or all")


def retry_hint_s(reason: str) -> float | None:
    """Return the wait that a close reason asks for (``stopping;retry_ms=1234``)."""
    match = re.search(r";retry_ms=(\d+)", reason)
    return min(int(match[1]) / 1000, HINT_MAX_S) if match else None


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, empty if it is not a JWT.

    The signature is not checked.
    """
    payload = token.split(".")[1:2]
    try:
        claims = json.loads(base64.urlsafe_b64decode(f"{payload[0]}==")) if payload else {}
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def expiry(token: str) -> float | None:
    """Return a token's ``exp`` claim in Unix seconds; None if it has none."""
    try:
        expires_at_s = float(claims_of(token)["exp"])
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    return expires_at_s if math.isfinite(expires_at_s) else None


def _given(**ids: str | int | None) -> dict[str, Any]:
    return {name: id for name, id in ids.items() if id is not None}


def _result(url: str, status: int, answer: Any) -> NotifyResult:
    match answer:
        case {"status": "success", "id": str(id), "sent": bool(sent)}:
            return NotifyResult(id, sent, answer)
    raise _failure(url, status, answer)


def _failure(url: str, status: int, answer: Any) -> HermesError:
    """Return the error for an answer that is not the expected one."""
    match answer:
        case {"status": "error", "error": {"code": str(code), "message": str(message), **rest}}:
            fields = rest.get("fields")
            return RequestError(status, code, message, fields if isinstance(fields, dict) else None)
    return HermesError(f"what answers at {url} is not Hermes")


def _log(reconnect: Reconnect) -> None:
    logger.info("%s; next attempt in %.1f s", reconnect.reason, reconnect.wait_s)
