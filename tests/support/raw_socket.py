"""A WebSocket client without automatic behaviour: it reads, sends and closes only when a test calls it."""

import asyncio
import base64
import contextlib
import os
import socket
import struct
import zlib
from dataclasses import dataclass, field

from tornado.httputil import HTTPHeaders

from tests.support.gateways import TIMEOUT_S, Hermes

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40
OPCODE = 0x0F


@dataclass
class RawSocket:
    """A TCP connection after the handshake; ``status`` and ``headers`` are those of the server's response."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: HTTPHeaders = field(default_factory=HTTPHeaders)

    async def frame(self) -> tuple[int, bytes] | None:
        """Return first byte and payload of the next frame as received; None at the end of the connection."""
        try:
            return await asyncio.wait_for(self._frame(), TIMEOUT_S)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _frame(self) -> tuple[int, bytes]:
        first, length = await self.reader.readexactly(2)
        assert length < 128, "a server never masks"
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first, await self.reader.readexactly(length)

    async def text(self) -> str:
        """Return the text of the next frame, inflated without the frames before it."""
        frame = await self.frame()
        assert frame is not None, "the connection has ended"
        first, payload = frame
        assert first & ~RSV1 == FIN | TEXT
        if first & RSV1:
            payload = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + b"\x00\x00\xff\xff")
        return payload.decode()

    async def close_frame(self) -> tuple[int, str] | None:
        """Return code and reason of the close frame, after any frames before it; None if there is none."""
        while (frame := await self.frame()) is not None:
            first, payload = frame
            if first & OPCODE == CLOSE:
                return struct.unpack("!H", payload[:2])[0], payload[2:].decode()
        return None

    async def first_close(self) -> tuple[int, str]:
        """Return code and reason of the close frame; assert that no frame comes before it."""
        frame = await self.frame()
        assert frame is not None, "the connection ended without a frame"
        first, payload = frame
        assert first & OPCODE == CLOSE, f"a frame came before the close: {payload!r}"
        return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    async def ended(self) -> None:
        """Wait for the end of the connection; ignore the frames before it."""
        while await self.frame() is not None:
            pass

    async def send(self, opcode: int, payload: bytes, *, flags: int = FIN) -> None:
        """Send one masked frame with any flags."""
        await self.send_bytes(client_frame(opcode, payload, flags=flags))

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes; ignore the error if the server has ended the connection meanwhile."""
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(self.writer.drain(), TIMEOUT_S)

    def pause(self) -> None:
        """Read nothing from now on: what the server sends stays in the kernel's buffers."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    @property
    def _transport(self) -> asyncio.Transport:
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        return transport

    def reset(self) -> None:
        """End the TCP connection with a reset, as after a crash of the client's machine."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


def client_frame(opcode: int, payload: bytes, *, flags: int = FIN) -> bytes:
    """Return one masked frame with any flags."""
    mask = os.urandom(4)
    length = len(payload)
    if length < 126:
        header = struct.pack("!BB", flags | opcode, 0x80 | length)
    elif length < 65_536:
        header = struct.pack("!BBH", flags | opcode, 0x80 | 126, length)
    else:
        header = struct.pack("!BBQ", flags | opcode, 0x80 | 127, length)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return header + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


def deflated(payload: bytes) -> bytes:
    """Return the payload of a compressed message (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def port_of(hermes: Hermes) -> int:
    """Return the TCP port of the gateway."""
    return int(hermes.url.rpartition(":")[2])


async def connect(hermes: Hermes, *, receive_buffer_bytes: int | None = None, local: str = "127.0.0.1") -> RawSocket:
    """Open a TCP connection to the gateway, without a handshake."""
    tcp = socket.socket()
    if receive_buffer_bytes is not None:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    tcp.setblocking(False)
    tcp.bind((local, 0))
    await asyncio.get_running_loop().sock_connect(tcp, ("127.0.0.1", port_of(hermes)))
    raw = RawSocket(*await asyncio.open_connection(sock=tcp, limit=4096))
    hermes.at_end.append(raw.writer.close)
    return raw


async def open_raw(
    hermes: Hermes,
    path: str,
    token: str | None = None,
    *,
    headers: dict[str, str] | None = None,
    receive_buffer_bytes: int | None = None,
) -> RawSocket:
    """Send a handshake and return the connection with the response, of any status; the token is in the query."""
    raw = await connect(hermes, receive_buffer_bytes=receive_buffer_bytes)
    await _shake_hands(raw, port_of(hermes), path, token, headers or {})
    return raw


async def open_at(
    port: int, path: str, token: str | None = None, *, headers: dict[str, str] | None = None
) -> RawSocket:
    """Return what `open_raw` returns, for a Hermes in another process."""
    raw = RawSocket(*await asyncio.open_connection("127.0.0.1", port))
    await _shake_hands(raw, port, path, token, headers or {})
    return raw


async def _shake_hands(raw: RawSocket, port: int, path: str, token: str | None, headers: dict[str, str]) -> None:
    given = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    } | headers
    if token is not None:
        path += f"{'&' if '?' in path else '?'}token={token}"
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    raw.writer.write("\r\n".join([*lines, "", ""]).encode())
    head = await asyncio.wait_for(raw.reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)
    status_line, _, fields = head.decode().partition("\r\n")
    raw.status = int(status_line.split()[1])
    raw.headers = HTTPHeaders.parse(fields)
