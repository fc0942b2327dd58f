"""Floor 4: ``hermes listen``: prints a socket's frames, one a line, and comes back when the connection ends."""

import asyncio
import random
import re
import sys
from urllib.parse import quote, urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hermes.errors import HermesError
from hermes.web.credentials import SUBPROTOCOL

BACKOFF_MIN_S = 1.0
BACKOFF_MAX_S = 30.0
PING_INTERVAL_S = 25.0
CONNECT_TIMEOUT_S = 10.0
POLICY_VIOLATION = 1008


def socket_url(api_url: str, target: str) -> str:
    """The WebSocket URL of ``notifications``, ``tenant/ID``, ``device/ID`` or ``all``; raises `HermesError`."""
    parts = urlsplit(api_url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise HermesError(f"--url {api_url!r} must look like http://127.0.0.1:8080")
    base = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}/ws"
    kind, slash, name = target.partition("/")
    if kind == "all" and not slash:
        return base
    if kind == "notifications" and not slash:
        return f"{base}/notifications"
    if kind in ("tenant", "device") and name:
        return f"{base}/{kind}/{quote(name, safe='')}"
    raise HermesError(f"cannot listen to {target!r}: use notifications, tenant/ID, device/ID or all")


async def listen(url: str, token: str) -> None:
    """Print frames until cancelled. Raises `HermesError` when the token is refused: asking again would not help."""
    failures = 0
    while True:
        try:
            connection = await _connect(url, token)
        except (OSError, HTTPClientError, TimeoutError) as error:
            ended = str(error) or type(error).__name__
        else:
            if await _print_frames(connection):
                failures = 0
            ended = _ended(connection)
        delay_s = _told_delay_s(ended) or random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2**failures))
        failures += 1
        _say(f"{ended}; next try in {delay_s:.1f} s")
        await asyncio.sleep(delay_s)


async def _connect(url: str, token: str) -> WebSocketClientConnection:
    request = HTTPRequest(url, connect_timeout=CONNECT_TIMEOUT_S)
    return await websocket_connect(request, subprotocols=[SUBPROTOCOL, token], ping_interval=PING_INTERVAL_S)


async def _print_frames(connection: WebSocketClientConnection) -> bool:
    """Print until the connection ends; whether any frame came."""
    any_frame = False
    while (frame := await connection.read_message()) is not None:
        any_frame = True
        print(frame if isinstance(frame, str) else frame.decode("utf-8", "replace"), flush=True)
    return any_frame


def _ended(connection: WebSocketClientConnection) -> str:
    """How it ended, in words; raises `HermesError` where the server refused the token."""
    code, reason = connection.close_code, connection.close_reason or ""
    if code == POLICY_VIOLATION:
        raise HermesError(f"refused: {reason} (close code {code})")
    return f"closed with {code} {reason}".rstrip() if code else "connection lost (1006)"


def _told_delay_s(ended: str) -> float | None:
    match = re.search(r";retry_ms=(\d+)", ended)
    return int(match[1]) / 1000 if match else None


def _say(text: str) -> None:
    print(f"hermes listen: {text}", file=sys.stderr, flush=True)
