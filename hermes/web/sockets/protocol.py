"""The server's end of one WebSocket (RFC 6455).

Hermes answers the handshake and reads the frames of a client itself: strictly, within a budget, and not after a close.
Tornado's own loop accepts unmasked frames and any close code, forgets that a message is compressed if a ping comes
between its fragments, and goes on parsing and inflating for seconds after the server has closed the socket. Sending and
the closing handshake are Tornado's.
"""

import asyncio
import contextlib
import socket
import struct
import zlib
from typing import Any, NamedTuple, Protocol, cast

from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.util import _websocket_mask
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

from hermes.errors import (
    BINARY_NOT_SUPPORTED,
    INVALID_TEXT,
    MESSAGE_TOO_BIG,
    NO_STATUS_RECEIVED,
    PROTOCOL_ERROR,
    SLOW_DOWN,
    Close,
)
from hermes.quotas.work_budget import UNITS, WorkBudget
from hermes.web.sockets.deflate import acceptable_offer, response_to
from hermes.web.sockets.transport import reset, send

VERSION = "13"  # RFC 6455 §4.1
MESSAGE_MAX_BYTES = 65_536
STORED_EXTRA_BYTES = 512  # what compression adds to a message that cannot be compressed
DISCARD_BYTES = 65_536  # read at once from a socket that is closing
REFUSED_TIMEOUT_S = 1.0  # then a refused socket is cut; Tornado cuts any other one 5 s after its close
TURN_UNITS = 16.0  # after this much work, other sockets are served first

_SWITCHING = (
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Cache-Control: no-store",
    "X-Content-Type-Options: nosniff",
)
_FIN, _RESERVED, _RSV1, _OPCODE, _CONTROL, _MASKED = 0x80, 0x70, 0x40, 0x0F, 0x08, 0x80
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset((_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG))


def is_handshake(headers: HTTPHeaders) -> bool:
    """Return whether a request asks for a WebSocket of this version."""
    options = [option.strip().lower() for option in headers.get("Connection", "").split(",")]
    return (
        headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in options
        and headers.get("Sec-WebSocket-Version") == VERSION
    )


class FrameHandler(Protocol):
    """What the protocol calls: Tornado's callbacks, and those for the budget.

    Without ``accepts_binary`` a binary message closes the socket at its header.
    """

    accepts_binary: bool

    @property
    def client_frames_per_s(self) -> float:
        """The rate of the budget; 0 means no limit."""

    def on_message(self, message: str | bytes) -> None:
        """Handle one message."""

    def on_pong(self, data: bytes) -> None:
        """Handle one pong."""

    def on_reading_paused(self, paused: bool) -> None:
        """Record that the client is not read now, or is read again."""

    def fail(self, close: Close) -> None:
        """Close because of what the client sent."""

    def on_ws_connection_close(self, code: int | None, reason: str | None) -> None:
        """Handle the end of the connection."""


class SocketParameters(NamedTuple):
    """What Tornado's protocol reads; Hermes sends its own pings."""

    max_message_size: int
    compression_options: dict[str, Any] | None
    ping_interval: float = 0.0
    ping_timeout: float = 0.0


class _Fault(Exception):
    """The client broke the protocol; the argument is the `Close`."""

    def __init__(self, close: Close) -> None:
        super().__init__(close)
        self.close = close


class ServerProtocol(WebSocketProtocol13):
    """The server's end of one WebSocket."""

    # One more entry in Tornado's own dict would cost every socket 1.5 KiB.
    __slots__ = ("_budget", "_compressed_message", "_message", "_message_opcode", "_resumed", "compressed")

    def __init__(self, handler: WebSocketHandler, parameters: SocketParameters) -> None:
        super().__init__(handler, False, cast(Any, parameters))
        self.compressed = False  # until permessage-deflate is agreed on
        self._budget: WorkBudget | None = None  # created with the first frame: most sockets never send one
        self._message: bytearray | None = None  # the fragments so far
        self._message_opcode = _CONTINUATION
        self._resumed: asyncio.Event | None = None  # during a pause
        self._compressed_message = False

    # -- the handshake ------------------------------------------------------------------------------------------------

    async def accept_connection(self, handler: WebSocketHandler) -> None:
        """Answer the handshake (RFC 6455 §4.2.2), open the handler, and read its frames.

        The response is sent as bytes: as a response of the handler it would take a tenth of the whole handshake.
        """
        headers = handler.request.headers
        key = headers.get("Sec-WebSocket-Key")
        if not key:
            raise HTTPError(400, "Sec-WebSocket-Key is missing")
        lines = [*_SWITCHING, f"Sec-WebSocket-Accept: {self.compute_accept_value(key)}"]
        offered = [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",")]
        self.selected_subprotocol = handler.select_subprotocol(offered)
        if self.selected_subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {self.selected_subprotocol}")
        offer = None if self.params.compression_options is None else acceptable_offer(handler.request)
        if offer is not None:
            self.compressed = True
            lines.append(f"Sec-WebSocket-Extensions: {response_to(offer)}")
        self.stream = handler.detach()
        send(self.stream, "\r\n".join([*lines, "", ""]).encode())
        handler.open(*handler.open_args, **handler.open_kwargs)
        await self._receive_frame_loop()

    @property
    def _frames(self) -> FrameHandler:
        return cast(FrameHandler, self.handler)

    # -- the loop ---------------------------------------------------------------------------------------------------

    async def _receive_frame_loop(self) -> None:
        """Read frames until either side closes; then discard what the client still sends."""
        turn = 0.0
        try:
            while not self.is_closing():
                turn += await self._receive_one()
                if turn >= TURN_UNITS:
                    turn = 0.0
                    await asyncio.sleep(0)
                if self._budget is not None and self._budget.wait_s:
                    await self._pause(self._budget)
            while not self.client_terminated:
                await self._discard()
        except StreamClosedError:
            self._abort()
        finally:
            if self.stream.error is not None:
                self.stream.error.__traceback__ = None  # its frames refer to the stream
            self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    async def _receive_one(self) -> float:
        """Read and handle one frame; return its price in units."""
        try:
            return await self._receive_frame_strictly()
        except _Fault as fault:
            self._frames.fail(fault.close)
            return 1.0

    async def _pause(self, budget: WorkBudget) -> None:
        """Wait until the client may send again, or the socket is closed."""
        self._frames.on_reading_paused(True)
        self._resumed = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._resumed.wait(), budget.wait_s)
        self._resumed = None
        self._frames.on_reading_paused(False)
        if budget.exhausted and not self.is_closing():
            self._frames.fail(SLOW_DOWN)

    async def _discard(self) -> None:
        await self.stream.read_bytes(DISCARD_BYTES, partial=True)  # of TLS what is not decrypted any more
        await asyncio.sleep(0)

    def spend(self, units: float) -> None:
        """Charge the client for the work that its frame caused."""
        rate_per_s = self._frames.client_frames_per_s
        if rate_per_s:
            if self._budget is None:
                self._budget = WorkBudget(rate_per_s)
            self._budget.spend(units)

    # -- frames -----------------------------------------------------------------------------------------------------

    async def _receive_frame_strictly(self) -> float:
        first, second = await self.stream.read_bytes(2)
        if self.is_closing():
            return 0.0
        opcode, final = first & _OPCODE, bool(first & _FIN)
        self._check_header(first, second)
        length = await self._read_length(second & ~_MASKED)
        if not opcode & _CONTROL and length + len(self._message or b"") > self._wire_max(first):
            raise _Fault(MESSAGE_TOO_BIG)
        masked = await self.stream.read_bytes(4 + length)
        if self.is_closing():
            return 0.0
        payload = _websocket_mask(masked[:4], masked[4:])
        units = 1.0
        if opcode & _CONTROL:
            self._handle_control(opcode, payload)
        else:
            units += self._handle_data(opcode, final, bool(first & _RSV1), payload)
        self.spend(units)
        return units

    def _check_header(self, first: int, second: int) -> None:
        """Raise `_Fault` for what RFC 6455 §5.2 to §5.5 and RFC 7692 §6 forbid."""
        opcode, final, reserved = first & _OPCODE, bool(first & _FIN), first & _RESERVED
        begins = opcode in (_TEXT, _BINARY)
        correct = (
            opcode in _OPCODES
            and second & _MASKED
            and (not reserved or (reserved == _RSV1 and begins and self.compressed))
            and (not opcode & _CONTROL or (final and second & ~_MASKED <= 125))
            and (opcode != _CONTINUATION or self._message is not None)
            and (not begins or self._message is None)
        )
        if not correct:
            raise _Fault(PROTOCOL_ERROR)
        if opcode == _BINARY and not self._frames.accepts_binary:
            raise _Fault(BINARY_NOT_SUPPORTED)

    async def _read_length(self, short: int) -> int:
        """Return the payload's length, in its shortest form (RFC 6455 §5.2)."""
        if short < 126:
            return short
        size, form, least = (2, "!H", 126) if short == 126 else (8, "!Q", 65_536)
        (length,) = struct.unpack(form, await self.stream.read_bytes(size))
        if length < least:
            raise _Fault(PROTOCOL_ERROR)
        return int(length)

    @property
    def _max_bytes(self) -> int:
        return int(self.params.max_message_size)

    def _wire_max(self, first: int) -> int:
        compressed = first & _RSV1 or (first & _OPCODE == _CONTINUATION and self._compressed_message)
        return self._max_bytes + (STORED_EXTRA_BYTES if compressed else 0)

    def _handle_data(self, opcode: int, final: bool, compressed: bool, payload: bytes) -> float:
        """Handle a message, or store a fragment; return the price of inflating it."""
        if opcode != _CONTINUATION:
            self._message_opcode, self._compressed_message = opcode, compressed
        if not final or self._message is not None:
            if self._message is None:
                self._message = bytearray()
            self._message += payload  # in place: the cost of many small fragments is linear
            if not final:
                return 0.0
            payload, self._message = bytes(self._message), None
        units = 0.0
        if self._compressed_message:
            payload = _inflated(payload, self._max_bytes)
            units = len(payload) / UNITS.bytes
        self._frames.on_message(payload if self._message_opcode == _BINARY else _decoded(payload))
        return units

    def _handle_control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._send_pong(payload)
        elif opcode == _PONG:
            self._frames.on_pong(payload)
        else:
            self._handle_close(payload)

    def _handle_close(self, payload: bytes) -> None:
        """Answer the client's close with the same code (RFC 6455 §5.5.1)."""
        if payload:
            if len(payload) == 1 or not _may_be_sent(int.from_bytes(payload[:2], "big")):
                raise _Fault(PROTOCOL_ERROR)
            self.close_code, self.close_reason = int.from_bytes(payload[:2], "big"), _decoded(payload[2:])
        self.client_terminated = True
        self.close(self.close_code)
        if not payload:  # the answer has no code either
            self.close_code = NO_STATUS_RECEIVED

    # -- the end ----------------------------------------------------------------------------------------------------

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send a close frame, then end the server's side of the connection.

        The client sees the end after the close frame. What it sends meanwhile is read and thrown away, so that its
        system does not discard the close frame; Tornado calls `_abort` after 5 s.
        """
        begins = not self.server_terminated and not self.stream.closed()
        super().close(code, reason)
        if self._resumed is not None:
            self._resumed.set()
        if not begins or self.stream.closed():
            return
        if self.stream.writing():
            self.stream.write(b"").add_done_callback(self._end_sending)  # after what is queued
        else:
            self._shut_down()

    def refuse(self, code: int, reason: str) -> None:
        """Close a socket that was not admitted; it is cut after `REFUSED_TIMEOUT_S`."""
        self._waiting = self.stream.io_loop.call_later(REFUSED_TIMEOUT_S, self.cut)  # in the place of Tornado's own
        self.close(code, reason)

    def cut(self) -> None:
        """End the connection; may be repeated. The kernel still sends the close frame."""
        if not self.stream.closed():
            super()._abort()

    def _abort(self) -> None:
        """Reset the connection: it failed, or the client did not answer the close in time."""
        reset(self.stream)
        super()._abort()

    def _end_sending(self, written: asyncio.Future[None]) -> None:
        if not written.cancelled() and written.exception() is None and not self.stream.closed():
            self._shut_down()

    def _shut_down(self) -> None:
        try:
            self.stream.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            self._abort()


def _inflated(payload: bytes, max_bytes: int) -> bytes:
    """Return the text of a compressed message (RFC 7692 §7.2.2)."""
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        text = inflater.decompress(payload + b"\0\0\xff\xff", max_bytes + 1)
    except zlib.error:
        raise _Fault(INVALID_TEXT) from None
    if len(text) > max_bytes or inflater.unconsumed_tail:
        raise _Fault(MESSAGE_TOO_BIG)
    return text


def _decoded(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise _Fault(INVALID_TEXT) from None


def _may_be_sent(code: int) -> bool:
    """Return whether a client may send this close code (RFC 6455 §7.4, IANA registry)."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999
