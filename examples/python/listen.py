"""Print the notifications of one user, and reconnect when the connection ends."""

import asyncio
import contextlib
import json
import os
import random
import re
import sys
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketError, websocket_connect

API_URL = os.environ.get("HERMES_API_URL", "http://127.0.0.1:8080")
SOCKET_URL = API_URL.replace("http", "ws", 1) + "/ws/notifications"
TOKEN_COMMAND = os.environ.get("HERMES_TOKEN_COMMAND", "hermes token --user 123")

PING_INTERVAL_S = 30.0
SILENCE_MAX_S = 40.0  # a ping is answered within a round trip: after that long the connection is dead
CONNECT_TIMEOUT_S = 10.0
DELAY_MIN_S, DELAY_MAX_S = 1.0, 30.0
POLICY_VIOLATION = 1008
LOST = 1006  # never sent: the connection ended without a close frame


@dataclass(frozen=True, slots=True)
class End:
    """How a connection ended; ``worked`` if it had received at least one frame."""

    code: int
    reason: str
    worked: bool = False


async def main() -> str:
    """Receive until Hermes rejects this client for good; return its reason."""
    token = ""
    delay_s = DELAY_MIN_S
    new_token_rejected = False
    while True:
        token = token or await new_token()
        end = await receive(token) if token else End(LOST, "there is no token")
        if end.worked:
            delay_s, new_token_rejected = DELAY_MIN_S, False
        log(f"disconnected: {end.code} {end.reason}")
        if end.code == POLICY_VIOLATION:
            if new_token_rejected or not end.reason.startswith("token_"):
                return end.reason
            token, new_token_rejected = "", True
            continue
        await asyncio.sleep(wait_s(end.reason, delay_s))
        delay_s = min(delay_s * 2, DELAY_MAX_S)


def wait_s(reason: str, delay_s: float) -> float:
    """Return the wait that Hermes asks for, else a random part of the delay: clients must not return all at once."""
    asked = re.search(r"retry_ms=(\d+)", reason)
    return int(asked[1]) / 1000 if asked else random.uniform(delay_s / 2, delay_s)


async def new_token() -> str:
    """Return a new token; empty if the command fails."""
    process = await asyncio.create_subprocess_shell(TOKEN_COMMAND, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode().strip() if process.returncode == 0 else ""


async def receive(token: str) -> End:
    """Open one connection and print what arrives, until it ends."""
    request = HTTPRequest(SOCKET_URL, connect_timeout=CONNECT_TIMEOUT_S)
    try:
        socket = await websocket_connect(request, subprotocols=["hermes.v1", token])
    except (OSError, HTTPClientError, WebSocketError) as error:
        return End(LOST, str(error))
    pinger = asyncio.create_task(send_pings(socket))
    worked = False
    try:
        while True:
            async with asyncio.timeout(SILENCE_MAX_S):
                frame = await socket.read_message()
            if frame is None:
                return End(socket.close_code or LOST, socket.close_reason or "", worked)
            if not worked:
                log("connected")
            worked = True
            await handle(socket, json.loads(frame))
    except TimeoutError:
        return End(LOST, "no answer to a ping", worked)
    finally:
        pinger.cancel()
        socket.close()


async def send_pings(socket: WebSocketClientConnection) -> None:
    """Send a ping at once and then every 30 s, until the connection is closed."""
    with contextlib.suppress(WebSocketClosedError):
        while True:
            await socket.write_message('{"action":"ping"}')
            await asyncio.sleep(PING_INTERVAL_S)


async def handle(socket: WebSocketClientConnection, frame: dict[str, Any]) -> None:
    """Print and acknowledge a notification; ignore every other frame."""
    if frame.get("channel") != "notifications":
        return
    # As JSON, because the texts may contain line feeds and terminal controls.
    print(frame["type"], f"{json.dumps(frame['title'])}: {json.dumps(frame['message'])}", flush=True)
    with contextlib.suppress(WebSocketClosedError):
        await socket.write_message(json.dumps({"action": "ack", "notification_id": frame["id"]}))


def log(text: str) -> None:
    """Write a line about the connection to standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(f"rejected: {asyncio.run(main())}")
