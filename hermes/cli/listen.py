"""Floor 4: ``hermes listen``: prints a socket's frames, one a line, and comes back when the connection ends."""

import asyncio
import random
import re
import sys
from urllib.parse import quote, urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketError, websocket_connect

from hermes.errors import NORMAL, ConfigError, HermesError, may_return
from hermes.web.credentials import SUBPROTOCOL

BACKOFF_MIN_S = 1.0
BACKOFF_MAX_S = 30.0
PING_INTERVAL_S = 25.0
CONNECT_TIMEOUT_S = 10.0
PASSING_STATUSES = (408, 429)  # of those under 500; from there on a proxy may only be waiting for Hermes


def socket_url(api_url: str, target: str) -> str:
    """The WebSocket URL of ``notifications``, ``tenant/ID``, ``device/ID`` or ``all``; raises `ConfigError`.

    ``api_url`` is an HTTP URL, as the settings have checked it.
    """
    parts = urlsplit(api_url)
    base = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}/ws"
    kind, slash, name = target.partition("/")
    if kind == "all" and not slash:
        return base
    if kind == "notifications" and not slash:
        return f"{base}/notifications"
    if kind in ("tenant", "device") and name:
        return f"{base}/{kind}/{quote(name, safe='')}"
    raise ConfigError([f"cannot listen to {target!r}: use notifications, tenant/ID, device/ID or all"])


async def listen(url: str, token: str) -> None:
    """Print frames until cancelled. Raises `HermesError` where coming back would not help."""
    failures = 0
    while True:
        try:
            connection = await _connect(url, token)
        except (OSError, HTTPClientError, TimeoutError) as error:
            ended = str(error) or type(error).__name__
        else:
            try:
                if await _print_frames(connection):
                    failures = 0
            finally:
                connection.close(NORMAL.code)  # for who ends this by Ctrl-C; else it is closed already
            ended = _ended(connection)
        delay_s = _told_delay_s(ended) or random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2**failures))
        failures += 1
        _say(f"{ended}; next try in {delay_s:.1f} s")
        await asyncio.sleep(delay_s)


async def _connect(url: str, token: str) -> WebSocketClientConnection:
    """Raises `HermesError` where what answers has no such socket, OSError and others where nothing answers."""
    request = HTTPRequest(url, connect_timeout=CONNECT_TIMEOUT_S)
    try:
        return await websocket_connect(request, subprotocols=[SUBPROTOCOL, token], ping_interval=PING_INTERVAL_S)
    except WebSocketError:
        raise HermesError(f"what answers at {url} is not Hermes (--url)") from None
    except HTTPClientError as error:
        if error.code < 500 and error.code not in PASSING_STATUSES:
            raise HermesError(f"what answers at {url} is not Hermes (--url): {error}") from None
        raise


async def _print_frames(connection: WebSocketClientConnection) -> bool:
    """Print until the connection ends; whether any frame came."""
    any_frame = False
    while (frame := await connection.read_message()) is not None:
        any_frame = True
        print(frame if isinstance(frame, str) else frame.decode("utf-8", "replace"), flush=True)
    return any_frame


def _ended(connection: WebSocketClientConnection) -> str:
    """How it ended, in words; raises `HermesError` where the table of close codes says not to come back."""
    code, reason = connection.close_code, connection.close_reason or ""
    if code is not None and not may_return(code):
        raise HermesError(f"refused: {reason} (close code {code})")
    return f"closed with {code} {reason}".rstrip() if code else "connection lost (1006)"


def _told_delay_s(ended: str) -> float | None:
    match = re.search(r";retry_ms=(\d+)", ended)
    return int(match[1]) / 1000 if match else None


def _say(text: str) -> None:
    print(f"hermes listen: {text}", file=sys.stderr, flush=True)
